//===- Quantize.cpp - numbers in few bits ---------------------------------===//
//
// Owns QuantizeLinear and DequantizeLinear. Numbers are computed in f32, which
// holds every integer that is quantized to.
//
//===----------------------------------------------------------------------===//

#include "Quantize.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace mlir::megactx;

Value quantize::toReal(OpBuilder &b, Location loc, Value value) {
  return castScalar(b, loc, value, b.getF32Type());
}

ArrayRef<char> quantize::bytesOf(ElementsAttr constant) {
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(constant))
    return dense.isSplat() ? ArrayRef<char>() : dense.getRawData();
  if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(constant))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
  return {};
}

static Value real(OpBuilder &b, Location loc, double number) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(number));
}

/// round(x / scale) + zero, half to even, within what `type` holds.
static Value quantized(OpBuilder &b, Location loc, Value x, Value scale,
                       Value zero, Type type) {
  x = arith::DivFOp::create(b, loc, quantize::toReal(b, loc, x),
                            quantize::toReal(b, loc, scale));
  x = math::RoundEvenOp::create(b, loc, x);
  if (zero)
    x = arith::AddFOp::create(b, loc, x, quantize::toReal(b, loc, zero));
  unsigned width = type.getIntOrFloatBitWidth();
  bool isUnsigned = type.isUnsignedInteger();
  double most = std::exp2(isUnsigned ? width : width - 1) - 1;
  double least = isUnsigned ? 0 : -most - 1;
  x = arith::MaxNumFOp::create(b, loc, x, real(b, loc, least));
  x = arith::MinNumFOp::create(b, loc, x, real(b, loc, most));
  return castScalar(b, loc, arith::FPToSIOp::create(b, loc, b.getI32Type(), x),
                    type);
}

bool quantize::isOne(const Tensor &parameters) {
  return parameters.rank() == 0 ||
         (parameters.rank() == 1 && parameters.shape[0].is(1));
}

/// Scales or zero points, as they stand for each element of `shape`: one, one
/// per entry of the axis, or one per block of `block` entries.
static FailureOr<Tensor> spread(Node &node, Tensor parameters,
                                ArrayRef<IndexExpr> shape, int64_t axis,
                                int64_t block) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  int64_t rank = shape.size();
  if (quantize::isOne(parameters))
    return graph.reshape(loc, parameters, {});
  if (block == 0) {
    if (parameters.rank() != 1 || axis >= rank)
      return node.error() << "expected scales of rank 0 or 1";
    auto count = parameters.shape[0].constant(), size = shape[axis].constant();
    if (count && size && *count != *size)
      return node.error() << "expected scales or zero points for " << *size
                          << " entries of axis " << axis << ", but got "
                          << *count;
    Shape wide(rank, IndexExpr(1));
    wide[axis] = parameters.shape[0];
    return graph.reshape(loc, parameters, wide);
  }
  if (parameters.rank() != rank)
    return node.error() << "expected scales of blocks of rank " << rank
                        << ", but got " << parameters.rank();
  // Each entry as often as its block is long, and what a last block lacks cut.
  Shape apart(parameters.shape), together(parameters.shape);
  apart.insert(apart.begin() + axis + 1, IndexExpr(1));
  Tensor split = graph.reshape(loc, parameters, apart);
  apart[axis + 1] = IndexExpr(block);
  together[axis] = together[axis] * IndexExpr(block);
  Tensor repeated = graph.expand(loc, split, apart);
  repeated = graph.reshape(loc, repeated, together);
  IndexExpr rest = together[axis] - shape[axis];
  if (rest.is(0))
    return repeated;
  if (failed(node.requireSize(rest)) ||
      failed(node.requireSize(IndexExpr(block - 1) - rest)))
    return failure();
  Shape sizes(together);
  sizes[axis] = shape[axis];
  return graph.slice(loc, repeated, Shape(rank, IndexExpr(0)), sizes,
                     Shape(rank, IndexExpr(1)));
}

/// The axis that the node says, from 0; 0 where there is only one scale.
static FailureOr<int64_t> axisOf(Node &node) {
  int64_t rank = node.in(0).rank();
  if (rank == 0)
    return 0;
  if (auto axis = node.axis(node.integer("axis", 1), rank))
    return *axis;
  if (quantize::isOne(node.in(1)))
    return 0;
  return node.error() << "axis is out of range";
}

/// x, its scales and, where there are some, its zero points: each as it
/// broadcasts to x.
static FailureOr<SmallVector<Tensor>> operandsOf(Node &node) {
  FailureOr<int64_t> axis = axisOf(node);
  if (failed(axis))
    return failure();
  SmallVector<Tensor> operands = {node.in(0)};
  for (unsigned i : {1u, 2u}) {
    if (!node.has(i))
      continue;
    if (Type type = node.in(i).elementType; !isNumber(type))
      return node.error() << "no lowering of scales or zero points of type "
                          << type;
    FailureOr<Tensor> wide = spread(node, node.in(i), node.in(0).shape, *axis,
                                    node.integer("block_size", 0));
    if (failed(wide))
      return failure();
    operands.push_back(*wide);
  }
  return operands;
}

static LogicalResult lowerElements(Node &node, Type result, Body body) {
  FailureOr<SmallVector<Tensor>> operands = operandsOf(node);
  if (failed(operands))
    return failure();
  SmallVector<Tensor *> inputs;
  for (Tensor &operand : *operands)
    inputs.push_back(&operand);
  FailureOr<Shape> shape = node.graph.broadcastShape(node, inputs);
  if (failed(shape))
    return failure();
  node.set(0, node.graph.map(node.loc(), inputs, *shape, result, body));
  return success();
}

static bool isQuantized(Type type) {
  return isa<IntegerType>(type) && type.getIntOrFloatBitWidth() <= 32 &&
         type.getIntOrFloatBitWidth() >= 8;
}

/// What products take of it instead; null where they do not.
static std::shared_ptr<const Dequantized> dequantizedOf(Node &node, Type to) {
  Tensor bytes = node.in(0), scale = node.in(1);
  FailureOr<int64_t> axis = axisOf(node);
  bool isPerEntry =
      !quantize::isOne(scale) || (node.has(2) && !quantize::isOne(node.in(2)));
  if (failed(axis) || !signlessOf(bytes.elementType).isInteger(8) ||
      !to.isF32() || !scale.elementType.isF32() ||
      node.integer("block_size", 0) != 0 ||
      (isPerEntry && *axis != bytes.rank() - 1))
    return nullptr;
  auto known = std::make_shared<Dequantized>();
  if (node.has(2))
    known->zero = node.in(2);
  known->bytes = std::move(bytes);
  known->scale = std::move(scale);
  return known;
}

static LogicalResult lowerDequantize(Node &node) {
  Type from = node.in(0).elementType, to = node.in(1).elementType;
  if (auto type = dyn_cast<RankedTensorType>(node.op->getResult(0).getType()))
    to = type.getElementType();
  if (!isQuantized(from) || !isFloat(to))
    return node.error() << "no lowering from " << from << " to " << to;
  LogicalResult done =
      lowerElements(node, to, [&](OpBuilder &b, Location loc, ValueRange args) {
        Type i32 = b.getI32Type();
        Value x = castScalar(b, loc, args[0], i32);
        if (args.size() > 2)
          x = arith::SubIOp::create(b, loc, x,
                                    castScalar(b, loc, args[2], i32));
        x = arith::MulFOp::create(b, loc, quantize::toReal(b, loc, x),
                                  quantize::toReal(b, loc, args[1]));
        return castScalar(b, loc, x, to);
      });
  if (Tensor *made = node.graph.lookup(node.op->getResult(0)))
    made->dequantized = dequantizedOf(node, to);
  return done;
}

static LogicalResult lowerQuantize(Node &node) {
  Type from = node.in(0).elementType;
  OpBuilder &b = node.graph.b;
  Type to = b.getIntegerType(8, /*isSigned=*/false);
  if (node.has(2))
    to = node.in(2).elementType;
  else if (auto type =
               dyn_cast<RankedTensorType>(node.op->getResult(0).getType()))
    to = type.getElementType();
  if (!isQuantized(to) || to.getIntOrFloatBitWidth() > 16 ||
      (!isFloat(from) && !from.isSignlessInteger(32)))
    return node.error() << "no lowering from " << from << " to " << to;
  return lowerElements(
      node, to, [&](OpBuilder &nested, Location loc, ValueRange args) {
        return quantized(nested, loc, args[0], args[1],
                         args.size() > 2 ? args[2] : Value(), to);
      });
}

void mlir::megactx::registerQuantize(Registry &registry) {
  registry["DequantizeLinear"] = lowerDequantize;
  registry["QuantizeLinear"] = lowerQuantize;
  registerQuantizedProducts(registry);
  registerPackedProducts(registry);
}
