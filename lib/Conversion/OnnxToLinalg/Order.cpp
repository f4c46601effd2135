//===- Order.cpp - largest and smallest elements along an axis ------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

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

/// One turn per element that is asked for, each of which looks at all rows.
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
