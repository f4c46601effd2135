//===- QuantizedProducts.cpp - products of integers -----------------------===//
//
// A product of differences, numbers less their zero points, is the product of
// the numbers less what sums of rows and columns say: weights stay bytes.
//
//===----------------------------------------------------------------------===//

#include "Quantize.h"
#include "Reduction.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace mlir::megactx;

/// What lies between the unsigned numbers of bytes and those with a sign.
static constexpr int64_t kSign = 0x80;

/// The form that libraries multiply fastest: unsigned bytes on the left, bytes
/// with a sign on the right.
static bool isTurned(const Tensor &x, unsigned side) {
  return x.elementType.isUnsignedInteger() == (side == 1);
}

/// An operand in that form: 128 is added to it, or taken away; of a constant at
/// once.
static Tensor inForm(Graph &graph, Location loc, Tensor &x, unsigned side) {
  OpBuilder &b = graph.b;
  if (!isTurned(x, side))
    return x;
  Type type = side ? b.getI8Type() : b.getIntegerType(8, /*isSigned=*/false);
  if (ArrayRef<char> bytes = quantize::bytesOf(x.constant); !bytes.empty()) {
    AsmResourceBlob blob =
        HeapAsmResourceBlob::allocateAndCopyInferAlign(bytes);
    for (char &byte : blob.getMutableData())
      byte ^= kSign;
    auto turned = DenseResourceElementsAttr::get(
        graph.typeOf(x.shape, type), "turned_weight", std::move(blob));
    return graph.wrap(loc, arith::ConstantOp::create(b, loc, turned));
  }
  return graph.map(
      loc, {&x}, x.shape, type,
      [&](OpBuilder &nested, Location l, ValueRange args) -> Value {
        Value bits = bitsAs(nested, l, args[0], nested.getI8Type());
        Value sign = arith::ConstantIntOp::create(nested, l, -kSign, 8);
        bits = arith::XOrIOp::create(nested, l, bits, sign);
        return bitsAs(nested, l, bits, type);
      });
}

static Tensor asInteger(Graph &graph, Location loc, Tensor &x) {
  return graph.cast(loc, x, graph.b.getI32Type());
}

/// The sums of an operand of MatMulInteger over the terms of a product.
static Tensor sumsOf(Node &node, Tensor &x, int64_t dim) {
  Tensor wide = asInteger(node.graph, node.loc(), x);
  SmallVector<bool> axes(x.rank(), false);
  axes[dim] = true;
  return reduce(node, wide, axes, Reduce::Sum);
}

/// An operand: bytes, and what is taken from them, if anything.
struct Operand {
  Tensor bytes;
  std::optional<Tensor> zero;
};

/// The zero point of an operand in the products' form, as it stands for the
/// product's elements, or nothing where it is 0.
static std::optional<Tensor> zeroOf(Node &node, Operand &operand,
                                    unsigned side) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  int64_t more = !isTurned(operand.bytes, side) ? 0 : side ? -kSign : kSign;
  if (!operand.zero) {
    if (!more)
      return std::nullopt;
    return graph.splat(b.getI32IntegerAttr(more), {});
  }
  Tensor &given = *operand.zero;
  auto known = given.constant ? integersOf(given.constant) : std::nullopt;
  if (known && llvm::all_of(*known, [&](int64_t x) { return x + more == 0; }))
    return std::nullopt;
  Tensor zero = asInteger(graph, loc, given);
  // One for each row of the left operand, or each column of the right one.
  if (side == 0 && zero.rank() == 1 && !zero.shape[0].is(1))
    zero = graph.reshape(loc, zero, {zero.shape[0], IndexExpr(1)});
  return graph.map(
      loc, {&zero}, zero.shape, zero.elementType,
      [&](OpBuilder &nested, Location l, ValueRange args) -> Value {
        Value by = arith::ConstantIntOp::create(nested, l, more, 32);
        return arith::AddIOp::create(nested, l, args[0], by);
      });
}

/// a - b * c, broadcast.
static FailureOr<Tensor> less(Node &node, Tensor a, Tensor b, Tensor c) {
  FailureOr<Shape> shape = node.graph.broadcastShape(node, {&a, &b, &c});
  if (failed(shape))
    return failure();
  return node.graph.map(
      node.loc(), {&a, &b, &c}, *shape, a.elementType,
      [](OpBuilder &nested, Location l, ValueRange args) -> Value {
        return arith::SubIOp::create(
            nested, l, args[0],
            arith::MulIOp::create(nested, l, args[1], args[2]));
      });
}

/// (a - p)(b - q) = a b - p (sum b - K q) - (sum a) q, modulo 2^32.
static FailureOr<Tensor> multiplyBytes(Node &node, Operand a, Operand c) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  OpBuilder &b = graph.b;
  Tensor left = inForm(graph, loc, a.bytes, 0),
         right = inForm(graph, loc, c.bytes, 1);
  FailureOr<Tensor> out = multiply(node, left, right, b.getI32Type());
  std::optional<Tensor> p = zeroOf(node, a, 0), q = zeroOf(node, c, 1);
  if (succeeded(out) && p) {
    FailureOr<Tensor> sums = sumsOf(node, right, right.rank() - 2);
    if (q) {
      IndexExpr terms = right.shape[right.rank() - 2];
      Value count =
          numberOf(b, loc, graph.ix.value(loc, terms), b.getI32Type());
      Tensor many = graph.wrap(
          tensor::FromElementsOp::create(
              b, loc, RankedTensorType::get({}, b.getI32Type()), count),
          {});
      sums = less(node, *sums, many, *q);
    }
    if (failed(sums))
      return failure();
    out = less(node, *out, *p, *sums);
  }
  if (succeeded(out) && q)
    out = less(node, *out, sumsOf(node, left, left.rank() - 1), *q);
  return out;
}

static LogicalResult lowerMatMulInteger(Node &node) {
  Operand operands[2];
  for (unsigned i : {0u, 1u}) {
    operands[i].bytes = node.in(i);
    const Tensor &x = operands[i].bytes;
    if (x.rank() < 2 || !signlessOf(x.elementType).isInteger(8))
      return node.error() << "expected matrices of int8 or uint8";
    if (node.has(i + 2))
      operands[i].zero = node.in(i + 2);
  }
  const Tensor &right = operands[1].bytes;
  if (failed(node.requireEqual(operands[0].bytes.shape.back(),
                               right.shape[right.rank() - 2],
                               "inner dims of the matrices")))
    return failure();
  FailureOr<Tensor> out = multiplyBytes(node, operands[0], operands[1]);
  if (failed(out))
    return failure();
  node.set(0, *out);
  return success();
}

std::optional<FailureOr<Tensor>>
mlir::megactx::multiplyDequantized(Node &node, const Tensor &a,
                                   const Tensor &c) {
  if (!a.dequantized || !c.dequantized)
    return std::nullopt;
  const Dequantized &left = *a.dequantized, &right = *c.dequantized;
  // Sums of products of differences, at most 255 * 255, that 32 bits hold.
  constexpr int64_t kMostTerms = 1 << 15;
  std::optional<int64_t> terms = c.shape[c.rank() - 2].constant();
  if (!terms || *terms > kMostTerms || !quantize::isOne(left.scale) ||
      (left.zero && !quantize::isOne(*left.zero)))
    return std::nullopt;
  FailureOr<Tensor> out =
      multiplyBytes(node, {left.bytes, left.zero}, {right.bytes, right.zero});
  if (failed(out))
    return out;
  Tensor one = left.scale, each = right.scale;
  for (Tensor *scale : {&one, &each})
    if (quantize::isOne(*scale))
      *scale = node.graph.reshape(node.loc(), *scale, {});
  return FailureOr<Tensor>(node.graph.map(
      node.loc(), {&*out, &one, &each}, out->shape, a.elementType,
      [](OpBuilder &b, Location l, ValueRange args) -> Value {
        // The scales' product may be beyond f32 where no result is.
        Value sum = quantize::toReal(b, l, args[0]);
        for (Value scale : args.drop_front())
          sum = arith::MulFOp::create(b, l, sum, scale);
        return sum;
      }));
}

void mlir::megactx::registerQuantizedProducts(Registry &registry) {
  registry["MatMulInteger"] = lowerMatMulInteger;
}
