//===- Reduction.cpp - reductions, softmax and normalization --------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
enum class Reduce { Sum, Mean, Max, Min, SumSquare, Prod };
} // namespace

/// What a reduction adds up in: f32 for narrow floats, integers without a sign.
static Type sumType(Type type) { return signlessOf(accumulatorType(type)); }

static bool comparesUnsigned(Type type) {
  return type.isUnsignedInteger() || type.isInteger(1);
}

/// Of the type that is added up in; the flag says how its integers compare.
static TypedAttr initialValue(OpBuilder &b, Type type, bool isUnsigned,
                              Reduce kind) {
  if (kind == Reduce::Prod)
    return isa<FloatType>(type) ? TypedAttr(b.getFloatAttr(type, 1.0))
                                : TypedAttr(b.getIntegerAttr(type, 1));
  bool isMax = kind == Reduce::Max;
  if (!isMax && kind != Reduce::Min)
    return cast<TypedAttr>(b.getZeroAttr(type));
  if (auto floating = dyn_cast<FloatType>(type))
    return b.getFloatAttr(type,
                          APFloat::getInf(floating.getFloatSemantics(), isMax));
  unsigned width = type.getIntOrFloatBitWidth();
  if (isUnsigned)
    return b.getIntegerAttr(type, isMax ? APInt::getZero(width)
                                        : APInt::getMaxValue(width));
  return b.getIntegerAttr(type, isMax ? APInt::getSignedMinValue(width)
                                      : APInt::getSignedMaxValue(width));
}

/// The fast-math flags let the sum be taken in any order, as every other
/// implementation of these operators does.
static Value combine(OpBuilder &b, Location loc, Value acc, Value x,
                     bool isUnsigned, Reduce kind) {
  bool isFloat = isa<FloatType>(x.getType());
  auto any = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  switch (kind) {
  case Reduce::SumSquare:
    x = isFloat ? arith::MulFOp::create(b, loc, x, x, any).getResult()
                : arith::MulIOp::create(b, loc, x, x).getResult();
    [[fallthrough]];
  case Reduce::Sum:
  case Reduce::Mean:
    return isFloat ? arith::AddFOp::create(b, loc, acc, x, any).getResult()
                   : arith::AddIOp::create(b, loc, acc, x).getResult();
  case Reduce::Prod:
    return isFloat ? arith::MulFOp::create(b, loc, acc, x, any).getResult()
                   : arith::MulIOp::create(b, loc, acc, x).getResult();
  case Reduce::Max:
    if (isFloat)
      return arith::MaximumFOp::create(b, loc, acc, x);
    return isUnsigned ? arith::MaxUIOp::create(b, loc, acc, x).getResult()
                      : arith::MaxSIOp::create(b, loc, acc, x).getResult();
  case Reduce::Min:
    if (isFloat)
      return arith::MinimumFOp::create(b, loc, acc, x);
    return isUnsigned ? arith::MinUIOp::create(b, loc, acc, x).getResult()
                      : arith::MinSIOp::create(b, loc, acc, x).getResult();
  }
  llvm_unreachable("every kind is handled above");
}

static Tensor divide(Node &node, Tensor &sums, const IndexExpr &count,
                     bool isUnsigned) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Type type = sums.elementType;
  // Integers of nothing have no mean, and processors trap at it.
  Value size = graph.ix.value(
      loc,
      isa<FloatType>(type) ? count : graph.ix.max(loc, count, IndexExpr(1)));
  Value integer = arith::IndexCastOp::create(b, loc, b.getI64Type(), size);
  Value divisor = castScalar(b, loc, integer, type);
  return graph.map(
      loc, {&sums}, sums.shape, type,
      [&](OpBuilder &nested, Location l, ValueRange args) -> Value {
        if (isUnsigned)
          return arith::DivUIOp::create(nested, l, args[0], divisor);
        if (!isa<FloatType>(type))
          return arith::DivSIOp::create(nested, l, args[0], divisor);
        return arith::DivFOp::create(nested, l, args[0], divisor);
      });
}

/// Reduces the axes to size 1. Narrow floats are summed in f32.
static Tensor reduce(Node &node, Tensor &data, const SmallVector<bool> &axes,
                     Reduce kind) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Type type = data.elementType, sum = sumType(type);
  bool isUnsigned = comparesUnsigned(type);
  Shape kept, shape, reduced;
  SmallVector<AffineExpr> out;
  SmallVector<utils::IteratorType> iterators;
  for (int64_t i = 0; i < data.rank(); ++i) {
    shape.push_back(axes[i] ? IndexExpr(1) : data.shape[i]);
    iterators.push_back(axes[i] ? utils::IteratorType::reduction
                                : utils::IteratorType::parallel);
    (axes[i] ? reduced : kept).push_back(data.shape[i]);
    if (!axes[i])
      out.push_back(b.getAffineDimExpr(i));
  }
  Value init = graph.filled(loc, kept, initialValue(b, sum, isUnsigned, kind));
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{init.getType()},
      ValueRange{graph.materialize(loc, data)}, ValueRange{init},
      {b.getMultiDimIdentityMap(data.rank()),
       AffineMap::get(data.rank(), 0, out, b.getContext())},
      iterators, [&](OpBuilder &nested, Location l, ValueRange args) {
        Value x = castScalar(nested, l, args[0], sum);
        linalg::YieldOp::create(
            nested, l, combine(nested, l, args[1], x, isUnsigned, kind));
      });
  Tensor result = graph.wrap(op.getResult(0), kept);
  if (kind == Reduce::Mean)
    result = divide(node, result, graph.count(reduced), isUnsigned);
  return graph.reshape(loc, result, shape);
}

/// The same over axes that are known at run time only: each result loops over
/// its own elements.
static Tensor reduceFlagged(Node &node, Tensor &data, ArrayRef<IndexExpr> flags,
                            Reduce kind) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Type sum = sumType(data.elementType);
  bool isUnsigned = comparesUnsigned(data.elementType);
  Value from = graph.materialize(loc, data);
  Shape shape;
  IndexExpr count(1);
  SmallVector<Value> sizes, isReduced;
  for (auto [flag, size] : llvm::zip_equal(flags, data.shape)) {
    shape.push_back(graph.ix.select(loc, flag, IndexExpr(1), size));
    count = count * graph.ix.select(loc, flag, size, IndexExpr(1));
    sizes.push_back(graph.ix.value(loc, size));
    isReduced.push_back(graph.ix.condition(loc, flag));
  }
  Tensor result = graph.parallel(
      loc, {}, {}, shape, sum,
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        Value zero = arith::ConstantIndexOp::create(b, l, 0);
        Value one = arith::ConstantIndexOp::create(b, l, 1);
        SmallVector<Value> begins, ends, steps(sizes.size(), one);
        for (auto [i, size] : llvm::enumerate(sizes)) {
          Value at = linalg::IndexOp::create(b, l, i);
          Value next = arith::AddIOp::create(b, l, at, one);
          begins.push_back(
              arith::SelectOp::create(b, l, isReduced[i], zero, at));
          ends.push_back(
              arith::SelectOp::create(b, l, isReduced[i], size, next));
        }
        Value init = arith::ConstantOp::create(
            b, l, initialValue(b, sum, isUnsigned, kind));
        return scf::buildLoopNest(
                   b, l, begins, ends, steps, init,
                   [&](OpBuilder &n, Location ll, ValueRange at,
                       ValueRange so) -> scf::ValueVector {
                     Value x = tensor::ExtractOp::create(n, ll, from, at);
                     x = castScalar(n, ll, x, sum);
                     return {combine(n, ll, so[0], x, isUnsigned, kind)};
                   })
            .results.front();
      });
  return kind == Reduce::Mean ? divide(node, result, count, isUnsigned)
                              : result;
}

template <Reduce kind> static LogicalResult lowerReduce(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  bool isOrder = kind == Reduce::Max || kind == Reduce::Min;
  if (!isNumber(data.elementType) ||
      (data.elementType.isInteger(1) && !isOrder))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  SmallVector<IndexExpr> list;
  for (int64_t axis : node.integers("axes").value_or(SmallVector<int64_t>()))
    list.push_back(IndexExpr(axis));
  if (node.has(1)) {
    auto elements = graph.elementsOf(node.loc(), node.in(1));
    if (!elements)
      return node.error() << "expected axes in a list of static length";
    list = *elements;
  }
  if (list.empty() && !node.integer("noop_with_empty_axes", 0))
    for (int64_t i = 0; i < data.rank(); ++i)
      list.push_back(IndexExpr(i));
  auto flags = node.axisFlags(list, data.rank());
  if (failed(flags))
    return failure();
  bool isKnown = true;
  SmallVector<bool> axes;
  for (const IndexExpr &flag : *flags) {
    isKnown &= flag.constant().has_value();
    axes.push_back(flag.is(1));
  }
  Tensor wide = isKnown ? reduce(node, data, axes, kind)
                        : reduceFlagged(node, data, *flags, kind);
  Tensor result = graph.cast(node.loc(), wide, data.elementType);
  if (!node.integer("keepdims", 1))
    result = graph.reshape(
        node.loc(), result,
        graph.without(node.loc(), data.shape, *flags, list.size()));
  node.set(0, result);
  return success();
}

/// exp(x - max) / sum, or its logarithm, along one axis.
template <bool isLog> static LogicalResult lowerSoftmax(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = node.axis(node.integer("axis", -1), data.rank());
  if (!axis || !isa<FloatType>(data.elementType))
    return node.error() << "expected floats and an axis in range";
  SmallVector<bool> axes(data.rank(), false);
  axes[*axis] = true;
  Type type = accumulatorType(data.elementType);
  Tensor wide = graph.cast(loc, data, type);
  Tensor top = reduce(node, wide, axes, Reduce::Max);
  Tensor shifted =
      graph.map(loc, {&wide, &top}, wide.shape, type,
                [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                  Value x = arith::SubFOp::create(b, l, args[0], args[1]);
                  return isLog ? x : Value(math::ExpOp::create(b, l, x));
                });
  Tensor powers = shifted;
  if (isLog)
    powers = graph.map(loc, {&shifted}, wide.shape, type,
                       [](OpBuilder &b, Location l, ValueRange args) {
                         return Value(math::ExpOp::create(b, l, args[0]));
                       });
  Tensor sum = reduce(node, powers, axes, Reduce::Sum);
  Tensor result =
      graph.map(loc, {&shifted, &sum}, wide.shape, type,
                [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                  if (!isLog)
                    return arith::DivFOp::create(b, l, args[0], args[1]);
                  Value log = math::LogOp::create(b, l, args[1]);
                  return arith::SubFOp::create(b, l, args[0], log);
                });
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

/// (x - mean) / sqrt(mean of squares + epsilon) * scale + bias over the axes
/// from `axis` on; RMSNormalization subtracts no mean.
template <bool isRms> static LogicalResult lowerNormalization(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = node.axis(node.integer("axis", -1), data.rank());
  if (!axis || !isa<FloatType>(data.elementType))
    return node.error() << "expected floats and an axis in range";
  SmallVector<bool> axes(data.rank(), false);
  for (int64_t i = *axis; i < data.rank(); ++i)
    axes[i] = true;
  double epsilon = node.real("epsilon", 1e-5);
  Type type = accumulatorType(data.elementType);
  Tensor centred = graph.cast(loc, data, type);
  if (!isRms) {
    Tensor mean = reduce(node, centred, axes, Reduce::Mean);
    if (node.wants(1))
      node.set(1, graph.cast(loc, mean, graph.b.getF32Type()));
    centred =
        graph.map(loc, {&centred, &mean}, data.shape, type,
                  [](OpBuilder &b, Location l, ValueRange args) {
                    return Value(arith::SubFOp::create(b, l, args[0], args[1]));
                  });
  }
  Tensor squares =
      graph.map(loc, {&centred}, data.shape, type,
                [](OpBuilder &b, Location l, ValueRange args) {
                  return Value(arith::MulFOp::create(b, l, args[0], args[0]));
                });
  Tensor variance = reduce(node, squares, axes, Reduce::Mean);
  Tensor factor = graph.map(
      loc, {&variance}, variance.shape, type,
      [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        Value small =
            arith::ConstantOp::create(b, l, b.getFloatAttr(type, epsilon));
        Value sum = arith::AddFOp::create(b, l, args[0], small);
        Value root = math::SqrtOp::create(b, l, sum);
        Value one = arith::ConstantOp::create(b, l, b.getFloatAttr(type, 1.0));
        return arith::DivFOp::create(b, l, one, root);
      });
  if (node.wants(2))
    node.set(2, graph.cast(loc, factor, graph.b.getF32Type()));
  Tensor scale = graph.cast(loc, node.in(1), type), bias;
  SmallVector<Tensor *> inputs = {&centred, &factor, &scale};
  if (node.has(2)) {
    bias = graph.cast(loc, node.in(2), type);
    inputs.push_back(&bias);
  }
  Tensor result =
      graph.map(loc, inputs, data.shape, type,
                [](OpBuilder &b, Location l, ValueRange args) -> Value {
                  Value x = arith::MulFOp::create(b, l, args[0], args[1]);
                  x = arith::MulFOp::create(b, l, x, args[2]);
                  return args.size() == 3
                             ? x
                             : Value(arith::AddFOp::create(b, l, x, args[3]));
                });
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

void mlir::megactx::registerReduction(Registry &registry) {
  registry["ReduceSum"] = lowerReduce<Reduce::Sum>;
  registry["ReduceMean"] = lowerReduce<Reduce::Mean>;
  registry["ReduceMax"] = lowerReduce<Reduce::Max>;
  registry["ReduceMin"] = lowerReduce<Reduce::Min>;
  registry["ReduceProd"] = lowerReduce<Reduce::Prod>;
  registry["ReduceSumSquare"] = lowerReduce<Reduce::SumSquare>;
}

void mlir::megactx::registerNormalization(Registry &registry) {
  registry["Softmax"] = lowerSoftmax<false>;
  registry["LogSoftmax"] = lowerSoftmax<true>;
  registry["LayerNormalization"] = lowerNormalization<false>;
  registry["RMSNormalization"] = lowerNormalization<true>;
}
