//===- Resize.cpp - interpolation -----------------------------------------===//
//
// Each result reads, along every axis that changes, one element (nearest), two
// (linear) or four (cubic) around the place where it is in the data, with
// weights that are multiplied over the axes.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// An axis that changes: its size and the result's, and their ratio, all f32
/// but for the first.
struct Axis {
  int64_t dim;
  Value size, length, width, scale;
};

/// An element that a result reads, with its weight (null: 1).
struct Tap {
  Value index, weight;
};

/// f32 arithmetic of the places.
class Places {
public:
  Places(OpBuilder &b, Location loc, Node &node) : b(b), loc(loc), node(node) {}

  SmallVector<Tap> taps(const Axis &axis) const;

private:
  Value number(double value) const {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  }
  Value add(Value x, Value y) const {
    return arith::AddFOp::create(b, loc, x, y);
  }
  Value sub(Value x, Value y) const {
    return arith::SubFOp::create(b, loc, x, y);
  }
  Value mul(Value x, Value y) const {
    return arith::MulFOp::create(b, loc, x, y);
  }
  Value div(Value x, Value y) const {
    return arith::DivFOp::create(b, loc, x, y);
  }
  Value isGreater(Value x, Value y) const {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, y);
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value source(const Axis &axis) const;
  Value nearest(Value at, const Axis &axis) const;
  Value cubic(Value distance, bool isNear) const;
  Value indexAt(Value whole, int64_t offset, const Axis &axis,
                Value *isInside = nullptr) const;

  OpBuilder &b;
  Location loc;
  Node &node;
};
} // namespace

/// Where the result is along the axis, in elements of the data.
Value Places::source(const Axis &axis) const {
  Value index = linalg::IndexOp::create(b, loc, axis.dim);
  Value x = numberOf(b, loc, index, b.getF32Type());
  Value half = number(0.5), one = number(1.0);
  StringRef mode = node.string("coordinate_transformation_mode", "half_pixel");
  // What a scale would give, were sizes not whole.
  Value exact = mul(axis.scale, axis.length);
  Value isWide = isGreater(exact, one);
  if (mode == "asymmetric")
    return div(x, axis.scale);
  if (mode == "align_corners") {
    Value at = div(mul(x, sub(axis.length, one)), sub(exact, one));
    return select(isWide, at, number(0.0));
  }
  Value centred = sub(div(add(x, half), axis.scale), half);
  if (mode == "pytorch_half_pixel")
    return select(isWide, centred, number(0.0));
  if (mode == "half_pixel_symmetric") {
    Value adjustment = div(axis.width, exact);
    Value offset = mul(mul(half, axis.length), sub(one, adjustment));
    return add(offset, centred);
  }
  return centred;
}

Value Places::nearest(Value at, const Axis &axis) const {
  StringRef mode = node.string("nearest_mode", "round_prefer_floor");
  if (mode == "floor")
    return math::FloorOp::create(b, loc, at);
  if (mode == "ceil")
    return math::CeilOp::create(b, loc, at);
  if (mode == "simple")
    return select(isGreater(number(1.0), axis.scale),
                  math::CeilOp::create(b, loc, at),
                  math::FloorOp::create(b, loc, at));
  if (mode == "round_prefer_ceil")
    return math::FloorOp::create(b, loc, add(at, number(0.5)));
  return math::CeilOp::create(b, loc, sub(at, number(0.5)));
}

/// The weight of an element at a distance of at most 1, or of 1 to 2.
Value Places::cubic(Value t, bool isNear) const {
  double a = node.real("cubic_coeff_a", -0.75);
  if (isNear) // ((a + 2) t - (a + 3)) t^2 + 1
    return add(mul(mul(sub(mul(number(a + 2), t), number(a + 3)), t), t),
               number(1.0));
  // ((a t - 5 a) t + 8 a) t - 4 a
  Value inner = sub(mul(number(a), t), number(5 * a));
  return sub(mul(add(mul(inner, t), number(8 * a)), t), number(4 * a));
}

/// The element `offset` after a whole number, or the nearest there is.
Value Places::indexAt(Value whole, int64_t offset, const Axis &axis,
                      Value *isInside) const {
  Value integer = arith::FPToSIOp::create(b, loc, b.getI64Type(), whole);
  Value index = arith::IndexCastOp::create(b, loc, b.getIndexType(), integer);
  auto constant = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  index = arith::AddIOp::create(b, loc, index, constant(offset));
  Value last = arith::SubIOp::create(b, loc, axis.size, constant(1));
  Value clamped = arith::MaxSIOp::create(b, loc, index, constant(0));
  clamped = arith::MinSIOp::create(b, loc, clamped, last);
  if (isInside)
    *isInside =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, index, clamped);
  return clamped;
}

SmallVector<Tap> Places::taps(const Axis &axis) const {
  Value at = source(axis);
  StringRef mode = node.string("mode", "nearest");
  if (mode == "nearest")
    return {{indexAt(nearest(at, axis), 0, axis), {}}};
  Value whole = math::FloorOp::create(b, loc, at), rest = sub(at, whole);
  Value one = number(1.0);
  if (mode == "linear")
    return {{indexAt(whole, 0, axis), sub(one, rest)},
            {indexAt(whole, 1, axis), rest}};
  SmallVector<Tap> taps(4);
  Value distances[] = {add(rest, one), rest, sub(one, rest),
                       sub(number(2.0), rest)};
  bool isExcluded = node.integer("exclude_outside", 0);
  Value sum = number(0.0);
  for (int64_t i = 0; i < 4; ++i) {
    Value isInside;
    taps[i] = {indexAt(whole, i - 1, axis, &isInside),
               cubic(distances[i], i == 1 || i == 2)};
    if (isExcluded)
      taps[i].weight = select(isInside, taps[i].weight, number(0.0));
    sum = add(sum, taps[i].weight);
  }
  for (Tap &tap : taps)
    if (isExcluded)
      tap.weight = div(tap.weight, sum);
  return taps;
}

/// The sum over the taps of the axes from `depth` on.
static Value interpolate(OpBuilder &b, Location loc, ArrayRef<Axis> axes,
                         ArrayRef<SmallVector<Tap>> taps,
                         SmallVector<Value> &place, Value from) {
  if (axes.empty())
    return tensor::ExtractOp::create(b, loc, from, place);
  Value sum;
  for (const Tap &tap : taps.front()) {
    place[axes.front().dim] = tap.index;
    Value x =
        interpolate(b, loc, axes.drop_front(), taps.drop_front(), place, from);
    if (!tap.weight)
      return x;
    x = castScalar(b, loc, x, b.getF32Type());
    x = arith::MulFOp::create(b, loc, x, tap.weight);
    sum = sum ? Value(arith::AddFOp::create(b, loc, sum, x)) : x;
  }
  return sum;
}

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

/// The result's size along an axis, and how often it is the data's.
static FailureOr<IndexExpr> scaledSize(Node &node, const IndexExpr &size,
                                       Value length, Value scale) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Attribute known;
  if (auto constant = scale.getDefiningOp<arith::ConstantOp>())
    known = constant.getValue();
  auto number = dyn_cast_if_present<FloatAttr>(known);
  if (number && size.constant()) {
    double product =
        std::floor(float(*size.constant()) * float(number.getValueAsDouble()));
    if (!(product >= 0 && product <= std::numeric_limits<int32_t>::max()))
      return node.error() << "expected scales that give sizes";
    return IndexExpr(int64_t(product));
  }
  Value product = arith::MulFOp::create(b, loc, length, scale);
  product = math::FloorOp::create(b, loc, product);
  Value integer = arith::FPToSIOp::create(b, loc, b.getI64Type(), product);
  IndexExpr result = graph.ix.symbol(indexOf(b, loc, integer), std::nullopt);
  if (failed(node.requireSize(result)))
    return failure();
  return result;
}

/// A list of no scales is none: exporters write one beside sizes.
static bool hasScales(Node &node) {
  return node.has(2) && !(node.in(2).rank() == 1 && node.in(2).shape[0].is(0));
}

static LogicalResult checkResize(Node &node) {
  Tensor &data = node.in(0);
  StringRef mode = node.string("mode", "nearest");
  StringRef place = node.string("coordinate_transformation_mode", "half_pixel");
  if (!llvm::is_contained({"nearest", "linear", "cubic"}, mode) ||
      !llvm::is_contained({"half_pixel", "half_pixel_symmetric",
                           "pytorch_half_pixel", "align_corners", "asymmetric"},
                          place))
    return node.error() << "mode '" << mode << "' with coordinates '" << place
                        << "' has no lowering";
  if (node.integer("antialias", 0) ||
      node.string("keep_aspect_ratio_policy", "stretch") != "stretch")
    return node.error() << "antialias and a kept aspect ratio have no lowering";
  if (!isNumber(data.elementType) ||
      (mode != "nearest" && data.elementType.isInteger(1)))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  if (hasScales(node) == node.has(3))
    return node.error() << "expected either scales or sizes";
  return success();
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

static LogicalResult lowerResize(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto dims = axesOf(node);
  if (failed(checkResize(node)) || failed(dims))
    return failure();
  Tensor &given = node.in(node.has(3) ? 3 : 2);
  if (given.rank() != 1 || given.staticCount() != int64_t(dims->size()) ||
      (!node.has(3) && !given.elementType.isF32()))
    return node.error() << "expected one scale or size per axis";
  std::optional<SmallVector<IndexExpr>> wanted;
  if (node.has(3) && !(wanted = graph.elementsOf(loc, given)))
    return node.error() << "expected one size per axis";
  Shape shape = data.shape;
  SmallVector<Axis> axes;
  for (auto [i, dim] : llvm::enumerate(*dims)) {
    Axis axis{dim,
              graph.ix.value(loc, data.shape[dim]),
              asFloat(node, data.shape[dim]),
              {},
              {}};
    if (wanted) {
      shape[dim] = (*wanted)[i];
      if (failed(node.requireSize(shape[dim])))
        return failure();
    } else {
      axis.scale = b.createOrFold<tensor::ExtractOp>(
          loc, graph.materialize(loc, given),
          ValueRange{arith::ConstantIndexOp::create(b, loc, i)});
      auto size = scaledSize(node, data.shape[dim], axis.length, axis.scale);
      if (failed(size))
        return failure();
      shape[dim] = *size;
    }
    if (failed(node.requireSize(data.shape[dim] - 1)))
      return failure();
    axis.width = asFloat(node, shape[dim]);
    if (wanted)
      axis.scale = arith::DivFOp::create(b, loc, axis.width, axis.length);
    if (shape[dim] != data.shape[dim] || !shape[dim].constant())
      axes.push_back(axis);
  }
  Value from = graph.materialize(loc, data);
  Type type = data.elementType;
  node.set(0, graph.parallel(
                  loc, {}, {}, shape, type,
                  [&](OpBuilder &n, Location l, ValueRange) -> Value {
                    SmallVector<Value> place = loopIndices(n, l, shape.size());
                    Places places(n, l, node);
                    SmallVector<SmallVector<Tap>> taps;
                    for (const Axis &axis : axes)
                      taps.push_back(places.taps(axis));
                    Value x = interpolate(n, l, axes, taps, place, from);
                    return castScalar(n, l, x, type);
                  }));
  return success();
}

void mlir::megactx::registerResize(Registry &registry) {
  registry["Resize"] = lowerResize;
}
