//===- FirstThread.cpp - sequential code on a GPU -------------------------===//

#include "FirstThread.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

void mlir::megactx::launchFirstThreads(ImplicitLocOpBuilder &b, StringRef kind,
                                       function_ref<void(Value block)> inside,
                                       Value blocks) {
  OpBuilder::InsertionGuard guard(b);
  auto c = [&](int64_t v) -> Value {
    return arith::ConstantIndexOp::create(b, v);
  };
  Value one = c(1);
  auto launch = gpu::LaunchOp::create(b, blocks ? blocks : one, one, one, c(32),
                                      one, one);
  launch->setAttr("megactx.kernel", b.getStringAttr(kind));
  b.setInsertionPointToStart(&launch.getBody().front());
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                        launch.getThreadIds().x, c(0));
  auto branch = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
  gpu::TerminatorOp::create(b);
  b.setInsertionPointToStart(branch.thenBlock());
  inside(launch.getBlockIds().x);
}
