//===- Heads.cpp - heads folded into the last dim -------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;
using namespace mlir::megactx;

Value raise::integerList(ImplicitLocOpBuilder &b, ArrayRef<int64_t> list) {
  auto type = RankedTensorType::get({int64_t(list.size())}, b.getI64Type());
  return onnx::InitializerOp::create(b, type,
                                     DenseElementsAttr::get(type, list));
}

Value raise::sizesOf(ImplicitLocOpBuilder &b, Value value, int64_t first,
                     int64_t last) {
  return createNode(b, "Shape", value,
                    RankedTensorType::get(last - first, b.getI64Type()),
                    {b.getNamedAttr("start", b.getI64IntegerAttr(first)),
                     b.getNamedAttr("end", b.getI64IntegerAttr(last))});
}

Value raise::joinedLists(ImplicitLocOpBuilder &b, ArrayRef<Value> lists) {
  int64_t size = 0;
  for (Value list : lists)
    size += cast<RankedTensorType>(list.getType()).getDimSize(0);
  return createNode(b, "Concat", lists,
                    RankedTensorType::get(size, b.getI64Type()),
                    {b.getNamedAttr("axis", b.getI64IntegerAttr(0))});
}

Value raise::transposed(ImplicitLocOpBuilder &b, Value value,
                        ArrayRef<int64_t> perm) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() != int64_t(perm.size()) || llvm::is_sorted(perm))
    return value;
  if (typeOf(value) == "Transpose") {
    Operation *first = value.getDefiningOp();
    auto before = first->getAttrOfType<DenseI64ArrayAttr>("perm");
    if (before && before.size() == type.getRank() &&
        isPermutationVector(before.asArrayRef()) &&
        rankOf(first->getOperand(0)) == type.getRank())
      return transposed(b, first->getOperand(0),
                        applyPermutation(before.asArrayRef(), perm));
  }
  return createNode(b, "Transpose", value,
                    type.clone(applyPermutation(type.getShape(), perm)),
                    {b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm))});
}

Value raise::unsqueezed(ImplicitLocOpBuilder &b, Value value,
                        ArrayRef<int64_t> axes) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (int64_t axis : axes)
    shape.insert(shape.begin() + axis, 1);
  return createNode(b, "Unsqueeze", {value, integerList(b, axes)},
                    type.clone(shape));
}

Value raise::repeated(ImplicitLocOpBuilder &b, Value value, Value batchLike,
                      Value headsLike) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<Value> sizes;
  Value likes[] = {batchLike, headsLike};
  for (auto [dim, like] : llvm::enumerate(likes)) {
    if (!like) {
      sizes.push_back(integerList(b, 1));
      continue;
    }
    shape[dim] = cast<RankedTensorType>(like.getType()).getDimSize(dim);
    sizes.push_back(sizesOf(b, like, dim, dim + 1));
  }
  sizes.push_back(integerList(b, {1, 1}));
  return createNode(b, "Expand", {value, joinedLists(b, sizes)},
                    type.clone(shape));
}

/// The dims that those of [B, H, N, D] are made of.
static SmallVector<ReassociationIndices> outerDims(int64_t rank,
                                                   int64_t heads) {
  SmallVector<ReassociationIndices> groups(4);
  for (int64_t dim = 0; dim < rank; ++dim)
    groups[dim < heads ? 0 : std::max<int64_t>(1, dim - (rank - 4))].push_back(
        dim);
  return groups;
}

Value raise::foldedOuterDims(ImplicitLocOpBuilder &b, Value value,
                             int64_t heads) {
  return tensor::CollapseShapeOp::create(b, value,
                                         outerDims(rankOf(value), heads));
}

Value raise::withOuterDims(ImplicitLocOpBuilder &b, Value rows, Value like,
                           int64_t heads) {
  auto type = cast<RankedTensorType>(rows.getType());
  auto wanted = cast<RankedTensorType>(like.getType());
  int64_t rank = wanted.getRank();
  SmallVector<int64_t> shape(wanted.getShape());
  shape.back() = type.getDimSize(3);
  SmallVector<OpFoldResult> sizes;
  for (int64_t dim = 0; dim < rank; ++dim)
    sizes.push_back(dim + 1 < rank
                        ? tensor::getMixedSize(b, b.getLoc(), like, dim)
                        : tensor::getMixedSize(b, b.getLoc(), rows, 3));
  return tensor::ExpandShapeOp::create(b, type.clone(shape), rows,
                                       outerDims(rank, heads), sizes);
}

Value raise::withRank4(ImplicitLocOpBuilder &b, Value value) {
  int64_t rank = rankOf(value), missing = 4 - rank;
  if (rank < 0 || missing <= 0)
    return value;
  return unsqueezed(b, value, llvm::to_vector(llvm::seq<int64_t>(missing)));
}

Value raise::splitHeads(ImplicitLocOpBuilder &b, Value rows, int64_t heads) {
  auto type = cast<RankedTensorType>(rows.getType());
  int64_t width = type.getDimSize(2);
  int64_t depth = ShapedType::isDynamic(width) ? width : width / heads;
  rows = createNode(
      b, "Reshape", {rows, integerList(b, {0, 0, heads, -1})},
      type.clone({type.getDimSize(0), type.getDimSize(1), heads, depth}));
  return transposed(b, rows, {0, 2, 1, 3});
}

Value raise::joinHeads(ImplicitLocOpBuilder &b, Value rows) {
  rows = transposed(b, rows, {0, 2, 1, 3});
  auto type = cast<RankedTensorType>(rows.getType());
  ArrayRef<int64_t> s = type.getShape();
  int64_t width = ShapedType::isDynamic(s[3]) ? s[3] : s[2] * s[3];
  return createNode(b, "Reshape", {rows, integerList(b, {0, 0, -1})},
                    type.clone({s[0], s[1], width}));
}

Value raise::withElementType(ImplicitLocOpBuilder &b, Value value,
                             Type element) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from.getElementType() == element)
    return value;
  return createNode(b, "Cast", value,
                    RankedTensorType::get(from.getShape(), element));
}

Value raise::withKnownType(ImplicitLocOpBuilder &b, Value value, Type known) {
  if (value.getType() == known ||
      !tensor::CastOp::areCastCompatible(value.getType(), known))
    return value;
  return tensor::CastOp::create(b, known, value);
}
