//===- Schedule.cpp - which schedule a kernel gets ------------------------===//

#include "Schedule.h"
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

bool mlir::megactx::nvgpu::hasTest(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return bool(piece.test);
  });
}

static int64_t largerDim(const AttentionShape &shape) {
  return std::max(shape.headDim, shape.valueDim);
}

/// A row far from all ends, and the end of the keys that it may see.
constexpr int64_t kFarRow = int64_t(1) << 30, kFarEnd = 2 * kFarRow;

namespace {
/// How many positions of keys far rows see, of some of them.
struct Reach {
  int64_t average, most;
};
} // namespace

/// That of a piece, of rows of a head that it has, no key left out for its
/// residue; nothing where a run says how many.
static std::optional<Reach> reachOf(const pattern::Piece &piece) {
  constexpr int64_t step = 997, rows = 64;
  auto isOfRun = [](const pattern::Expr &bound) {
    return bound.uses(pattern::Expr::Kind::Symbol) ||
           bound.uses(pattern::Expr::Kind::Operand);
  };
  if (llvm::any_of(piece.lo, isOfRun) || llvm::any_of(piece.hi, isOfRun))
    return std::nullopt;
  int64_t keys = 0, most = 0;
  for (int64_t row = 0; row < rows; ++row) {
    pattern::Point at;
    at.p = kFarRow + row * step;
    if (at.p < piece.rowBegin || at.p >= piece.rowEnd)
      continue;
    int64_t begin = 0, end = kFarEnd;
    for (const pattern::Expr &lo : piece.lo)
      begin = std::max(begin, evaluate(lo, at));
    for (const pattern::Expr &hi : piece.hi)
      end = std::min(end, evaluate(hi, at));
    keys += std::max<int64_t>(end - begin, 0);
    most = std::max(most, end - begin);
  }
  return Reach{keys / rows, most};
}

/// Rows of keys that a far row sees of all pieces, on average or of some rows
/// at most; of pieces that are of some heads alone, of the one with most.
static std::optional<int64_t> keysOfRow(const AttentionShape &shape,
                                        int64_t Reach::*of = &Reach::average) {
  if (shape.hasKeyPositions)
    return std::nullopt;
  int64_t ofAll = 0, ofSome = 0;
  for (const pattern::Piece &piece : shape.pieces) {
    std::optional<Reach> reach = reachOf(piece);
    if (!reach)
      return std::nullopt;
    int64_t keys = *reach.*of;
    if (piece.heads)
      ofSome = std::max(ofSome, keys);
    else
      ofAll += keys;
  }
  return (ofAll + ofSome) / std::max<int64_t>(shape.keyStep, 1);
}

/// Whether far rows see keys from the first on to where they stand, or to the
/// last one. A bound that a run gives may be anywhere.
static bool isUnbounded(const pattern::Piece &piece) {
  std::optional<Reach> reach = reachOf(piece);
  return piece.lo.empty() && (!reach || reach->average > kFarRow / 2);
}

bool mlir::megactx::nvgpu::hasLongRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return isUnbounded(piece) && piece.digits.hasOneView();
  });
}

bool mlir::megactx::nvgpu::hasGrowingRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return isUnbounded(piece) && !piece.hi.empty();
  });
}

bool mlir::megactx::nvgpu::hasShortRows(const AttentionShape &shape) {
  // Of a strided view, a class has a part of the keys.
  constexpr int64_t elements = 96 << 10;
  std::optional<int64_t> keys = keysOfRow(shape);
  return !hasLongRows(shape) && (KeyViews::periodOf(shape) > 1 || !keys ||
                                 *keys * largerDim(shape) <= elements);
}

bool mlir::megactx::nvgpu::hasGatheredKeys(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return !piece.digits.isIdentity();
  });
}

/// Of keys in a tile of one warp: copies of as many bytes in each of the blocks
/// that a multiprocessor holds are enough to wait for memory with.
constexpr int64_t kTileElements = 4096;

/// How many heads the rows of a block are of.
static int64_t groupOf(const AttentionShape &shape, const LaunchSize &known) {
  if (!known.rows || *known.rows > kFewRows || shape.dependsOnHead())
    return 1;
  return known.group.value_or(1);
}

/// The fewest keys of a part, of blocks of so many rows.
static int64_t partKeysOf(int64_t rows) { return 16 * rows; }

int64_t Tiling::partKeys() const { return partKeysOf(rows); }

/// Blocks for which keys are split, where a multiprocessor has `blocks` of so
/// many rows, which see more keys than one part has.
static int64_t splitOf(const Machine &machine, const AttentionShape &shape,
                       int64_t blocks, int64_t rows, int64_t group,
                       const LaunchSize &known) {
  std::optional<int64_t> most = keysOfRow(shape, &Reach::most);
  if (!shape.hasQueryPositions && most && *most < 2 * partKeysOf(rows))
    return 0;
  int64_t split = machine.multiprocessors * blocks;
  if (!known.rows || !known.heads)
    return split;
  int64_t unsplit =
      llvm::divideCeil(*known.rows * group, rows) * *known.heads / group;
  return 2 * unsplit > split ? 0 : split;
}

/// What of a shape a producer does not copy, whatever the tiles; empty where
/// there is nothing such.
static StringRef notForProducer(const AttentionShape &shape) {
  if (hasTest(shape))
    return "a piece with a test per element";
  if (KeyViews::periodOf(shape) != 1)
    return "several classes of rows";
  // The thread that loads is one; the least and the greatest take a warp.
  if (shape.hasQueryPositions || shape.hasKeyPositions)
    return "rows at positions of their own";
  return "";
}

namespace {
/// What of a schedule depends on more than the product.
struct BlockChoice {
  int64_t warps, columns, blocks;
  int64_t stages = 2;
  bool held = false, producer = false, persistent = false;
};
} // namespace

/// Of wgmma: boxes where some keys are boxes, but those of narrow rows, which
/// fill them by half, of wide ones beside tests, which spill, and of narrow
/// ones beside columns in long rows, where boxes were slower.
static nvx::Loads loadsOf(const AttentionShape &shape) {
  int64_t dim = largerDim(shape);
  if (dim <= 64 && hasLongRows(shape) && hasGatheredKeys(shape))
    return nvx::Loads::cp_async;
  bool anyBox = llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return piece.digits.isIdentity();
  });
  return anyBox && dim > 32 && (dim <= 128 || !hasTest(shape))
             ? nvx::Loads::tma
             : nvx::Loads::cp_async;
}

/// Whether a warp of each block is to only load. A kernel of several pieces
/// needs more registers than there are beside it, but for columns in long rows
/// and what is near, and with biases per key it was not faster. Rows of several
/// heads in a block are few.
static bool wantsProducer(const AttentionShape &shape,
                          const LaunchSize &known) {
  int64_t dim = largerDim(shape);
  bool isFew = known.rows && *known.rows <= Tiling::kWarpgroupRows;
  bool isPerKey = !shape.biasPerKey.empty() && !shape.hasBiasPerRow();
  bool isOne = shape.pieces.size() == 1 && !hasGatheredKeys(shape);
  bool isLongColumns = shape.pieces.size() <= 2 && hasKeyRuns(shape) &&
                       hasGatheredKeys(shape) && hasLongRows(shape) &&
                       !shape.hasSegments && shape.biasPerKey.empty();
  return dim > 64 && dim <= 128 && !isFew && !isPerKey &&
         (isOne || isLongColumns) && notForProducer(shape).empty();
}

static BlockChoice chooseProducer(const AttentionShape &shape) {
  // Units of so many keys are so long that it does not matter when a block
  // begins one, and the device gives out those that are alike better.
  constexpr int64_t longUnit = 3072;
  // Of so few keys, those that two warpgroups do not share are most.
  constexpr int64_t fewKeys = 256;
  std::optional<int64_t> keys = keysOfRow(shape);
  BlockChoice choice{8, 128, 1};
  choice.producer = true;
  choice.persistent = hasGrowingRows(shape) || !keys || *keys < longUnit;
  if (!shape.biasPerKey.empty()) {
    choice.columns = 64;
  } else if (hasShortRows(shape) && keys && *keys < fewKeys) {
    choice.warps = 4;
    choice.columns = 64;
    choice.blocks = 2;
  } else if (hasGatheredKeys(shape) || hasShortRows(shape)) {
    choice.columns = 64;
    choice.stages = 4;
    choice.held = true;
  }
  return choice;
}

/// Keys of a tile where pieces are tested: those of whole blocks of one value,
/// if they all have such blocks. Registers hold no more bits.
static int64_t testedColumns(const AttentionShape &shape) {
  constexpr int64_t ofEach = 48;
  for (int64_t columns : {64, 48, 32})
    if (llvm::all_of(shape.pieces, [&](const pattern::Piece &piece) {
          auto blocks = TestBlocks::of(shape, piece);
          return !piece.test || (blocks && blocks->keys % columns == 0);
        }))
      return columns;
  return ofEach;
}

/// Whether of several pieces, which compute their rows anew, a third of the
/// registers holds tests: of blocks alone, and without biases.
static bool hasSlimTests(const AttentionShape &shape) {
  return shape.pieces.size() > 1 && shape.biasPerKey.empty() &&
         llvm::all_of(shape.pieces, [&](const pattern::Piece &piece) {
           return !piece.test || TestBlocks::of(shape, piece);
         });
}

/// Whether a quarter of the registers holds what pieces depend on: all of one,
/// and of two where their keys are boxes within bounds that no run gives.
static bool hasSlimPieces(const AttentionShape &shape) {
  if (shape.pieces.size() == 2)
    return !hasGatheredKeys(shape) && !shape.hasSegments;
  return shape.pieces.size() == 1;
}

static BlockChoice chooseWgmma(const AttentionShape &shape,
                               const LaunchSize &known) {
  int64_t dim = largerDim(shape);
  bool isLong = hasLongRows(shape), isBiased = !shape.biasPerKey.empty(),
       isGathered = isLong && hasGatheredKeys(shape);
  if (hasTest(shape) && dim > 128)
    return {8, 32, 1};
  if (hasTest(shape))
    return {4, testedColumns(shape), dim <= 64 && hasSlimTests(shape) ? 3 : 2};
  if (dim <= 32)
    return {4, 64, isBiased ? 2 : 4};
  if (dim <= 64) {
    if (isBiased)
      return {4, 64, 3};
    if (isGathered)
      return {4, 64, shape.pieces.size() <= 2 ? 4 : 3};
    if (isLong)
      return {4, 112, 2};
    if (hasShortRows(shape))
      return {4, 64, hasSlimPieces(shape) ? 4 : 3};
    return {4, 96, 3};
  }
  if (dim > 128)
    return {8, isGathered ? 32 : 48, 1};
  if (wantsProducer(shape, known))
    return chooseProducer(shape);
  if (isBiased)
    return {4, shape.hasBiasPerRow() ? 64 : 80, 2};
  if (isLong)
    return {4, isGathered ? 64 : 80, 2};
  return {4, 48, 3};
}

ScheduleAttr mlir::megactx::nvgpu::chooseSchedule(MLIRContext *context,
                                                  const Machine &machine,
                                                  const AttentionShape &shape,
                                                  const LaunchSize &known) {
  bool isF32 = shape.element.isF32();
  int64_t group = groupOf(shape, known);
  int64_t dim = largerDim(shape);
  int64_t columns = (dim > 128 ? 32 : 64) / (isF32 ? 2 : 1);
  auto atMost = [&](int64_t count) {
    return known.rows && *known.rows * group <= count;
  };
  int64_t warps = atMost(16) ? 1 : atMost(32) ? 2 : 4;
  if (warps == 1)
    columns = std::clamp<int64_t>(
        llvm::alignDown(kTileElements / (isF32 ? 2 : 1) / dim, 16), 16,
        columns);
  // Registers of so many threads: as many as a thread can have.
  BlockChoice choice{warps, columns, 8 / warps};
  nvx::Loads loads = nvx::Loads::cp_async;
  choice.held = shape.headDim <= (hasTest(shape) ? 64 : 128);
  Product product = isF32 ? Product::fma : Product::mma_sync;
  if (machine.hasWgmma && !isF32 && warps == 4) {
    product = Product::wgmma;
    choice = chooseWgmma(shape, known);
    loads = choice.producer ? nvx::Loads::tma : loadsOf(shape);
  }
  auto make = [&](int64_t blocks, int64_t split) {
    return ScheduleAttr::get(context, 16 * choice.warps, choice.columns,
                             choice.warps, choice.stages, product, choice.held,
                             blocks,
                             /*grouped=*/group > 1, split, loads,
                             choice.producer, choice.persistent);
  };
  auto bytes = [&] { return Tiling(shape, make(1, 0)).bytes(); };
  // Of a multiprocessor's, the system takes a part for each block.
  constexpr int64_t system = 1 << 10;
  auto fit = [&](int64_t count) {
    return count * (bytes() + system) <= machine.sharedMemory + system;
  };
  int64_t leastWarps = product == Product::wgmma ? 4 : 1;
  while (bytes() > machine.sharedMemory &&
         (choice.columns > 16 || choice.warps > leastWarps))
    if (choice.columns > 16)
      choice.columns = llvm::alignDown(choice.columns / 2, 16);
    else
      choice.warps /= 2;
  int64_t blocks = choice.blocks;
  while (blocks > 1 && !fit(blocks))
    --blocks;
  return make(blocks,
              splitOf(machine, shape, blocks, 16 * choice.warps, group, known));
}

/// Whether the product takes elements of the type, on the machine.
static LogicalResult verifyProduct(Operation *op, const Machine &machine,
                                   Type element, ScheduleAttr schedule) {
  Product product = schedule.getProduct();
  auto error = [&](const Twine &wanted) {
    return op->emitOpError("expected a schedule with product = ")
           << wanted << " for " << element << " on " << machine.arch
           << ", but got " << schedule;
  };
  if (element.isF32())
    return product == Product::fma ? success() : LogicalResult(error("fma"));
  if (product == Product::mma_sync)
    return success();
  if (!machine.hasWgmma)
    return error("mma_sync");
  return product == Product::wgmma ? success()
                                   : LogicalResult(error("mma_sync or wgmma"));
}

static LogicalResult verifyProducer(Operation *op, const AttentionShape &shape,
                                    ScheduleAttr schedule) {
  if (StringRef what = notForProducer(shape); !what.empty())
    return op->emitOpError("expected a schedule without a producer for ")
           << what << ", but got " << schedule;
  Tiling tiling(shape, schedule);
  for (const pattern::Piece &piece : shape.pieces) {
    if (tiling.loadsBoxes(piece))
      continue;
    auto error = op->emitOpError("expected a schedule without a producer for ");
    if (piece.lo.empty())
      error << "a piece whose keys follow each other by "
            << piece.digits.keyRun() << ", not by a multiple of "
            << TileLayout::kSwizzledRows;
    else
      error << "a piece whose keys do not follow each other and have a lower "
               "bound";
    return error << ", but got " << schedule;
  }
  RegisterShares registers(tiling, schedule.getBlocks());
  if (registers.computing <= registers.before)
    return op->emitOpError("expected a schedule with fewer blocks beside a "
                           "producer, but got ")
           << schedule;
  return success();
}

LogicalResult mlir::megactx::nvgpu::verifySchedule(Operation *op,
                                                   const Machine &machine,
                                                   const AttentionShape &shape,
                                                   ScheduleAttr schedule) {
  if (failed(verifyProduct(op, machine, shape.element, schedule)))
    return failure();
  if (schedule.getRows() != 16 * schedule.getWarps())
    return op->emitOpError("expected a schedule with 16 rows a warp, but got ")
           << schedule;
  if (schedule.getProduct() == Product::wgmma &&
      (schedule.getWarps() % 4 || schedule.getColumns() > 256))
    return op->emitOpError("expected a schedule with a multiple of 4 warps and "
                           "at most 256 columns for wgmma, but got ")
           << schedule;
  if (schedule.getLoads() == nvx::Loads::tma &&
      schedule.getProduct() != Product::wgmma)
    return op->emitOpError("expected a schedule with product = wgmma for "
                           "loads = tma, but got ")
           << schedule;
  if (schedule.getGrouped() && shape.dependsOnHead())
    return op->emitOpError("expected a schedule that is not grouped for pieces "
                           "that depend on the head, but got ")
           << schedule;
  // Results of tests are bits of one register.
  if (hasTest(shape) && schedule.getColumns() > 64)
    return op->emitOpError("expected a schedule with at most 64 columns for a "
                           "piece with a test per element, but got ")
           << schedule;
  if (schedule.getProducer() && failed(verifyProducer(op, shape, schedule)))
    return failure();
  int64_t bytes = Tiling(shape, schedule).bytes();
  if (bytes > machine.sharedMemory)
    return op->emitOpError("expected at most ")
           << machine.sharedMemory << " bytes of shared memory on "
           << machine.arch << ", but " << schedule << " takes " << bytes;
  return success();
}
