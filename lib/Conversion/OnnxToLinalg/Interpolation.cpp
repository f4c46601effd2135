//===- Interpolation.cpp - elements between those of a tensor -------------===//

#include "Interpolation.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// An element that a result reads, with its weight (null: 1).
struct Tap {
  Value index, weight;
};

/// f32 arithmetic of the places.
class Places {
public:
  Places(OpBuilder &b, Location loc, Node &node) : b(b), loc(loc), node(node) {}

  SmallVector<Tap> taps(const ResizedAxis &axis) const;
  Value smoothed(const ResizedAxis &axis, ArrayRef<Value> loops,
                 Value from) const;
  /// x, or the number for places that are not in the data.
  Value inside(ArrayRef<ResizedAxis> axes, Value x) const;

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
  Value integerOf(Value whole) const {
    Value integer = arith::FPToSIOp::create(b, loc, b.getI64Type(), whole);
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), integer);
  }
  Value source(const ResizedAxis &axis) const;
  Value placed(const ResizedAxis &axis, Value x) const;
  Value nearest(Value at, const ResizedAxis &axis) const;
  Value cubic(Value distance, bool isNear) const;
  Value weightAt(Value offset) const;
  Value clamped(Value index, const ResizedAxis &axis) const;
  Value indexAt(Value whole, int64_t offset, const ResizedAxis &axis,
                Value *isInside = nullptr) const;

  OpBuilder &b;
  Location loc;
  Node &node;
};
} // namespace

/// Where the result is along the axis, in elements of the data. As onnxruntime,
/// an axis of scale 1 is left whatever the mode.
Value Places::source(const ResizedAxis &axis) const {
  Value index = linalg::IndexOp::create(b, loc, axis.dim);
  Value x = numberOf(b, loc, index, b.getF32Type());
  Value isSame = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ,
                                       axis.scale, number(1.0));
  return select(isSame, x, placed(axis, x));
}

Value Places::placed(const ResizedAxis &axis, Value x) const {
  Value half = number(0.5), one = number(1.0);
  StringRef mode = node.string("coordinate_transformation_mode", "half_pixel");
  Value isWide = isGreater(axis.width, one);
  Value last = sub(axis.length, one), steps = sub(axis.width, one);
  if (mode == "asymmetric")
    return div(x, axis.scale);
  if (mode == "align_corners")
    return select(isWide, div(mul(x, last), steps), number(0.0));
  if (mode == "tf_crop_and_resize") {
    Value part = mul(mul(x, sub(axis.end, axis.begin)), last);
    Value middle = mul(mul(half, add(axis.begin, axis.end)), last);
    Value at =
        select(isWide, add(mul(axis.begin, last), div(part, steps)), middle);
    // A region may be of any numbers, or of none: outside is outside.
    at = arith::MaxNumFOp::create(b, loc, at, number(-1.0));
    return arith::MinNumFOp::create(b, loc, at, axis.length);
  }
  if (mode == "half_pixel_symmetric") {
    Value exact = mul(axis.scale, axis.length);
    Value adjustment = div(axis.width, exact);
    Value offset = mul(mul(half, axis.length), sub(one, adjustment));
    // In f64, as onnxruntime: places on a border decide which is nearest.
    auto wide = [&](Value value) {
      return Value(arith::ExtFOp::create(b, loc, b.getF64Type(), value));
    };
    Value at = div(add(wide(x), wide(half)), wide(axis.scale));
    at = sub(add(wide(offset), at), wide(half));
    return arith::TruncFOp::create(b, loc, b.getF32Type(), at);
  }
  Value centred = sub(div(add(x, half), axis.scale), half);
  if (mode == "pytorch_half_pixel")
    return select(isWide, centred, number(0.0));
  return centred;
}

Value Places::nearest(Value at, const ResizedAxis &axis) const {
  StringRef mode = node.string("nearest_mode", "round_prefer_floor");
  if (mode == "floor")
    return math::FloorOp::create(b, loc, at);
  if (mode == "ceil")
    return math::CeilOp::create(b, loc, at);
  if (mode == "simple")
    return select(isGreater(number(1.0), axis.scale),
                  math::CeilOp::create(b, loc, at),
                  math::FloorOp::create(b, loc, at));
  // As onnxruntime: halves that places miss by their rounding are halves.
  constexpr double kSlack = 1e-6;
  Value whole = math::FloorOp::create(b, loc, at), rest = sub(at, whole);
  Value next = add(whole, number(1.0));
  if (mode == "round_prefer_ceil")
    return select(isGreater(number(0.5 - kSlack), rest), whole, next);
  return select(isGreater(rest, number(0.5 + kSlack)), next, whole);
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

/// The weight of an element at any distance, on either side.
Value Places::weightAt(Value offset) const {
  Value distance = math::AbsFOp::create(b, loc, offset);
  Value one = number(1.0), zero = number(0.0);
  Value isNear = isGreater(one, distance);
  if (node.string("mode", "nearest") == "linear")
    return select(isNear, sub(one, distance), zero);
  Value isFar = isGreater(number(2.0), distance);
  return select(isNear, cubic(distance, true),
                select(isFar, cubic(distance, false), zero));
}

/// The index, or that of the nearest element there is.
Value Places::clamped(Value index, const ResizedAxis &axis) const {
  auto constant = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  Value last = arith::SubIOp::create(b, loc, axis.size, constant(1));
  index = arith::MaxSIOp::create(b, loc, index, constant(0));
  return arith::MinSIOp::create(b, loc, index, last);
}

/// The element `offset` after a whole number, or the nearest there is.
Value Places::indexAt(Value whole, int64_t offset, const ResizedAxis &axis,
                      Value *isInside) const {
  Value index = arith::AddIOp::create(
      b, loc, integerOf(whole), arith::ConstantIndexOp::create(b, loc, offset));
  Value nearest = clamped(index, axis);
  if (isInside)
    *isInside =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, index, nearest);
  return nearest;
}

SmallVector<Tap> Places::taps(const ResizedAxis &axis) const {
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

Value Places::smoothed(const ResizedAxis &axis, ArrayRef<Value> loops,
                       Value from) const {
  Value one = number(1.0), half = number(0.5);
  Value centre = add(half, source(axis)), step = div(one, axis.scale);
  step = select(isGreater(step, one), step, one);
  bool isLinear = node.string("mode", "nearest") == "linear";
  Value reach = mul(number(isLinear ? 1.0 : 2.0), step);
  auto bound = [&](Value at) {
    return integerOf(math::FloorOp::create(b, loc, add(at, half)));
  };
  Value first = bound(sub(centre, reach)), last = bound(add(centre, reach));
  if (node.integer("exclude_outside", 0)) {
    Value zero = arith::ConstantIndexOp::create(b, loc, 0);
    first = arith::MaxSIOp::create(b, loc, first, zero);
    last = arith::MinSIOp::create(b, loc, last, axis.size);
  }
  Type type = cast<RankedTensorType>(from.getType()).getElementType();
  Type wide = type.isF64() ? type : b.getF32Type();
  Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(wide));
  auto loop = scf::ForOp::create(
      b, loc, first, last, arith::ConstantIndexOp::create(b, loc, 1),
      ValueRange{none, none},
      [&](OpBuilder &n, Location l, Value tap, ValueRange sums) {
        Places inner(n, l, node);
        Value offset = inner.sub(numberOf(n, l, tap, n.getF32Type()), centre);
        offset = inner.div(inner.add(offset, half), step);
        Value weight = castScalar(n, l, inner.weightAt(offset), wide);
        SmallVector<Value> place(loops);
        place[axis.dim] = inner.clamped(tap, axis);
        Value x = tensor::ExtractOp::create(n, l, from, place);
        x = castScalar(n, l, x, wide);
        scf::YieldOp::create(
            n, l,
            ValueRange{inner.add(sums[0], inner.mul(weight, x)),
                       inner.add(sums[1], weight)});
      });
  return div(loop.getResult(0), loop.getResult(1));
}

Value Places::inside(ArrayRef<ResizedAxis> axes, Value x) const {
  if (node.string("coordinate_transformation_mode", "half_pixel") !=
      "tf_crop_and_resize")
    return x;
  Value otherwise = castScalar(
      b, loc, number(node.real("extrapolation_value", 0)), x.getType());
  for (const ResizedAxis &axis : axes) {
    Value at = source(axis);
    Value isBefore = isGreater(number(0.0), at);
    Value isAfter = isGreater(at, sub(axis.length, number(1.0)));
    x = select(arith::OrIOp::create(b, loc, isBefore, isAfter), otherwise, x);
  }
  return x;
}

/// The sum over the taps of the axes from `depth` on.
static Value interpolate(OpBuilder &b, Location loc, ArrayRef<ResizedAxis> axes,
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
    Type wide = x.getType().isF64() ? x.getType() : b.getF32Type();
    x = castScalar(b, loc, x, wide);
    x = arith::MulFOp::create(b, loc, x, castScalar(b, loc, tap.weight, wide));
    sum = sum ? Value(arith::AddFOp::create(b, loc, sum, x)) : x;
  }
  return sum;
}

Value mlir::megactx::interpolated(OpBuilder &b, Location loc, Node &node,
                                  ArrayRef<ResizedAxis> axes, int64_t rank,
                                  Value from) {
  SmallVector<Value> place = loopIndices(b, loc, rank);
  Places places(b, loc, node);
  SmallVector<SmallVector<Tap>> taps;
  for (const ResizedAxis &axis : axes)
    taps.push_back(places.taps(axis));
  return places.inside(axes, interpolate(b, loc, axes, taps, place, from));
}

Value mlir::megactx::smoothed(OpBuilder &b, Location loc, Node &node,
                              const ResizedAxis &axis, int64_t rank,
                              Value from) {
  Places places(b, loc, node);
  Value x = places.smoothed(axis, loopIndices(b, loc, rank), from);
  return places.inside(axis, x);
}
