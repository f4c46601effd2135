//===- PackedProducts.cpp - weights of few bits ---------------------------===//
//
// Weights of 4 and 8 bits stay packed. Products of few rows, or of any in
// integers, widen them in registers; others widen some columns at a time, into
// memory that the next ones use again.
//
//===----------------------------------------------------------------------===//

#include "PackedRows.h"
#include "Quantize.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// How many weights are widened at a time, about.
static constexpr int64_t kWidened = 1 << 22;

/// Up to so many rows weights are widened in registers; so many of them meet
/// weights at a time, which tasks unroll.
static constexpr int64_t kFewRows = 16, kRowsAtOnce = 4;

/// The accuracy level at which rows may be rounded to 8 bits.
static constexpr int64_t kOfBytes = 4;

/// A divisor of `rows` with about kWidened numbers in so many rows.
static int64_t rowsAtOnce(int64_t rows, int64_t width) {
  int64_t most = std::max<int64_t>(kWidened / std::max<int64_t>(width, 1), 1);
  for (int64_t count = std::min(rows, most); 2 * count > most; --count)
    if (rows % count == 0)
      return count;
  return rows;
}

/// [1, M, K] with zeros that complete the last block.
static Tensor inWholeBlocks(Graph &graph, Location loc, Tensor a,
                            const PackedBlocks &weights) {
  IndexExpr blocks = weights.bytes.shape[1], bytes = weights.bytes.shape[2];
  IndexExpr missing = blocks * bytes * (8 / weights.bits) - a.shape[2];
  if (missing.is(0))
    return a;
  Tensor zeros = graph.splat(graph.b.getZeroAttr(a.elementType),
                             {a.shape[0], a.shape[1], missing});
  return graph.concat(loc, {&a, &zeros}, 2);
}

/// [1, M, K] with columns in the order of weights by place.
static Tensor byPlace(Graph &graph, Location loc, Tensor a,
                      const PackedBlocks &weights) {
  IndexExpr blocks = weights.bytes.shape[1], bytes = weights.bytes.shape[2],
            places(8 / weights.bits);
  if (places.is(1))
    return a;
  Tensor apart = graph.reshape(loc, a, {a.shape[1], blocks, bytes, places});
  apart = graph.transpose(loc, apart, {0, 1, 3, 2});
  return graph.reshape(loc, apart,
                       {IndexExpr(1), a.shape[1], blocks * bytes * places});
}

/// [1, M, K] times packed [N, K], transposed: [1, M, N]. Some rows of weights
/// are widened at a time, into memory that the next ones use again.
static Tensor multiplyMany(Graph &graph, Location loc, Tensor a,
                           const PackedBlocks &weights, int64_t rows) {
  OpBuilder &b = graph.b;
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

/// One of two tensors of a shape, as the run decides.
static Tensor choose(Graph &graph, Location loc, const IndexExpr &condition,
                     ArrayRef<IndexExpr> shape, Type element,
                     function_ref<Tensor()> yes, function_ref<Tensor()> no) {
  OpBuilder &b = graph.b;
  RankedTensorType type = graph.typeOf(shape, element);
  auto choice =
      scf::IfOp::create(b, loc, type, graph.ix.condition(loc, condition),
                        /*withElseRegion=*/true);
  for (auto [block, make] : {std::pair(choice.thenBlock(), yes),
                             std::pair(choice.elseBlock(), no)}) {
    Graph::Scope scope(graph);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(block);
    Tensor made = make();
    scf::YieldOp::create(b, loc,
                         b.createOrFold<tensor::CastOp>(
                             loc, type, graph.materialize(loc, made)));
  }
  return graph.wrap(choice.getResult(0), shape);
}

/// Whether a row of words, or bytes, is whole vectors, as sums take them, each
/// within a block or of whole blocks.
static bool isInVectors(const Tensor &words) {
  constexpr int64_t kLanes = 16;
  int64_t blocks = *words.shape[1].constant(),
          perBlock = *words.shape[2].constant();
  return blocks * perBlock % kLanes == 0 &&
         (perBlock % kLanes == 0 || kLanes % perBlock == 0);
}

/// Upstream folds such into a constant of its type, which may have no sign
/// where a generic op has it for an operand.
static bool isOneNumber(const Tensor &tensor) {
  auto constant = dyn_cast_or_null<DenseElementsAttr>(tensor.constant);
  return tensor.splat || (constant && constant.isSplat()) ||
         (tensor.elements && llvm::all_equal(*tensor.elements));
}

/// [1, M, K] times packed [N, K], transposed: [1, M, N].
static Tensor multiplyPacked(Node &node, Tensor a, PackedBlocks weights,
                             int64_t rows) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  a = inWholeBlocks(graph, loc, a, weights);
  if (isOneNumber(node.in(1)) || !isInVectors(weights.bytes))
    return multiplyMany(graph, loc, a, weights, rows);
  // For both, before the run decides.
  graph.materialize(loc, a);
  for (Tensor *operand : {&weights.bytes, &weights.scales})
    graph.materialize(loc, *operand);
  Shape shape = {IndexExpr(1), a.shape[1], IndexExpr(rows)};
  auto atMost = [&](int64_t most, function_ref<Tensor()> yes,
                    function_ref<Tensor()> no) {
    IndexExpr is = graph.ix.compare(loc, Compare::Le, a.shape[1], most);
    if (is.constant())
      return is.is(0) ? no() : yes();
    return choose(graph, loc, is, shape, a.elementType, yes, no);
  };
  // The scale of a word is that of more numbers; several rows meet each number
  // where it is a weight, of which words have too many for the registers.
  bool inWords = weights.words && isInVectors(*weights.words);
  const Tensor &words = inWords ? *weights.words : weights.bytes;
  bool inIntegers = inWords && graph.options.integerTerms &&
                    node.integer("accuracy_level", 0) == kOfBytes;
  if (inIntegers) {
    // Before the run decides, so that products of the same rows share them.
    IntegerRows inPairs = integerRows(node, a, weights);
    auto cast = [&](Tensor product) {
      return graph.cast(loc, product, a.elementType);
    };
    return atMost(
        1, [&] { return cast(multiplyOne(node, inPairs, weights)); },
        [&] { return cast(multiplyInIntegers(node, inPairs, weights)); });
  }
  auto one = [&] { return multiplyFew(node, a, weights, words, 1); };
  auto few = [&] {
    return multiplyFew(node, a, weights, weights.bytes, kRowsAtOnce);
  };
  auto many = [&] { return multiplyMany(graph, loc, a, weights, rows); };
  return atMost(1, one, [&] { return atMost(kFewRows, few, many); });
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

void mlir::megactx::registerPackedProducts(Registry &registry) {
  registry["com.microsoft.MatMulNBits"] = lowerMatMulNBits;
  registry["ai.megactx.DequantizeBlocks"] = lowerDequantizeBlocks;
}
