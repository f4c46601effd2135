//===- AttentionLayout.cpp - rows of attention where they are -------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
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

/// Rows, along the last dim, start at multiples of so many elements in memory,
/// whose elements are neighbours; 0: it is not known that they are.
using Multiple = int64_t;

Multiple common(Multiple x, Multiple y) {
  return x && y ? std::gcd(x, y) : Multiple(0);
}

/// Of the part of rows from a column on.
Multiple from(Multiple rows, OpFoldResult column) {
  std::optional<int64_t> begin = getConstantIntValue(column);
  return begin ? std::gcd(rows, rows ? *begin : 0)
               : std::min<Multiple>(rows, 1);
}

int64_t lastDim(ShapedType type) {
  return type.isDynamicDim(type.getRank() - 1) ? 1 : type.getShape().back();
}

/// What becomes of rows that are written into larger ones: bufferization may
/// compute them there.
Multiple multipleOfUses(Value rows, Multiple width) {
  Multiple multiple = width;
  for (OpOperand &use : rows.getUses()) {
    Operation *user = use.getOwner();
    if (isa<tensor::ParallelInsertSliceOp>(user))
      return 0;
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(user)) {
      RankedTensorType whole = insert.getDestType();
      Multiple there = multipleOfUses(insert.getResult(), lastDim(whole));
      bool isRow = !insert.getDroppedDims().test(whole.getRank() - 1) &&
                   isConstantIntValue(insert.getMixedStrides().back(), 1);
      if (use.get() == insert.getSource())
        there = isRow ? from(there, insert.getMixedOffsets().back()) : 0;
      multiple = common(multiple, there);
    } else if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                   tensor::CastOp, TransposeViewOp>(user)) {
      multiple = common(multiple, multipleOfUses(user->getResult(0), width));
    } else if (auto writer = dyn_cast<DestinationStyleOpInterface>(user);
               writer && writer.isDpsInit(&use)) {
      multiple =
          common(multiple, multipleOfUses(writer.getTiedOpResult(&use), width));
    }
  }
  return multiple;
}

/// What a loop begins with, where it does nothing but write into that.
Value writtenInto(scf::ForOp loop, unsigned number) {
  Value next = loop.getYieldedValues()[number];
  while (auto insert = next.getDefiningOp<tensor::InsertSliceOp>())
    next = insert.getDest();
  return next == loop.getRegionIterArg(number) ? loop.getInits()[number]
                                               : Value();
}

Multiple multipleOf(Value rows) {
  auto type = cast<RankedTensorType>(rows.getType());
  if (type.getRank() == 0)
    return 0;
  Operation *op = rows.getDefiningOp();
  if (auto loop = dyn_cast_or_null<scf::ForOp>(op))
    if (Value into = writtenInto(loop, cast<OpResult>(rows).getResultNumber()))
      return common(multipleOf(into), lastDim(type));
  // What other loops and branches give may be different memory each time.
  if (op ? op->getNumRegions() && !isa<linalg::LinalgOp>(op)
         : !isa<FunctionOpInterface>(rows.getParentBlock()->getParentOp()))
    return 0;
  // What nobody writes in place of something larger.
  if (isa_and_nonnull<bufferization::AllocTensorOp>(op))
    return lastDim(type);
  if (auto cast = dyn_cast_or_null<tensor::CastOp>(op))
    return multipleOf(cast.getSource());
  if (auto view = dyn_cast_or_null<TransposeViewOp>(op))
    return view.getPermutation().back() == type.getRank() - 1
               ? multipleOf(view.getInput())
               : 0;
  if (auto expand = dyn_cast_or_null<tensor::ExpandShapeOp>(op))
    return common(multipleOf(expand.getSrc()), lastDim(type));
  if (auto collapse = dyn_cast_or_null<tensor::CollapseShapeOp>(op))
    // Of rows of one element it says nothing how far apart they are.
    return collapse.getReassociationIndices().empty() ||
                   (collapse.getReassociationIndices().back().size() > 1 &&
                    lastDim(collapse.getSrcType()) == 1)
               ? 0
               : common(multipleOf(collapse.getSrc()), lastDim(type));
  auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(op);
  if (!slice)
    return multipleOfUses(rows, lastDim(type));
  if (!isConstantIntValue(slice.getMixedStrides().back(), 1) ||
      slice.getDroppedDims().test(slice.getSourceType().getRank() - 1))
    return 0;
  return from(multipleOf(slice.getSource()), slice.getMixedOffsets().back());
}

struct AttentionLayout : impl::AttentionLayoutPassBase<AttentionLayout> {
  using AttentionLayoutPassBase::AttentionLayoutPassBase;

  void runOnOperation() override {
    SmallVector<AttentionLinkInterface> kernels;
    SmallVector<FusedAttentionOp> ops;
    getOperation()->walk([&](AttentionLinkInterface op) {
      if (!isKernel(op))
        return;
      kernels.push_back(op);
      if (auto attention = dyn_cast<FusedAttentionOp>(*op))
        ops.push_back(attention);
    });
    for (AttentionLinkInterface op : kernels)
      readInPlace(op);
    for (FusedAttentionOp op : ops)
      writeInPlace(op);
    // In order: a result that is copied is aligned for who reads it next.
    for (AttentionLinkInterface op : kernels) {
      copyUnalignedRows(op);
      for (Value rows : rowsWritten(op))
        copyUnalignedResult(rows);
    }
  }

  static bool isKernel(Operation *op) {
    return isFused(op) &&
           cast<DestinationStyleOpInterface>(op).hasPureTensorSemantics();
  }

  /// Queries, keys and values come first; of gradients, those of the result
  /// come after the log-sum-exp and what is computed from it.
  static SmallVector<OpOperand *> rowsRead(AttentionLinkInterface op) {
    SmallVector<OpOperand *> rows;
    for (OpOperand &operand : op->getOpOperands().take_front(3))
      rows.push_back(&operand);
    if (!isa<FusedAttentionOp>(*op))
      rows.push_back(&op->getOpOperand(op.getLinkOperands().size() + 2));
    return rows;
  }

  /// Of attention, not the log-sum-exp.
  static ResultRange rowsWritten(AttentionLinkInterface op) {
    ResultRange results = op->getResults();
    return isa<FusedAttentionOp>(*op) ? results.take_front() : results;
  }

  bool isAligned(Value rows, Multiple multiple) {
    int64_t bytes =
        cast<ShapedType>(rows.getType()).getElementTypeBitWidth() / 8;
    return multiple && multiple * bytes % rowBytes == 0;
  }
  bool isAligned(Value rows) { return isAligned(rows, multipleOf(rows)); }

  /// Whether nobody needs a copy of the rows: attention reads them, or what
  /// goes over them once.
  static bool areReadAlone(Value rows) {
    return llvm::all_of(rows.getUses(), [](OpOperand &use) {
      Operation *user = use.getOwner();
      if (isKernel(user))
        return llvm::is_contained(rowsRead(cast<AttentionLinkInterface>(user)),
                                  &use);
      auto generic = dyn_cast<linalg::LinalgOp>(user);
      return generic && generic.isDpsInput(&use) &&
             generic.getNumReductionLoops() <= 1 &&
             !linalg::isaContractionOpInterface(generic);
    });
  }

  void readInPlace(AttentionLinkInterface op) {
    for (OpOperand *operand : rowsRead(op)) {
      Operation *copy = operand->get().getDefiningOp();
      std::optional<Transpose> transpose = transposeOfRows(copy);
      if (!transpose || !areReadAlone(operand->get()) ||
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
    if (!empty || !isAligned(empty, lastDim(empty.getType())))
      return;
    OpBuilder b(first);
    SmallVector<OpFoldResult> sizes = empty.getMixedSizes();
    applyPermutationToVector(sizes, transpose->permutation);
    Value rows = tensor::EmptyOp::create(b, empty.getLoc(), sizes,
                                         empty.getType().getElementType());
    first.getOutMutable().assign(TransposeViewOp::create(
        b, copy->getLoc(), rows,
        invertPermutationVector(transpose->permutation)));
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

  Value copied(OpBuilder &b, Location loc, Value rows) {
    ++numCopied;
    return bufferization::AllocTensorOp::create(
        b, loc, cast<RankedTensorType>(rows.getType()), ValueRange(), rows);
  }

  void copyUnalignedRows(AttentionLinkInterface op) {
    OpBuilder b(op);
    for (OpOperand *operand : rowsRead(op))
      if (!isAligned(operand->get()))
        operand->set(copied(b, op.getLoc(), operand->get()));
  }

  void copyUnalignedResult(Value out) {
    // Another source adds to the same rows, and copies what is left.
    bool goesOn = llvm::any_of(out.getUses(), [](OpOperand &use) {
      Operation *next = use.getOwner();
      return isKernel(next) &&
             cast<DestinationStyleOpInterface>(next).isDpsInit(&use);
    });
    if (goesOn ||
        isAligned(
            out, multipleOfUses(out, lastDim(cast<ShapedType>(out.getType())))))
      return;
    OpBuilder b(out.getContext());
    b.setInsertionPointAfterValue(out);
    Value copy = copied(b, out.getLoc(), out);
    out.replaceAllUsesExcept(copy, copy.getDefiningOp());
  }
};
} // namespace
} // namespace mlir::megactx
