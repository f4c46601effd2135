//===- PackedProducts.cpp - weights of few bits ---------------------------===//
//
// Weights of 4 and 8 bits stay packed. Products of few rows widen them in
// registers; others widen some columns at a time, into memory that the next
// ones use again.
//
//===----------------------------------------------------------------------===//

#include "PackedBlocks.h"
#include "Quantize.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;

/// How many weights are widened at a time, about.
static constexpr int64_t kWidened = 1 << 22;

/// Up to so many rows weights are widened in registers; so many of them and of
/// weights' rows meet at a time, which tasks unroll.
static constexpr int64_t kFewRows = 16, kRowsAtOnce = 4, kWeightsAtOnce = 2;

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

namespace {
/// A product of few rows, in f32: sums [G, S, N / T, T] of rows [places, G, S,
/// words] and packed rows of weights [N / T, T, words]. T rows of weights and S
/// of the others meet at a time, so that registers have what both read.
class FewRows {
public:
  FewRows(Graph &graph, Location loc, Tensor rows, const PackedBlocks &weights,
          const Tensor &words)
      : graph(graph), b(graph.b), loc(loc), rows(std::move(rows)),
        weights(weights), words(words), isOne(this->rows.shape[2].is(1)) {}

  Tensor run();

private:
  /// Elements that a term is computed of; `zero` and `sum` may be null.
  struct Element {
    Value word, scale, zero, sum, sofar;
    ValueRange x; ///< of each place
  };
  Value withTerm(OpBuilder &inner, Location l, const Element &of);
  Tensor addPlaces();
  void takePlaces();

  Graph &graph;
  OpBuilder &b;
  Location loc;
  Tensor rows;
  const PackedBlocks &weights;
  const Tensor &words;
  bool isOne;                 ///< whether one row meets a weight
  SmallVector<Tensor> places; ///< what numbers of each place meet
};
} // namespace

/// The sum of what all numbers of a word meet, times their zero point where all
/// have one.
Tensor FewRows::addPlaces() {
  float zero = weights.zeros ? 1.0f : 1 << (weights.bits - 1);
  SmallVector<Tensor *> all;
  for (Tensor &place : places)
    all.push_back(&place);
  Shape shape = places.front().shape;
  return graph.map(
      loc, all, shape, b.getF32Type(),
      [&](OpBuilder &inner, Location l, ValueRange args) -> Value {
        Value sum;
        for (Value x : args) {
          x = castScalar(inner, l, x, inner.getF32Type());
          sum = sum ? arith::AddFOp::create(inner, l, sum, x).getResult() : x;
        }
        Value factor =
            arith::ConstantOp::create(inner, l, inner.getF32FloatAttr(zero));
        return arith::MulFOp::create(inner, l, sum, factor);
      });
}

/// The rows, place by place.
void FewRows::takePlaces() {
  graph.materialize(loc, rows);
  Shape part(rows.shape), first(rows.rank(), IndexExpr(0)),
      ones(rows.rank(), IndexExpr(1)), shape(ArrayRef(rows.shape).drop_front());
  part[0] = IndexExpr(1);
  for (int64_t place = 0, end = *rows.shape[0].constant(); place < end;
       ++place) {
    first[0] = IndexExpr(place);
    Tensor own = graph.slice(loc, rows, first, part, ones);
    places.push_back(graph.reshape(loc, own, shape));
    graph.materialize(loc, places.back());
  }
}

/// The sum so far and what a word adds to it: several rows meet weights; of
/// one, a block's numbers n with one scale s and zero z are no weights first,
/// for s (sum n x - z sum x) has fewer operations.
Value FewRows::withTerm(OpBuilder &inner, Location l, const Element &of) {
  Value sum;
  for (auto [place, x] : llvm::enumerate(of.x)) {
    Value at = arith::ConstantIndexOp::create(inner, l, place);
    Value number = numberIn(inner, l, of.word, at, weights.bits);
    if (!isOne)
      number = widened(inner, l, number, of.scale, of.zero, weights.bits,
                       inner.getF32Type());
    Value product = arith::MulFOp::create(
        inner, l, number, castScalar(inner, l, x, inner.getF32Type()),
        kAnyOrder);
    sum = sum ? arith::AddFOp::create(inner, l, sum, product, kAnyOrder)
                    .getResult()
              : product;
  }
  if (isOne) {
    Value less = of.sum;
    if (of.zero)
      less = arith::MulFOp::create(inner, l, of.zero, less, kAnyOrder);
    sum = arith::SubFOp::create(inner, l, sum, less, kAnyOrder);
    sum = arith::MulFOp::create(
        inner, l, sum, quantize::toReal(inner, l, of.scale), kAnyOrder);
  }
  return arith::AddFOp::create(inner, l, of.sofar, sum, kAnyOrder);
}

Tensor FewRows::run() {
  MLIRContext *context = b.getContext();
  AffineExpr some, group, row, one, word;
  bindDims(context, some, group, row, one, word);
  auto map = [&](ArrayRef<AffineExpr> at) {
    return AffineMap::get(5, 0, at, context);
  };
  IndexExpr count = words.shape[0], blocks = words.shape[1],
            size = words.shape[2];
  int64_t atOnce = isOne ? 1 : std::gcd(*count.constant(), kWeightsAtOnce);
  IndexExpr together(atOnce), groups(*count.constant() / atOnce);
  AffineMap ofRows = map({group, one, word}),
            ofBlock = map({some, row, word.floorDiv(*size.constant())});
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  auto add = [&](Tensor tensor, AffineMap map) {
    inputs.push_back(graph.materialize(loc, tensor));
    maps.push_back(map);
  };
  auto addWeights = [&](Tensor all, const IndexExpr &width, AffineMap map) {
    add(graph.reshape(loc, all, {groups, together, width}), map);
  };
  takePlaces();
  for (const Tensor &place : places)
    add(place, ofRows);
  addWeights(words, blocks * size, map({some, row, word}));
  addWeights(weights.scales, blocks, ofBlock);
  if (weights.zeros)
    addWeights(*weights.zeros, blocks, ofBlock);
  if (isOne)
    add(addPlaces(), ofRows);
  maps.push_back(map({group, one, some, row}));
  using utils::IteratorType;
  SmallVector<IteratorType> loops(5, IteratorType::parallel);
  loops.back() = IteratorType::reduction;
  Shape sums = {rows.shape[1], rows.shape[2], groups, together};
  Value zero = graph.filled(loc, sums, b.getZeroAttr(b.getF32Type()));
  auto made = linalg::GenericOp::create(
      b, loc, zero.getType(), inputs, zero, maps, loops,
      [&](OpBuilder &inner, Location l, ValueRange args) {
        ValueRange rest = args.drop_front(places.size());
        Element of = {rest[0],
                      rest[1],
                      weights.zeros ? rest[2] : Value(),
                      isOne ? rest.drop_back().back() : Value(),
                      rest.back(),
                      args.take_front(places.size())};
        linalg::YieldOp::create(inner, l, withTerm(inner, l, of));
      });
  return graph.wrap(made.getResult(0), sums);
}

/// [1, M, K] times packed [N, K], transposed: [1, M, N]. No weight goes to
/// memory, and `atOnce` rows read each once.
static Tensor multiplyFew(Graph &graph, Location loc, Tensor a,
                          const PackedBlocks &weights, const Tensor &words,
                          int64_t atOnce) {
  unsigned width = words.elementType.getIntOrFloatBitWidth();
  IndexExpr few = a.shape[1], rows = words.shape[0], blocks = words.shape[1],
            perBlock = words.shape[2], places(width / weights.bits),
            group(atOnce);
  IndexExpr groups = graph.ix.floorDiv(loc, few + (atOnce - 1), group);
  if (IndexExpr missing = groups * group - few; !missing.is(0)) {
    Tensor zeros = graph.splat(graph.b.getZeroAttr(a.elementType),
                               {IndexExpr(1), missing, a.shape[2]});
    a = graph.concat(loc, {&a, &zeros}, 1);
  }
  a = graph.reshape(loc, a, {groups, group, blocks, perBlock, places});
  a = graph.transpose(loc, a, {4, 0, 1, 2, 3});
  a = graph.reshape(loc, a, {places, groups, group, blocks * perBlock});
  Tensor out = FewRows(graph, loc, a, weights, words).run();
  out = graph.cast(loc, out, a.elementType);
  out = graph.reshape(loc, out, {IndexExpr(1), groups * group, rows});
  return graph.slice(loc, out, Shape(3, IndexExpr(0)),
                     {IndexExpr(1), few, rows}, Shape(3, IndexExpr(1)));
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
  const Tensor &packed = inWords ? *weights.words : weights.bytes;
  auto one = [&] { return multiplyFew(graph, loc, a, weights, packed, 1); };
  auto few = [&] {
    return multiplyFew(graph, loc, a, weights, weights.bytes, kRowsAtOnce);
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
