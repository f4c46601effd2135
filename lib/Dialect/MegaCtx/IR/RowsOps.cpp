//===- RowsOps.cpp - ops on the same rows: verifier -----------------------===//

#include "megactx/Dialect/MegaCtx/IR/Combiner.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

SmallVector<linalg::GenericOp> FusedRowsOp::getRowOps() {
  return llvm::to_vector(getBody().front().getOps<linalg::GenericOp>());
}

unsigned FusedRowsOp::getNumRowLoops() {
  for (linalg::GenericOp op : getBody().front().getOps<linalg::GenericOp>())
    if (op.getNumReductionLoops())
      return op.getNumParallelLoops();
  return 0;
}

/// Whether loops that are no rows are reductions, and behind those that are.
static bool reducesRows(linalg::GenericOp op, unsigned rows) {
  for (auto [i, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    if ((kind == utils::IteratorType::parallel) != (i < rows))
      return false;
  return true;
}

static LogicalResult verifyRowOp(FusedRowsOp rows, linalg::GenericOp op) {
  unsigned loops = rows.getRowOps().front().getNumLoops();
  if (op.getNumLoops() != loops)
    return op.emitOpError("expected ")
           << loops << " loops as the first op on these rows, but got "
           << op.getNumLoops();
  if (op.getNumReductionLoops() == 0)
    return success();
  if (!reducesRows(op, rows.getNumRowLoops()))
    return op.emitOpError("expected ")
           << rows.getNumRowLoops()
           << " loops that count rows, and reductions behind them";
  if (!combinersOf(op))
    return op.emitOpError("expected a single op with a neutral element to "
                          "combine partial results");
  return success();
}

LogicalResult FusedRowsOp::verifyRegions() {
  DenseSet<Value> written, reduced;
  for (Operation &inside : llvm::reverse(getBody().front())) {
    auto linalgOp = dyn_cast<linalg::LinalgOp>(inside);
    if (!isa<linalg::GenericOp, linalg::FillOp>(inside) ||
        !linalgOp.hasPureBufferSemantics())
      return inside.emitOpError("expected linalg.generic or linalg.fill on "
                                "memrefs within rows");
    if (isa<linalg::FillOp>(inside) &&
        !reduced.contains(linalgOp.getDpsInits()[0]))
      return inside.emitOpError("expected a reduction to start from this");
    for (Value out : linalgOp.getDpsInits()) {
      written.insert(out);
      if (linalgOp.getNumReductionLoops())
        reduced.insert(out);
    }
  }
  if (getNumRowLoops() == 0)
    return emitOpError("expected an op that reduces rows");
  for (linalg::GenericOp op : getRowOps())
    if (failed(verifyRowOp(*this, op)))
      return failure();
  for (Value memory : getScratch())
    if (!written.contains(memory))
      return emitOpError("expected the ops to write what is scratch");
  return success();
}
