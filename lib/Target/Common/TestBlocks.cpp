//===- TestBlocks.cpp - tests that are the same for whole blocks ----------===//

#include "TestBlocks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;

std::optional<TestBlocks> TestBlocks::of(const AttentionShape &shape,
                                         const pattern::Piece &piece) {
  auto block = pattern::blocksOfTest(piece);
  if (!block || KeyViews::periodOf(shape) != 1 || shape.queryStep != 1 ||
      shape.keyStep != 1 || shape.hasQueryPositions || shape.hasKeyPositions)
    return std::nullopt;
  return TestBlocks(piece.test, *block);
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
