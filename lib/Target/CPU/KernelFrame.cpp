//===- KernelFrame.cpp - a kernel's function ------------------------------===//

#include "KernelFrame.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

KernelFrame::KernelFrame(KernelParts &parts, StringRef name,
                         const KernelShape &shape)
    : shape(shape), parts(parts),
      b(parts.getModule().getLoc(),
        OpBuilder::atBlockEnd(parts.getModule().getBody())),
      a{b} {
  auto type = b.getFunctionType(kernelArguments(b.getContext(), shape), {});
  function = KernelParts::create(b, name, type);
  b.setInsertionPointToStart(function.addEntryBlock());
  arguments = KernelArguments(function.getArguments(), shape);
  auto dim = [&](Value of, int64_t i) -> Value {
    return memref::DimOp::create(b, of, i);
  };
  batches = dim(arguments.query, 0);
  heads = dim(arguments.query, 1);
  queries = dim(arguments.query, 2);
  keys = dim(arguments.key, 2);
  keyHeads = dim(arguments.key, 1);
  group = a.div(heads, a.max(keyHeads, a.c(1)));
  views = std::make_unique<KeyViews>(b, parts.getModule(), shape, arguments);
}

void KernelFrame::ifHead(unsigned piece, function_ref<void()> body) {
  const pattern::Expr &condition = shape.pieces[piece].heads;
  if (!condition)
    return body();
  Value chosen = a.lt(a.c(0), emitExpr(b, condition, views->leaves(a.c(0))));
  scf::IfOp::create(b, chosen, [&](OpBuilder &, Location) {
    body();
    scf::YieldOp::create(b);
  });
}
