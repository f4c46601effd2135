//===- KernelRoles.cpp - kernels of which a warp only loads ---------------===//
//
// A thread of the block's last four warps asks for the boxes of one unit of
// work after the other, as stages of the ring become empty; all others compute.
// No barrier is for both once the ring is made.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

static void setRegisters(ImplicitLocOpBuilder &b, int64_t count,
                         NVVM::SetMaxRegisterAction action) {
  NVVM::SetMaxRegisterOp::create(b, static_cast<int32_t>(count), action);
}

void KernelEmitter::roles(nvx::ScheduleAttr schedule) {
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    places.push_back(views->places(i));
  startRing({b, barriers}, tiling, thread);
  RegisterShares registers(tiling, schedule.getBlocks());
  emitIf(
      b, a.lt(warp, a.c(tiling.threads / nvx::kWarp)),
      [&] {
        setRegisters(b, registers.computing,
                     NVVM::SetMaxRegisterAction::increase);
        compute();
      },
      [&] {
        setRegisters(b, registers.loading,
                     NVVM::SetMaxRegisterAction::decrease);
        byOneThread(b, thread, tiling.threads, [&] { load(); });
      });
}

/// The block's units, of whose places it takes one in each round of all blocks:
/// from the front and from the back in turn, so that blocks have long and short
/// units alike where the longest come first. `turn`: 0 and 1 by turns.
void KernelEmitter::units(function_ref<void(Value)> body) {
  // Who loads has few registers: what lives from unit to unit is i32.
  auto narrow = [&](Value x) -> Value {
    return arith::IndexCastOp::create(b, b.getI32Type(), x);
  };
  auto wide = [&](Value x) -> Value {
    return arith::IndexCastUIOp::create(b, b.getIndexType(), x);
  };
  Value count = narrow(BlockPlace::units(b, tiling, arguments, parts));
  Value block = narrow(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  Value blocks = narrow(gpu::GridDimOp::create(b, gpu::Dimension::x));
  Value zero = narrow(a.c(0)), one = narrow(a.c(1));
  Value round = a.add(blocks, blocks);
  Value step = a.sub(a.sub(round, a.add(block, block)), one);
  SmallVector<Value> init = {block, step, zero, zero};
  scf::WhileOp::create(
      b, ValueRange(init).getTypes(), init,
      [&](OpBuilder &, Location, ValueRange carried) {
        scf::ConditionOp::create(
            b,
            arith::CmpIOp::create(b, arith::CmpIPredicate::ult, carried[0],
                                  count),
            carried);
      },
      [&](OpBuilder &, Location, ValueRange carried) {
        Value unit = carried[0], step = carried[1], turn = carried[3];
        next = carried[2];
        enter(
            BlockPlace::ofUnit(b, shape, tiling, arguments, parts, wide(unit)));
        body(turn);
        scf::YieldOp::create(b,
                             ValueRange{a.add(unit, step), a.sub(round, step),
                                        next, a.sub(one, turn)});
      });
}

void KernelEmitter::load() {
  ringWriter = std::make_unique<RingWriter>(BlockBarriers{b, barriers}, tiling);
  writer = ringWriter.get();
  units([&](Value turn) { loadUnit(turn); });
  writer = nullptr;
}

void KernelEmitter::loadUnit(Value turn) {
  auto rowOf = [&](Value at) { return rows->at(at); };
  auto step = [&](int64_t numbers) { return rows->step(numbers); };
  ringWriter->loadQueries({arguments.query, shape.headDim, rowOf, step,
                           queryMap, tiling.queryBoxRows()},
                          queryTile, turn, rows->begin);
  for (unsigned i = 0; i < shape.pieces.size(); ++i) {
    beginAnew({&rows->begin});
    PieceTiles here = bounds().ofRows(i, rows->begin, tiling.rows);
    Value before = next;
    auto ifOp = scf::IfOp::create(
        b, a.lt(here.begin, here.end),
        [&](OpBuilder &, Location) {
          loadPiece(here);
          scf::YieldOp::create(b, next);
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, before); });
    next = ifOp.getResult(0);
  }
}

/// A group more than there are tiles: the keys of one, and the values of the
/// one before.
void KernelEmitter::loadPiece(const PieceTiles &here) {
  writer->group(next,
                [&] { copyKeys(here, here.begin, numbers.stageOf(next)); });
  next = numbers.later(next, 1);
  Value size = a.c(tiling.keys);
  next =
      emitFor(b, a.add(here.begin, size), a.add(here.end, size), tiling.keys,
              next, [&](Value from, ValueRange carried) -> SmallVector<Value> {
                Value number = carried[0];
                writer->group(number, [&] {
                  copyKeys(here, from, numbers.stageOf(number));
                  copyValues(here, a.sub(from, size),
                             numbers.stageOf(numbers.later(number, -1)));
                });
                return {numbers.later(number, 1)};
              })[0];
}

void KernelEmitter::compute() {
  ringReader =
      std::make_unique<RingReader>(BlockBarriers{b, barriers}, tiling, thread);
  reader = ringReader.get();
  ringReader->startTurns();
  units([&](Value turn) {
    fragments = Fragments::create(b, shape, tiling, lane, warp);
    ringReader->waitForQueries(turn);
    rowsOfBlock();
  });
}

/// Of the block's tiles, which the ring brings all, those that the warpgroup's
/// own rows read.
State KernelEmitter::ownTiles(const PieceView &here, State state) {
  Value size = a.c(tiling.keys);
  auto tilesOf = [&](Value begin, Value end) {
    return a.div(a.add(a.sub(end, begin), a.c(tiling.keys - 1)), size);
  };
  Value all = tilesOf(here.block.begin, here.block.end), ring = next;
  auto values = [&](const State &state) {
    SmallVector<Value> values = state.pack();
    values.push_back(next);
    return values;
  };
  auto ifOp = scf::IfOp::create(
      b, a.lt(here.own.begin, here.own.end),
      [&](OpBuilder &, Location) {
        Value before = a.div(a.sub(here.own.begin, here.block.begin), size);
        PieceView own = here;
        own.own.begin = a.add(here.block.begin, a.mul(before, size));
        Value after =
            a.sub(a.sub(all, before), tilesOf(own.own.begin, own.own.end));
        skip(before);
        TileWalk walk(b, tiling, own.block, own.own.begin, own.own.end);
        State result = tiles(own, walk, state, a.lt(after, a.c(1)));
        skipToEnd(here, after);
        scf::YieldOp::create(b, values(result));
      },
      [&](OpBuilder &, Location) {
        next = ring;
        skipToEnd(here, a.add(all, a.c(1)));
        scf::YieldOp::create(b, values(state));
      });
  ValueRange results = ifOp.getResults();
  next = results.back();
  return state.unpack(results.drop_back());
}

/// A turn without products.
void KernelEmitter::leaveTurn() {
  reader->takeTurn();
  reader->passTurn();
}

/// Releases so many groups without a look at them.
void KernelEmitter::skip(Value count) {
  next = emitFor(b, a.c(0), count, 1, next,
                 [&](Value, ValueRange carried) -> SmallVector<Value> {
                   reader->wait(carried[0], 0);
                   leaveTurn();
                   reader->releaseUnread(carried[0]);
                   return {numbers.later(carried[0], 1)};
                 })[0];
}

/// Releases the last groups of a piece. All warps clear the last values.
void KernelEmitter::skipToEnd(const PieceView &here, Value count) {
  Value before = next;
  auto ifOp = scf::IfOp::create(
      b, a.lt(a.c(0), count),
      [&](OpBuilder &, Location) {
        skip(a.sub(count, a.c(1)));
        reader->wait(next, 0);
        Value row =
            a.mul(numbers.stageOf(numbers.later(next, -1)), a.c(tiling.keys));
        // As before a turn with products: all meet, and none waits in its turn.
        clearLast(here.block, here.block.last(a, tiling.keys), row);
        leaveTurn();
        reader->releaseUnread(next);
        scf::YieldOp::create(b, numbers.later(next, 1));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, before); });
  next = ifOp.getResult(0);
}
