//===- TestedTiles.h - tiles for which a test holds -------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_TESTEDTILES_H
#define MEGACTX_LIB_TARGET_CPU_TESTEDTILES_H

#include "../Common/TestBlocks.h"

namespace mlir::megactx::cpu {

/// Rows that come one by one, in tiles of so many: numbers [begin, end), of
/// which number i is at position i + offset, in blocks of so many positions.
struct TiledRows {
  Value begin, end, offset;
  int64_t block, tile;
};

/// Calls `body` with the first number of tiles that hold all numbers of the
/// rows' blocks for which `of`, asked with one of a block's positions, says
/// that the test holds of any pair. `isAllowed`: whether it holds for all pairs
/// of the tile, null where blocks have fewer rows than tiles. A tile may reach
/// behind its block, and behind the end.
void forTestedTiles(ImplicitLocOpBuilder &b, const TiledRows &rows,
                    function_ref<TestBlocks::Held(Value position)> of,
                    function_ref<void(Value from, Value isAllowed)> body);

} // namespace mlir::megactx::cpu

#endif
