//===- Normalization.cpp - softmax and normalizations ---------------------===//

#include "Reduction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::megactx;

/// The node's axis, from 0, of data that are floats.
static FailureOr<int64_t> axisOfFloats(Node &node) {
  Tensor &data = node.in(0);
  auto axis = node.axis(node.integer("axis", -1), data.rank());
  if (!axis || !isFloat(data.elementType))
    return node.error() << "expected floats and an axis in range";
  return *axis;
}

/// exp(x - max) / sum, or its logarithm, along one axis.
template <bool isLog> static LogicalResult lowerSoftmax(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = axisOfFloats(node);
  if (failed(axis))
    return failure();
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
                  // A row's sum, of 1 or more, is divided by once.
                  if (!isLog)
                    return arith::DivFOp::create(b, l, args[0], args[1],
                                                 arith::FastMathFlags::arcp);
                  Value log = math::LogOp::create(b, l, args[1]);
                  return arith::SubFOp::create(b, l, args[0], log);
                });
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

static Tensor squared(Graph &graph, Location loc, Tensor &x) {
  return graph.map(loc, {&x}, x.shape, x.elementType,
                   [](OpBuilder &b, Location l, ValueRange args) {
                     return Value(
                         arith::MulFOp::create(b, l, args[0], args[0]));
                   });
}

static Tensor minus(Graph &graph, Location loc, Tensor &x, Tensor &y) {
  return graph.map(loc, {&x, &y}, x.shape, x.elementType,
                   [](OpBuilder &b, Location l, ValueRange args) {
                     return Value(
                         arith::SubFOp::create(b, l, args[0], args[1]));
                   });
}

/// 1 / sqrt(x + epsilon).
static Tensor inverseRoot(Graph &graph, Location loc, Tensor &x,
                          double epsilon) {
  Type type = x.elementType;
  return graph.map(
      loc, {&x}, x.shape, type,
      [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        Value small =
            arith::ConstantOp::create(b, l, b.getFloatAttr(type, epsilon));
        Value sum = arith::AddFOp::create(b, l, args[0], small);
        Value root = math::SqrtOp::create(b, l, sum);
        Value one = arith::ConstantOp::create(b, l, b.getFloatAttr(type, 1.0));
        return arith::DivFOp::create(b, l, one, root);
      });
}

/// x * factor * scale, + bias where there is one.
static Tensor scaled(Graph &graph, Location loc, ArrayRef<Tensor *> inputs) {
  return graph.map(loc, inputs, inputs[0]->shape, inputs[0]->elementType,
                   [](OpBuilder &b, Location l, ValueRange args) -> Value {
                     Value x = arith::MulFOp::create(b, l, args[0], args[1]);
                     x = arith::MulFOp::create(b, l, x, args[2]);
                     return args.size() == 3 ? x
                                             : Value(arith::AddFOp::create(
                                                   b, l, x, args[3]));
                   });
}

/// Checks that operand i can be read wherever the data is.
static LogicalResult requireBroadcast(Node &node, unsigned i) {
  Tensor &data = node.in(0), &other = node.in(i);
  int64_t skip = data.rank() - other.rank();
  if (skip < 0 || !isFloat(other.elementType))
    return node.error() << "expected operand " << i
                        << " to have floats and no more dims than the data";
  for (int64_t d = 0; d < other.rank(); ++d)
    if (!other.shape[d].is(1) &&
        failed(node.requireEqual(other.shape[d], data.shape[skip + d],
                                 "sizes of data and scale or bias")))
      return failure();
  return success();
}

/// (x - mean) / sqrt(mean of squares + epsilon) * scale + bias over the axes
/// from `axis` on; RMSNormalization subtracts no mean.
template <bool isRms> static LogicalResult lowerNormalization(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = axisOfFloats(node);
  if (failed(axis))
    return failure();
  SmallVector<bool> axes(data.rank(), false);
  for (int64_t i = *axis; i < data.rank(); ++i)
    axes[i] = true;
  for (unsigned i : {1u, 2u})
    if (node.has(i) && failed(requireBroadcast(node, i)))
      return failure();
  double epsilon = node.real("epsilon", 1e-5);
  Type type = accumulatorType(data.elementType);
  Tensor centred = graph.cast(loc, data, type);
  if (!isRms) {
    Tensor mean = reduce(node, centred, axes, Reduce::Mean);
    if (node.wants(1))
      node.set(1, graph.cast(loc, mean, graph.b.getF32Type()));
    centred = minus(graph, loc, centred, mean);
  }
  Tensor squares = squared(graph, loc, centred);
  Tensor variance = reduce(node, squares, axes, Reduce::Mean);
  Tensor factor = inverseRoot(graph, loc, variance, epsilon);
  if (node.wants(2))
    node.set(2, graph.cast(loc, factor, graph.b.getF32Type()));
  Tensor scale = graph.cast(loc, node.in(1), type), bias;
  SmallVector<Tensor *> inputs = {&centred, &factor, &scale};
  if (node.has(2)) {
    bias = graph.cast(loc, node.in(2), type);
    inputs.push_back(&bias);
  }
  Tensor result = scaled(graph, loc, inputs);
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

/// One value per channel, in the type of the computation.
static FailureOr<Tensor> perChannel(Node &node, unsigned i, Type type) {
  Graph &graph = node.graph;
  Tensor &data = node.in(0), &values = node.in(i);
  if (values.rank() != 1 || !isFloat(values.elementType))
    return node.error() << "expected operand " << i
                        << " to have one float per channel";
  if (failed(node.requireEqual(values.shape[0], data.shape[1],
                               "numbers of channels")))
    return failure();
  Shape column = {data.shape[1]};
  column.append(data.rank() - 2, IndexExpr(1));
  Tensor wide = graph.cast(node.loc(), values, type);
  return graph.reshape(node.loc(), wide, column);
}

/// By statistics that are given, or by those of each channel's own elements.
template <bool isInstance>
static LogicalResult lowerChannelNormalization(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  if (data.rank() < 2 || !isFloat(data.elementType))
    return node.error() << "expected floats of rank 2 or more";
  if (!isInstance && node.integer("training_mode", 0))
    return node.error() << "training_mode has no lowering";
  double epsilon = node.real("epsilon", 1e-5);
  Type type = accumulatorType(data.elementType);
  auto scale = perChannel(node, 1, type), bias = perChannel(node, 2, type);
  if (failed(scale) || failed(bias))
    return failure();
  Tensor wide = graph.cast(loc, data, type), mean, variance;
  SmallVector<bool> axes(data.rank(), true);
  axes[0] = axes[1] = false;
  if (isInstance) {
    mean = reduce(node, wide, axes, Reduce::Mean);
  } else {
    auto given = perChannel(node, 3, type), spread = perChannel(node, 4, type);
    if (failed(given) || failed(spread))
      return failure();
    mean = *given, variance = *spread;
  }
  Tensor centred = minus(graph, loc, wide, mean);
  if (isInstance) {
    Tensor squares = squared(graph, loc, centred);
    variance = reduce(node, squares, axes, Reduce::Mean);
  }
  Tensor factor = inverseRoot(graph, loc, variance, epsilon);
  Tensor result = scaled(graph, loc, {&centred, &factor, &*scale, &*bias});
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

/// x / (sum of |x|), or of its squares' root, along one axis; 0 where that is.
static LogicalResult lowerLpNormalization(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = axisOfFloats(node);
  if (failed(axis))
    return failure();
  int64_t p = node.integer("p", 2);
  if (p != 1 && p != 2)
    return node.error() << "expected p of 1 or 2, but got " << p;
  SmallVector<bool> axes(data.rank(), false);
  axes[*axis] = true;
  Type type = accumulatorType(data.elementType);
  Tensor wide = graph.cast(loc, data, type);
  Tensor sizes =
      p == 2 ? squared(graph, loc, wide)
             : graph.map(loc, {&wide}, wide.shape, type,
                         [](OpBuilder &b, Location l, ValueRange args) {
                           return Value(math::AbsFOp::create(b, l, args[0]));
                         });
  Tensor sum = reduce(node, sizes, axes, Reduce::Sum);
  Tensor result = graph.map(
      loc, {&wide, &sum}, wide.shape, type,
      [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        Value norm =
            p == 2 ? Value(math::SqrtOp::create(b, l, args[1])) : args[1];
        Value zero = arith::ConstantOp::create(b, l, b.getZeroAttr(type));
        Value isZero =
            arith::CmpFOp::create(b, l, arith::CmpFPredicate::OEQ, norm, zero);
        Value quotient = arith::DivFOp::create(b, l, args[0], norm);
        return arith::SelectOp::create(b, l, isZero, zero, quotient);
      });
  node.set(0, graph.cast(loc, result, data.elementType));
  return success();
}

void mlir::megactx::registerNormalization(Registry &registry) {
  registry["Softmax"] = lowerSoftmax<false>;
  registry["LogSoftmax"] = lowerSoftmax<true>;
  registry["LayerNormalization"] = lowerNormalization<false>;
  registry["RMSNormalization"] = lowerNormalization<true>;
  registry["InstanceNormalization"] = lowerChannelNormalization<true>;
  registry["BatchNormalization"] = lowerChannelNormalization<false>;
  registry["LpNormalization"] = lowerLpNormalization;
}
