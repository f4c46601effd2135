//===- Reduction.cpp - reductions -------------------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// What a reduction adds up in: f32 for narrow floats, integers without a sign.
static Type sumType(Type type) { return signlessOf(accumulatorType(type)); }

static bool comparesUnsigned(Type type) {
  return type.isUnsignedInteger() || type.isInteger(1);
}

TypedAttr mlir::megactx::initialValue(OpBuilder &b, Type type, bool isUnsigned,
                                      Reduce kind) {
  if (kind == Reduce::Prod)
    return isa<FloatType>(type) ? TypedAttr(b.getFloatAttr(type, 1.0))
                                : TypedAttr(b.getIntegerAttr(type, 1));
  bool isMax = kind == Reduce::Max;
  if (!isMax && kind != Reduce::Min)
    return b.getZeroAttr(type);
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

Value mlir::megactx::combine(OpBuilder &b, Location loc, Value acc, Value x,
                             bool isUnsigned, Reduce kind,
                             arith::FastMathFlags flags) {
  bool isFloat = isa<FloatType>(x.getType());
  switch (kind) {
  case Reduce::SumSquare:
    x = isFloat ? arith::MulFOp::create(b, loc, x, x, flags).getResult()
                : arith::MulIOp::create(b, loc, x, x).getResult();
    [[fallthrough]];
  case Reduce::Sum:
  case Reduce::Mean:
    return isFloat ? arith::AddFOp::create(b, loc, acc, x, flags).getResult()
                   : arith::AddIOp::create(b, loc, acc, x).getResult();
  case Reduce::Prod:
    return isFloat ? arith::MulFOp::create(b, loc, acc, x, flags).getResult()
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

void mlir::megactx::multiplyAdd(OpBuilder &b, Location loc, ValueRange args,
                                arith::FastMathFlags flags) {
  Type type = args.back().getType(), bits = signlessOf(type);
  auto operand = [&](Value x) {
    return bitsAs(b, loc, castScalar(b, loc, x, type), bits);
  };
  bool isUnsigned = type.isUnsignedInteger();
  Value product = operand(args[0]);
  for (Value factor : args.drop_front().drop_back())
    product =
        combine(b, loc, product, operand(factor), isUnsigned, Reduce::Prod);
  Value sum = combine(b, loc, operand(args.back()), product, isUnsigned,
                      Reduce::Sum, flags);
  linalg::YieldOp::create(b, loc, bitsAs(b, loc, sum, type));
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
  Value divisor = numberOf(b, loc, size, type);
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

Tensor mlir::megactx::reduce(Node &node, Tensor &data,
                             const SmallVector<bool> &axes, Reduce kind) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Type type = data.elementType, sum = sumType(type);
  bool isUnsigned = comparesUnsigned(type);
  Shape kept, shape, reduced;
  SmallVector<AffineExpr> out;
  // Loops are in the order of the data in memory.
  bool isLast = data.isChannelsLast();
  SmallVector<utils::IteratorType> iterators;
  for (int64_t i = 0; i < data.rank(); ++i) {
    shape.push_back(axes[i] ? IndexExpr(1) : data.shape[i]);
    iterators.push_back(axes[i] ? utils::IteratorType::reduction
                                : utils::IteratorType::parallel);
    (axes[i] ? reduced : kept).push_back(data.shape[i]);
    if (!axes[i])
      out.push_back(
          b.getAffineDimExpr(isLast ? placeInLast(i, data.rank()) : i));
  }
  if (isLast)
    iterators = inLastOrder<utils::IteratorType>(iterators);
  Value init = graph.filled(loc, kept, initialValue(b, sum, isUnsigned, kind));
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{init.getType()},
      ValueRange{isLast ? data.channelsLast : graph.materialize(loc, data)},
      ValueRange{init},
      {b.getMultiDimIdentityMap(data.rank()),
       AffineMap::get(data.rank(), 0, out, b.getContext())},
      iterators, [&](OpBuilder &nested, Location l, ValueRange args) {
        Value x = castScalar(nested, l, args[0], sum);
        linalg::YieldOp::create(
            nested, l,
            combine(nested, l, args[1], x, isUnsigned, kind, kAnyOrder));
      });
  Tensor result = graph.wrap(op.getResult(0), kept);
  if (kind == Reduce::Mean)
    result = divide(node, result, product(reduced), isUnsigned);
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
        SmallVector<Value> begins = loopIndices(b, l, sizes.size()), ends,
                           steps(sizes.size(), one);
        for (auto [at, size, all] : llvm::zip_equal(begins, sizes, isReduced)) {
          Value next = arith::AddIOp::create(b, l, at, one);
          ends.push_back(arith::SelectOp::create(b, l, all, size, next));
          at = arith::SelectOp::create(b, l, all, zero, at);
        }
        Value init = arith::ConstantOp::create(
            b, l, initialValue(b, sum, isUnsigned, kind));
        return scf::buildLoopNest(
                   b, l, begins, ends, steps, init,
                   [&](OpBuilder &n, Location ll, ValueRange at,
                       ValueRange so) -> scf::ValueVector {
                     Value x = tensor::ExtractOp::create(n, ll, from, at);
                     x = castScalar(n, ll, x, sum);
                     return {
                         combine(n, ll, so[0], x, isUnsigned, kind, kAnyOrder)};
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

/// The mean, or largest element, over all spatial axes, each of which
/// becomes 1.
template <Reduce kind> static LogicalResult lowerGlobalPool(Node &node) {
  Tensor &data = node.in(0);
  if (data.rank() < 2 || !isFloat(data.elementType))
    return node.error() << "expected floats of rank 2 or more";
  SmallVector<bool> axes(data.rank(), true);
  axes[0] = axes[1] = false;
  Tensor wide = reduce(node, data, axes, kind);
  node.set(0, node.graph.cast(node.loc(), wide, data.elementType));
  return success();
}

void mlir::megactx::registerReduction(Registry &registry) {
  registry["ReduceSum"] = lowerReduce<Reduce::Sum>;
  registry["ReduceMean"] = lowerReduce<Reduce::Mean>;
  registry["ReduceMax"] = lowerReduce<Reduce::Max>;
  registry["ReduceMin"] = lowerReduce<Reduce::Min>;
  registry["ReduceProd"] = lowerReduce<Reduce::Prod>;
  registry["ReduceSumSquare"] = lowerReduce<Reduce::SumSquare>;
  registry["GlobalAveragePool"] = lowerGlobalPool<Reduce::Mean>;
  registry["GlobalMaxPool"] = lowerGlobalPool<Reduce::Max>;
}
