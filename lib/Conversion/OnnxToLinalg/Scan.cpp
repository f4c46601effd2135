//===- Scan.cpp - cumulative sums and products ----------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// How many partial results, as a power of two, each pass makes one of.
static constexpr int64_t kBits = 3;

namespace {
/// A scan along an axis that a run may choose. After a pass, each element is
/// the result of as many elements up to its own as the pass before had, times
/// 2^kBits: it combines that many, which lie as far apart as each reaches back.
/// So no element waits for another, and a long axis takes few passes.
struct Cumulation {
  Graph &graph;
  Location loc;
  Reduce kind;
  Type type;
  Shape shape;
  SmallVector<Value> isAxis;
  Value size; ///< of the axis
  bool isReverse;

  Value none(OpBuilder &b, Location l) const;
  /// The index along the axis, and how many elements are before it.
  std::pair<Value, Value> placeOf(OpBuilder &b, Location l,
                                  ArrayRef<Value> at) const;
  /// The element that many before `here`.
  Value get(OpBuilder &b, Location l, Value from, ArrayRef<Value> at,
            Value here, Value distance) const;
  /// Each element is the one before it, the first one none.
  Value shifted(Value from) const;
  Value pass(Value from, Value number) const;
  /// All passes.
  Value run(Value from) const;
};
} // namespace

Value Cumulation::none(OpBuilder &b, Location l) const {
  return arith::ConstantOp::create(
      b, l, initialValue(b, signlessOf(type), type.isUnsignedInteger(), kind));
}

std::pair<Value, Value> Cumulation::placeOf(OpBuilder &b, Location l,
                                            ArrayRef<Value> at) const {
  Value here = arith::ConstantIndexOp::create(b, l, 0);
  for (auto [index, hit] : llvm::zip_equal(at, isAxis))
    here = arith::SelectOp::create(b, l, hit, index, here);
  if (!isReverse)
    return {here, here};
  Value one = arith::ConstantIndexOp::create(b, l, 1);
  Value last = arith::SubIOp::create(b, l, size, one);
  return {here, arith::SubIOp::create(b, l, last, here)};
}

Value Cumulation::get(OpBuilder &b, Location l, Value from, ArrayRef<Value> at,
                      Value here, Value distance) const {
  Value i = isReverse ? Value(arith::AddIOp::create(b, l, here, distance))
                      : Value(arith::SubIOp::create(b, l, here, distance));
  SmallVector<Value> place(at);
  for (auto [index, hit] : llvm::zip_equal(place, isAxis))
    index = arith::SelectOp::create(b, l, hit, i, index);
  Value x = tensor::ExtractOp::create(b, l, from, place);
  return bitsAs(b, l, x, signlessOf(type));
}

Value Cumulation::shifted(Value from) const {
  Tensor result = graph.parallel(
      loc, {}, {}, shape, type,
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        SmallVector<Value> at = loopIndices(b, l, shape.size());
        auto [here, before] = placeOf(b, l, at);
        Value one = arith::ConstantIndexOp::create(b, l, 1);
        Value distance = arith::MinSIOp::create(b, l, before, one);
        Value isFirst =
            arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, before, one);
        Value x = get(b, l, from, at, here, distance);
        x = arith::SelectOp::create(b, l, isFirst, none(b, l), x);
        return bitsAs(b, l, x, type);
      });
  return graph.materialize(loc, result);
}

Value Cumulation::pass(Value from, Value number) const {
  Tensor result = graph.parallel(
      loc, {}, {}, shape, type,
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        SmallVector<Value> at = loopIndices(b, l, shape.size());
        Value here, before;
        std::tie(here, before) = placeOf(b, l, at);
        auto constant = [&](int64_t value) -> Value {
          return arith::ConstantIndexOp::create(b, l, value);
        };
        Value shift = arith::MulIOp::create(b, l, number, constant(kBits));
        Value others = arith::ShRUIOp::create(b, l, before, shift);
        Value count = arith::MinSIOp::create(
            b, l, arith::AddIOp::create(b, l, others, constant(1)),
            constant(1 << kBits));
        auto loop = scf::ForOp::create(
            b, l, constant(0), count, constant(1), none(b, l),
            [&](OpBuilder &n, Location ll, Value i, ValueRange so) {
              Value distance = arith::ShLIOp::create(n, ll, i, shift);
              Value x = get(n, ll, from, at, here, distance);
              scf::YieldOp::create(
                  n, ll,
                  combine(n, ll, so[0], x, type.isUnsignedInteger(), kind));
            });
        return bitsAs(b, l, loop.getResult(0), type);
      });
  return graph.materialize(loc, result);
}

Value Cumulation::run(Value from) const {
  OpBuilder &b = graph.b;
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  Value passes = arith::CeilDivUIOp::create(b, loc, doublingsTo(b, loc, size),
                                            constant(kBits));
  auto loop =
      scf::ForOp::create(b, loc, constant(0), passes, constant(1), from);
  OpBuilder::InsertionGuard guard(b);
  IndexSpace::Scope scope(graph.ix);
  b.setInsertionPointToStart(loop.getBody());
  Value next = pass(loop.getRegionIterArg(0), loop.getInductionVar());
  scf::YieldOp::create(b, loc, next);
  return loop.getResult(0);
}

Value mlir::megactx::sumsBefore(Graph &graph, Location loc, Tensor &list) {
  Value isAxis = arith::ConstantIntOp::create(graph.b, loc, 1, 1);
  Cumulation scan{graph,
                  loc,
                  Reduce::Sum,
                  list.elementType,
                  list.shape,
                  {isAxis},
                  graph.ix.value(loc, list.shape[0]),
                  /*isReverse=*/false};
  return scan.run(scan.shifted(graph.materialize(loc, list)));
}

template <Reduce kind> static LogicalResult lowerCumulative(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = node.scalar(1, "the axis");
  if (failed(axis))
    return failure();
  if (!isNumber(data.elementType) || data.elementType.isInteger(1))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  auto flags = node.axisFlags(*axis, data.rank());
  if (failed(flags))
    return failure();
  IndexSpace &ix = graph.ix;
  IndexExpr length(1);
  SmallVector<Value> isAxis;
  for (auto [flag, dim] : llvm::zip_equal(*flags, data.shape)) {
    length = ix.select(loc, flag, dim, length);
    isAxis.push_back(ix.condition(loc, flag));
  }
  Cumulation scan{graph,
                  loc,
                  kind,
                  data.elementType,
                  data.shape,
                  isAxis,
                  ix.value(loc, length),
                  node.integer("reverse", 0) != 0};
  Value start = graph.materialize(loc, data);
  if (node.integer("exclusive", 0))
    start = scan.shifted(start);
  node.set(0, graph.wrap(scan.run(start), data.shape));
  return success();
}

void mlir::megactx::registerScan(Registry &registry) {
  registry["CumSum"] = lowerCumulative<Reduce::Sum>;
  registry["CumProd"] = lowerCumulative<Reduce::Prod>;
}
