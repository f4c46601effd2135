//===- FusedRowTasks.cpp - tasks of several ops on rows -------------------===//

#include "FusedRowTasks.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

/// Bytes of a row that a task has on its stack, at most.
static constexpr int64_t kStackBytes = 65536;

FusedRowTasks::FusedRowTasks(FusedRowsOp fused, int64_t grain, int64_t lanes)
    : fused(fused), grain(grain), rowLoops(fused.getNumRowLoops()) {
  for (linalg::GenericOp op : fused.getRowOps()) {
    ops.push_back(std::make_unique<RowOp>(op, grain, lanes));
    ops.back()->b.setInsertionPoint(fused);
    ops.back()->findRow(rowLoops);
  }
  RowOp::shareExtents(llvm::map_to_vector(
      ops, [](auto &op) -> LinalgLoops * { return op.get(); }));
}

/// A view of a row's elements that finds them for each row: along the dims that
/// count rows it stays where it is. Nothing where the row's size is not known.
std::optional<MemRefType> FusedRowTasks::rowType(Value scratch) {
  auto type = cast<MemRefType>(scratch.getType());
  if (!type.getLayout().isIdentity())
    return std::nullopt;
  std::optional<AffineMap> at;
  for (auto &here : ops)
    for (OpOperand &operand : here->op->getOpOperands())
      if (operand.get() == scratch) {
        AffineMap map = here->op.getMatchingIndexingMap(&operand);
        if (!map.isProjectedPermutation() || (at && *at != map))
          return std::nullopt;
        at = map;
      }
  SmallVector<int64_t> strides(type.getRank(), 0);
  int64_t elements = 1;
  for (int64_t i = type.getRank(); i-- > 0;) {
    if (cast<AffineDimExpr>(at->getResult(i)).getPosition() < rowLoops)
      continue;
    strides[i] = elements;
    if (type.isDynamicDim(i) || type.getDimSize(i) > kStackBytes)
      return std::nullopt;
    elements *= type.getDimSize(i);
    if (elements > kStackBytes)
      return std::nullopt;
  }
  auto layout = StridedLayoutAttr::get(type.getContext(), 0, strides);
  return MemRefType::get(type.getShape(), type.getElementType(), layout);
}

/// Puts what nobody else reads on the task's stack.
void FusedRowTasks::takeScratch() {
  RowOp &lead = *ops.front();
  int64_t left = kStackBytes;
  for (Value scratch : fused.getScratch()) {
    std::optional<MemRefType> type = rowType(scratch);
    if (!type)
      continue;
    int64_t elements = 1;
    auto [strides, offset] = type->getStridesAndOffset();
    for (auto [size, stride] : llvm::zip_equal(type->getShape(), strides))
      elements *= stride ? size : 1;
    int64_t bytes =
        elements * llvm::divideCeil(type->getElementTypeBitWidth(), 8);
    if (bytes > left)
      continue;
    left -= bytes;
    Value row = memref::AllocaOp::create(
        lead.b, MemRefType::get({elements}, type->getElementType()),
        lead.b.getI64IntegerAttr(64));
    SmallVector<OpFoldResult> sizes =
        memref::getMixedSizes(lead.b, lead.b.getLoc(), scratch);
    Value view = memref::ReinterpretCastOp::create(
        lead.b, *type, row, lead.b.getIndexAttr(0), sizes,
        getAsIndexOpFoldResult(lead.b.getContext(), strides));
    scratch.replaceUsesWithIf(view, [&](OpOperand &use) {
      return fused.getBody().isAncestor(use.getOwner()->getParentRegion());
    });
  }
}

void FusedRowTasks::run() {
  RowOp &lead = *ops.front();
  auto counted = llvm::to_vector(llvm::seq(rowLoops));
  SmallVector<unsigned> inRow =
      llvm::to_vector(llvm::seq<unsigned>(rowLoops, lead.extents.size()));
  Value rows = lead.product(counted);
  Value chunk =
      lead.ceilDiv(lead.c(grain), lead.atLeastOne(lead.product(inRow)));
  auto tasks = scf::ParallelOp::create(lead.b, lead.c(0),
                                       lead.ceilDiv(rows, chunk), lead.c(1));
  lead.b.setInsertionPointToStart(tasks.getBody());
  // A task within another one is a loop, in which a stack would grow.
  if (!tasks->getParentOfType<scf::ParallelOp>())
    takeScratch();
  Value first = lead.mul(tasks.getInductionVars()[0], chunk);
  Value last = lead.min(lead.add(first, chunk), rows);
  auto loop = scf::ForOp::create(lead.b, first, last, lead.c(1));
  lead.b.setInsertionPointToStart(loop.getBody());
  lead.unflatten(loop.getInductionVar(), counted);
  for (auto &here : ops) {
    llvm::copy(ArrayRef(lead.indices).take_front(rowLoops),
               here->indices.begin());
    here->b.restoreInsertionPoint(lead.b.saveInsertionPoint());
    here->emitRow();
    lead.b.restoreInsertionPoint(here->b.saveInsertionPoint());
  }
  fused.erase();
}
