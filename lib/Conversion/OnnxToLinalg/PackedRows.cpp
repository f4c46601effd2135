//===- PackedRows.cpp - few rows times packed weights ---------------------===//

#include "PackedRows.h"
#include "Quantize.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;

/// So many rows of weights meet others at a time, which tasks unroll: those of
/// one row are read from memory, from so many places at once; of several,
/// registers have no more.
static constexpr int64_t kMeetOne = 4, kMeetSeveral = 2;

static Value constant(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}

static Value real(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

namespace {
/// Sums [G, S, N / T, T] of rows [places, G, S, words] and packed rows of
/// weights [N / T, T, words]. T rows of weights and S of the others meet at a
/// time, so that registers have what both read.
class FewRows {
public:
  FewRows(Node &node, const PackedBlocks &weights, const Tensor &words)
      : graph(node.graph), b(graph.b), loc(node.loc()), weights(weights),
        words(words) {}

  /// Of rows [G, S, blocks, words of a block, places]; or of such whose places
  /// are pairs in integers, and that have scales [G, S, blocks]: S is 1 then.
  Tensor run(Tensor rows, std::optional<Tensor> scales = std::nullopt);

private:
  /// Elements that a term is computed of; null where there is none.
  struct Element {
    Value word, scale, zero, sum, rowScale, sofar;
    ValueRange x; ///< of each place, or pair of places
  };
  void takePlaces(Tensor rows);
  void addPlaces();
  Value realTerm(OpBuilder &inner, Location l, const Element &of);
  Value integerTerm(OpBuilder &inner, Location l, const Element &of);
  Value withTerm(OpBuilder &inner, Location l, ValueRange args);

  Graph &graph;
  OpBuilder &b;
  Location loc;
  const PackedBlocks &weights;
  const Tensor &words;
  bool isOne = false;             ///< whether one row meets a weight
  SmallVector<Tensor> places;     ///< what numbers of each place meet
  std::optional<Tensor> sums;     ///< of all places, times a common zero point
  std::optional<Tensor> rowScale; ///< of integers
};
} // namespace

/// The rows, place by place: each [G, S, words].
void FewRows::takePlaces(Tensor rows) {
  Shape outer(ArrayRef(rows.shape).take_front(2));
  IndexExpr width = rows.shape[2] * rows.shape[3], count = rows.shape[4];
  rows = graph.transpose(loc, rows, {4, 0, 1, 2, 3});
  rows = graph.reshape(loc, rows, {count, outer[0], outer[1], width});
  graph.materialize(loc, rows);
  Shape part(rows.shape), first(rows.rank(), IndexExpr(0)),
      ones(rows.rank(), IndexExpr(1)), shape(ArrayRef(rows.shape).drop_front());
  part[0] = IndexExpr(1);
  for (int64_t place = 0; place < *count.constant(); ++place) {
    first[0] = IndexExpr(place);
    Tensor own = graph.slice(loc, rows, first, part, ones);
    places.push_back(graph.reshape(loc, own, shape));
    graph.materialize(loc, places.back());
  }
}

/// The sum of what all numbers of a word meet, times their zero point where all
/// have one.
void FewRows::addPlaces() {
  int64_t zero = weights.zeros ? 1 : int64_t(1) << (weights.bits - 1);
  SmallVector<Tensor *> all;
  for (Tensor &place : places)
    all.push_back(&place);
  auto ofIntegers = [&](OpBuilder &inner, Location l,
                        ValueRange args) -> Value {
    Value sum = constant(inner, l, 0);
    for (Value x : args)
      sum = arith::AddIOp::create(inner, l, sum, sumOfPair(inner, l, x));
    return arith::MulIOp::create(inner, l, sum, constant(inner, l, zero));
  };
  auto ofReals = [&](OpBuilder &inner, Location l, ValueRange args) -> Value {
    Value sum;
    for (Value x : args) {
      x = castScalar(inner, l, x, inner.getF32Type());
      sum = sum ? arith::AddFOp::create(inner, l, sum, x) : x;
    }
    return arith::MulFOp::create(inner, l, sum, real(inner, l, zero));
  };
  const Shape &shape = places.front().shape;
  sums = rowScale ? graph.map(loc, all, shape, b.getI32Type(), ofIntegers)
                  : graph.map(loc, all, shape, b.getF32Type(), ofReals);
}

/// Several rows meet weights; of one, a block's numbers n with one scale s and
/// zero z are no weights first, for s (sum n x - z sum x) has fewer operations.
Value FewRows::realTerm(OpBuilder &inner, Location l, const Element &of) {
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
  if (!isOne)
    return sum;
  Value less = of.sum;
  if (of.zero)
    less = arith::MulFOp::create(inner, l, of.zero, less, kAnyOrder);
  sum = arith::SubFOp::create(inner, l, sum, less, kAnyOrder);
  return arith::MulFOp::create(inner, l, sum,
                               quantize::toReal(inner, l, of.scale), kAnyOrder);
}

/// Numbers half a word apart are the halves of one without those in between.
Value FewRows::integerTerm(OpBuilder &inner, Location l, const Element &of) {
  int64_t mask = (int64_t(1) << weights.bits) - 1;
  Value halves = constant(inner, l, mask << 16 | mask);
  Value dot = constant(inner, l, 0);
  for (auto [place, x] : llvm::enumerate(of.x)) {
    Value numbers = of.word;
    if (place)
      numbers = arith::ShRUIOp::create(
          inner, l, numbers, constant(inner, l, place * weights.bits));
    numbers = arith::AndIOp::create(inner, l, numbers, halves);
    dot = DotPairsOp::create(inner, l, numbers, x, dot);
  }
  Value sum;
  if (of.zero) {
    Value less = arith::MulFOp::create(
        inner, l, of.zero,
        arith::SIToFPOp::create(inner, l, inner.getF32Type(), of.sum));
    sum = arith::SIToFPOp::create(inner, l, inner.getF32Type(), dot);
    sum = arith::SubFOp::create(inner, l, sum, less, kAnyOrder);
  } else {
    dot = arith::SubIOp::create(inner, l, dot, of.sum);
    sum = arith::SIToFPOp::create(inner, l, inner.getF32Type(), dot);
  }
  Value scale = arith::MulFOp::create(
      inner, l, quantize::toReal(inner, l, of.scale), of.rowScale);
  return arith::MulFOp::create(inner, l, sum, scale, kAnyOrder);
}

/// The sum so far and what a word adds to it.
Value FewRows::withTerm(OpBuilder &inner, Location l, ValueRange args) {
  Element of;
  of.x = args.take_front(places.size());
  ValueRange rest = args.drop_front(places.size());
  auto next = [&]() {
    Value value = rest.front();
    rest = rest.drop_front();
    return value;
  };
  of.word = next();
  of.scale = next();
  of.zero = weights.zeros ? zeroPoint(inner, l, next()) : Value();
  of.sum = sums ? next() : Value();
  of.rowScale = rowScale ? next() : Value();
  of.sofar = next();
  Value term = rowScale ? integerTerm(inner, l, of) : realTerm(inner, l, of);
  return arith::AddFOp::create(inner, l, of.sofar, term, kAnyOrder);
}

Tensor FewRows::run(Tensor rows, std::optional<Tensor> scales) {
  MLIRContext *context = b.getContext();
  AffineExpr some, group, row, one, word;
  bindDims(context, some, group, row, one, word);
  auto map = [&](ArrayRef<AffineExpr> at) {
    return AffineMap::get(5, 0, at, context);
  };
  Shape outer(ArrayRef(rows.shape).take_front(2));
  isOne = outer[1].is(1);
  rowScale = std::move(scales);
  takePlaces(rows);
  if (isOne)
    addPlaces();
  IndexExpr count = words.shape[0], blocks = words.shape[1],
            size = words.shape[2];
  int64_t atOnce = std::gcd(*count.constant(), isOne ? kMeetOne : kMeetSeveral);
  IndexExpr together(atOnce), groups(*count.constant() / atOnce);
  AffineExpr block = word.floorDiv(*size.constant());
  AffineMap ofRows = map({group, one, word}), ofBlock = map({some, row, block});
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  auto add = [&](Tensor tensor, AffineMap map) {
    inputs.push_back(graph.materialize(loc, tensor));
    maps.push_back(map);
  };
  auto addWeights = [&](Tensor all, const IndexExpr &width, AffineMap map) {
    add(graph.reshape(loc, all, {groups, together, width}), map);
  };
  for (const Tensor &place : places)
    add(place, ofRows);
  addWeights(words, blocks * size, map({some, row, word}));
  addWeights(weights.scales, blocks, ofBlock);
  if (weights.zeros)
    addWeights(*weights.zeros, blocks, ofBlock);
  if (sums)
    add(*sums, ofRows);
  if (rowScale)
    add(*rowScale, map({group, one, word.floorDiv(*rows.shape[3].constant())}));
  maps.push_back(map({group, one, some, row}));
  using utils::IteratorType;
  SmallVector<IteratorType> loops(5, IteratorType::parallel);
  loops.back() = IteratorType::reduction;
  Shape shape = {outer[0], outer[1], groups, together};
  Value zero = graph.filled(loc, shape, b.getZeroAttr(b.getF32Type()));
  auto made = linalg::GenericOp::create(
      b, loc, zero.getType(), inputs, zero, maps, loops,
      [&](OpBuilder &inner, Location l, ValueRange args) {
        linalg::YieldOp::create(inner, l, withTerm(inner, l, args));
      });
  return graph.wrap(made.getResult(0), shape);
}

Tensor mlir::megactx::multiplyFew(Node &node, Tensor a,
                                  const PackedBlocks &weights,
                                  const Tensor &words, int64_t atOnce) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  unsigned width = words.elementType.getIntOrFloatBitWidth();
  IndexExpr few = a.shape[1], rows = words.shape[0], blocks = words.shape[1],
            perBlock = words.shape[2], places(width / weights.bits),
            group(atOnce);
  IndexExpr groups = graph.ix.floorDiv(loc, few + (atOnce - 1), group);
  Type element = a.elementType;
  if (IndexExpr missing = groups * group - few; !missing.is(0)) {
    Tensor zeros = graph.splat(graph.b.getZeroAttr(element),
                               {IndexExpr(1), missing, a.shape[2]});
    a = graph.concat(loc, {&a, &zeros}, 1);
  }
  a = graph.reshape(loc, a, {groups, group, blocks, perBlock, places});
  Tensor out = FewRows(node, weights, words).run(a);
  out = graph.cast(loc, out, element);
  out = graph.reshape(loc, out, {IndexExpr(1), groups * group, rows});
  return graph.slice(loc, out, Shape(3, IndexExpr(0)),
                     {IndexExpr(1), few, rows}, Shape(3, IndexExpr(1)));
}

Tensor mlir::megactx::multiplyOne(Node &node, const IntegerRows &rows,
                                  const PackedBlocks &weights) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor pairs = rows.pairs, scales = rows.scales;
  Shape shape(pairs.shape);
  shape.insert(shape.begin() + 1, IndexExpr(1));
  pairs = graph.reshape(loc, pairs, shape);
  scales = graph.reshape(loc, scales, ArrayRef(shape).take_front(3));
  Tensor out = FewRows(node, weights, *weights.words).run(pairs, scales);
  return graph.reshape(loc, out,
                       {IndexExpr(1), shape[0], weights.words->shape[0]});
}
