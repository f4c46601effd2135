//===- Movement.cpp - operators that move elements ------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

static LogicalResult lowerTranspose(Node &node) {
  Tensor &data = node.in(0);
  SmallVector<int64_t> permutation;
  if (auto perm = node.integers("perm"))
    permutation = *perm;
  else
    for (int64_t i = data.rank() - 1; i >= 0; --i)
      permutation.push_back(i);
  SmallVector<int64_t> sorted(permutation);
  llvm::sort(sorted);
  for (auto [i, axis] : llvm::enumerate(sorted))
    if (axis != static_cast<int64_t>(i))
      return node.error() << "perm is not a permutation";
  if (static_cast<int64_t>(permutation.size()) != data.rank())
    return node.error() << "expected perm of " << data.rank() << " axes";
  node.set(0, node.graph.transpose(node.loc(), data, permutation));
  return success();
}

static LogicalResult lowerConcat(Node &node) {
  SmallVector<Tensor *> parts;
  for (unsigned i = 0; i < node.numInputs(); ++i)
    parts.push_back(&node.in(i));
  auto axis = node.axis(node.integer("axis", 0), parts.front()->rank());
  if (!axis)
    return node.error() << "axis is out of range";
  if (parts.size() == 1)
    return node.set(0, *parts.front()), success();
  bool isKnown = parts.front()->rank() == 1;
  for (Tensor *part : parts)
    isKnown &= part->hasElements();
  if (isKnown) {
    SmallVector<IndexExpr> elements;
    for (Tensor *part : parts)
      llvm::append_range(elements, *part->elements);
    node.set(0, node.graph.ofElements(elements, {IndexExpr(elements.size())},
                                      parts.front()->elementType));
    return success();
  }
  for (Tensor *part : ArrayRef(parts).drop_front()) {
    if (part->rank() != parts.front()->rank())
      return node.error() << "expected operands of one rank";
    for (int64_t i = 0; i < part->rank(); ++i) {
      const IndexExpr &first = parts.front()->shape[i];
      if (i == *axis)
        continue;
      if (failed(node.requireEqual(
              first, part->shape[i],
              ("sizes of dim " + Twine(i) + " of operands").str())))
        return failure();
    }
  }
  node.set(0, node.graph.concat(node.loc(), parts, *axis));
  return success();
}

static LogicalResult lowerSplit(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  auto axis = node.axis(node.integer("axis", 0), data.rank());
  if (!axis)
    return node.error() << "axis is out of range";
  const IndexExpr total = data.shape[*axis];
  int64_t parts = node.numOutputs();
  SmallVector<IndexExpr> sizes;
  if (node.has(1)) {
    auto list = graph.elementsOf(node.loc(), node.in(1), parts);
    if (!list || static_cast<int64_t>(list->size()) != parts)
      return node.error() << "expected " << parts << " split sizes";
    sizes = *list;
  } else {
    IndexExpr each = graph.ix.floorDiv(node.loc(), total + IndexExpr(parts - 1),
                                       IndexExpr(parts));
    if (auto exact = graph.ix.exactQuotient(total, IndexExpr(parts)))
      each = *exact;
    sizes.assign(parts - 1, each);
    sizes.push_back(graph.ix.max(
        node.loc(), total - each * IndexExpr(parts - 1), IndexExpr(0)));
  }
  IndexExpr sum(0);
  for (const IndexExpr &size : sizes) {
    if (failed(node.requireSize(size)))
      return failure();
    sum = sum + size;
  }
  if (failed(node.requireEqual(sum, total, "the sum of sizes and the dim")))
    return failure();
  Shape offsets(data.rank(), IndexExpr(0)), strides(data.rank(), IndexExpr(1));
  for (int64_t i = 0; i < parts; ++i) {
    Shape shape(data.shape);
    shape[*axis] = sizes[i];
    if (data.elements && data.rank() == 1 && sizes[i].constant()) {
      int64_t from = *offsets[0].constant();
      node.set(i,
               graph.ofElements(
                   ArrayRef(*data.elements).slice(from, *sizes[i].constant()),
                   shape, data.elementType));
    } else {
      node.set(i, graph.slice(node.loc(), data, offsets, shape, strides));
    }
    offsets[*axis] = offsets[*axis] + sizes[i];
  }
  return success();
}

namespace {
/// One axis of a Slice: elements at offset + stride·i for i < size.
struct SliceAxis {
  IndexExpr offset, size, stride;
};
} // namespace

/// Exporters write "to the end" as the largest integer of some width.
static bool isEnd(const IndexExpr &expr) {
  auto constant = expr.constant();
  return constant && *constant >= std::numeric_limits<int32_t>::max();
}
static bool isBegin(const IndexExpr &expr) {
  auto constant = expr.constant();
  return constant && *constant <= std::numeric_limits<int32_t>::min() + 1;
}

/// `width` is the step without its sign.
static SliceAxis sliceSigned(Node &node, const IndexExpr &dim, IndexExpr start,
                             IndexExpr end, bool isForward,
                             const IndexExpr &width) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  // Counts from the end, then into [low, high].
  auto clamp = [&](const IndexExpr &at, const IndexExpr &low,
                   const IndexExpr &high) {
    if (isEnd(at))
      return high;
    if (isBegin(at))
      return low;
    IndexExpr shifted = at;
    if (auto negative = ix.decide(Compare::Lt, at, IndexExpr(0)); !negative)
      shifted = ix.select(loc, ix.compare(loc, Compare::Lt, at, IndexExpr(0)),
                          at + dim, at);
    else if (*negative)
      shifted = at + dim;
    return ix.min(loc, ix.max(loc, shifted, low), high);
  };
  IndexExpr zero(0), one(1), size;
  if (isForward) {
    start = clamp(start, zero, dim);
    end = clamp(end, zero, dim);
    size = end - start;
  } else {
    start = clamp(start, zero, dim - one);
    end = clamp(end, IndexExpr(-1), dim - one);
    size = start - end;
  }
  size = ix.max(loc, size, zero);
  if (!width.is(1))
    size = ix.floorDiv(loc, size + width - one, width);
  return {start, size, isForward ? width : zero - width};
}

/// Where the sign of the step is not known, of both signs the right one.
static SliceAxis sliceAxis(Node &node, const IndexExpr &dim,
                           const IndexExpr &start, const IndexExpr &end,
                           const IndexExpr &step) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  IndexExpr back = IndexExpr(0) - step;
  auto sign = ix.decide(Compare::Gt, step, IndexExpr(0));
  if (sign)
    return sliceSigned(node, dim, start, end, *sign, *sign ? step : back);
  IndexExpr width = ix.max(loc, step, back);
  SliceAxis up = sliceSigned(node, dim, start, end, true, width);
  SliceAxis down = sliceSigned(node, dim, start, end, false, width);
  IndexExpr isUp = ix.compare(loc, Compare::Gt, step, IndexExpr(0));
  return {ix.select(loc, isUp, up.offset, down.offset),
          ix.select(loc, isUp, up.size, down.size), step};
}

/// Slices with a step that may be negative: elements are fetched one by one.
static Tensor fetch(Node &node, Tensor &data, ArrayRef<IndexExpr> begins,
                    ArrayRef<IndexExpr> shape, ArrayRef<IndexExpr> steps) {
  Graph &graph = node.graph;
  Value value = graph.materialize(node.loc(), data);
  SmallVector<Value> offsets = graph.ix.values(node.loc(), begins),
                     strides = graph.ix.values(node.loc(), steps);
  return graph.parallel(
      node.loc(), {}, {}, shape, data.elementType,
      [&](OpBuilder &b, Location loc, ValueRange) -> Value {
        SmallVector<Value> at = loopIndices(b, loc, offsets.size());
        for (auto [index, offset, stride] :
             llvm::zip_equal(at, offsets, strides)) {
          index = arith::MulIOp::create(b, loc, index, stride);
          index = arith::AddIOp::create(b, loc, index, offset);
        }
        return tensor::ExtractOp::create(b, loc, value, at);
      });
}

/// A Slice of known contents along constant positions.
static std::optional<Tensor> sliceElements(Node &node, Tensor &data,
                                           ArrayRef<SliceAxis> axes,
                                           ArrayRef<IndexExpr> sizes) {
  auto steps = data.staticStrides();
  if (!steps)
    return std::nullopt;
  int64_t first = 0;
  for (auto [axis, step] : llvm::zip_equal(axes, *steps)) {
    auto offset = axis.offset.constant(), stride = axis.stride.constant();
    if (!offset || !stride)
      return std::nullopt;
    first += *offset * step;
    step *= *stride;
  }
  return node.graph.pick(data, sizes, first, *steps);
}

static LogicalResult lowerSlice(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  Location loc = node.loc();
  auto list = [&](unsigned i) { return graph.elementsOf(loc, node.in(i)); };
  auto starts = list(1), ends = list(2);
  std::optional<SmallVector<IndexExpr>> axes, steps;
  if (node.has(3))
    axes = list(3);
  if (node.has(4))
    steps = list(4);
  if (!starts || !ends || (node.has(3) && !axes) || (node.has(4) && !steps) ||
      ends->size() != starts->size() ||
      (axes && axes->size() != starts->size()) ||
      (steps && steps->size() != starts->size()) ||
      static_cast<int64_t>(starts->size()) > data.rank())
    return node.error()
           << "expected starts, ends, axes and steps of one static length";
  SmallVector<SliceAxis> slices;
  for (const IndexExpr &size : data.shape)
    slices.push_back({IndexExpr(0), size, IndexExpr(1)});
  IndexSpace &ix = graph.ix;
  for (size_t i = 0; i < starts->size(); ++i) {
    IndexExpr axis = axes ? (*axes)[i] : IndexExpr(i);
    IndexExpr step = steps ? (*steps)[i] : IndexExpr(1);
    if (step.is(0))
      return node.error() << "expected steps other than 0";
    auto flags = node.axisFlags(axis, data.rank());
    if (failed(flags))
      return failure();
    for (auto [flag, slice, dim] :
         llvm::zip_equal(*flags, slices, data.shape)) {
      if (flag.is(0))
        continue;
      SliceAxis cut = sliceAxis(node, dim, (*starts)[i], (*ends)[i], step);
      slice = {ix.select(loc, flag, cut.offset, slice.offset),
               ix.select(loc, flag, cut.size, slice.size),
               ix.select(loc, flag, cut.stride, slice.stride)};
    }
  }
  bool isForward = true;
  for (const SliceAxis &slice : slices)
    isForward &= slice.stride.constant().value_or(-1) > 0;
  Shape offsets, sizes, strides;
  for (const SliceAxis &slice : slices) {
    offsets.push_back(slice.offset);
    sizes.push_back(slice.size);
    strides.push_back(slice.stride);
  }
  if (auto known = sliceElements(node, data, slices, sizes)) {
    node.set(0, *known);
    return success();
  }
  node.set(0, isForward ? graph.slice(loc, data, offsets, sizes, strides)
                        : fetch(node, data, offsets, sizes, strides));
  return success();
}

/// [N, b * b * C, H, W] to [N, C, b * H, b * W], or the way back.
template <bool isBack> static LogicalResult lowerDepthSpace(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  int64_t block = node.integer("blocksize", 0);
  StringRef mode = node.string("mode", "DCR");
  bool isColumnsFirst = mode == "CRD";
  if (mode != "DCR" && !isColumnsFirst)
    return node.error() << "expected mode to be DCR or CRD, but got '" << mode
                        << "'";
  if (data.rank() != 4 || block < 1 || block > 4096)
    return node.error() << "expected data of rank 4 and a blocksize from 1 to "
                           "4096";
  IndexExpr b(block), square(block * block);
  IndexExpr n = data.shape[0], c = data.shape[1], h = data.shape[2],
            w = data.shape[3];
  auto divide = [&](IndexExpr &size, const IndexExpr &by) {
    IndexExpr part = graph.ix.floorDiv(loc, size, by);
    LogicalResult isWhole =
        node.requireEqual(part * by, size, "a size and its blocks");
    size = part;
    return isWhole;
  };
  if (isBack ? failed(divide(h, b)) || failed(divide(w, b))
             : failed(divide(c, square)))
    return failure();
  if (isBack) {
    Tensor split = graph.reshape(loc, data, {n, c, h, b, w, b});
    Tensor moved = isColumnsFirst
                       ? graph.transpose(loc, split, {0, 1, 3, 5, 2, 4})
                       : graph.transpose(loc, split, {0, 3, 5, 1, 2, 4});
    node.set(0, graph.reshape(loc, moved, {n, square * c, h, w}));
    return success();
  }
  Tensor split = isColumnsFirst ? graph.reshape(loc, data, {n, c, b, b, h, w})
                                : graph.reshape(loc, data, {n, b, b, c, h, w});
  Tensor moved = isColumnsFirst
                     ? graph.transpose(loc, split, {0, 1, 4, 2, 5, 3})
                     : graph.transpose(loc, split, {0, 3, 4, 1, 5, 2});
  node.set(0, graph.reshape(loc, moved, {n, c, b * h, b * w}));
  return success();
}

static LogicalResult lowerTrilu(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  if (data.rank() < 2)
    return node.error() << "expected at least 2 dims";
  IndexExpr diagonal(0);
  if (node.has(1)) {
    auto k = node.scalar(1, "k");
    if (failed(k))
      return failure();
    diagonal = *k;
  }
  bool upper = node.integer("upper", 1) != 0;
  Value k = graph.ix.value(node.loc(), diagonal);
  int64_t rank = data.rank();
  Type type = data.elementType;
  Shape shape = data.shape;
  node.set(
      0,
      graph.map(node.loc(), {&data}, shape, type,
                [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                  Value row = linalg::IndexOp::create(b, loc, rank - 2);
                  Value column = linalg::IndexOp::create(b, loc, rank - 1);
                  Value edge = arith::AddIOp::create(b, loc, row, k);
                  Value keeps =
                      arith::CmpIOp::create(b, loc,
                                            upper ? arith::CmpIPredicate::sge
                                                  : arith::CmpIPredicate::sle,
                                            column, edge);
                  Value zero = constantOf(b, loc, b.getZeroAttr(type));
                  return arith::SelectOp::create(b, loc, keeps, args[0], zero);
                }));
  return success();
}

void mlir::megactx::registerMovement(Registry &registry) {
  registry["Transpose"] = lowerTranspose;
  registry["Concat"] = lowerConcat;
  registry["Split"] = lowerSplit;
  registry["Slice"] = lowerSlice;
  registry["DepthToSpace"] = lowerDepthSpace<false>;
  registry["SpaceToDepth"] = lowerDepthSpace<true>;
  registry["Trilu"] = lowerTrilu;
}
