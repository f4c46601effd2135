//===- Order.cpp - largest and smallest elements along an axis ------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

/// The first element along an axis of the size; 0 where there is none.
static Value firstOf(OpBuilder &b, Location loc, Value from, ValueRange first,
                     Value size) {
  auto read = [&](OpBuilder &n, Location l) -> Value {
    return tensor::ExtractOp::create(n, l, from, first);
  };
  if (getConstantIntValue(size).value_or(0) > 0)
    return read(b, loc);
  Type type = cast<RankedTensorType>(from.getType()).getElementType();
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value isSome =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, size, zero);
  auto made = scf::IfOp::create(
      b, loc, isSome,
      [&](OpBuilder &n, Location l) { scf::YieldOp::create(n, l, read(n, l)); },
      [&](OpBuilder &n, Location l) {
        Value none = constantOf(n, l, n.getZeroAttr(type));
        scf::YieldOp::create(n, l, none);
      });
  return made.getResult(0);
}

/// The index of the first, or last, of the largest, or smallest, elements along
/// the axis, which becomes 1. Where nothing is, it is of no use.
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
        Value x = firstOf(b, l, from, first, size);
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
  auto axis = node.axisOfNumbers(0);
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
  auto axis = node.axisOfNumbers(-1);
  if (failed(axis))
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

void mlir::megactx::registerOrder(Registry &registry) {
  registry["ArgMax"] = lowerArg<true>;
  registry["ArgMin"] = lowerArg<false>;
  registry["Hardmax"] = lowerHardmax;
}
