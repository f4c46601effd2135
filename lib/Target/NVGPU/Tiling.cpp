//===- Tiling.cpp - where a block's tiles are in shared memory ------------===//

#include "Tiling.h"
#include "../Common/KeyViews.h"
#include "../Common/TestBlocks.h"
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using nvx::Product;
using nvx::ScheduleAttr;

SmallVector<int64_t> TileLayout::shape() const {
  if (swizzled)
    return {static_cast<int64_t>(llvm::divideCeil(columns, panel)), rows,
            panel};
  return {rows, columns + 16 / elementBytes};
}

int64_t TileLayout::bytes() const {
  int64_t elements = 1;
  for (int64_t size : shape())
    elements *= size;
  return elements * elementBytes;
}

SmallVector<Value> TileLayout::place(const Arith &a, Value row,
                                     Value column) const {
  if (!swizzled)
    return {row, column};
  // Of the eight chunks of a panel's row, number i stands at i xor row mod 8.
  Value mask = a.mul(a.rem(row, a.c(8)), a.c(16 / elementBytes));
  return {a.div(column, a.c(panel)), row,
          a.bitXor(a.rem(column, a.c(panel)), mask)};
}

/// Whether boxes of rows that follow each other hold a piece's gathered keys,
/// and no others that the tensor has: those before a lower bound would come
/// along, and be multiplied by weights of zero, whatever they are.
static bool isInRuns(const pattern::Piece &piece) {
  return piece.lo.empty() &&
         piece.digits.keyRun() % TileLayout::kSwizzledRows == 0;
}

/// Rows of the largest boxes that a piece's tiles are made of; 0: of none. Of
/// keys that follow each other by a few, a thread that does nothing else has
/// time to ask for the boxes.
static int64_t boxRowsOf(const Tiling &tiling, const pattern::Piece &piece) {
  if (tiling.loads != nvx::Loads::tma)
    return 0;
  if (piece.digits.isIdentity())
    return tiling.keys;
  return tiling.producer && isInRuns(piece)
             ? std::gcd(piece.digits.keyRun(), tiling.keys)
             : 0;
}

Tiling::Tiling(const AttentionShape &shape, ScheduleAttr schedule)
    : elementBytes(shape.element.getIntOrFloatBitWidth() / 8),
      paddedHead(llvm::alignTo(shape.headDim, 16)),
      paddedValue(llvm::alignTo(shape.valueDim, 16)), rows(schedule.getRows()),
      keys(schedule.getColumns()), threads(32 * schedule.getWarps()),
      stages(schedule.getStages()), split(schedule.getSplit()),
      product(schedule.getProduct()), loads(schedule.getLoads()),
      queriesInRegisters(schedule.getHeld()), grouped(schedule.getGrouped()),
      producer(schedule.getProducer()), persistent(schedule.getPersistent()) {
  auto tile = [&](int64_t rows, int64_t columns) {
    return TileLayout{rows, columns, elementBytes, product == Product::wgmma};
  };
  queryTile = tile(rows, paddedHead);
  keyTile = tile(stages * keys, paddedHead);
  valueTile = tile(stages * keys, paddedValue);
  bool isGradient = shape.result != KernelResult::Attention;
  otherTile = tile(isGradient ? rows : 0, paddedValue);
  bool areKeys = shape.result == KernelResult::KeyGradient;
  queryWords = areKeys ? kWordsOfQuery * stages * keys : 0;
  keyBoxRows = 0;
  gathersBoxes = false;
  for (const pattern::Piece &piece : shape.pieces) {
    int64_t rowsOfBox = boxRowsOf(*this, piece);
    keyBoxRows = std::gcd(keyBoxRows, rowsOfBox);
    gathersBoxes |= rowsOfBox && !piece.digits.isIdentity();
  }
  bool anyBoxes = keyBoxRows > 0;
  barriers = anyBoxes ? stages * shape.pieces.size() + 1 : 0;
  if (producer)
    barriers = 2 * stages + 2 * warpgroups();
  loadsQueryBox = anyBoxes && !grouped && KeyViews::periodOf(shape) == 1;
  bool asks = llvm::any_of(shape.pieces, [&](const pattern::Piece &piece) {
    return TestBlocks::of(shape, piece).has_value();
  });
  ballots = asks ? 2 * schedule.getWarps() : 0;
}

bool Tiling::loadsBoxes(const pattern::Piece &piece) const {
  return boxRowsOf(*this, piece) > 0;
}

bool mlir::megactx::nvgpu::hasKeyRuns(const AttentionShape &shape) {
  return llvm::all_of(shape.pieces, [](const pattern::Piece &piece) {
    return piece.digits.isIdentity() || isInRuns(piece);
  });
}

/// All threads begin with as many as ptxas gives them, and a warpgroup takes
/// what others have given back.
RegisterShares::RegisterShares(const Tiling &tiling, int64_t blocks) {
  constexpr int64_t ofMultiprocessor = 1 << 16, most = 256;
  // Of the thread that asks for boxes, and for the many of gathered keys.
  constexpr int64_t ofBox = 40, ofGathered = 56;
  auto whole = [](int64_t count) { return llvm::alignDown(count, 8); };
  before = std::min<int64_t>(
      whole(ofMultiprocessor / (blocks * tiling.blockThreads())), 255);
  loading = tiling.gathersBoxes ? ofGathered : ofBox;
  int64_t rest = before * (tiling.warpgroups() + 1) - loading;
  computing = std::min<int64_t>(whole(rest / tiling.warpgroups()), most);
}
