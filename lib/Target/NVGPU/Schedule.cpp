//===- Schedule.cpp - which schedule a kernel gets ------------------------===//

#include "Schedule.h"
#include "../Common/KeyViews.h"
#include "../Common/TestBlocks.h"
#include "RowReach.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using nvx::Product;
using nvx::ScheduleAttr;

/// Of keys in a tile of one warp: copies of as many bytes in each of the blocks
/// that a multiprocessor holds are enough to wait for memory with.
constexpr int64_t kTileElements = 4096;

/// How many heads the rows of a block are of.
static int64_t groupOf(const AttentionShape &shape, const LaunchSize &known) {
  if (!known.rows || *known.rows > kFewRows || shape.dependsOnHead())
    return 1;
  return known.group.value_or(1);
}

/// Blocks for which keys are split, where a multiprocessor has `blocks` of so
/// many rows, which see more keys than one part has.
static int64_t splitOf(const Machine &machine, const AttentionShape &shape,
                       int64_t blocks, int64_t rows, int64_t group,
                       const LaunchSize &known) {
  std::optional<int64_t> most = mostKeys(shape);
  if (!shape.hasQueryPositions && most && *most < 2 * Tiling::partKeys(rows))
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
  if (shape.hasTest())
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
  int64_t dim = shape.largerDim();
  if (dim <= 64 && hasLongRows(shape) && hasGatheredKeys(shape))
    return nvx::Loads::cp_async;
  bool anyBox = llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return piece.digits.isIdentity();
  });
  return anyBox && dim > 32 && (dim <= 128 || !shape.hasTest())
             ? nvx::Loads::tma
             : nvx::Loads::cp_async;
}

/// Whether a warp of each block is to only load. A kernel of several pieces
/// needs more registers than there are beside it, but for columns in long rows
/// and what is near, and with biases per key it was not faster. Rows of several
/// heads in a block are few.
static bool wantsProducer(const AttentionShape &shape,
                          const LaunchSize &known) {
  int64_t dim = shape.largerDim();
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
  std::optional<int64_t> keys = averageKeys(shape);
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
  int64_t dim = shape.largerDim();
  bool isLong = hasLongRows(shape), isBiased = !shape.biasPerKey.empty(),
       isGathered = isLong && hasGatheredKeys(shape);
  if (shape.hasTest() && dim > 128)
    return {8, 32, 1};
  if (shape.hasTest())
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

/// Whether a multiprocessor has room for as many blocks: of its shared memory,
/// the system takes a part for each.
static bool fit(const Machine &machine, int64_t blocks, int64_t bytes) {
  constexpr int64_t system = 1 << 10;
  return blocks * (bytes + system) <= machine.sharedMemory + system;
}

/// Of gradients: four warps, and keys or queries of a tile so many that sums,
/// two products and what pairs depend on are in registers.
static ScheduleAttr chooseGradient(MLIRContext *context, const Machine &machine,
                                   const AttentionShape &shape) {
  bool isF32 = shape.element.isF32();
  int64_t columns = (shape.largerDim() <= 64 ? 64 : 32) / (isF32 ? 2 : 1);
  bool hasViews = KeyViews::periodOf(shape) > 1 && !machine.hasWgmma;
  if (shape.hasTest() || shape.hasQueryPositions ||
      (hasViews && shape.largerDim() > 96))
    columns = std::max<int64_t>(columns / 2, 16);
  int64_t warps = 4;
  auto make = [&](int64_t blocks) {
    return ScheduleAttr::get(
        context, /*rows=*/16 * warps, columns, warps, /*stages=*/2,
        isF32 ? Product::fma : Product::mma_sync, /*held=*/false, blocks,
        /*grouped=*/false, /*split=*/0, nvx::Loads::cp_async,
        /*producer=*/false, /*persistent=*/false);
  };
  auto bytes = [&] { return Tiling(shape, make(1)).bytes(); };
  while (bytes() > machine.sharedMemory && warps > 1)
    warps /= 2;
  return make(fit(machine, 2, bytes()) ? 2 : 1);
}

ScheduleAttr mlir::megactx::nvgpu::chooseSchedule(MLIRContext *context,
                                                  const Machine &machine,
                                                  const AttentionShape &shape,
                                                  const LaunchSize &known) {
  if (shape.result != KernelResult::Attention)
    return chooseGradient(context, machine, shape);
  bool isF32 = shape.element.isF32();
  int64_t group = groupOf(shape, known);
  int64_t dim = shape.largerDim();
  int64_t columns = (dim > 128 ? 32 : 64) / (isF32 ? 2 : 1);
  auto atMost = [&](int64_t count) {
    return known.rows && *known.rows * group <= count;
  };
  int64_t warps = atMost(16) ? 1 : atMost(kShortRows) ? 2 : 4;
  if (warps == 1)
    columns = std::clamp<int64_t>(
        llvm::alignDown(kTileElements / (isF32 ? 2 : 1) / dim, 16), 16,
        columns);
  // Registers of so many threads: as many as a thread can have.
  BlockChoice choice{warps, columns, 8 / warps};
  nvx::Loads loads = nvx::Loads::cp_async;
  choice.held = shape.headDim <= (shape.hasTest() ? 64 : 128);
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
  int64_t leastWarps = product == Product::wgmma ? 4 : 1;
  while (bytes() > machine.sharedMemory &&
         (choice.columns > 16 || choice.warps > leastWarps))
    if (choice.columns > 16)
      choice.columns = llvm::alignDown(choice.columns / 2, 16);
    else
      choice.warps /= 2;
  int64_t blocks = choice.blocks;
  while (blocks > 1 && !fit(machine, blocks, bytes()))
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

/// What is for attention alone.
static LogicalResult verifyGradient(Operation *op, ScheduleAttr schedule) {
  if (schedule.getProduct() != Product::wgmma && !schedule.getHeld() &&
      !schedule.getGrouped() && !schedule.getSplit() && !schedule.getProducer())
    return success();
  return op->emitOpError(
             "expected a schedule of gradients without wgmma, held, "
             "grouped, split and producer, but got ")
         << schedule;
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

/// Whether a multiprocessor has room for the schedule's blocks.
static LogicalResult verifyRoom(Operation *op, const Machine &machine,
                                const Tiling &tiling, ScheduleAttr schedule) {
  int64_t bytes = tiling.bytes(), blocks = schedule.getBlocks();
  if (bytes > machine.sharedMemory)
    return op->emitOpError("expected at most ")
           << machine.sharedMemory << " bytes of shared memory on "
           << machine.arch << ", but " << schedule << " takes " << bytes;
  auto error = [&](const Twine &what) {
    return op->emitOpError("expected a schedule with fewer blocks, for a "
                           "multiprocessor of ")
           << machine.arch << " has " << what << ", but got " << schedule;
  };
  if (!fit(machine, blocks, bytes))
    return error("no shared memory for so many");
  int64_t threads = blocks * tiling.blockThreads();
  if (threads > machine.threads)
    return error(Twine(machine.threads) + " threads");
  // A part of what a thread holds.
  int64_t sums =
              tiling.rows * (tiling.keys + tiling.paddedValue) / tiling.threads,
          registers = std::min<int64_t>((1 << 16) / threads, 255);
  if (sums > registers && !tiling.producer)
    return error(Twine(registers) +
                 " registers for a thread of so many, and "
                 "its sums alone take " +
                 Twine(sums));
  return success();
}

LogicalResult mlir::megactx::nvgpu::verifySchedule(Operation *op,
                                                   const Machine &machine,
                                                   const AttentionShape &shape,
                                                   ScheduleAttr schedule) {
  if (failed(verifyProduct(op, machine, shape.element, schedule)))
    return failure();
  if (shape.result != KernelResult::Attention &&
      failed(verifyGradient(op, schedule)))
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
  if (shape.hasTest() && schedule.getColumns() > 64)
    return op->emitOpError("expected a schedule with at most 64 columns for a "
                           "piece with a test per element, but got ")
           << schedule;
  if (schedule.getProducer() && failed(verifyProducer(op, shape, schedule)))
    return failure();
  return verifyRoom(op, machine, Tiling(shape, schedule), schedule);
}
