//===- Gather.cpp - operators that read at computed indices ---------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

Value mlir::megactx::fromFirst(OpBuilder &b, Location loc, Value index,
                               Value size) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value isNegative =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, index, zero);
  Value wrapped = arith::AddIOp::create(b, loc, index, size);
  return arith::SelectOp::create(b, loc, isNegative, wrapped, index);
}

Value mlir::megactx::insideOf(OpBuilder &b, Location loc, Value integer,
                              Value size) {
  Value at = fromFirst(b, loc, indexOf(b, loc, integer), size);
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value last = arith::SubIOp::create(b, loc, size, one);
  at = arith::MinSIOp::create(b, loc, at, last);
  return arith::MaxSIOp::create(b, loc, at, zero);
}

SmallVector<Value> mlir::megactx::placeInside(OpBuilder &b, Location loc,
                                              Value indices, ValueRange row,
                                              ValueRange sizes) {
  SmallVector<Value> place;
  for (auto [i, size] : llvm::enumerate(sizes)) {
    SmallVector<Value> entry(row);
    entry.push_back(arith::ConstantIndexOp::create(b, loc, i));
    Value index = tensor::ExtractOp::create(b, loc, indices, entry);
    place.push_back(insideOf(b, loc, index, size));
  }
  return place;
}

void mlir::megactx::checkIndices(Node &node, Tensor &indices,
                                 ArrayRef<IndexExpr> sizes) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  auto size = sizes.front().constant();
  if (indices.elements && size && sizes.size() == 1 &&
      llvm::all_of(*indices.elements, [&](const IndexExpr &e) {
        auto at = e.constant();
        return at && *at >= -*size && *at < *size;
      }))
    return;
  SmallVector<Value> limits = graph.ix.values(loc, sizes);
  Value init = graph.filled(loc, {}, cast<TypedAttr>(b.getBoolAttr(true)));
  SmallVector<utils::IteratorType> loops(indices.rank(),
                                         utils::IteratorType::reduction);
  auto all = linalg::GenericOp::create(
      b, loc, TypeRange{init.getType()},
      ValueRange{graph.materialize(loc, indices)}, ValueRange{init},
      {b.getMultiDimIdentityMap(indices.rank()),
       AffineMap::get(indices.rank(), 0, b.getContext())},
      loops, [&](OpBuilder &nested, Location l, ValueRange args) {
        Value at = indexOf(nested, l, args[0]);
        Value limit = limits.front();
        for (size_t i = 1; i < limits.size(); ++i) {
          Value entry = linalg::IndexOp::create(nested, l, indices.rank() - 1);
          Value place = arith::ConstantIndexOp::create(nested, l, i);
          Value isHere = arith::CmpIOp::create(
              nested, l, arith::CmpIPredicate::eq, entry, place);
          limit = arith::SelectOp::create(nested, l, isHere, limits[i], limit);
        }
        Value zero = arith::ConstantIndexOp::create(nested, l, 0);
        Value least = arith::SubIOp::create(nested, l, zero, limit);
        Value low = arith::CmpIOp::create(nested, l, arith::CmpIPredicate::sge,
                                          at, least);
        Value high = arith::CmpIOp::create(nested, l, arith::CmpIPredicate::slt,
                                           at, limit);
        Value both = arith::AndIOp::create(nested, l, low, high);
        Value so = arith::AndIOp::create(nested, l, args[1], both);
        linalg::YieldOp::create(nested, l, so);
      });
  Value ok = tensor::ExtractOp::create(b, loc, all.getResult(0), ValueRange());
  graph.check(loc, ok, "an index of " + node.type() + " is out of range");
}

/// Where the one index of a Gather begins, checked; none for a known one that
/// is out of range.
static std::optional<OpFoldResult> offsetOf(Node &node, const IndexExpr &size) {
  Graph &graph = node.graph;
  IndexSpace &ix = graph.ix;
  Location loc = node.loc();
  Tensor &indices = node.in(1);
  std::optional<int64_t> index;
  if (indices.elements)
    index = indices.elements->front().constant();
  if (!index) {
    checkIndices(node, indices, size);
    Tensor one = graph.reshape(loc, indices, {});
    Value at = tensor::ExtractOp::create(
        graph.b, loc, graph.materialize(loc, one), ValueRange());
    return insideOf(graph.b, loc, at, ix.value(loc, size));
  }
  IndexExpr first(*index), least(*index + 1);
  if (*index < 0)
    first = size + first, least = IndexExpr(-*index);
  std::optional<bool> fits = ix.decide(Compare::Ge, size, least);
  if (fits == false)
    return std::nullopt;
  if (!fits)
    graph.check(loc, ix.compare(loc, Compare::Ge, size, least),
                "an index of " + node.type() + " is out of range");
  return ix.fold(loc, first);
}

/// One index that is known, such as a layer's in a cache of all, or any one of
/// many weights, such as an expert's: a slice, which moves nothing. None for
/// other indices.
static std::optional<Tensor> slicedAt(Node &node, int64_t axis,
                                      ArrayRef<IndexExpr> shape) {
  Graph &graph = node.graph;
  IndexSpace &ix = graph.ix;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1);
  bool isKnown = indices.elements && indices.elements->size() == 1 &&
                 indices.elements->front().constant();
  bool isOfWeights = data.constant && data.rank() > 2;
  if (indices.rank() > 1 || indices.staticCount() != 1 || data.splat ||
      (!isKnown && !isOfWeights) ||
      llvm::any_of(data.shape, [](const IndexExpr &dim) { return dim.is(0); }))
    return std::nullopt;
  std::optional<OpFoldResult> first = offsetOf(node, data.shape[axis]);
  if (!first)
    return std::nullopt;
  Shape sizes(data.shape), zeros(data.rank(), 0), ones(data.rank(), 1);
  sizes[axis] = IndexExpr(1);
  SmallVector<OpFoldResult> offsets = ix.fold(loc, zeros);
  offsets[axis] = *first;
  Value value = graph.materialize(loc, data);
  Value slice = tensor::ExtractSliceOp::create(
      graph.b, loc, graph.typeOf(shape, data.elementType), value, offsets,
      ix.fold(loc, sizes), ix.fold(loc, ones));
  return graph.wrap(slice, shape);
}

static LogicalResult lowerGather(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1);
  auto axis = node.axis(node.integer("axis", 0), data.rank());
  if (!axis)
    return node.error() << "axis is out of range";
  Shape shape(ArrayRef(data.shape).take_front(*axis));
  shape.append(indices.shape);
  llvm::append_range(shape, ArrayRef(data.shape).drop_front(*axis + 1));
  // Elements of known contents at known places: a shape's entry, mostly.
  if (data.elements && data.rank() == 1 && indices.elements) {
    SmallVector<IndexExpr> picked;
    int64_t size = data.elements->size();
    for (const IndexExpr &index : *indices.elements) {
      auto at = index.constant();
      if (!at || *at < -size || *at >= size)
        break;
      picked.push_back((*data.elements)[*at < 0 ? *at + size : *at]);
    }
    if (picked.size() == indices.elements->size()) {
      node.set(0, graph.ofElements(picked, shape, data.elementType));
      return success();
    }
  }
  if (std::optional<Tensor> slice = slicedAt(node, *axis, shape)) {
    node.set(0, *slice);
    return success();
  }
  IndexExpr limit = data.shape[*axis];
  checkIndices(node, indices, limit);
  Value size = graph.ix.value(loc, limit);
  Value from = graph.materialize(loc, data),
        at = graph.materialize(loc, indices);
  int64_t width = indices.rank();
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < width; ++i)
    exprs.push_back(graph.b.getAffineDimExpr(*axis + i));
  AffineMap map = AffineMap::get(shape.size(), 0, exprs, graph.b.getContext());
  node.set(0, graph.parallel(
                  loc, {at}, {map}, shape, data.elementType,
                  [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                    // One place for the loops over the indices.
                    SmallVector<Value> place = loopIndices(b, l, shape.size());
                    auto first = place.begin() + *axis;
                    place.insert(place.erase(first, first + width),
                                 insideOf(b, l, args[0], size));
                    return tensor::ExtractOp::create(b, l, from, place);
                  }));
  return success();
}

static LogicalResult lowerGatherElements(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1);
  auto axis = node.axis(node.integer("axis", 0), data.rank());
  if (!axis || indices.rank() != data.rank())
    return node.error() << "expected an axis in range and operands of one rank";
  checkIndices(node, indices, data.shape[*axis]);
  SmallVector<Value> sizes = graph.ix.values(loc, data.shape);
  Value from = graph.materialize(loc, data),
        at = graph.materialize(loc, indices);
  Shape shape = indices.shape;
  int64_t rank = data.rank();
  node.set(0, graph.parallel(
                  loc, {at}, {graph.b.getMultiDimIdentityMap(rank)}, shape,
                  data.elementType,
                  [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                    SmallVector<Value> place = loopIndices(b, l, rank);
                    Value one = arith::ConstantIndexOp::create(b, l, 1);
                    for (int64_t i = 0; i < rank; ++i) {
                      Value last = arith::SubIOp::create(b, l, sizes[i], one);
                      place[i] =
                          i == *axis
                              ? insideOf(b, l, args[0], sizes[i])
                              : arith::MinSIOp::create(b, l, place[i], last);
                    }
                    return tensor::ExtractOp::create(b, l, from, place);
                  }));
  return success();
}

static LogicalResult lowerGatherND(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1);
  int64_t batch = node.integer("batch_dims", 0);
  auto depth = indices.rank() ? indices.shape.back().constant() : std::nullopt;
  if (!depth || *depth < 1 || batch < 0 || batch >= indices.rank() ||
      batch + *depth > data.rank())
    return node.error() << "expected indices with a static last dim and "
                           "batch_dims that fit";
  for (int64_t i = 0; i < batch; ++i)
    if (failed(node.requireEqual(data.shape[i], indices.shape[i],
                                 "batch dims of data and indices")))
      return failure();
  Shape shape(ArrayRef(indices.shape).drop_back());
  llvm::append_range(shape, ArrayRef(data.shape).drop_front(batch + *depth));
  ArrayRef<IndexExpr> indexed = ArrayRef(data.shape).slice(batch, *depth);
  checkIndices(node, indices, indexed);
  SmallVector<Value> sizes = graph.ix.values(loc, indexed);
  Value from = graph.materialize(loc, data),
        at = graph.materialize(loc, indices);
  int64_t outer = indices.rank() - 1;
  node.set(0, graph.parallel(
                  loc, {}, {}, shape, data.elementType,
                  [&](OpBuilder &b, Location l, ValueRange) -> Value {
                    SmallVector<Value> all = loopIndices(b, l, shape.size());
                    ArrayRef<Value> loops = all;
                    SmallVector<Value> place(loops.take_front(batch));
                    place.append(
                        placeInside(b, l, at, loops.take_front(outer), sizes));
                    llvm::append_range(place, loops.drop_front(outer));
                    return tensor::ExtractOp::create(b, l, from, place);
                  }));
  return success();
}

void mlir::megactx::registerGather(Registry &registry) {
  registry["Gather"] = lowerGather;
  registry["GatherElements"] = lowerGatherElements;
  registry["GatherND"] = lowerGatherND;
}
