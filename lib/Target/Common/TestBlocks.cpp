//===- TestBlocks.cpp - tests that are the same for whole blocks ----------===//

#include "TestBlocks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

/// The fewest positions of a block.
constexpr int64_t kLeast = 8;

std::optional<TestBlocks> TestBlocks::of(const AttentionShape &shape,
                                         const pattern::Piece &piece) {
  using Kind = pattern::Expr::Kind;
  if (!piece.test || !piece.digits.isIdentity() ||
      KeyViews::periodOf(shape) != 1 || shape.queryStep != 1 ||
      shape.keyStep != 1 || shape.hasQueryPositions || shape.hasKeyPositions)
    return std::nullopt;
  int64_t queries = pattern::blockOf(piece.test, Kind::Position),
          keys = pattern::blockOf(piece.test, Kind::Key);
  if (queries < kLeast || keys < kLeast)
    return std::nullopt;
  return TestBlocks(piece.test, queries, keys);
}

/// A loop over the blocks of positions that hold some of the range; the body
/// gets a position of each.
static SmallVector<Value>
forBlocks(ImplicitLocOpBuilder &b, int64_t size, TestBlocks::Range range,
          ValueRange init,
          function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  Arith a{b};
  Value step = a.c(size);
  return emitFor(
      b, emitFloorDiv(b, range.first, step),
      a.add(emitFloorDiv(b, range.last, step), a.c(1)), 1, init,
      [&](Value block, ValueRange so) { return body(a.mul(block, step), so); });
}

TestBlocks::Held TestBlocks::held(ImplicitLocOpBuilder &b,
                                  const KeyViews &views, Range ofQueries,
                                  Range ofKeys) const {
  Arith a{b};
  auto ofPair = [&](Value position, Value key,
                    ValueRange so) -> SmallVector<Value> {
    ExprLeaves leaves = views.leaves(position);
    leaves.key = key;
    Value holds = emitExpr(b, test, leaves);
    return {a.max(so[0], holds), a.min(so[1], holds)};
  };
  SmallVector<Value> found = forBlocks(
      b, queries, ofQueries, {a.c(0), a.c(1)},
      [&](Value position, ValueRange so) {
        return forBlocks(b, keys, ofKeys, so, [&](Value key, ValueRange so) {
          return ofPair(position, key, so);
        });
      });
  return {a.lt(a.c(0), found[0]), a.lt(a.c(0), found[1])};
}

void TestBlocks::forTiles(ImplicitLocOpBuilder &b, const Walk &walk,
                          function_ref<Held(Value)> of,
                          function_ref<void(Value, Value)> body) {
  Arith a{b};
  Value size = a.c(walk.block), tile = a.c(walk.tile);
  auto tilesOf = [&](Held held, Value from, Value end) {
    auto ifOp = scf::IfOp::create(
        b, held.any,
        [&](OpBuilder &, Location) {
          emitFor(b, from, end, walk.tile, [&](Value from) {
            body(from, a.both(held.all, a.le(a.add(from, tile), end)));
          });
          Value count = a.ceilDiv(a.max(a.sub(end, from), a.c(0)), tile);
          scf::YieldOp::create(b, a.add(from, a.mul(count, tile)));
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, from); });
    return ifOp.getResult(0);
  };
  emitFor(b, emitFloorDiv(b, a.add(walk.begin, walk.offset), size),
          a.ceilDiv(a.add(walk.end, walk.offset), size), 1, walk.begin,
          [&](Value block, ValueRange so) -> SmallVector<Value> {
            Value position = a.mul(block, size);
            Value begin = a.sub(position, walk.offset);
            Value from = a.max(begin, so[0]);
            Value end = a.min(a.add(begin, size), walk.end);
            return {tilesOf(of(position), from, end)};
          });
}
