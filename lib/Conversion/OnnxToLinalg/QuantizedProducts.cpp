//===- QuantizedProducts.cpp - products of few bits -----------------------===//
//
// Weights of 4 and 8 bits stay packed: a product widens some of their columns
// at a time, into memory that the next ones use again. Sums of integers of 8
// bits are sums of f32, exact for so many terms at a time.
//
//===----------------------------------------------------------------------===//

#include "Quantize.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// How many weights are widened at a time, about.
static constexpr int64_t kWidened = 1 << 22;

/// Products of differences of 8 bits, at most 255 * 255, are exact in the 24
/// bits of f32 up to this many.
static constexpr int64_t kExactTerms = 256;

/// Number `place` of those that are packed in a byte, the lowest bits first.
static Value numberIn(OpBuilder &b, Location loc, Value byte, Value place,
                      int64_t bits) {
  // Few machines shift vectors of bytes.
  Type i32 = b.getI32Type();
  Value wide =
      arith::ExtUIOp::create(b, loc, i32, bitsAs(b, loc, byte, b.getI8Type()));
  if (bits < 8) {
    Value shift = arith::MulIOp::create(
        b, loc, arith::IndexCastOp::create(b, loc, i32, place),
        arith::ConstantIntOp::create(b, loc, i32, bits));
    wide = arith::AndIOp::create(
        b, loc, arith::ShRUIOp::create(b, loc, wide, shift),
        arith::ConstantIntOp::create(b, loc, i32, (1 << bits) - 1));
  }
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), wide);
}

namespace {
/// Rows of blocks of numbers of 4 or 8 bits, packed in bytes: [rows, blocks,
/// size * bits / 8], with a scale and a zero point for each block.
struct PackedBlocks {
  int64_t bits;
  Tensor bytes, scales;        ///< scales [rows, blocks]
  std::optional<Tensor> zeros; ///< f32 [rows, blocks]; or 2^(bits - 1)

  PackedBlocks rowsFrom(Graph &graph, Location loc, const IndexExpr &first,
                        const IndexExpr &count) const;
  /// By place, a block's numbers in the lower halves of bytes come first, so
  /// that neighbours in memory are neighbours in the result.
  enum class Order { Own, ByPlace };
  /// (number - zero) * scale: [rows, blocks * size].
  Tensor widen(Graph &graph, Location loc, Type element, Order order) const;
};
} // namespace

PackedBlocks PackedBlocks::rowsFrom(Graph &graph, Location loc,
                                    const IndexExpr &first,
                                    const IndexExpr &count) const {
  auto part = [&](Tensor all) {
    Shape sizes(all.shape), offsets(all.rank(), IndexExpr(0));
    sizes[0] = count;
    offsets[0] = first;
    return graph.slice(loc, all, offsets, sizes,
                       Shape(all.rank(), IndexExpr(1)));
  };
  PackedBlocks rows = {bits, part(bytes), part(scales), std::nullopt};
  if (zeros)
    rows.zeros = part(*zeros);
  return rows;
}

/// (number - zero) * scale, where there is a zero.
static Value widened(OpBuilder &b, Location loc, Value number, Value scale,
                     Value zero, int64_t bits, Type element) {
  if (!zero)
    zero =
        arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1 << (bits - 1)));
  number = arith::SubFOp::create(b, loc, number, zero);
  number =
      arith::MulFOp::create(b, loc, number, quantize::toReal(b, loc, scale));
  return castScalar(b, loc, number, element);
}

Tensor PackedBlocks::widen(Graph &graph, Location loc, Type element,
                           Order order) const {
  Tensor packed = bytes, factors = scales;
  SmallVector<Value> inputs = {graph.materialize(loc, packed),
                               graph.materialize(loc, factors)};
  MLIRContext *context = graph.b.getContext();
  unsigned ofPlace = order == Order::Own ? 3 : 2;
  AffineMap perByte =
      AffineMap::getMultiDimIdentityMap(4, context).dropResult(ofPlace);
  AffineMap perBlock = perByte.dropResult(2);
  SmallVector<AffineMap> maps = {perByte, perBlock};
  if (zeros) {
    Tensor points = *zeros;
    inputs.push_back(graph.materialize(loc, points));
    maps.push_back(perBlock);
  }
  Shape shape(packed.shape);
  shape.insert(shape.begin() + ofPlace, IndexExpr(8 / bits));
  Tensor wide = graph.parallel(
      loc, inputs, maps, shape, element,
      [&](OpBuilder &b, Location l, ValueRange args) {
        Value place = linalg::IndexOp::create(b, l, ofPlace);
        return widened(b, l, numberIn(b, l, args[0], place, bits), args[1],
                       args.size() > 2 ? args[2] : Value(), bits, element);
      });
  IndexExpr width = shape[1] * shape[2] * shape[3];
  return graph.reshape(loc, wide, {shape[0], width});
}

/// Says so where an input has another size than `perRow` in each row, as far as
/// sizes are known; others are checked when the program runs.
static LogicalResult checkRows(Node &node, unsigned i, const IndexExpr &rows,
                               int64_t perRow, StringRef what) {
  auto count = node.in(i).staticCount(), known = rows.constant();
  if (!count || !known || *count == *known * perRow)
    return success();
  return node.error() << "expected " << *known * perRow << " " << what
                      << ", but got " << *count;
}

/// Zero points as f32 [rows, blocks]: they are packed as the numbers are, each
/// row from a byte on, or of the scales' type.
static FailureOr<Tensor> zerosOf(Node &node, unsigned i, const IndexExpr &rows,
                                 int64_t blocks, int64_t bits) {
  Graph &graph = node.graph;
  Tensor &given = node.in(i);
  Location loc = node.loc();
  Type f32 = graph.b.getF32Type();
  bool isReal = isFloat(given.elementType);
  int64_t perRow = isReal ? blocks : (blocks * bits + 7) / 8;
  if (failed(checkRows(node, i, rows, perRow,
                       isReal ? "zero points" : "bytes of zero points")))
    return failure();
  if (isReal) {
    Tensor wide = graph.reshape(loc, given, {rows, IndexExpr(blocks)});
    wide = graph.cast(loc, wide, f32);
    graph.materialize(loc, wide);
    return wide;
  }
  if (!signlessOf(given.elementType).isInteger(8))
    return node.error() << "no lowering of zero points of type "
                        << given.elementType;
  Tensor packed = graph.reshape(loc, given, {rows, IndexExpr(perRow)});
  Value all = graph.materialize(loc, packed);
  return graph.parallel(
      loc, {}, {}, {rows, IndexExpr(blocks)}, f32,
      [&](OpBuilder &b, Location l, ValueRange) {
        Value row = linalg::IndexOp::create(b, l, 0),
              block = linalg::IndexOp::create(b, l, 1);
        Value perByte = arith::ConstantIndexOp::create(b, l, 8 / bits);
        Value byte = arith::DivUIOp::create(b, l, block, perByte),
              place = arith::RemUIOp::create(b, l, block, perByte);
        Value packedByte =
            tensor::ExtractOp::create(b, l, all, ValueRange{row, byte});
        return numberIn(b, l, packedByte, place, bits);
      });
}

/// The node's bytes, scales and zero points: inputs of these numbers.
static FailureOr<PackedBlocks> blocksOf(Node &node, ArrayRef<unsigned> inputs,
                                        int64_t bits, const IndexExpr &rows,
                                        int64_t blocks, int64_t size) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  if (bits != 4 && bits != 8)
    return node.error() << "expected numbers of 4 or 8 bits, but got " << bits;
  if (size < 2 || size % 2 != 0)
    return node.error() << "expected blocks of an even size, but got " << size;
  Tensor &bytes = node.in(inputs[0]), &scales = node.in(inputs[1]);
  if (!signlessOf(bytes.elementType).isInteger(8) ||
      !isFloat(scales.elementType))
    return node.error() << "no lowering of numbers of type "
                        << bytes.elementType << " with scales of type "
                        << scales.elementType;
  if (failed(checkRows(node, inputs[0], rows, blocks * (size * bits / 8),
                       "bytes of weights")) ||
      failed(checkRows(node, inputs[1], rows, blocks, "scales")))
    return failure();
  PackedBlocks packed = {
      bits,
      graph.reshape(loc, bytes,
                    {rows, IndexExpr(blocks), IndexExpr(size * bits / 8)}),
      graph.reshape(loc, scales, {rows, IndexExpr(blocks)}), std::nullopt};
  if (!node.has(inputs[2]))
    return packed;
  FailureOr<Tensor> zeros = zerosOf(node, inputs[2], rows, blocks, bits);
  if (failed(zeros))
    return failure();
  packed.zeros = *zeros;
  return packed;
}

/// A divisor of `rows` with about kWidened numbers in so many rows.
static int64_t rowsAtOnce(int64_t rows, int64_t width) {
  int64_t most = std::max<int64_t>(kWidened / std::max<int64_t>(width, 1), 1);
  for (int64_t count = std::min(rows, most); 2 * count > most; --count)
    if (rows % count == 0)
      return count;
  return rows;
}

/// [1, M, K] with columns in the order of weights by place: zeros complete the
/// last block.
static Tensor byPlace(Graph &graph, Location loc, Tensor a,
                      const PackedBlocks &weights) {
  IndexExpr blocks = weights.bytes.shape[1], bytes = weights.bytes.shape[2],
            places(8 / weights.bits);
  IndexExpr missing = blocks * bytes * places - a.shape[2];
  if (!missing.is(0)) {
    Tensor zeros = graph.splat(graph.b.getZeroAttr(a.elementType),
                               {a.shape[0], a.shape[1], missing});
    a = graph.concat(loc, {&a, &zeros}, 2);
  }
  if (places.is(1))
    return a;
  Tensor apart = graph.reshape(loc, a, {a.shape[1], blocks, bytes, places});
  apart = graph.transpose(loc, apart, {0, 1, 3, 2});
  return graph.reshape(loc, apart,
                       {IndexExpr(1), a.shape[1], blocks * bytes * places});
}

/// [1, M, K] times packed [N, K], transposed: [1, M, N].
static Tensor multiplyPacked(Node &node, Tensor a, const PackedBlocks &weights,
                             int64_t rows) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  a = byPlace(graph, loc, a, weights);
  IndexExpr k = a.shape[2];
  auto columns = [&](const PackedBlocks &some, int64_t count) {
    Tensor wide =
        some.widen(graph, loc, a.elementType, PackedBlocks::Order::ByPlace);
    wide = graph.reshape(loc, wide, {IndexExpr(1), IndexExpr(count), k});
    Shape shape = {IndexExpr(1), k, IndexExpr(count)};
    Value view =
        TransposeViewOp::create(b, loc, graph.typeOf(shape, a.elementType),
                                wide.value, b.getDenseI64ArrayAttr({0, 2, 1}));
    Tensor right = graph.wrap(view, shape);
    return graph.contract(loc, a, right);
  };
  int64_t count = rowsAtOnce(rows, *k.constant());
  if (count == rows)
    return columns(weights, rows);
  Shape shape = {IndexExpr(1), a.shape[1], IndexExpr(rows)};
  Value out = graph.empty(loc, shape, a.elementType);
  auto index = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  graph.materialize(loc, a);
  auto loop = scf::ForOp::create(b, loc, index(0), index(rows), index(count),
                                 ValueRange{out});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  IndexExpr first = graph.ix.symbol(loop.getInductionVar(), 0);
  Tensor part =
      columns(weights.rowsFrom(graph, loc, first, IndexExpr(count)), count);
  SmallVector<OpFoldResult> offsets(3, b.getIndexAttr(0)),
      strides(3, b.getIndexAttr(1));
  offsets[2] = loop.getInductionVar();
  Value next = tensor::InsertSliceOp::create(
      b, loc, part.value, loop.getRegionIterArg(0), offsets,
      graph.ix.fold(loc, part.shape), strides);
  scf::YieldOp::create(b, loc, next);
  return graph.wrap(loop.getResult(0), shape);
}

static LogicalResult lowerMatMulNBits(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  int64_t k = node.integer("K", 0), n = node.integer("N", 0);
  int64_t size = node.integer("block_size", 0), bits = node.integer("bits", 4);
  Tensor a = node.in(0);
  if (k < 1 || n < 1 || size < 1)
    return node.error() << "expected K, N and block_size of at least 1";
  if (node.has(4) || node.integer("weight_prepacked", 0))
    return node.error() << "no lowering of weights in another order";
  if (a.rank() < 1 || !isFloat(a.elementType))
    return node.error() << "expected rows of numbers";
  Shape outer(ArrayRef(a.shape).drop_back());
  a = graph.reshape(loc, a, {IndexExpr(1), product(outer), IndexExpr(k)});
  FailureOr<PackedBlocks> weights = blocksOf(
      node, {1, 2, 3}, bits, IndexExpr(n), (k + size - 1) / size, size);
  if (failed(weights))
    return failure();
  if (node.has(5)) {
    Tensor &bias = node.in(5);
    if (bias.rank() != 1 || bias.elementType != a.elementType)
      return node.error() << "expected a bias of rank 1 and element type "
                          << a.elementType;
    if (failed(node.requireEqual(bias.shape[0], IndexExpr(n), "bias and N")))
      return failure();
  }
  Tensor product = multiplyPacked(node, a, *weights, n);
  outer.push_back(IndexExpr(n));
  product = graph.reshape(loc, product, outer);
  if (node.has(5))
    product = graph.map(loc, {&product, &node.in(5)}, outer, a.elementType,
                        [](OpBuilder &b, Location l, ValueRange args) -> Value {
                          return arith::AddFOp::create(b, l, args[0], args[1]);
                        });
  node.set(0, product);
  return success();
}

/// Rows of packed blocks, wide.
static LogicalResult lowerDequantizeBlocks(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &bytes = node.in(0), &scales = node.in(1);
  int64_t bits = node.integer("bits", 4), size = node.integer("block_size", 0);
  auto blocks = scales.rank() ? scales.shape.back().constant() : std::nullopt;
  if (!blocks || bytes.rank() != scales.rank())
    return node.error() << "expected a known number of blocks in each row";
  Shape shape(ArrayRef(scales.shape).drop_back());
  FailureOr<PackedBlocks> packed =
      blocksOf(node, {0, 1, 2}, bits, product(shape), *blocks, size);
  if (failed(packed))
    return failure();
  Tensor wide =
      packed->widen(graph, loc, scales.elementType, PackedBlocks::Order::Own);
  shape.push_back(IndexExpr(*blocks * size));
  node.set(0, graph.reshape(loc, wide, shape));
  return success();
}

/// Rows [first, first + count) of a dim, less their zero points, as f32.
static FailureOr<Tensor> centred(Node &node, unsigned i, int64_t dim,
                                 const IndexExpr &first,
                                 const IndexExpr &count) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &all = node.in(i);
  Shape sizes(all.shape), offsets(all.rank(), IndexExpr(0));
  sizes[dim] = count;
  offsets[dim] = first;
  Tensor part =
      graph.slice(loc, all, offsets, sizes, Shape(all.rank(), IndexExpr(1)));
  SmallVector<Tensor *> inputs = {&part};
  Tensor zeros;
  if (node.has(i + 2)) {
    zeros = node.in(i + 2);
    // One for each row of the left operand, or each column of the right one.
    if (i == 0 && zeros.rank() == 1 && !zeros.shape[0].is(1))
      zeros = graph.reshape(loc, zeros, {zeros.shape[0], IndexExpr(1)});
    inputs.push_back(&zeros);
  }
  FailureOr<Shape> shape = graph.broadcastShape(node, inputs);
  if (failed(shape))
    return failure();
  return graph.map(loc, inputs, *shape, graph.b.getF32Type(),
                   [](OpBuilder &b, Location l, ValueRange args) -> Value {
                     Value x = quantize::toReal(b, l, args[0]);
                     if (args.size() == 1)
                       return x;
                     return arith::SubFOp::create(
                         b, l, x, quantize::toReal(b, l, args[1]));
                   });
}

/// The product over `count` terms from `first` on, as f32.
static FailureOr<Tensor> termsOf(Node &node, const IndexExpr &first,
                                 const IndexExpr &count) {
  FailureOr<Tensor> a = centred(node, 0, node.in(0).rank() - 1, first, count);
  FailureOr<Tensor> c = centred(node, 1, node.in(1).rank() - 2, first, count);
  if (failed(a) || failed(c))
    return failure();
  return multiply(node, *a, *c);
}

/// Adds f32 to i32, in its place.
static Value addTo(Graph &graph, Location loc, Value sums, Value terms) {
  OpBuilder &b = graph.b;
  int64_t rank = cast<RankedTensorType>(sums.getType()).getRank();
  AffineMap all = b.getMultiDimIdentityMap(rank);
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, loc, sums.getType(), terms, sums, ArrayRef{all, all}, loops,
             [&](OpBuilder &nested, Location l, ValueRange args) {
               Value x = arith::FPToSIOp::create(nested, l, args[1].getType(),
                                                 args[0]);
               Value sum = arith::AddIOp::create(nested, l, args[1], x);
               linalg::YieldOp::create(nested, l, sum);
             })
      .getResult(0);
}

static LogicalResult lowerMatMulInteger(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  OpBuilder &b = graph.b;
  for (unsigned i : {0u, 1u}) {
    Tensor &x = node.in(i);
    if (x.rank() < 2 || !signlessOf(x.elementType).isInteger(8))
      return node.error() << "expected matrices of int8 or uint8";
  }
  IndexExpr terms = node.in(1).shape[node.in(1).rank() - 2];
  if (failed(node.requireEqual(node.in(0).shape.back(), terms,
                               "inner dims of the matrices")))
    return failure();
  auto known = terms.constant();
  IndexExpr most(kExactTerms);
  FailureOr<Tensor> part =
      termsOf(node, IndexExpr(0),
              known ? IndexExpr(std::min(*known, kExactTerms))
                    : graph.ix.min(loc, terms, most));
  if (failed(part))
    return failure();
  Tensor sums = graph.map(
      loc, {&*part}, part->shape, b.getI32Type(),
      [](OpBuilder &nested, Location l, ValueRange args) -> Value {
        return arith::FPToSIOp::create(nested, l, nested.getI32Type(), args[0]);
      });
  if (known && *known <= kExactTerms) {
    node.set(0, sums);
    return success();
  }
  auto index = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  auto loop =
      scf::ForOp::create(b, loc, index(kExactTerms), graph.ix.value(loc, terms),
                         index(kExactTerms), ValueRange{sums.value});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  IndexExpr first = graph.ix.symbol(loop.getInductionVar(), 0);
  IndexExpr count = known && *known % kExactTerms == 0
                        ? most
                        : graph.ix.min(loc, terms - first, most);
  part = termsOf(node, first, count);
  if (failed(part))
    return failure();
  scf::YieldOp::create(
      b, loc, addTo(graph, loc, loop.getRegionIterArg(0), part->value));
  node.set(0, graph.wrap(loop.getResult(0), sums.shape));
  return success();
}

void mlir::megactx::registerQuantizedProducts(Registry &registry) {
  registry["MatMulInteger"] = lowerMatMulInteger;
  registry["com.microsoft.MatMulNBits"] = lowerMatMulNBits;
  registry["ai.megactx.DequantizeBlocks"] = lowerDequantizeBlocks;
}
