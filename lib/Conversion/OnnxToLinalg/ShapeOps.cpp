//===- ShapeOps.cpp - constants, shapes and views -------------------------===//
//
// Operators that make tensors from shapes or give a tensor another shape. On
// small integer tensors they work on the known contents and emit nothing.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

static LogicalResult lowerConstant(Node &node) {
  Builder &b = node.graph.b;
  ElementsAttr value = node.op->getAttrOfType<ElementsAttr>("value");
  auto make = [&](ArrayRef<int64_t> shape, Type type,
                  ArrayRef<Attribute> values) {
    value = DenseElementsAttr::get(RankedTensorType::get(shape, type), values);
  };
  if (auto attr = node.op->getAttrOfType<IntegerAttr>("value_int"))
    make({}, b.getI64Type(), attr);
  else if (auto attr = node.op->getAttrOfType<FloatAttr>("value_float"))
    make({}, b.getF32Type(), attr);
  else if (auto list = node.integers("value_ints"))
    value = DenseElementsAttr::get(
        RankedTensorType::get(list->size(), b.getI64Type()),
        ArrayRef<int64_t>(*list));
  else if (auto attr =
               node.op->getAttrOfType<DenseF32ArrayAttr>("value_floats"))
    value = DenseElementsAttr::get(
        RankedTensorType::get(attr.size(), b.getF32Type()), attr.asArrayRef());
  if (!value)
    return node.error() << "expected a numeric constant";
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.getElementType().isIntOrFloat())
    return node.error() << "constant of type " << value.getType()
                        << " has no lowering";
  Tensor tensor;
  tensor.elementType = type.getElementType();
  for (int64_t size : type.getShape())
    tensor.shape.push_back(IndexExpr(size));
  tensor.constant = value;
  if (TypedAttr scalar = scalarOf(value))
    tensor.splat = scalar;
  if (auto integers = integersOf(value))
    tensor.elements = llvm::map_to_vector(
        *integers, [](int64_t number) { return IndexExpr(number); });
  node.set(0, std::move(tensor));
  return success();
}

static LogicalResult lowerIdentity(Node &node) {
  node.set(0, node.in(0));
  return success();
}

/// As inference does it: every element is kept.
static LogicalResult lowerDropout(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  if (node.has(2)) {
    auto isTraining = node.scalar(2, "training_mode");
    if (failed(isTraining))
      return failure();
    if (isTraining->constant().value_or(0) != 0)
      return node.error() << "training_mode has no lowering";
    graph.check(loc, graph.ix.compare(loc, Compare::Eq, *isTraining, 0),
                "training_mode of Dropout is set, which has no lowering");
  }
  node.set(0, node.in(0));
  node.set(1, graph.splat(graph.b.getBoolAttr(true), node.in(0).shape));
  return success();
}

static LogicalResult lowerShape(Node &node) {
  const Shape &shape = node.in(0).shape;
  int64_t rank = shape.size();
  auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  int64_t start = clamp(node.integer("start", 0));
  int64_t end = std::max(start, clamp(node.integer("end", rank)));
  ArrayRef<IndexExpr> part = ArrayRef(shape).slice(start, end - start);
  node.set(0, node.graph.ofElements(part, {IndexExpr(end - start)},
                                    node.graph.b.getI64Type()));
  return success();
}

static LogicalResult lowerSize(Node &node) {
  node.set(0, node.graph.ofElements({product(node.in(0).shape)}, {},
                                    node.graph.b.getI64Type()));
  return success();
}

/// The elements of input `i`, which says sizes or positions.
static FailureOr<SmallVector<IndexExpr>> listOf(Node &node, unsigned i,
                                                StringRef what) {
  if (auto list = node.graph.elementsOf(node.loc(), node.in(i)))
    return *list;
  return node.error() << "expected " << what
                      << " to be an integer list of static length up to 64";
}

/// Sizes that are computed must not be negative.
static LogicalResult requireSizes(Node &node, ArrayRef<IndexExpr> sizes) {
  return success(llvm::all_of(sizes, [&](const IndexExpr &size) {
    return succeeded(node.requireSize(size));
  }));
}

static LogicalResult lowerConstantOfShape(Node &node) {
  auto shape = listOf(node, 0, "the shape");
  if (failed(shape))
    return failure();
  TypedAttr value = node.graph.b.getF32FloatAttr(0.0f);
  if (auto attr = node.op->getAttrOfType<ElementsAttr>("value"))
    value = scalarOf(attr);
  if (!value)
    return node.error() << "expected a value of one element";
  if (failed(requireSizes(node, *shape)) ||
      failed(node.requireMemory(*shape, value.getType(), *shape)))
    return failure();
  Tensor tensor = node.graph.splat(value, *shape);
  auto count = tensor.staticCount();
  if (auto integer = dyn_cast<IntegerAttr>(value);
      integer && count && *count <= 64)
    tensor.elements.emplace(*count,
                            IndexExpr(integer.getType().isInteger(1)
                                          ? integer.getValue().getZExtValue()
                                          : integer.getValue().getSExtValue()));
  node.set(0, std::move(tensor));
  return success();
}

/// The number of elements of an integer Range, where a polynomial says it.
static IndexExpr integerRangeCount(Node &node, const IndexExpr &start,
                                   const IndexExpr &limit,
                                   const IndexExpr &delta) {
  IndexSpace &ix = node.graph.ix;
  IndexExpr span = limit - start, step = delta;
  if (auto constant = delta.constant(); constant && *constant < 0)
    span = start - limit, step = IndexExpr(-*constant);
  IndexExpr count =
      step.is(1) ? span
                 : ix.floorDiv(node.loc(), span + step - IndexExpr(1), step);
  return ix.max(node.loc(), count, IndexExpr(0));
}

static Tensor integerRange(Node &node, Type type, const IndexExpr &count) {
  Graph &graph = node.graph;
  Value start = graph.scalar(node.loc(), node.in(0)),
        delta = graph.scalar(node.loc(), node.in(2));
  return graph.parallel(node.loc(), {}, {}, {count}, type,
                        [&](OpBuilder &b, Location loc, ValueRange) -> Value {
                          Value at = linalg::IndexOp::create(b, loc, 0);
                          at = arith::IndexCastOp::create(b, loc, type, at);
                          at = arith::MulIOp::create(b, loc, at, delta);
                          return arith::AddIOp::create(b, loc, start, at);
                        });
}

static FailureOr<Tensor> floatRange(Node &node, Type type) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Value start = graph.scalar(loc, node.in(0)),
        limit = graph.scalar(loc, node.in(1)),
        delta = graph.scalar(loc, node.in(2));
  Value steps = arith::DivFOp::create(
      b, loc, arith::SubFOp::create(b, loc, limit, start), delta);
  steps = math::CeilOp::create(b, loc, steps);
  // No steps where a bound or the delta is no number.
  Value whole = castScalar(b, loc, steps, b.getI64Type());
  IndexExpr count = graph.ix.max(
      loc, graph.ix.symbol(indexOf(b, loc, whole), std::nullopt), IndexExpr(0));
  if (failed(node.requireMemory(count, type, IndexExpr(-1))))
    return failure();
  return graph.parallel(
      loc, {}, {}, {count}, type,
      [&](OpBuilder &nested, Location l, ValueRange) -> Value {
        Value at = linalg::IndexOp::create(nested, l, 0);
        at = numberOf(nested, l, at, type);
        at = arith::MulFOp::create(nested, l, at, delta);
        return arith::AddFOp::create(nested, l, start, at);
      });
}

static LogicalResult lowerRange(Node &node) {
  Type type = node.in(0).elementType;
  if (isa<FloatType>(type)) {
    auto range = floatRange(node, type);
    if (succeeded(range))
      node.set(0, *range);
    return range;
  }
  auto start = node.scalar(0, "start"), limit = node.scalar(1, "limit"),
       delta = node.scalar(2, "delta");
  if (failed(start) || failed(limit) || failed(delta))
    return failure();
  IndexExpr step = *delta;
  if (step.is(0))
    return node.error() << "expected a delta other than 0";
  IndexSpace &ix = node.graph.ix;
  IndexExpr count;
  if (step.constant()) {
    count = integerRangeCount(node, *start, *limit, step);
  } else {
    // The sign is known at run time only: choose between both counts.
    IndexExpr up = integerRangeCount(node, *start, *limit,
                                     ix.max(node.loc(), step, IndexExpr(1)));
    IndexExpr down = integerRangeCount(
        node, *limit, *start,
        ix.max(node.loc(), IndexExpr(0) - step, IndexExpr(1)));
    count = ix.select(node.loc(),
                      ix.compare(node.loc(), Compare::Gt, step, IndexExpr(0)),
                      up, down);
  }
  if (auto known = count.constant(); known && *known <= 64) {
    SmallVector<IndexExpr> elements;
    for (int64_t i = 0; i < *known; ++i)
      elements.push_back(*start + step * IndexExpr(i));
    node.set(0, node.graph.ofElements(elements, {count}, type));
    return success();
  }
  if (failed(node.requireMemory(count, type, *limit - *start)))
    return failure();
  node.set(0, integerRange(node, type, count));
  return success();
}

/// The result shape of Reshape: 0 copies (unless allowzero) and one -1 is what
/// is left over.
static FailureOr<Shape> reshapeTarget(Node &node) {
  auto list = listOf(node, 1, "the shape");
  if (failed(list))
    return failure();
  Graph &graph = node.graph;
  IndexSpace &ix = graph.ix;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  Shape shape;
  IndexExpr known(1), hasMinusOne(0);
  bool copiesZero = node.integer("allowzero", 0) == 0;
  SmallVector<IndexExpr> isRest;
  for (auto [i, wanted] : llvm::enumerate(*list)) {
    IndexExpr size = wanted;
    if (copiesZero && (size.is(0) || !ix.lowerBound(size))) {
      bool hasDim = static_cast<int64_t>(i) < data.rank();
      if (size.is(0) && !hasDim)
        return node.error() << "shape entry " << i << " is 0 but the data has "
                            << data.rank() << " dims";
      IndexExpr isZero = ix.compare(loc, Compare::Eq, size, IndexExpr(0));
      if (hasDim)
        size = ix.select(loc, isZero, data.shape[i], size);
    }
    IndexExpr rest = ix.isNonNegative(size)
                         ? IndexExpr(0)
                         : ix.compare(loc, Compare::Eq, size, IndexExpr(-1));
    isRest.push_back(rest);
    hasMinusOne = hasMinusOne + rest;
    known = known * ix.select(loc, rest, IndexExpr(1), size);
    shape.push_back(size);
  }
  if (hasMinusOne.constant().value_or(1) > 1)
    return node.error() << "expected at most one -1 in the shape";
  if (hasMinusOne.is(0))
    return shape;
  IndexExpr rest = ix.floorDiv(loc, product(data.shape), known);
  for (auto [size, isThis] : llvm::zip_equal(shape, isRest))
    size = ix.select(loc, isThis, rest, size);
  return shape;
}

static LogicalResult lowerReshape(Node &node) {
  auto shape = reshapeTarget(node);
  if (failed(shape))
    return failure();
  if (failed(requireSizes(node, *shape)))
    return failure();
  Tensor &data = node.in(0);
  IndexExpr from = product(data.shape), to = product(*shape);
  if (auto a = from.constant(), c = to.constant(); a && c && *a != *c)
    return node.error() << "cannot reshape " << *a << " elements to " << *c;
  node.set(0, node.graph.reshape(node.loc(), data, *shape));
  return success();
}

static LogicalResult lowerFlatten(Node &node) {
  Tensor &data = node.in(0);
  int64_t axis = node.integer("axis", 1);
  if (axis < -data.rank() || axis > data.rank())
    return node.error() << "axis " << axis << " is out of range";
  if (axis < 0)
    axis += data.rank();
  ArrayRef<IndexExpr> shape = data.shape;
  node.set(0, node.graph.reshape(node.loc(), data,
                                 {product(shape.take_front(axis)),
                                  product(shape.drop_front(axis))}));
  return success();
}

static LogicalResult lowerUnsqueeze(Node &node) {
  Graph &graph = node.graph;
  IndexSpace &ix = graph.ix;
  Tensor &data = node.in(0);
  auto axes = listOf(node, 1, "axes");
  if (failed(axes))
    return failure();
  int64_t rank = data.rank() + axes->size();
  auto flags = node.axisFlags(*axes, rank);
  if (failed(flags))
    return failure();
  Shape shape;
  IndexExpr next(0);
  for (const IndexExpr &isNew : *flags) {
    IndexExpr size(1);
    for (auto [i, own] : llvm::enumerate(data.shape))
      size = ix.select(
          node.loc(),
          ix.compare(node.loc(), Compare::Eq, next, IndexExpr(int64_t(i))), own,
          size);
    shape.push_back(ix.select(node.loc(), isNew, IndexExpr(1), size));
    next = next + IndexExpr(1) - isNew;
  }
  node.set(0, graph.reshape(node.loc(), data, shape));
  return success();
}

static LogicalResult lowerSqueeze(Node &node) {
  Tensor &data = node.in(0);
  SmallVector<IndexExpr> axes;
  if (node.has(1)) {
    auto given = listOf(node, 1, "axes");
    if (failed(given))
      return failure();
    axes = *given;
  } else {
    for (int64_t i = 0; i < data.rank(); ++i) {
      if (!data.shape[i].constant())
        return node.error() << "expected axes where sizes are dynamic";
      if (data.shape[i].is(1))
        axes.push_back(IndexExpr(i));
    }
  }
  auto flags = node.axisFlags(axes, data.rank());
  if (failed(flags))
    return failure();
  for (int64_t i = 0; i < data.rank(); ++i)
    if (auto size = data.shape[i].constant();
        size && (*flags)[i].is(1) && *size != 1)
      return node.error() << "cannot squeeze dim " << i << " of size " << *size;
  node.set(0, node.graph.reshape(node.loc(), data,
                                 node.graph.without(node.loc(), data.shape,
                                                    *flags, axes.size())));
  return success();
}

static LogicalResult lowerExpand(Node &node) {
  auto wanted = listOf(node, 1, "the shape");
  if (failed(wanted))
    return failure();
  if (failed(requireSizes(node, *wanted)))
    return failure();
  // Broadcasting goes both ways: the data may be larger where the shape says 1.
  Tensor ones = node.graph.ofElements({}, *wanted, node.in(0).elementType);
  auto shape = node.graph.broadcastShape(node, {&node.in(0), &ones});
  if (failed(shape))
    return failure();
  Tensor &data = node.in(0);
  if (failed(node.requireMemory(*shape, data.elementType, *wanted)))
    return failure();
  Tensor probe = node.graph.ofElements({}, *shape, data.elementType);
  auto count = probe.staticCount();
  // A small integer tensor of one known element stays known.
  if (data.elements && data.elements->size() == 1 && count && *count <= 64) {
    node.set(0, node.graph.ofElements(
                    SmallVector<IndexExpr>(*count, data.elements->front()),
                    *shape, data.elementType));
    return success();
  }
  node.set(0, node.graph.expand(node.loc(), data, *shape));
  return success();
}

static LogicalResult lowerTile(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  auto repeats = listOf(node, 1, "repeats");
  if (failed(repeats))
    return failure();
  if (static_cast<int64_t>(repeats->size()) != data.rank())
    return node.error() << "expected one repeat per dim";
  if (failed(requireSizes(node, *repeats)))
    return failure();
  // [a, b] → [1, a, 1, b] → [ra, a, rb, b] → [ra·a, rb·b].
  Shape split, wide, result;
  for (auto [size, repeat] : llvm::zip_equal(data.shape, *repeats)) {
    split.append({IndexExpr(1), size});
    wide.append({repeat, size});
    result.push_back(repeat * size);
  }
  if (failed(node.requireMemory(result, data.elementType, *repeats)))
    return failure();
  if (data.elements)
    graph.materialize(node.loc(), data);
  Tensor plain = data;
  plain.elements.reset();
  Tensor reshaped = graph.reshape(node.loc(), plain, split);
  Tensor expanded = graph.expand(node.loc(), reshaped, wide);
  node.set(0, graph.reshape(node.loc(), expanded, result));
  return success();
}

void mlir::megactx::registerShapeOps(Registry &registry) {
  registry["Constant"] = lowerConstant;
  registry["initializer"] = lowerConstant;
  registry["none"] = [](Node &) { return success(); };
  registry["Identity"] = lowerIdentity;
  registry["Dropout"] = lowerDropout;
  registry["Shape"] = lowerShape;
  registry["Size"] = lowerSize;
  registry["ConstantOfShape"] = lowerConstantOfShape;
  registry["Range"] = lowerRange;
  registry["Reshape"] = lowerReshape;
  registry["Flatten"] = lowerFlatten;
  registry["Unsqueeze"] = lowerUnsqueeze;
  registry["Squeeze"] = lowerSqueeze;
  registry["Expand"] = lowerExpand;
  registry["Tile"] = lowerTile;
}
