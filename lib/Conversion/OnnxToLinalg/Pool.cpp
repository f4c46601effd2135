//===- Pool.cpp - reductions over windows ---------------------------------===//

#include "Reduction.h"
#include "Windows.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
enum class Pool { Max, Average, Norm };

/// A window of one result: its batch entry and channel; begin and end of the
/// taps that are inside of the data, and where tap 0 is, per spatial axis.
struct Extent {
  SmallVector<Value> outer, begins, ends, origins;
};

/// Builds the computation of one result of a pool.
class PoolBuilder {
public:
  PoolBuilder(Node &node, const Windows &windows, bool isLast)
      : w(windows), isLast(isLast) {
    IndexSpace &ix = node.graph.ix;
    Location loc = node.loc();
    sizes = ix.values(loc, node.in(0).shape);
    kernel = ix.values(loc, w.kernel);
    before = ix.values(loc, w.before);
    after = ix.values(loc, w.after);
  }

  /// The index of the loop over a dim of the result.
  Value loop(OpBuilder &b, Location loc, int64_t dim) const {
    return linalg::IndexOp::create(
        b, loc, isLast ? placeInLast(dim, 2 + w.rank()) : dim);
  }
  Extent extent(OpBuilder &b, Location loc, bool includesPads) const;
  /// Taps in the window: all of them multiplied.
  Value count(OpBuilder &b, Location loc, const Extent &extent) const;
  /// Where a tap of the window is.
  SmallVector<Value> place(OpBuilder &b, Location loc, const Extent &extent,
                           ValueRange taps) const;

  const Windows &w;
  bool isLast; ///< data and results have their channels last
  SmallVector<Value> sizes, kernel, before, after;
};
} // namespace

Extent PoolBuilder::extent(OpBuilder &b, Location loc,
                           bool includesPads) const {
  Extent extent;
  auto constant = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  Value zero = constant(0);
  for (int64_t i : {0, 1})
    extent.outer.push_back(loop(b, loc, i));
  for (int64_t i = 0; i < w.rank(); ++i) {
    Value at = loop(b, loc, 2 + i);
    at = arith::MulIOp::create(b, loc, at, constant(w.strides[i]));
    Value origin = arith::SubIOp::create(b, loc, at, before[i]);
    Value dilation = constant(w.dilations[i]);
    Value first = includesPads
                      ? Value(arith::SubIOp::create(b, loc, zero, before[i]))
                      : zero;
    Value last = sizes[2 + i];
    if (includesPads)
      last = arith::AddIOp::create(b, loc, last, after[i]);
    Value begin = arith::CeilDivSIOp::create(
        b, loc, arith::SubIOp::create(b, loc, first, origin), dilation);
    Value end = arith::CeilDivSIOp::create(
        b, loc, arith::SubIOp::create(b, loc, last, origin), dilation);
    extent.begins.push_back(arith::MaxSIOp::create(b, loc, begin, zero));
    extent.ends.push_back(arith::MinSIOp::create(b, loc, end, kernel[i]));
    extent.origins.push_back(origin);
  }
  return extent;
}

Value PoolBuilder::count(OpBuilder &b, Location loc,
                         const Extent &extent) const {
  Value product = arith::ConstantIndexOp::create(b, loc, 1);
  for (auto [begin, end] : llvm::zip_equal(extent.begins, extent.ends)) {
    Value taps = arith::SubIOp::create(b, loc, end, begin);
    product = arith::MulIOp::create(b, loc, product, taps);
  }
  return product;
}

SmallVector<Value> PoolBuilder::place(OpBuilder &b, Location loc,
                                      const Extent &extent,
                                      ValueRange taps) const {
  SmallVector<Value> place(extent.outer);
  for (auto [i, tap] : llvm::enumerate(taps)) {
    Value dilation = arith::ConstantIndexOp::create(b, loc, w.dilations[i]);
    Value offset = arith::MulIOp::create(b, loc, tap, dilation);
    place.push_back(arith::AddIOp::create(b, loc, extent.origins[i], offset));
  }
  return place;
}

/// Runs `step` over the window's elements, in row-major order.
static scf::ValueVector overWindow(
    OpBuilder &b, Location loc, const PoolBuilder &pool, const Extent &extent,
    ValueRange init, Value from,
    llvm::function_ref<SmallVector<Value>(OpBuilder &, Location,
                                          ArrayRef<Value>, Value, ValueRange)>
        step) {
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  SmallVector<Value> steps(extent.begins.size(), one);
  return scf::buildLoopNest(
             b, loc, extent.begins, extent.ends, steps, init,
             [&](OpBuilder &n, Location l, ValueRange taps, ValueRange so) {
               SmallVector<Value> place = pool.place(n, l, extent, taps);
               SmallVector<Value> at =
                   pool.isLast ? inLastOrder<Value>(place) : place;
               Value x = tensor::ExtractOp::create(n, l, from, at);
               SmallVector<Value> next = step(n, l, place, x, so);
               return scf::ValueVector(next.begin(), next.end());
             })
      .results;
}

/// The window's largest element, or where it is: its number in the row-major
/// data, or with axes after the first two in the opposite order.
static Value largest(OpBuilder &b, Location loc, const PoolBuilder &pool,
                     Value from, Type type, bool givesPlace, bool isColumn) {
  Type bits = signlessOf(type);
  TypedAttr least =
      initialValue(b, bits, type.isUnsignedInteger(), Reduce::Max);
  Value none = arith::ConstantIndexOp::create(b, loc, -1);
  Extent extent = pool.extent(b, loc, /*includesPads=*/false);
  auto found = overWindow(
      b, loc, pool, extent, {arith::ConstantOp::create(b, loc, least), none},
      from,
      [&](OpBuilder &n, Location l, ArrayRef<Value> place, Value x,
          ValueRange so) -> SmallVector<Value> {
        x = bitsAs(n, l, x, bits);
        Value number = place[0];
        auto add = [&](size_t i) {
          number = arith::MulIOp::create(n, l, number, pool.sizes[i]);
          number = arith::AddIOp::create(n, l, number, place[i]);
        };
        add(1);
        for (size_t i = 2; i < place.size(); ++i)
          add(isColumn ? place.size() + 1 - i : i);
        Value isMore = comesBefore(n, l, x, so[0], type, /*isLarger=*/true);
        // The first element is taken whatever it is.
        Value isFirst =
            arith::CmpIOp::create(n, l, arith::CmpIPredicate::eq, so[1], none);
        isMore = arith::OrIOp::create(n, l, isMore, isFirst);
        return {arith::SelectOp::create(n, l, isMore, x, so[0]),
                arith::SelectOp::create(n, l, isMore, number, so[1])};
      });
  if (givesPlace)
    return arith::IndexCastOp::create(b, loc, b.getI64Type(), found[1]);
  return bitsAs(b, loc, found[0], type);
}

/// The mean of the window's elements, or the p-th root of the sum of their p-th
/// powers.
static Value sumOf(OpBuilder &b, Location loc, Node &node,
                   const PoolBuilder &pool, Value from, Type type, Pool kind) {
  Type wide = accumulatorType(type);
  double power = node.integer("p", 2);
  auto constant = [&](OpBuilder &n, Location l, double value) {
    return arith::ConstantOp::create(n, l, n.getFloatAttr(wide, value));
  };
  Extent extent = pool.extent(b, loc, /*includesPads=*/false);
  Value sum = overWindow(
      b, loc, pool, extent, Value(constant(b, loc, 0.0)), from,
      [&](OpBuilder &n, Location l, ArrayRef<Value>, Value x,
          ValueRange so) -> SmallVector<Value> {
        x = castScalar(n, l, x, wide);
        if (kind == Pool::Norm)
          x = math::PowFOp::create(n, l, math::AbsFOp::create(n, l, x),
                                   constant(n, l, power));
        return {arith::AddFOp::create(n, l, so[0], x)};
      })[0];
  if (kind == Pool::Norm)
    sum = math::PowFOp::create(b, loc, sum, constant(b, loc, 1.0 / power));
  if (kind == Pool::Average) {
    bool includesPads = node.integer("count_include_pad", 0);
    Value count = pool.count(b, loc, pool.extent(b, loc, includesPads));
    sum = arith::DivFOp::create(b, loc, sum, numberOf(b, loc, count, wide));
  }
  return castScalar(b, loc, sum, type);
}

template <Pool kind> static LogicalResult lowerPool(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  Type type = data.elementType;
  auto sizes = node.integers("kernel_shape").value_or(SmallVector<int64_t>());
  if (data.rank() < 3 || int64_t(sizes.size()) != data.rank() - 2 ||
      llvm::any_of(sizes, [](int64_t size) {
        return size < 1 || size > std::numeric_limits<int32_t>::max();
      }))
    return node.error() << "expected data of rank 3 or more and a kernel_shape "
                           "of its spatial axes";
  if (!isNumber(type) || type.isInteger(1) ||
      (kind != Pool::Max && !isa<FloatType>(type)))
    return node.error() << "element type " << type << " has no lowering";
  if (kind == Pool::Norm && node.integer("p", 2) < 1)
    return node.error() << "expected p of at least 1";
  Shape kernel(sizes.begin(), sizes.end());
  auto windows = windowsOf(node, kernel);
  if (failed(windows))
    return failure();
  Shape shape = {data.shape[0], data.shape[1]};
  shape.append(windows->counts);
  bool isLast = data.isChannelsLast();
  Value from = isLast ? data.channelsLast : graph.materialize(loc, data);
  PoolBuilder pool(node, *windows, isLast);
  bool isColumn = node.integer("storage_order", 0);
  auto result = [&](Type elementType, bool givesPlace) {
    Tensor made = graph.parallel(
        loc, {}, {}, isLast ? inLastOrder<IndexExpr>(shape) : shape,
        elementType, [&](OpBuilder &b, Location l, ValueRange) {
          return kind == Pool::Max
                     ? largest(b, l, pool, from, type, givesPlace, isColumn)
                     : sumOf(b, l, node, pool, from, type, kind);
        });
    return isLast ? graph.wrapChannelsLast(made.value, shape) : made;
  };
  node.set(0, result(type, false));
  if (kind == Pool::Max && node.wants(1))
    node.set(1, result(graph.b.getI64Type(), true));
  return success();
}

void mlir::megactx::registerPool(Registry &registry) {
  registry["MaxPool"] = lowerPool<Pool::Max>;
  registry["AveragePool"] = lowerPool<Pool::Average>;
  registry["LpPool"] = lowerPool<Pool::Norm>;
}
