//===- Order.cpp - largest and smallest elements along an axis ------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

static FailureOr<int64_t> axisOf(Node &node, int64_t otherwise) {
  Tensor &data = node.in(0);
  auto axis = node.axis(node.integer("axis", otherwise), data.rank());
  if (!axis || !isNumber(data.elementType) || data.elementType.isInteger(1))
    return node.error() << "expected numbers and an axis in range";
  return *axis;
}

/// The index of the first, or last, of the largest, or smallest, elements along
/// the axis, which becomes 1.
static Tensor indexOfBest(Node &node, int64_t axis, bool isLarger,
                          bool takesLast) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  Shape shape = data.shape;
  shape[axis] = IndexExpr(1);
  Type type = data.elementType;
  Value from = graph.materialize(loc, data);
  Value size = graph.ix.value(loc, data.shape[axis]);
  return graph.parallel(
      loc, {}, {}, shape, graph.b.getI64Type(),
      [&](OpBuilder &b, Location l, ValueRange) -> Value {
        SmallVector<Value> first = loopIndices(b, l, shape.size());
        Value zero = arith::ConstantIndexOp::create(b, l, 0);
        Value one = arith::ConstantIndexOp::create(b, l, 1);
        first[axis] = zero;
        Value x = tensor::ExtractOp::create(b, l, from, first);
        auto loop = scf::ForOp::create(
            b, l, one, size, one, ValueRange{x, zero},
            [&](OpBuilder &n, Location ll, Value i, ValueRange so) {
              SmallVector<Value> place(first);
              place[axis] = i;
              Value y = tensor::ExtractOp::create(n, ll, from, place);
              Value isBetter = comesBefore(n, ll, y, so[0], type, isLarger);
              if (takesLast) {
                Value isWorse = comesBefore(n, ll, so[0], y, type, isLarger);
                Value yes = arith::ConstantIntOp::create(n, ll, 1, 1);
                isBetter = arith::XOrIOp::create(n, ll, isWorse, yes);
              }
              scf::YieldOp::create(
                  n, ll,
                  ValueRange{
                      arith::SelectOp::create(n, ll, isBetter, y, so[0]),
                      arith::SelectOp::create(n, ll, isBetter, i, so[1])});
            });
        return arith::IndexCastOp::create(b, l, b.getI64Type(),
                                          loop.getResult(1));
      });
}

template <bool isLarger> static LogicalResult lowerArg(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  auto axis = axisOf(node, 0);
  if (failed(axis) || failed(node.requireSize(data.shape[*axis] - 1)))
    return failure();
  Tensor result =
      indexOfBest(node, *axis, isLarger, node.integer("select_last_index", 0));
  if (!node.integer("keepdims", 1)) {
    Shape shape = data.shape;
    shape.erase(shape.begin() + *axis);
    result = graph.reshape(node.loc(), result, shape);
  }
  node.set(0, result);
  return success();
}

/// 1 at the first of the largest elements along the axis, 0 elsewhere.
static LogicalResult lowerHardmax(Node &node) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0);
  auto axis = axisOf(node, -1);
  if (failed(axis) || failed(node.requireSize(data.shape[*axis] - 1)))
    return failure();
  Tensor best = indexOfBest(node, *axis, true, false);
  Type type = data.elementType;
  node.set(0, graph.map(node.loc(), {&best}, data.shape, type,
                        [&](OpBuilder &b, Location loc, ValueRange args) {
                          Value at = linalg::IndexOp::create(b, loc, *axis);
                          Value isBest = arith::CmpIOp::create(
                              b, loc, arith::CmpIPredicate::eq, at,
                              indexOf(b, loc, args[0]));
                          return castScalar(b, loc, isBest, type);
                        }));
  return success();
}

namespace {
/// The elements that each turn of TopK finds along the axis: those after the
/// ones that were found before, in the order of their values and then indices.
struct TopK {
  Graph &graph;
  Value from, size;
  Shape row; ///< of one turn: the axis is 1
  Type type;
  int64_t axis;
  bool isLarger;

  /// The index along the axis of the next element after (value, index).
  Value next(OpBuilder &b, Location loc, Value isFirst, Value value,
             Value index) const;
};
} // namespace

Value TopK::next(OpBuilder &b, Location loc, Value isFirst, Value value,
                 Value index) const {
  SmallVector<Value> place = loopIndices(b, loc, row.size());
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value none = arith::ConstantIndexOp::create(b, loc, -1);
  auto loop = scf::ForOp::create(
      b, loc, zero, size, one, ValueRange{value, none},
      [&](OpBuilder &n, Location l, Value i, ValueRange so) {
        SmallVector<Value> at(place);
        at[axis] = i;
        Value x = tensor::ExtractOp::create(n, l, from, at);
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
struct Merge {
  Value from, size, k;
  Type type;
  int64_t axis;
  bool isLarger;

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
  Value countA = least(least(half, sub(size, base)), k);
  Value countB = most(least(least(half, sub(size, middle)), k), zero);
  SmallVector<Value> at(place);
  auto numberAt = [&](Value where) -> Value {
    at[axis] = most(least(where, last), zero);
    return indexOf(b, b.getLoc(), tensor::ExtractOp::create(b, order, at));
  };
  auto i32 = b.getI32Type();
  Value matters = isLess(p, least(add(countA, countB), k));
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
static Tensor sortedNumbers(Node &node, const Merge &merge,
                            ArrayRef<IndexExpr> chosen) {
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
      loc, {}, {}, chosen, i64, [&](OpBuilder &n, Location l, ValueRange) {
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

/// Few elements are found by a turn for each, which looks at all rows; more by
/// sorting.
static LogicalResult lowerTopK(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  IndexSpace &ix = graph.ix;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = axisOf(node, -1);
  if (failed(axis))
    return failure();
  auto given = node.scalar(1, "k");
  if (failed(given))
    return failure();
  IndexExpr k = *given;
  if (failed(node.requireSize(k)) ||
      failed(node.requireSize(data.shape[*axis] - k)))
    return failure();
  Shape row = data.shape, shape = data.shape;
  row[*axis] = IndexExpr(1);
  shape[*axis] = k;
  Type type = data.elementType, i64 = b.getI64Type();
  constexpr int64_t mostTurns = 16;
  if (!k.constant() || *k.constant() > mostTurns) {
    Value from = graph.materialize(loc, data);
    Merge merge{from,  ix.value(loc, data.shape[*axis]), ix.value(loc, k), type,
                *axis, node.integer("largest", 1) != 0};
    Tensor numbers = sortedNumbers(node, merge, shape);
    node.set(0, elementsAt(graph, loc, from, numbers, *axis, type));
    node.set(1, numbers);
    return success();
  }
  TopK top{graph,
           graph.materialize(loc, data),
           ix.value(loc, data.shape[*axis]),
           row,
           type,
           *axis,
           node.integer("largest", 1) != 0};
  Value values = graph.filled(loc, shape, b.getZeroAttr(type)),
        indices = graph.filled(loc, shape, b.getI64IntegerAttr(0));
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1),
        count = ix.value(loc, k);
  SmallVector<OpFoldResult> sizes = ix.fold(loc, row),
                            steps(shape.size(), b.getIndexAttr(1));
  auto placeAt = [&](OpBuilder &n, Location l, Value onAxis) {
    SmallVector<Value> place = loopIndices(n, l, row.size());
    place[*axis] = onAxis;
    return place;
  };
  auto loop =
      scf::ForOp::create(b, loc, zero, count, one, ValueRange{values, indices});
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
          Value found = top.next(n, l, isFirst, value, indexOf(n, l, last));
          return Value(arith::IndexCastOp::create(n, l, i64, found));
        });
    Tensor value = graph.parallel(
        loc, {index.value}, {b.getMultiDimIdentityMap(shape.size())}, row, type,
        [&](OpBuilder &n, Location l, ValueRange args) {
          SmallVector<Value> place = placeAt(n, l, indexOf(n, l, args[0]));
          return Value(tensor::ExtractOp::create(n, l, top.from, place));
        });
    SmallVector<OpFoldResult> offsets(shape.size(), b.getIndexAttr(0));
    offsets[*axis] = turn;
    auto into = [&](Value all, Value part) -> Value {
      return tensor::InsertSliceOp::create(b, loc, part, all, offsets, sizes,
                                           steps);
    };
    Value all = into(so[0], value.value), places = into(so[1], index.value);
    scf::YieldOp::create(b, loc, ValueRange{all, places});
  }
  node.set(0, graph.wrap(loop.getResult(0), shape));
  node.set(1, graph.wrap(loop.getResult(1), shape));
  return success();
}

void mlir::megactx::registerOrder(Registry &registry) {
  registry["ArgMax"] = lowerArg<true>;
  registry["ArgMin"] = lowerArg<false>;
  registry["Hardmax"] = lowerHardmax;
  registry["TopK"] = lowerTopK;
}
