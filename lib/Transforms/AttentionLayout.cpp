//===- AttentionLayout.cpp - rows of attention where they are -------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include <numeric>

namespace mlir::megactx {
#define GEN_PASS_DEF_ATTENTIONLAYOUTPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// A transpose: dim i of the result is dim permutation[i] of the input.
struct Transpose {
  Value input;
  SmallVector<int64_t> permutation;
};

/// What the op is if it is a transpose that leaves rows whole.
std::optional<Transpose> transposeOfRows(Operation *op) {
  auto generic = dyn_cast_or_null<linalg::LinalgOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 ||
      generic.getNumDpsInits() != 1 ||
      generic.getNumParallelLoops() != generic.getNumLoops() ||
      !generic.hasPureTensorSemantics())
    return std::nullopt;
  Block &body = *generic.getBlock();
  if (!llvm::hasSingleElement(body) ||
      body.getTerminator()->getOperand(0) != body.getArgument(0))
    return std::nullopt;
  auto [from, to] = std::pair(generic.getIndexingMapsArray().front(),
                              generic.getIndexingMapsArray().back());
  if (!from.isPermutation() || !to.isPermutation() || from.getNumDims() < 2)
    return std::nullopt;
  Transpose transpose{generic.getDpsInputOperand(0)->get(), {}};
  for (AffineExpr dim : to.getResults())
    transpose.permutation.push_back(*from.getResultPosition(dim));
  if (transpose.permutation.back() != int64_t(to.getNumDims()) - 1)
    return std::nullopt;
  return transpose;
}

/// Rows, along the last dim, start at multiples of this many elements in
/// memory; 0 where a row's elements may not be neighbours.
int64_t rowMultiple(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t width =
      type.isDynamicDim(type.getRank() - 1) ? 1 : type.getShape().back();
  Operation *op = tensor.getDefiningOp();
  if (auto cast = dyn_cast_or_null<tensor::CastOp>(op))
    return rowMultiple(cast.getSource());
  if (auto view = dyn_cast_or_null<TransposeViewOp>(op))
    return view.getPermutation().back() == type.getRank() - 1
               ? rowMultiple(view.getInput())
               : 0;
  if (isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
    return std::gcd(rowMultiple(op->getOperand(0)), width);
  auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(op);
  if (!slice)
    return width;
  std::optional<int64_t> begin =
      getConstantIntValue(slice.getMixedOffsets().back());
  if (getConstantIntValue(slice.getMixedStrides().back()) != 1 ||
      slice.getDroppedDims().test(slice.getSourceType().getRank() - 1))
    return 0;
  int64_t multiple = rowMultiple(slice.getSource());
  return begin ? std::gcd(multiple, *begin) : std::min<int64_t>(multiple, 1);
}

struct AttentionLayout : impl::AttentionLayoutPassBase<AttentionLayout> {
  using AttentionLayoutPassBase::AttentionLayoutPassBase;

  void runOnOperation() override {
    SmallVector<FusedAttentionOp> ops;
    getOperation()->walk([&](FusedAttentionOp op) {
      if (op.hasPureTensorSemantics())
        ops.push_back(op);
    });
    for (FusedAttentionOp op : ops)
      readInPlace(op);
    for (FusedAttentionOp op : ops)
      writeInPlace(op);
    for (FusedAttentionOp op : ops)
      copyUnaligned(op);
  }

  /// Queries, keys and values come first.
  static constexpr unsigned kRowsRead = 3;
  static MutableArrayRef<OpOperand> rowsRead(FusedAttentionOp op) {
    return op->getOpOperands().take_front(kRowsRead);
  }

  bool isAligned(Value rows) {
    int64_t bytes =
        cast<ShapedType>(rows.getType()).getElementTypeBitWidth() / 8;
    int64_t multiple = rowMultiple(rows);
    return multiple && multiple * bytes % rowBytes == 0;
  }

  /// Whether nobody but attention reads the rows, so that no copy of them is
  /// needed.
  static bool isForAttention(Value rows) {
    return llvm::all_of(rows.getUses(), [](OpOperand &use) {
      return isa<FusedAttentionOp>(use.getOwner()) &&
             use.getOperandNumber() < kRowsRead;
    });
  }

  void readInPlace(FusedAttentionOp op) {
    for (OpOperand &operand : rowsRead(op)) {
      Operation *copy = operand.get().getDefiningOp();
      std::optional<Transpose> transpose = transposeOfRows(copy);
      if (!transpose || !isForAttention(operand.get()) ||
          !isAligned(transpose->input))
        continue;
      replace(copy, *transpose);
      ++numRead;
    }
  }

  /// A chain that starts from an empty tensor and ends in a transpose writes
  /// where the transpose would.
  void writeInPlace(FusedAttentionOp last) {
    Value out = last.getResult(0);
    if (!out.hasOneUse())
      return;
    Operation *copy = *out.user_begin();
    std::optional<Transpose> transpose = transposeOfRows(copy);
    if (!transpose || transpose->input != out)
      return;
    FusedAttentionOp first = last;
    while (auto before = first.getOut().getDefiningOp<FusedAttentionOp>()) {
      if (!first.getOut().hasOneUse() || first.getOut() != before.getResult(0))
        return;
      first = before;
    }
    auto empty = first.getOut().getDefiningOp<tensor::EmptyOp>();
    if (!empty)
      return;
    OpBuilder b(first);
    SmallVector<OpFoldResult> sizes = empty.getMixedSizes();
    applyPermutationToVector(sizes, transpose->permutation);
    Value rows = tensor::EmptyOp::create(b, empty.getLoc(), sizes,
                                         empty.getType().getElementType());
    auto view = TransposeViewOp::create(
        b, copy->getLoc(), rows,
        invertPermutationVector(transpose->permutation));
    if (view.getType() != empty.getType() || !isAligned(rows)) {
      view.erase();
      rows.getDefiningOp()->erase();
      return;
    }
    first.getOutMutable().assign(view);
    replace(copy, *transpose);
    ++numWritten;
  }

  static void replace(Operation *copy, const Transpose &transpose) {
    OpBuilder b(copy);
    auto view = TransposeViewOp::create(b, copy->getLoc(), transpose.input,
                                        transpose.permutation);
    copy->getResult(0).replaceAllUsesWith(view.getResult());
    copy->erase();
  }

  void copyUnaligned(FusedAttentionOp op) {
    for (OpOperand &operand : rowsRead(op)) {
      if (isAligned(operand.get()))
        continue;
      OpBuilder b(op);
      operand.set(bufferization::AllocTensorOp::create(
          b, op.getLoc(), cast<RankedTensorType>(operand.get().getType()),
          ValueRange(), operand.get()));
      ++numCopied;
    }
  }
};
} // namespace
} // namespace mlir::megactx
