//===- NonZero.cpp - elements that their own data choose ------------------===//
//
// Of one number everywhere, all are chosen, or none. Else only a run knows how
// many there are. They are counted by blocks: an element of the result finds
// its block in the sums of the counts, and its place in the block by counting
// again, so that no element waits for another.
//
//===----------------------------------------------------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

static constexpr int64_t kBlock = 32;

namespace {
/// The places of the elements that are not 0, of a tensor as a list.
class Places {
public:
  Places(Node &node, Tensor data);

  /// How many there are.
  IndexExpr count() const { return total; }
  /// Their places, i64 [count], in order.
  Tensor all();

private:
  using Step = llvm::function_ref<SmallVector<Value>(ImplicitLocOpBuilder &,
                                                     Value, ValueRange)>;
  /// A loop over indices that carries values.
  static ResultRange loop(OpBuilder &b, Location loc, Value begin, Value end,
                          ValueRange inits, Step step);
  void countBlocks(Tensor &data);
  Tensor numbered() const;
  Value isChosen(ImplicitLocOpBuilder &b, Value at) const;
  /// Where the block ends.
  Value endOf(ImplicitLocOpBuilder &b, Value block) const;
  Value blockOf(OpBuilder &b, Location loc, Value number) const;

  Graph &graph;
  Location loc;
  bool areAll = false; ///< all that there are, which may be none
  Value list, size, numBlocks;
  Value sums; ///< index [blocks + 1]: how many are before each block
  IndexExpr total;
};
} // namespace

ResultRange Places::loop(OpBuilder &b, Location loc, Value begin, Value end,
                         ValueRange inits, Step step) {
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  return scf::ForOp::create(
             b, loc, begin, end, one, inits,
             [&](OpBuilder &n, Location l, Value i, ValueRange so) {
               ImplicitLocOpBuilder in(l, n);
               scf::YieldOp::create(n, l, step(in, i, so));
             })
      .getResults();
}

Value Places::isChosen(ImplicitLocOpBuilder &b, Value at) const {
  Value element = tensor::ExtractOp::create(b, list, at);
  return castScalar(b, b.getLoc(), element, b.getI1Type());
}

Value Places::endOf(ImplicitLocOpBuilder &b, Value block) const {
  Value length = arith::ConstantIndexOp::create(b, kBlock);
  Value begin = arith::MulIOp::create(b, block, length);
  return arith::MinSIOp::create(
      b, arith::AddIOp::create(b, begin, length).getResult(), size);
}

static bool isZero(TypedAttr number) {
  if (auto real = dyn_cast<FloatAttr>(number))
    return real.getValue().isZero();
  return cast<IntegerAttr>(number).getValue().isZero();
}

Places::Places(Node &node, Tensor data) : graph(node.graph), loc(node.loc()) {
  if (!data.splat) {
    countBlocks(data);
    return;
  }
  areAll = true;
  total = isZero(data.splat) ? IndexExpr(0) : product(data.shape);
}

void Places::countBlocks(Tensor &data) {
  IndexSpace &ix = graph.ix;
  IndexExpr length = product(data.shape);
  IndexExpr blocks =
      ix.floorDiv(loc, length + IndexExpr(kBlock - 1), IndexExpr(kBlock));
  Tensor flat = graph.reshape(loc, data, length);
  list = graph.materialize(loc, flat);
  size = ix.value(loc, length);
  numBlocks = ix.value(loc, blocks);
  Type index = graph.b.getIndexType(), i64 = graph.b.getI64Type();
  // Behind the last block is one of none, before which are all.
  Tensor counts = graph.parallel(
      loc, {}, {}, blocks + IndexExpr(1), i64,
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        ImplicitLocOpBuilder in(l, b);
        Value block = linalg::IndexOp::create(b, l, 0);
        Value none = arith::ConstantIntOp::create(b, l, i64, 0);
        Value begin = arith::MulIOp::create(
            b, l, block, arith::ConstantIndexOp::create(b, l, kBlock));
        return loop(b, l, begin, endOf(in, block), none,
                    [&](ImplicitLocOpBuilder &n, Value i, ValueRange so) {
                      Value one =
                          arith::ExtUIOp::create(n, i64, isChosen(n, i));
                      return SmallVector<Value>{
                          arith::AddIOp::create(n, so[0], one)};
                    })
            .front();
      });
  sums = sumsBefore(graph, loc, counts);
  Value last = tensor::ExtractOp::create(graph.b, loc, sums, numBlocks);
  total = ix.symbol(
      arith::IndexCastOp::create(graph.b, loc, index, last).getResult(), 0);
}

/// The last block with no more elements before it than `number`: halved until
/// one is left.
Value Places::blockOf(OpBuilder &b, Location loc, Value number) const {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value steps = doublingsTo(b, loc, numBlocks);
  return loop(b, loc, zero, steps, {zero, numBlocks},
              [&](ImplicitLocOpBuilder &n, Value, ValueRange so) {
                Value one = arith::ConstantIndexOp::create(n, 1);
                Value middle = arith::ShRUIOp::create(
                    n, arith::AddIOp::create(n, so[0], so[1]).getResult(), one);
                Value before = tensor::ExtractOp::create(n, sums, middle);
                Value isAfter = arith::CmpIOp::create(
                    n, arith::CmpIPredicate::sgt, before, number);
                return SmallVector<Value>{
                    arith::SelectOp::create(n, isAfter, so[0], middle),
                    arith::SelectOp::create(n, isAfter, middle, so[1])};
              })
      .front();
}

/// From 0 on.
Tensor Places::numbered() const {
  constexpr int64_t kMostKnown = 64;
  Type i64 = graph.b.getI64Type();
  if (auto known = total.constant(); known && *known <= kMostKnown) {
    SmallVector<IndexExpr> places;
    for (int64_t i = 0; i < *known; ++i)
      places.push_back(IndexExpr(i));
    return graph.ofElements(places, total, i64);
  }
  return graph.parallel(loc, {}, {}, total, i64,
                        [&](OpBuilder &b, Location l, ValueRange) -> Value {
                          Value at = linalg::IndexOp::create(b, l, 0);
                          return arith::IndexCastOp::create(b, l, i64, at);
                        });
}

Tensor Places::all() {
  Type i64 = graph.b.getI64Type();
  if (areAll)
    return numbered();
  return graph.parallel(
      loc, {}, {}, total, i64,
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        ImplicitLocOpBuilder in(l, b);
        Value number = arith::IndexCastOp::create(
            b, l, i64, linalg::IndexOp::create(b, l, 0).getResult());
        Value block = blockOf(b, l, number);
        Value before = tensor::ExtractOp::create(b, l, sums, block);
        Value begin = arith::MulIOp::create(
            b, l, block, arith::ConstantIndexOp::create(b, l, kBlock));
        Value place =
            loop(b, l, begin, endOf(in, block), {before, begin},
                 [&](ImplicitLocOpBuilder &n, Value i, ValueRange so) {
                   Value chosen = isChosen(n, i);
                   Value isNumber = arith::CmpIOp::create(
                       n, arith::CmpIPredicate::eq, so[0], number);
                   Value isHere = arith::AndIOp::create(n, chosen, isNumber);
                   Value one = arith::ExtUIOp::create(n, i64, chosen);
                   return SmallVector<Value>{
                       arith::AddIOp::create(n, so[0], one),
                       arith::SelectOp::create(n, isHere, i, so[1])};
                 })[1];
        return arith::IndexCastOp::create(b, l, i64, place);
      });
}

/// One column [rank] for each element, of its indices.
static LogicalResult lowerNonZero(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  if (!isNumber(data.elementType))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  Places places(node, data);
  Tensor all = places.all();
  if (data.rank() == 1) {
    node.set(0, graph.reshape(loc, all, {IndexExpr(1), places.count()}));
    return success();
  }
  SmallVector<Value> sizes = graph.ix.values(loc, data.shape);
  Value list = graph.materialize(loc, all);
  AffineMap column = AffineMap::get(2, 0, graph.b.getAffineDimExpr(1));
  node.set(0, graph.parallel(
                  loc, list, column, {IndexExpr(data.rank()), places.count()},
                  graph.b.getI64Type(),
                  [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                    Value dim = linalg::IndexOp::create(b, l, 0);
                    Value rest = indexOf(b, l, args[0]), index = rest;
                    for (int64_t i = sizes.size() - 1; i >= 0; --i) {
                      Value own = arith::CmpIOp::create(
                          b, l, arith::CmpIPredicate::eq, dim,
                          arith::ConstantIndexOp::create(b, l, i));
                      index = arith::SelectOp::create(
                          b, l, own,
                          arith::RemUIOp::create(b, l, rest, sizes[i]), index);
                      rest = arith::DivUIOp::create(b, l, rest, sizes[i]);
                    }
                    return arith::IndexCastOp::create(b, l, b.getI64Type(),
                                                      index);
                  }));
  return success();
}

/// The slices along an axis, or the elements of the tensor as a list, that the
/// condition chooses; those beyond its end are not chosen.
static LogicalResult lowerCompress(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor data = node.in(0);
  Tensor &condition = node.in(1);
  int64_t axis = 0;
  if (node.op->hasAttr("axis")) {
    auto given = node.axis(node.integer("axis", 0), data.rank());
    if (!given)
      return node.error() << "expected an axis in range";
    axis = *given;
  } else {
    data = graph.reshape(loc, data, product(data.shape));
  }
  if (condition.rank() != 1)
    return node.error() << "expected a list of conditions, but its rank is "
                        << condition.rank();
  IndexSpace &ix = graph.ix;
  IndexExpr length = ix.min(loc, condition.shape[0], data.shape[axis]);
  Tensor within =
      graph.slice(loc, condition, IndexExpr(0), length, IndexExpr(1));
  Places places(node, within);
  Tensor all = places.all();
  Value list = graph.materialize(loc, all);
  Value from = graph.materialize(loc, data);
  Shape shape = data.shape;
  shape[axis] = places.count();
  AffineMap along =
      AffineMap::get(shape.size(), 0, graph.b.getAffineDimExpr(axis));
  node.set(0, graph.parallel(
                  loc, list, along, shape, data.elementType,
                  [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                    SmallVector<Value> at = loopIndices(b, l, shape.size());
                    at[axis] = indexOf(b, l, args[0]);
                    return tensor::ExtractOp::create(b, l, from, at);
                  }));
  return success();
}

void mlir::megactx::registerNonZero(Registry &registry) {
  registry["NonZero"] = lowerNonZero;
  registry["Compress"] = lowerCompress;
}
