//===- PackedIntegers.cpp - rows in integers times packed weights ---------===//

#include "PackedIntegers.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::megactx;

/// The largest of 16 bits, which stands for the largest number of a chain.
static constexpr double kMost = 32767;

/// Words whose terms are added in integers, at most: of 8 bits more would be
/// beyond 32.
static constexpr int64_t kWords = 64;

/// The words of a chain: those of a block, or of a part of it.
static int64_t wordsOfChain(int64_t perBlock) {
  int64_t words = std::min(perBlock, kWords);
  while (perBlock % words != 0)
    --words;
  return words;
}

static Value real(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

static Value word(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}

/// What stands for x in 16 bits, as i32.
static Value inInteger(OpBuilder &b, Location loc, Value x, Value scale) {
  x = castScalar(b, loc, x, b.getF32Type());
  x = arith::DivFOp::create(b, loc, x, scale);
  x = math::RoundEvenOp::create(b, loc, x);
  // A chain of zeros has no scale, and is no number here.
  x = arith::MaxNumFOp::create(b, loc, x, real(b, loc, -kMost));
  x = arith::MinNumFOp::create(b, loc, x, real(b, loc, kMost));
  return arith::FPToSIOp::create(b, loc, b.getI32Type(), x);
}

/// Of numbers [M, C, W, n], the reduction of what they are as `type` along each
/// chain: [M, C, 1, 1]. A chain is one loop, which vectors run along.
static Tensor alongChains(Node &node, Tensor numbers, Type type, Reduce kind,
                          Body body) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Shape shape(numbers.shape), flat = {shape[0], shape[1], shape[2] * shape[3]};
  numbers = graph.reshape(loc, numbers, flat);
  Tensor mapped = graph.map(loc, {&numbers}, flat, type, body);
  Tensor reduced = reduce(node, mapped, {false, false, true}, kind);
  return graph.reshape(loc, reduced,
                       {shape[0], shape[1], IndexExpr(1), IndexExpr(1)});
}

/// Of rows [M, C, W, places], what one of the 16 bits stands for in each chain:
/// f32 [M, C, 1, 1].
static Tensor scalesOf(Node &node, Tensor rows) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Type f32 = graph.b.getF32Type();
  Tensor most =
      alongChains(node, rows, f32, Reduce::Max,
                  [](OpBuilder &b, Location l, ValueRange args) -> Value {
                    return math::AbsFOp::create(
                        b, l, castScalar(b, l, args[0], b.getF32Type()));
                  });
  Tensor scales = graph.map(
      loc, {&most}, most.shape, f32,
      [](OpBuilder &b, Location l, ValueRange args) -> Value {
        return arith::DivFOp::create(b, l, args[0], real(b, l, kMost));
      });
  graph.materialize(loc, scales);
  return scales;
}

/// Each place with the one half a word further, in 16 bits each: [M, C, W,
/// places / 2].
static Tensor pairsOf(Graph &graph, Location loc, Tensor rows, Tensor scales) {
  Shape half(rows.shape), first(4, IndexExpr(0)), ones(4, IndexExpr(1)),
      second(first);
  half[3] = second[3] = IndexExpr(*rows.shape[3].constant() / 2);
  Tensor low = graph.slice(loc, rows, first, half, ones),
         high = graph.slice(loc, rows, second, half, ones);
  Tensor pairs = graph.map(
      loc, {&low, &high, &scales}, half, graph.b.getI32Type(),
      [](OpBuilder &b, Location l, ValueRange args) -> Value {
        Value low = arith::AndIOp::create(
            b, l, inInteger(b, l, args[0], args[2]), word(b, l, 0xffff));
        Value high = arith::ShLIOp::create(
            b, l, inInteger(b, l, args[1], args[2]), word(b, l, 16));
        return arith::OrIOp::create(b, l, low, high);
      });
  graph.materialize(loc, pairs);
  return pairs;
}

Value mlir::megactx::sumOfPair(OpBuilder &b, Location loc, Value pair) {
  Value half = word(b, loc, 16);
  Value low = arith::ShLIOp::create(b, loc, pair, half);
  low = arith::ShRSIOp::create(b, loc, low, half);
  Value high = arith::ShRSIOp::create(b, loc, pair, half);
  return arith::AddIOp::create(b, loc, low, high);
}

IntegerRows mlir::megactx::integerRows(Node &node, Tensor a,
                                       const PackedBlocks &weights) {
  int64_t blocks = *weights.words->shape[1].constant(),
          perBlock = *weights.words->shape[2].constant(),
          inChain = wordsOfChain(perBlock);
  Tensor rows =
      node.graph.reshape(node.loc(), a,
                         {a.shape[1], IndexExpr(blocks * perBlock / inChain),
                          IndexExpr(inChain), IndexExpr(32 / weights.bits)});
  node.graph.materialize(node.loc(), rows);
  Tensor scales = scalesOf(node, rows);
  return {pairsOf(node.graph, node.loc(), rows, scales), scales};
}

Tensor mlir::megactx::multiplyInIntegers(Node &node, const IntegerRows &rows,
                                         const PackedBlocks &weights) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor pairs = rows.pairs, scales = rows.scales, words = *weights.words,
         factors = weights.scales;
  Tensor sums =
      alongChains(node, pairs, b.getI32Type(), Reduce::Sum,
                  [](OpBuilder &inner, Location l, ValueRange args) -> Value {
                    return sumOfPair(inner, l, args[0]);
                  });
  IndexExpr count = pairs.shape[0], chains = pairs.shape[1],
            width = chains * pairs.shape[2], n = words.shape[0];
  pairs = graph.reshape(loc, pairs, {count, width, pairs.shape[3]});
  scales = graph.reshape(loc, scales, {count, chains});
  sums = graph.reshape(loc, sums, {count, chains});
  words = graph.reshape(loc, words, {n, width});
  Value zeros;
  if (weights.zeros) {
    Tensor points = *weights.zeros;
    zeros = graph.materialize(loc, points);
  }
  Shape shape = {count, n};
  Value out = graph.empty(loc, shape, b.getF32Type());
  auto made = PackedProductOp::create(
      b, loc, TypeRange{out.getType()}, graph.materialize(loc, pairs),
      graph.materialize(loc, scales), graph.materialize(loc, sums),
      graph.materialize(loc, words), graph.materialize(loc, factors), zeros,
      out, weights.bits);
  Tensor product = graph.wrap(made.getResult(0), shape);
  return graph.reshape(loc, product, {IndexExpr(1), count, n});
}
