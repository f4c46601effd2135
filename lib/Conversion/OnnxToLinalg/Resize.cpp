//===- Resize.cpp - sizes and scales of what is resized -------------------===//

#include "Interpolation.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// The axes that the node's sizes or scales are for.
static FailureOr<SmallVector<int64_t>> axesOf(Node &node) {
  int64_t rank = node.in(0).rank();
  SmallVector<int64_t> axes;
  auto given = node.integers("axes");
  if (!given) {
    for (int64_t i = 0; i < rank; ++i)
      axes.push_back(i);
    return axes;
  }
  for (int64_t entry : *given) {
    auto axis = node.axis(entry, rank);
    if (!axis || llvm::is_contained(axes, *axis))
      return node.error() << "expected distinct axes in range";
    axes.push_back(*axis);
  }
  return axes;
}

/// The value as f32, of something that is an index.
static Value asFloat(Node &node, const IndexExpr &size) {
  OpBuilder &b = node.graph.b;
  Location loc = node.loc();
  if (auto constant = size.constant())
    return arith::ConstantOp::create(b, loc,
                                     b.getF32FloatAttr(float(*constant)));
  return numberOf(b, loc, node.graph.ix.value(loc, size), b.getF32Type());
}

/// A number that is known when the graph is compiled.
static std::optional<double> knownNumber(Value value) {
  Attribute known;
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    known = constant.getValue();
  auto number = dyn_cast_if_present<FloatAttr>(known);
  return number ? std::optional(number.getValueAsDouble()) : std::nullopt;
}

/// The result's size along an axis of which the scale is given, or chosen for
/// a size near it.
static FailureOr<IndexExpr> scaledSize(Node &node, const IndexExpr &size,
                                       const ResizedAxis &axis, bool isNear) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  auto scale = knownNumber(axis.scale);
  if (scale == 1.0)
    return size;
  if (scale && !(*scale > 0))
    return node.error() << "expected scales above 0";
  if (scale && size.constant()) {
    double product = float(*size.constant()) * float(*scale);
    product = isNear ? std::round(product) : std::floor(product);
    if (!(product >= 0 && product <= std::numeric_limits<int32_t>::max()))
      return node.error() << "expected scales that give sizes";
    return IndexExpr(int64_t(product));
  }
  Value product = arith::MulFOp::create(b, loc, axis.length, axis.scale);
  product = isNear ? Value(math::RoundOp::create(b, loc, product))
                   : Value(math::FloorOp::create(b, loc, product));
  Value isPositive =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, axis.scale,
                            asFloat(node, IndexExpr(0)));
  graph.check(loc, isPositive, "a scale of " + node.type() + " is not above 0");
  Value integer = castScalar(b, loc, product, b.getI64Type());
  IndexExpr result = graph.ix.symbol(indexOf(b, loc, integer), std::nullopt);
  if (failed(node.requireSize(result)))
    return failure();
  return result;
}

/// A list of no scales is none: exporters write one beside sizes.
static bool hasScales(Node &node) {
  return node.has(2) && !(node.in(2).rank() == 1 && node.in(2).shape[0].is(0));
}

static bool isCropped(Node &node) {
  return node.string("coordinate_transformation_mode", "half_pixel") ==
         "tf_crop_and_resize";
}

static LogicalResult checkResize(Node &node) {
  Tensor &data = node.in(0);
  StringRef mode = node.string("mode", "nearest");
  StringRef place = node.string("coordinate_transformation_mode", "half_pixel");
  StringRef policy = node.string("keep_aspect_ratio_policy", "stretch");
  if (!llvm::is_contained({"nearest", "linear", "cubic"}, mode) ||
      !llvm::is_contained({"half_pixel", "half_pixel_symmetric",
                           "pytorch_half_pixel", "align_corners", "asymmetric",
                           "tf_crop_and_resize"},
                          place))
    return node.error() << "mode '" << mode << "' with coordinates '" << place
                        << "' has no lowering";
  if (!llvm::is_contained({"stretch", "not_larger", "not_smaller"}, policy) ||
      (policy != "stretch" && !node.has(3)))
    return node.error() << "expected an aspect ratio that sizes keep";
  if (node.integer("antialias", 0) && mode == "nearest")
    return node.error() << "expected antialias of mode linear or cubic";
  if (!isNumber(data.elementType) ||
      (mode != "nearest" && data.elementType.isInteger(1)))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  if (hasScales(node) == node.has(3))
    return node.error() << "expected either scales or sizes";
  if (isCropped(node) && (!node.has(1) || node.in(1).rank() != 1 ||
                          !isFloat(node.in(1).elementType)))
    return node.error() << "expected a region of interest";
  return success();
}

/// The numbers of a list, in f32. Reports one of another count.
static FailureOr<SmallVector<Value>> numbersOf(Node &node, Tensor &list,
                                               size_t count, StringRef what) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  if (list.rank() != 1 || !isFloat(list.elementType))
    return node.error() << "expected " << what;
  if (failed(node.requireEqual(list.shape[0], IndexExpr(int64_t(count)), what)))
    return failure();
  Value from = graph.materialize(loc, list);
  SmallVector<Value> numbers;
  for (size_t i = 0; i < count; ++i) {
    Value number = b.createOrFold<tensor::ExtractOp>(
        loc, from, ValueRange{arith::ConstantIndexOp::create(b, loc, i)});
    numbers.push_back(castScalar(b, loc, number, b.getF32Type()));
  }
  return numbers;
}

/// Scales that sizes give, each its own or, where they keep the aspect ratio,
/// the least or largest.
static LogicalResult scaleToSizes(Node &node, MutableArrayRef<ResizedAxis> axes,
                                  Shape &shape) {
  OpBuilder &b = node.graph.b;
  Location loc = node.loc();
  auto wanted = node.graph.elementsOf(loc, node.in(3));
  if (!wanted || wanted->size() != axes.size())
    return node.error() << "expected one size per axis";
  StringRef policy = node.string("keep_aspect_ratio_policy", "stretch");
  Value common;
  for (auto [axis, size] : llvm::zip_equal(axes, *wanted)) {
    if (failed(node.requireSize(size)))
      return failure();
    bool isSame = size == shape[axis.dim];
    shape[axis.dim] = size;
    axis.scale = isSame ? asFloat(node, IndexExpr(1))
                        : b.createOrFold<arith::DivFOp>(
                              loc, asFloat(node, size), axis.length);
    if (common && policy == "not_larger")
      common = b.createOrFold<arith::MinimumFOp>(loc, common, axis.scale);
    else if (common && policy == "not_smaller")
      common = b.createOrFold<arith::MaximumFOp>(loc, common, axis.scale);
    else
      common = axis.scale;
  }
  if (policy != "stretch")
    for (ResizedAxis &axis : axes)
      axis.scale = common;
  return success();
}

/// Sizes that scales give.
static LogicalResult scaleAll(Node &node, MutableArrayRef<ResizedAxis> axes,
                              Shape &shape) {
  bool isNear = node.has(3);
  if (isNear) {
    if (failed(scaleToSizes(node, axes, shape)))
      return failure();
    if (node.string("keep_aspect_ratio_policy", "stretch") == "stretch")
      return success();
  } else {
    auto scales = numbersOf(node, node.in(2), axes.size(), "scales and axes");
    if (failed(scales))
      return failure();
    for (auto [axis, scale] : llvm::zip_equal(axes, *scales))
      axis.scale = scale;
  }
  for (const ResizedAxis &axis : axes) {
    auto size = scaledSize(node, node.in(0).shape[axis.dim], axis, isNear);
    if (failed(size))
      return failure();
    shape[axis.dim] = *size;
  }
  return success();
}

/// The axes whose scales are not known to be 1; the result's shape.
static FailureOr<SmallVector<ResizedAxis>> resizedAxes(Node &node,
                                                       Shape &shape) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  auto dims = axesOf(node);
  if (failed(dims))
    return failure();
  SmallVector<ResizedAxis> axes, resized;
  for (int64_t dim : *dims)
    axes.push_back({dim,
                    graph.ix.value(loc, shape[dim]),
                    asFloat(node, shape[dim]),
                    {},
                    {},
                    {},
                    {}});
  if (isCropped(node)) {
    auto region = numbersOf(node, node.in(1), 2 * axes.size(),
                            "a region of interest and axes");
    if (failed(region))
      return failure();
    for (auto [i, axis] : llvm::enumerate(axes)) {
      axis.begin = (*region)[i];
      axis.end = (*region)[axes.size() + i];
    }
  }
  if (failed(scaleAll(node, axes, shape)))
    return failure();
  for (ResizedAxis &axis : axes) {
    // Nothing is between no elements.
    IndexExpr least = graph.ix.min(loc, shape[axis.dim], IndexExpr(1));
    if (failed(node.requireSize(node.in(0).shape[axis.dim] - least)))
      return failure();
    axis.width = asFloat(node, shape[axis.dim]);
    if (knownNumber(axis.scale) != 1.0)
      resized.push_back(axis);
  }
  return resized;
}

/// A number as an integer: rounded, within the type.
static Value rounded(OpBuilder &b, Location loc, Value x, IntegerType type) {
  x = math::RoundOp::create(b, loc, x);
  unsigned width = type.getWidth();
  bool isUnsigned = type.isUnsigned();
  if (width < 32) {
    auto limit = [&](double value) {
      return arith::ConstantOp::create(b, loc,
                                       b.getFloatAttr(x.getType(), value));
    };
    double most = std::exp2(isUnsigned ? width : width - 1) - 1;
    x = arith::MaximumFOp::create(b, loc, x, limit(isUnsigned ? 0 : -most - 1));
    x = arith::MinimumFOp::create(b, loc, x, limit(most));
  }
  return castScalar(b, loc, x, type);
}

/// Axis by axis, the last first. As onnxruntime and Pillow, with integers in
/// between where the data has them.
static Tensor smoothedAlong(Node &node, MutableArrayRef<ResizedAxis> axes,
                            ArrayRef<IndexExpr> shape) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto integer = dyn_cast<IntegerType>(data.elementType);
  Type type = integer ? data.elementType : accumulatorType(data.elementType);
  Tensor result = graph.cast(loc, data, type);
  llvm::sort(axes, [](const ResizedAxis &a, const ResizedAxis &c) {
    return a.dim > c.dim;
  });
  for (const ResizedAxis &axis : axes) {
    Value from = graph.materialize(loc, result);
    Shape made = result.shape;
    made[axis.dim] = shape[axis.dim];
    result = graph.parallel(
        loc, {}, {}, made, type, [&](OpBuilder &n, Location l, ValueRange) {
          Value x = smoothed(n, l, node, axis, made.size(), from);
          return integer ? rounded(n, l, x, integer) : x;
        });
  }
  return graph.cast(loc, result, data.elementType);
}

static LogicalResult lowerResize(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  Shape shape = data.shape;
  if (failed(checkResize(node)))
    return failure();
  auto axes = resizedAxes(node, shape);
  if (failed(axes))
    return failure();
  if (axes->empty())
    return node.set(0, data), success();
  if (failed(node.requireMemory(shape, data.elementType, shape)))
    return failure();
  if (node.integer("antialias", 0))
    return node.set(0, smoothedAlong(node, *axes, shape)), success();
  Value from = graph.materialize(loc, data);
  Type type = data.elementType;
  node.set(0,
           graph.parallel(loc, {}, {}, shape, type,
                          [&](OpBuilder &n, Location l, ValueRange) {
                            return castScalar(n, l,
                                              interpolated(n, l, node, *axes,
                                                           shape.size(), from),
                                              type);
                          }));
  return success();
}

void mlir::megactx::registerResize(Registry &registry) {
  registry["Resize"] = lowerResize;
}
