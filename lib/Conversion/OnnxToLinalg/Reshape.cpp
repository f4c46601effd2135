//===- Reshape.cpp - the same elements in another shape -------------------===//
//
// Finds groups of source and result dimensions with provably equal products;
// each group is collapsed to one dimension and expanded again. Where no such
// groups are found the whole tensor is one group, and where the counts are not
// provably equal a check runs first.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// Source dims [s0, s1) hold the same elements as result dims [r0, r1).
struct Group {
  int64_t s0, s1, r0, r1;
};
} // namespace

/// The finest groups; empty where the last ones do not match.
static SmallVector<Group> findGroups(ArrayRef<IndexExpr> from,
                                     ArrayRef<IndexExpr> to) {
  SmallVector<Group> groups;
  int64_t s = 0, r = 0, ns = from.size(), nr = to.size();
  while (s < ns && r < nr) {
    Group group{s, s + 1, r, r + 1};
    auto equal = [&] {
      return product(from.slice(group.s0, group.s1 - group.s0)) ==
             product(to.slice(group.r0, group.r1 - group.r0));
    };
    // The shortest pair of prefixes with equal products.
    bool found = false;
    for (int64_t total = 2; !found && total <= (ns - s) + (nr - r); ++total)
      for (int64_t left = 1; !found && left < total; ++left) {
        group.s1 = s + left, group.r1 = r + total - left;
        if (group.s1 <= ns && group.r1 <= nr)
          found = equal();
      }
    if (!found)
      return {};
    s = group.s1, r = group.r1;
    groups.push_back(group);
  }
  // What is left over on one side must be ones; they join the last group.
  if (groups.empty() || !product(from.drop_front(s)).is(1) ||
      !product(to.drop_front(r)).is(1))
    return {};
  groups.back().s1 = ns, groups.back().r1 = nr;
  return groups;
}

/// A dimension that stands for several in a collapsed type: dynamic if one is.
static int64_t collapsedSize(ArrayRef<IndexExpr> sizes) {
  int64_t size = 1;
  for (const IndexExpr &expr : sizes) {
    if (!expr.constant())
      return ShapedType::kDynamic;
    size *= *expr.constant();
  }
  return size;
}

static SmallVector<ReassociationIndices> reassociation(ArrayRef<Group> groups,
                                                       bool ofResult) {
  SmallVector<ReassociationIndices> lists;
  for (const Group &group : groups)
    lists.push_back(llvm::to_vector<2>(ofResult
                                           ? llvm::seq(group.r0, group.r1)
                                           : llvm::seq(group.s0, group.s1)));
  return lists;
}

static Value castTo(OpBuilder &b, Location loc, Value value,
                    RankedTensorType type) {
  return value.getType() == type
             ? value
             : tensor::CastOp::create(b, loc, type, value).getResult();
}

/// One group on each side, through a 1-d tensor; either rank may be 0.
static SmallVector<Group> wholeGroup(int64_t from, int64_t to) {
  return {Group{0, from, 0, to}};
}

static Value regroup(Graph &graph, Location loc, Value value, Tensor &tensor,
                     ArrayRef<IndexExpr> shape, ArrayRef<Group> groups) {
  OpBuilder &b = graph.b;
  SmallVector<int64_t> sourceSizes, resultSizes;
  for (const Group &group : groups) {
    sourceSizes.push_back(collapsedSize(
        ArrayRef(tensor.shape).slice(group.s0, group.s1 - group.s0)));
    resultSizes.push_back(
        collapsedSize(shape.slice(group.r0, group.r1 - group.r0)));
  }
  Type element = tensor.elementType;
  auto collapsed = RankedTensorType::get(sourceSizes, element);
  auto expanded = RankedTensorType::get(resultSizes, element);
  int64_t middle = groups.size();
  if (tensor.rank() == 0)
    value = tensor::ExpandShapeOp::create(b, loc, collapsed, value,
                                          ArrayRef<ReassociationIndices>{});
  else if (tensor.rank() != middle)
    value = tensor::CollapseShapeOp::create(b, loc, collapsed, value,
                                            reassociation(groups, false));
  value = castTo(b, loc, value, expanded);
  if (shape.empty())
    return tensor::CollapseShapeOp::create(b, loc, graph.typeOf(shape, element),
                                           value,
                                           ArrayRef<ReassociationIndices>{});
  if (static_cast<int64_t>(shape.size()) != middle)
    value = tensor::ExpandShapeOp::create(b, loc, graph.typeOf(shape, element),
                                          value, reassociation(groups, true),
                                          graph.ix.fold(loc, shape));
  return castTo(b, loc, value, graph.typeOf(shape, element));
}

Tensor Graph::reshape(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape) {
  if (ArrayRef<IndexExpr>(tensor.shape) == shape)
    return tensor;
  if (tensor.elements)
    return ofElements(*tensor.elements, shape, tensor.elementType);
  if (tensor.splat)
    return splat(tensor.splat, shape);
  // Where other axes alone become others, channels stay last.
  bool keepsChannels = tensor.rank() >= 3 && shape.size() >= 3 &&
                       tensor.shape[0] == shape[0] &&
                       tensor.shape[1] == shape[1];
  Value last = tensor.channelsLast;
  if (!last && tensor.rank() == 3 && options.channelsLast)
    last = tensor.transposed;
  if (last && keepsChannels) {
    Tensor moved = wrap(last, inLastOrder<IndexExpr>(tensor.shape));
    moved = reshape(loc, moved, inLastOrder(shape));
    return wrapChannelsLast(materialize(loc, moved), shape);
  }
  Value value = materialize(loc, tensor);
  SmallVector<Group> groups = findGroups(tensor.shape, shape);
  if (groups.empty()) {
    IndexExpr from = product(tensor.shape), to = product(shape);
    if (from != to)
      check(loc, ix.compare(loc, Compare::Eq, from, to),
            "a reshape changes the number of elements");
    groups = wholeGroup(tensor.rank(), shape.size());
  }
  // Groups that sizes of the result show to be empty need not be so in the type
  // of the source, which memrefs insist on.
  if (llvm::any_of(shape, [](const IndexExpr &size) { return size.is(0); }))
    return wrap(empty(loc, shape, tensor.elementType), shape);
  return wrap(regroup(*this, loc, value, tensor, shape, groups), shape);
}
