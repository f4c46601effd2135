//===- TestedTiles.h - tiles for which a test holds -------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_TESTEDTILES_H
#define MEGACTX_LIB_TARGET_CPU_TESTEDTILES_H

#include "../Common/TestBlocks.h"

namespace mlir::megactx::cpu {

/// Rows that come one by one, in tiles of so many: numbers [begin, end), of
/// which number i is at position i + offset.
struct TiledRows {
  Value begin, end, offset;
  int64_t tile;
};

/// Those that stand in the lanes meanwhile: the first `count` of rowOf.
struct TaskLanes {
  const KeyViews &views;
  bool areQueries;
  Value rowOf, count;
};

/// Calls `body` with the first number of every tile; with `test`, of tiles that
/// hold all numbers of those blocks for which it holds with some of the lanes.
/// These may reach behind their block, and behind the end. `isAllowed`: whether
/// it holds for all pairs of the tile; null where there is no test, or blocks
/// have fewer rows than tiles.
void forTiles(ImplicitLocOpBuilder &b, const std::optional<TestBlocks> &test,
              const TaskLanes &lanes, const TiledRows &rows,
              function_ref<void(Value from, Value isAllowed)> body);

} // namespace mlir::megactx::cpu

#endif
