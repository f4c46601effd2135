//===- TopK.cpp - the largest elements along an axis ----------------------===//
//
// One op where a library searches. Elsewhere few elements are found by a turn
// for each, which looks at all rows; more by sorting.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// What is asked for: values and indices of `shape`.
struct Asked {
  Value from, size; ///< the data, and its size along the axis
  int64_t axis;
  IndexExpr k;
  Shape shape;
  Type type;
  bool isLarger;
};
using ValuesAndIndices = std::pair<Tensor, Tensor>;
} // namespace

/// The index along the axis of the element after (value, index), in the order
/// of values and then indices: what a turn finds.
static Value nextOf(const Asked &asked, OpBuilder &b, Location loc,
                    Value isFirst, Value value, Value index) {
  SmallVector<Value> place = loopIndices(b, loc, asked.shape.size());
  Type type = asked.type;
  bool isLarger = asked.isLarger;
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value none = arith::ConstantIndexOp::create(b, loc, -1);
  auto loop = scf::ForOp::create(
      b, loc, zero, asked.size, one, ValueRange{value, none},
      [&](OpBuilder &n, Location l, Value i, ValueRange so) {
        SmallVector<Value> at(place);
        at[asked.axis] = i;
        Value x = tensor::ExtractOp::create(n, l, asked.from, at);
        Value yes = arith::ConstantIntOp::create(n, l, 1, 1);
        auto isNot = [&](Value bit) {
          return Value(arith::XOrIOp::create(n, l, bit, yes));
        };
        // After the last one: a later value, or no earlier one further on.
        Value isLater = comesBefore(n, l, value, x, type, isLarger);
        Value isEarlier = comesBefore(n, l, x, value, type, isLarger);
        Value isFurther =
            arith::CmpIOp::create(n, l, arith::CmpIPredicate::sgt, i, index);
        Value isAfter = arith::OrIOp::create(
            n, l, isLater,
            arith::AndIOp::create(n, l, isNot(isEarlier), isFurther));
        isAfter = arith::OrIOp::create(n, l, isAfter, isFirst);
        Value isBetter = arith::OrIOp::create(
            n, l, comesBefore(n, l, x, so[0], type, isLarger),
            arith::CmpIOp::create(n, l, arith::CmpIPredicate::eq, so[1], none));
        Value isNext = arith::AndIOp::create(n, l, isAfter, isBetter);
        scf::YieldOp::create(
            n, l,
            ValueRange{arith::SelectOp::create(n, l, isNext, x, so[0]),
                       arith::SelectOp::create(n, l, isNext, i, so[1])});
      });
  // Where nothing compares, as NaN: the first element.
  return arith::MaxSIOp::create(b, loc, loop.getResult(1), zero);
}

namespace {
/// Sorts along the axis by merging: pass s makes runs of 2^(s + 1) elements of
/// two each, of which the first k matter. An element of a run finds by halving
/// how many of those before it are the first half's, so that none waits for
/// another. Elements are numbers along the axis, i32; equal ones stay in order,
/// and those that are not a number are last.
struct Merge : Asked {
  Value taken; ///< k

  Value isBefore(OpBuilder &b, Location loc, ArrayRef<Value> place, Value i,
                 Value j) const;
  /// What stands at `place` after pass `pass`; `order` is what stood there.
  Value element(OpBuilder &b, Location loc, Value order, Value pass,
                ArrayRef<Value> place) const;

private:
  Value search(ImplicitLocOpBuilder &b, Value order, Value pass,
               ArrayRef<Value> place) const;
};
} // namespace

Value Merge::isBefore(OpBuilder &b, Location loc, ArrayRef<Value> place,
                      Value i, Value j) const {
  SmallVector<Value> at(place);
  auto get = [&](Value number) -> Value {
    at[axis] = number;
    return tensor::ExtractOp::create(b, loc, from, at);
  };
  Value x = get(i), y = get(j);
  Value isFirst = comesBefore(b, loc, x, y, type, isLarger);
  if (!isa<FloatType>(type))
    return isFirst;
  Value isNumber =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::ORD, x, x);
  Value isNone = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, y, y);
  return arith::OrIOp::create(b, loc, isFirst,
                              arith::AndIOp::create(b, loc, isNumber, isNone));
}

Value Merge::element(OpBuilder &b, Location loc, Value order, Value pass,
                     ArrayRef<Value> place) const {
  ImplicitLocOpBuilder in(loc, b);
  return search(in, order, pass, place);
}

Value Merge::search(ImplicitLocOpBuilder &b, Value order, Value pass,
                    ArrayRef<Value> place) const {
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(b, x, y);
  };
  auto sub = [&](Value x, Value y) -> Value {
    return arith::SubIOp::create(b, x, y);
  };
  auto least = [&](Value x, Value y) -> Value {
    return arith::MinSIOp::create(b, x, y);
  };
  auto most = [&](Value x, Value y) -> Value {
    return arith::MaxSIOp::create(b, x, y);
  };
  auto isLess = [&](Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
  };
  Value zero = constant(0), one = constant(1), last = sub(size, one);
  // The run begins at `base`, its second half at `middle`; p is in the run.
  Value half = arith::ShLIOp::create(b, one, pass);
  Value base =
      arith::AndIOp::create(b, place[axis], sub(zero, add(half, half)));
  Value p = sub(place[axis], base), middle = add(base, half);
  Value countA = least(least(half, sub(size, base)), taken);
  Value countB = most(least(least(half, sub(size, middle)), taken), zero);
  SmallVector<Value> at(place);
  auto numberAt = [&](Value where) -> Value {
    at[axis] = most(least(where, last), zero);
    return indexOf(b, b.getLoc(), tensor::ExtractOp::create(b, order, at));
  };
  auto i32 = b.getI32Type();
  Value matters = isLess(p, least(add(countA, countB), taken));
  auto merged = scf::IfOp::create(b, i32, matters, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&merged.getElseRegion().front());
  scf::YieldOp::create(b, Value(arith::ConstantIntOp::create(b, i32, 0)));
  b.setInsertionPointToStart(&merged.getThenRegion().front());
  // How many of the p elements before are the first half's: from low to high.
  auto loop = scf::ForOp::create(
      b, zero, add(pass, one), one,
      ValueRange{most(sub(p, countB), zero), least(p, countA)});
  {
    OpBuilder::InsertionGuard inner(b);
    b.setInsertionPointToStart(loop.getBody());
    Value low = loop.getRegionIterArg(0), high = loop.getRegionIterArg(1);
    Value mid = arith::ShRUIOp::create(b, add(low, high), one);
    Value x = numberAt(add(base, mid));
    Value y = numberAt(add(middle, sub(sub(p, mid), one)));
    Value isOpen = isLess(low, high);
    Value isAfter = isBefore(b, b.getLoc(), place, y, x);
    Value up = arith::SelectOp::create(b, isAfter, low, add(mid, one));
    Value down = arith::SelectOp::create(b, isAfter, mid, high);
    scf::YieldOp::create(
        b, ValueRange{arith::SelectOp::create(b, isOpen, up, low),
                      arith::SelectOp::create(b, isOpen, down, high)});
  }
  Value a = loop.getResult(0), c = sub(p, a);
  Value x = numberAt(add(base, a)), y = numberAt(add(middle, c));
  Value isAfter = isBefore(b, b.getLoc(), place, y, x);
  Value takesB = arith::OrIOp::create(
      b, arith::AndIOp::create(b, isLess(c, countB), isAfter),
      arith::CmpIOp::create(b, arith::CmpIPredicate::sge, a, countA));
  Value number = arith::SelectOp::create(b, takesB, y, x);
  scf::YieldOp::create(b, Value(arith::IndexCastOp::create(b, i32, number)));
  return merged.getResult(0);
}

/// The first k numbers along the axis of the sorted elements, i64.
static Tensor sortedNumbers(Node &node, const Merge &merge) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Tensor start = graph.parallel(
      loc, {}, {}, data.shape, i32, [&](OpBuilder &n, Location l, ValueRange) {
        return Value(arith::IndexCastOp::create(
            n, l, i32, linalg::IndexOp::create(n, l, merge.axis).getResult()));
      });
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value passes = doublingsTo(b, loc, merge.size);
  auto loop = scf::ForOp::create(b, loc, zero, passes, one,
                                 ValueRange{graph.materialize(loc, start)});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value order = loop.getRegionIterArg(0), pass = loop.getInductionVar();
    Tensor next =
        graph.parallel(loc, {}, {}, data.shape, i32,
                       [&](OpBuilder &n, Location l, ValueRange) {
                         return merge.element(n, l, order, pass,
                                              loopIndices(n, l, data.rank()));
                       });
    scf::YieldOp::create(b, loc, graph.materialize(loc, next));
  }
  Value sorted = loop.getResult(0);
  return graph.parallel(
      loc, {}, {}, merge.shape, i64, [&](OpBuilder &n, Location l, ValueRange) {
        Value number = tensor::ExtractOp::create(
            n, l, sorted, loopIndices(n, l, data.rank()));
        return Value(arith::ExtSIOp::create(n, l, i64, number));
      });
}

/// The elements with these numbers along the axis.
static Tensor elementsAt(Graph &graph, Location loc, Value from,
                         Tensor &numbers, int64_t axis, Type type) {
  return graph.map(loc, {&numbers}, numbers.shape, type,
                   [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                     SmallVector<Value> place =
                         loopIndices(b, l, numbers.rank());
                     place[axis] = indexOf(b, l, args[0]);
                     return tensor::ExtractOp::create(b, l, from, place);
                   });
}

static ValuesAndIndices byTurns(Node &node, const Asked &asked) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  IndexSpace &ix = graph.ix;
  Location loc = node.loc();
  Type type = asked.type, i64 = b.getI64Type();
  int64_t axis = asked.axis, rank = asked.shape.size();
  Shape row = asked.shape;
  row[axis] = IndexExpr(1);
  Value values = graph.filled(loc, asked.shape, b.getZeroAttr(type)),
        indices = graph.filled(loc, asked.shape, b.getI64IntegerAttr(0));
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  SmallVector<OpFoldResult> sizes = ix.fold(loc, row),
                            steps(rank, b.getIndexAttr(1));
  auto placeAt = [&](OpBuilder &n, Location l, Value onAxis) {
    SmallVector<Value> place = loopIndices(n, l, rank);
    place[axis] = onAxis;
    return place;
  };
  auto loop = scf::ForOp::create(b, loc, zero, ix.value(loc, asked.k), one,
                                 ValueRange{values, indices});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    ValueRange so = loop.getRegionIterArgs();
    Value turn = loop.getInductionVar();
    Value before = arith::MaxSIOp::create(
        b, loc, arith::SubIOp::create(b, loc, turn, one), zero);
    Value isFirst =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, turn, zero);
    Tensor index = graph.parallel(
        loc, {}, {}, row, i64, [&](OpBuilder &n, Location l, ValueRange) {
          SmallVector<Value> place = placeAt(n, l, before);
          Value value = tensor::ExtractOp::create(n, l, so[0], place);
          Value last = tensor::ExtractOp::create(n, l, so[1], place);
          Value found =
              nextOf(asked, n, l, isFirst, value, indexOf(n, l, last));
          return Value(arith::IndexCastOp::create(n, l, i64, found));
        });
    Tensor value = elementsAt(graph, loc, asked.from, index, axis, type);
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0));
    offsets[axis] = turn;
    auto into = [&](Value all, Value part) -> Value {
      return tensor::InsertSliceOp::create(b, loc, part, all, offsets, sizes,
                                           steps);
    };
    Value all = into(so[0], value.value), places = into(so[1], index.value);
    scf::YieldOp::create(b, loc, ValueRange{all, places});
  }
  return {graph.wrap(loop.getResult(0), asked.shape),
          graph.wrap(loop.getResult(1), asked.shape)};
}

static ValuesAndIndices bySorting(Node &node, const Asked &asked) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor numbers =
      sortedNumbers(node, Merge{asked, graph.ix.value(loc, asked.k)});
  return {elementsAt(graph, loc, asked.from, numbers, asked.axis, asked.type),
          numbers};
}

static ValuesAndIndices byLibrary(Node &node, const Asked &asked) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Value values = graph.empty(loc, asked.shape, asked.type),
        indices = graph.empty(loc, asked.shape, b.getI64Type());
  auto top =
      TopKOp::create(b, loc, TypeRange{values.getType(), indices.getType()},
                     asked.from, values, indices, asked.axis, asked.isLarger);
  return {graph.wrap(top.getResult(0), asked.shape),
          graph.wrap(top.getResult(1), asked.shape)};
}

static LogicalResult lowerTopK(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  auto axis = node.axisOfNumbers(-1);
  if (failed(axis))
    return failure();
  auto k = node.scalar(1, "k");
  if (failed(k) || failed(node.requireSize(*k)) ||
      failed(node.requireSize(data.shape[*axis] - *k)))
    return failure();
  Asked asked{graph.materialize(node.loc(), data),
              graph.ix.value(node.loc(), data.shape[*axis]),
              *axis,
              *k,
              data.shape,
              data.elementType,
              node.integer("largest", 1) != 0};
  asked.shape[*axis] = *k;
  constexpr int64_t mostTurns = 16;
  bool isFew = k->constant() && *k->constant() <= mostTurns;
  auto [values, indices] = graph.options.topKOps ? byLibrary(node, asked)
                           : isFew               ? byTurns(node, asked)
                                                 : bySorting(node, asked);
  node.set(0, values);
  node.set(1, indices);
  return success();
}

void mlir::megactx::registerTopK(Registry &registry) {
  registry["TopK"] = lowerTopK;
}
