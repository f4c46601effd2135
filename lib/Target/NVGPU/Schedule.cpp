//===- Schedule.cpp - which schedule a kernel gets ------------------------===//

#include "Schedule.h"
#include "../Common/KeyViews.h"

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
  bool anyBoxes =
      llvm::any_of(shape.pieces, [this](const pattern::Piece &piece) {
        return loadsBoxes(piece);
      });
  barriers = anyBoxes ? stages * shape.pieces.size() + 1 : 0;
  if (producer)
    barriers = 2 * stages + 2 * warpgroups();
  loadsQueryBox = anyBoxes && !grouped && KeyViews::periodOf(shape) == 1;
}

bool Tiling::loadsBoxes(const pattern::Piece &piece) const {
  return loads == nvx::Loads::tma && piece.digits.isIdentity();
}

/// All threads begin with as many as ptxas gives them, and a warpgroup takes
/// what others have given back.
RegisterShares::RegisterShares(const Tiling &tiling, int64_t blocks) {
  constexpr int64_t ofMultiprocessor = 1 << 16, loads = 40, most = 256;
  auto whole = [](int64_t count) { return llvm::alignDown(count, 8); };
  before = std::min<int64_t>(
      whole(ofMultiprocessor / (blocks * tiling.blockThreads())), 255);
  loading = loads;
  int64_t rest = before * (tiling.warpgroups() + 1) - loading;
  computing = std::min<int64_t>(whole(rest / tiling.warpgroups()), most);
}

bool mlir::megactx::nvgpu::hasTest(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return bool(piece.test);
  });
}

bool mlir::megactx::nvgpu::hasLongRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return piece.lo.empty() && piece.digits.hasOneView();
  });
}

bool mlir::megactx::nvgpu::hasGrowingRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return piece.lo.empty() && !piece.hi.empty();
  });
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

/// Blocks for which keys are split, where a multiprocessor has `blocks` of so
/// many rows.
static int64_t splitOf(const Machine &machine, int64_t blocks, int64_t rows,
                       int64_t group, const LaunchSize &known) {
  int64_t split = machine.multiprocessors * blocks;
  if (!known.rows || !known.heads)
    return split;
  int64_t unsplit =
      llvm::divideCeil(*known.rows * group, rows) * *known.heads / group;
  return 2 * unsplit > split ? 0 : split;
}

ScheduleAttr mlir::megactx::nvgpu::chooseSchedule(MLIRContext *context,
                                                  const Machine &machine,
                                                  const AttentionShape &shape,
                                                  const LaunchSize &known) {
  bool isF32 = shape.element.isF32();
  int64_t group = groupOf(shape, known);
  int64_t dim = std::max(shape.headDim, shape.valueDim);
  bool isLarge = dim > 128;
  int64_t columns = (isLarge ? 32 : 64) / (isF32 ? 2 : 1);
  int64_t heldDim = hasTest(shape) ? 64 : 128;
  auto atMost = [&](int64_t count) {
    return known.rows && *known.rows * group <= count;
  };
  int64_t warps = atMost(16) ? 1 : atMost(32) ? 2 : 4;
  if (warps == 1)
    columns = std::clamp<int64_t>(
        llvm::alignDown(kTileElements / (isF32 ? 2 : 1) / dim, 16), 16,
        columns);
  // Registers of so many threads: as many as a thread can have.
  int64_t blocks = 8 / warps;
  Product product = isF32 ? Product::fma : Product::mma_sync;
  if (machine.hasWgmma && !isF32 && warps == 4) {
    product = Product::wgmma;
    heldDim = 0;
    bool isSmall = dim <= 64,
         isPlain = !hasTest(shape) && shape.biasPerKey.empty();
    bool isLong = hasLongRows(shape);
    if (isLarge) {
      warps = 8;
      columns = hasTest(shape) ? 32 : 48;
      blocks = 1;
    } else if (isPlain) {
      columns = isSmall ? 64 : isLong ? 80 : 48;
      blocks = isSmall ? 4 : isLong ? 2 : 3;
    } else if (hasTest(shape) && !isSmall) {
      columns = 48;
    }
  }
  auto make = [&](int64_t blocks, int64_t split) {
    return ScheduleAttr::get(context, 16 * warps, columns, warps, /*stages=*/2,
                             product, /*held=*/shape.headDim <= heldDim, blocks,
                             /*grouped=*/group > 1, split, nvx::Loads::cp_async,
                             /*producer=*/false,
                             /*persistent=*/false);
  };
  auto bytes = [&] { return Tiling(shape, make(1, 0)).bytes(); };
  // Of a multiprocessor's, the system takes a part for each block.
  constexpr int64_t system = 1 << 10;
  auto fit = [&](int64_t count) {
    return count * (bytes() + system) <= machine.sharedMemory + system;
  };
  int64_t leastWarps = product == Product::wgmma ? 4 : 1;
  while (bytes() > machine.sharedMemory && (columns > 16 || warps > leastWarps))
    (columns > 16 ? columns : warps) /= 2;
  while (blocks > 1 && !fit(blocks))
    --blocks;
  return make(blocks, splitOf(machine, blocks, 16 * warps, group, known));
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

/// What of a shape a producer does not copy; empty where there is nothing such.
static StringRef notForProducer(const AttentionShape &shape) {
  if (hasTest(shape))
    return "a piece with a test per element";
  if (KeyViews::periodOf(shape) != 1)
    return "several classes of rows";
  if (hasGatheredKeys(shape))
    return "a piece whose keys do not follow each other";
  // The thread that loads is one; the least and the greatest take a warp.
  if (shape.hasQueryPositions || shape.hasKeyPositions)
    return "rows at positions of their own";
  return "";
}

static LogicalResult verifyProducer(Operation *op, const AttentionShape &shape,
                                    ScheduleAttr schedule) {
  if (StringRef what = notForProducer(shape); !what.empty())
    return op->emitOpError("expected a schedule without a producer for ")
           << what << ", but got " << schedule;
  RegisterShares registers(Tiling(shape, schedule), schedule.getBlocks());
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
