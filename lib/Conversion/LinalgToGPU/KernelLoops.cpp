//===- KernelLoops.cpp - loops of a linalg op in a kernel -----------------===//

#include "KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

Value KernelLoops::less(Value x, Value y) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, y);
}

/// In 32 bits, which the numbers of blocks and rows fit: several times faster,
/// and right. (Of a quotient by multiplication, mul.hi.u32, ptxas 12.9 to 13.4
/// subtracts a 64-bit number whose lower half is 0 wrongly by 2^32, which a
/// remainder of a quotient would have it do.)
std::pair<Value, Value> KernelLoops::divide(Value x, Value y) {
  auto cast = [&](Value value, Type type) {
    return b.createOrFold<arith::IndexCastUIOp>(type, value);
  };
  x = cast(x, b.getI32Type());
  y = cast(y, b.getI32Type());
  return {cast(b.createOrFold<arith::DivUIOp>(x, y), b.getIndexType()),
          cast(b.createOrFold<arith::RemUIOp>(x, y), b.getIndexType())};
}

/// Rows that do not fit 32 bits are more blocks than can be launched, which
/// the runtime reports.
Value KernelLoops::blocksFor(Value rows, int64_t rowsOfBlock) {
  Value tooMany = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ugt, rows,
                                                c(UINT32_MAX));
  return b.createOrFold<arith::SelectOp>(tooMany, c(int64_t(1) << 31),
                                         ceilDiv(rows, c(rowsOfBlock)));
}

void KernelLoops::when(Value condition, function_ref<void()> inside) {
  auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  inside();
}

void KernelLoops::launch(StringRef kind, Value blocks, int64_t sharedBytes,
                         function_ref<void()> inside) {
  Value one = c(1), bytes;
  if (sharedBytes)
    bytes = arith::ConstantIntOp::create(b, sharedBytes, 32);
  auto launch =
      gpu::LaunchOp::create(b, blocks, one, one, c(kThreads), one, one, bytes);
  launch->setAttr("megactx.kernel", b.getStringAttr(kind));
  b.setInsertionPointToStart(&launch.getBody().front());
  block = launch.getBlockIds().x;
  thread = launch.getThreadIds().x;
  inside();
  b.setInsertionPointToEnd(&launch.getBody().back());
  gpu::TerminatorOp::create(b);
}
