//===- Kernel.cpp - one attention kernel ----------------------------------===//

#include "KernelEmitter.h"
#include "KeyGradient.h"
#include "Results.h"
#include "SharedMemory.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

gpu::GPUFuncOp mlir::megactx::nvgpu::createKernel(ImplicitLocOpBuilder &b,
                                                  StringRef name,
                                                  TypeRange arguments,
                                                  const Tiling &tiling,
                                                  nvx::ScheduleAttr schedule) {
  auto function = gpu::GPUFuncOp::create(
      b, name, b.getFunctionType(arguments, TypeRange()));
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  function->setAttr(nvx::ScheduleAttr::name, schedule);
  function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(schedule.getBlocks()));
  function.setKnownBlockSizeAttr(b.getDenseI32ArrayAttr(
      {static_cast<int32_t>(tiling.blockThreads()), 1, 1}));
  b.setInsertionPointToStart(&function.getBody().front());
  return function;
}

KernelEmitter::KernelEmitter(gpu::GPUModuleOp module, StringRef name,
                             const AttentionShape &shape,
                             nvx::ScheduleAttr schedule)
    : shape(shape), tiling(shape, schedule), module(module),
      b(module.getLoc(), OpBuilder::atBlockEnd(module.getBody())), a{b},
      numbers{b, tiling.stages, 2 * tiling.stages} {
  SmallVector<Type> types = kernelArguments(b.getContext(), shape);
  if (tiling.split)
    types.append(PartArguments::types(b.getContext(), shape));
  if (tiling.barriers)
    types.append(3, nvx::TensorMapType::get(b.getContext()));
  function = createKernel(b, name, types, tiling, schedule);
}

void KernelEmitter::readArguments() {
  arguments = KernelArguments(function.getArguments(), shape);
  ValueRange all = function.getArguments();
  if (tiling.barriers) {
    ValueRange maps = all.take_back(3);
    queryMap = maps[0];
    keyMap = maps[1];
    valueMap = maps[2];
    all = all.drop_back(3);
  }
  if (tiling.split) {
    ValueRange last = all.take_back(3);
    parts = {last[0], last[1], last[2]};
  }
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = a.rem(thread, a.c(32));
  warp = sameInWarp(a.div(thread, a.c(32)));
  views = std::make_unique<KeyViews>(b, module, shape, arguments);
}

/// Which rows there are at a place, which keys.
void KernelEmitter::enter(const BlockPlace &place) {
  rows =
      std::make_unique<BlockRows>(b, tiling, *views, arguments, parts, place);
  lastHere = a.sub(rows->count, a.c(1));
  views->readKeyEnd(memref::DimOp::create(b, arguments.key, 2));
}

/// Tiles and barriers in shared memory.
void KernelEmitter::reserve() {
  SharedMemory memory(b, tiling, shape.element);
  queryTile = memory.tile(tiling.queryTile);
  doutTile = memory.tile(tiling.otherTile);
  keyTile = memory.tile(tiling.keyTile);
  valueTile = memory.tile(tiling.valueTile);
  barriers = memory.words(tiling.barriers, b.getI64Type());
  ballots = memory.words(tiling.ballots, b.getI32Type());
}

gpu::GPUFuncOp KernelEmitter::run() {
  readArguments();
  if (tiling.producer) {
    reserve();
    roles(function->getAttrOfType<nvx::ScheduleAttr>(nvx::ScheduleAttr::name));
  } else {
    enter(BlockPlace::ofGrid(b));
    reserve();
    scf::IfOp::create(b, a.lt(rows->begin, rows->count),
                      [&](OpBuilder &, Location) {
                        block();
                        scf::YieldOp::create(b);
                      });
  }
  gpu::ReturnOp::create(b);
  return function;
}

/// Rows of the tile from `from` on into a stage, where there are any.
void KernelEmitter::copyTile(const PieceTiles &here, Value from, Value stage,
                             Value source, Value map, Value shared,
                             const TileLayout &layout, int64_t dim) {
  scf::IfOp::create(b, a.lt(from, here.end), [&](OpBuilder &, Location) {
    auto rowOf = [&](Value at) -> Row {
      return {rows->batch, rows->keyHead,
              views->keyRow(here.index, places[here.index], at)};
    };
    auto step = [&](int64_t numbers) {
      return views->keyStep(here.index, numbers);
    };
    writer->load({source, dim, rowOf, step, map, tiling.keyBoxRows}, shared,
                 layout, a.mul(stage, a.c(tiling.keys)), tiling.keys, from,
                 here.end);
    scf::YieldOp::create(b);
  });
}

void KernelEmitter::copyKeys(const PieceTiles &here, Value from, Value stage) {
  copyTile(here, from, stage, arguments.key, keyMap, keyTile, tiling.keyTile,
           shape.headDim);
}

void KernelEmitter::copyValues(const PieceTiles &here, Value from,
                               Value stage) {
  copyTile(here, from, stage, arguments.value, valueMap, valueTile,
           tiling.valueTile, shape.valueDim);
}

void KernelEmitter::copyQueries() {
  if (tiling.barriers)
    BlockBarriers{b, barriers}.start(thread,
                                     SmallVector<int64_t>(tiling.barriers, 1));
  auto rowOf = [&](Value at) { return rows->at(at); };
  auto step = [&](int64_t numbers) { return rows->step(numbers); };
  auto load = [&] {
    queryLoader->load({arguments.query, shape.headDim, rowOf, step, queryMap,
                       tiling.queryBoxRows()},
                      queryTile, tiling.queryTile, a.c(0), tiling.rows,
                      rows->begin, rows->count);
  };
  if (tiling.loadsQueryBox) {
    queryLoader = std::make_unique<BoxLoader>(b, tiling, thread, barriers,
                                              tiling.barriers - 1);
    queryLoader->group(a.c(0), load);
  } else {
    // Of the first group that is closed.
    queryLoader = std::make_unique<CopyLoader>(b, tiling, thread);
    load();
    if (doutTile)
      queryLoader->load({arguments.dout, shape.valueDim, rowOf, step}, doutTile,
                        tiling.otherTile, a.c(0), tiling.rows, rows->begin,
                        rows->count);
  }
  // Queries that stay in shared memory are waited for with the first keys.
  if (tiling.queriesInRegisters)
    queryLoader->wait(a.c(0), 0);
}

void KernelEmitter::block() {
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    places.push_back(views->places(i));
  fragments = Fragments::create(b, shape, tiling, lane, warp);
  copyQueries();
  rowsOfBlock();
}

/// Results of the block's rows, whose queries are there or about to be.
void KernelEmitter::rowsOfBlock() {
  BlockOperands operands{queryTile, doutTile, Value(), Value()};
  if (shape.result != KernelResult::Attention) {
    operands.lse = ofLaneRows(arguments.lse);
    operands.delta = ofLaneRows(arguments.delta);
  }
  fragments->bind(operands);
  State state = fragments->empty();
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    state = piece(i, state);
  if (ringReader)
    ringReader->releaseQueries();
  if (shape.result == KernelResult::BiasGradient)
    return;
  if (shape.result == KernelResult::QueryGradient) {
    addSums(b, lane, state.out, shape.scale, arguments.dq,
            {sumRow(0), sumRow(1)});
    return;
  }
  Results results(b, shape, *rows, lane, {rowOfHalf(0), rowOfHalf(1)});
  results.store(state, *fragments, arguments, parts);
}

/// What the lane's rows have in a memref [batch, head, row] of f32; rows past
/// the end repeat the last one.
Value KernelEmitter::ofLaneRows(Value memory) {
  SmallVector<Value> numbers;
  for (int64_t half = 0; half < 2; ++half) {
    Row row = rows->at(a.min(rowOfHalf(half), lastHere));
    numbers.push_back(memref::LoadOp::create(
        b, memory, ValueRange{row.batch, row.head, row.number}));
  }
  return vector::FromElementsOp::create(b, VectorType::get({2}, b.getF32Type()),
                                        numbers);
}

SumRow KernelEmitter::sumRow(int64_t half) {
  Value number = rowOfHalf(half);
  Row row = rows->at(number);
  return {{row.batch, row.head, row.number}, a.lt(number, rows->count)};
}

/// Loops over tiles then have bounds that are known to be the same for all
/// lanes, and what they count is in registers that a warp has once.
PieceTiles KernelEmitter::sameInWarp(PieceTiles tiles) {
  for (Value *bound :
       {&tiles.begin, &tiles.end, &tiles.fullBegin, &tiles.fullEnd})
    *bound = sameInWarp(*bound);
  return tiles;
}

/// Beside tests, which say themselves what tiles come, registers spill.
Value KernelEmitter::sameInWarp(Value index) {
  return shape.hasTest() ? index : indexOfWarp(b, index);
}

Value mlir::megactx::nvgpu::indexOfWarp(ImplicitLocOpBuilder &b, Value index) {
  Value narrow = arith::IndexCastOp::create(b, b.getI32Type(), index);
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    nvx::sameInWarp(b, narrow));
}

/// What pieces compute alike would be kept from one to the next, and spill.
void KernelEmitter::beginAnew(ArrayRef<Value *> known) {
  if (shape.pieces.size() > 1)
    for (Value *value : known)
      *value = nvx::RecomputeOp::create(b, *value);
}

State KernelEmitter::piece(unsigned index, State state) {
  beginAnew({&rows->begin, &lane, &rows->keyHead});
  if (shape.pieces.size() > 1)
    rows->keyHead = sameInWarp(rows->keyHead);
  PieceTiles ofBlock =
      sameInWarp(bounds().ofRows(index, rows->begin, tiling.rows));
  PieceTiles ofWarps = ofBlock;
  if (ringReader) {
    Value inBlock = a.mul(a.div(warp, a.c(4)), a.c(Tiling::kWarpgroupRows));
    ofWarps = sameInWarp(bounds().ofRowsWithin(
        ofBlock, a.add(rows->begin, inBlock), Tiling::kWarpgroupRows));
  }
  std::array<Row, 2> own;
  std::array<Value, 2> exists;
  for (int64_t i = 0; i < 2; ++i) {
    own[i] = rows->at(a.min(rowOfHalf(i), lastHere));
    if (arguments.dbias)
      exists[i] = a.lt(rowOfHalf(i), rows->count);
  }
  LaneBounds ofLane = bounds().ofLane(index, own);
  ScoreElements elements(b, shape, *views, arguments, lane, own);
  BiasSums biasSums(b, shape, arguments, elements, lane, own, exists);
  PieceView here{ofBlock, ofWarps, ofLane, elements, biasSums};
  auto values = [&](const State &state) {
    SmallVector<Value> all = state.pack();
    if (next)
      all.push_back(next);
    return all;
  };
  Value before = next;
  // Who only loads brings all tiles.
  auto walk = next
                  ? std::make_unique<TileWalk>(b, tiling, ofBlock,
                                               ofBlock.begin, ofBlock.end)
                  : TileWalk::create(b, tiling, {thread, ballots}, ofBlock,
                                     TileWalk::testOf(b, shape, tiling, *views,
                                                      *rows, arguments, index));
  auto ifOp = scf::IfOp::create(
      b, walk->any(),
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(
            b, values(next ? ownTiles(here, state)
                           : tiles(here, *walk, state, /*isLast=*/Value())));
      },
      [&](OpBuilder &, Location) {
        next = before;
        scf::YieldOp::create(b, values(state));
      });
  ValueRange results = ifOp.getResults();
  if (next) {
    next = results.back();
    results = results.drop_back();
  }
  return state.unpack(results);
}

std::unique_ptr<TileLoader> KernelEmitter::loaderOf(unsigned index) {
  if (tiling.loadsBoxes(shape.pieces[index]))
    return std::make_unique<BoxLoader>(b, tiling, thread, barriers,
                                       index * tiling.stages);
  return std::make_unique<CopyLoader>(b, tiling, thread);
}

/// Each turn begins one group of copies, with tiles or without, `stages - 1`
/// turns before that of its number: the keys of that turn's own tile, and the
/// values that its products are due with. A first turn of its own has nothing
/// to wait with for room: its group is begun with those before.
void KernelEmitter::beginPiece(const PieceTiles &here, const TurnTiles &first) {
  // Other warps may still read the last piece's tiles.
  if (here.index > 0)
    gpu::BarrierOp::create(b);
  loader = loaderOf(here.index);
  writer = loader.get();
  reader = loader.get();
  numbers.ring = loader->numbers().ring;
  copyFirst(here, first);
  // Only copies of keys by cp.async are waited for with queries by cp.async.
  if (tiling.loadsBoxes(shape.pieces[here.index]) || tiling.loadsQueryBox)
    queryLoader->wait(a.c(0), 0);
}

void KernelEmitter::copyFirst(const PieceTiles &here, const TurnTiles &first) {
  for (int64_t i = 0; i < tiling.stages - 1 + tiling.valueLag(); ++i)
    writer->group(a.c(i), [&] {
      copyKeys(here, first.from(i), a.c(i));
      if (int64_t of = i - tiling.valueLag(); of >= 0)
        copyValues(here, first.from(of), a.c(of));
    });
}

/// The state with the tiles of a walk. `isLast`: whether its last is the
/// block's last, null where it always is.
State KernelEmitter::tiles(const PieceView &here, TileWalk &walk, State state,
                           Value isLast) {
  Value number = next;
  if (!number) {
    beginPiece(here.block, walk.first());
    number = a.c(0);
  }
  // Without weights from the tile before, the first turn has another form.
  bool hasBegun = tiling.valueLag();
  if (hasBegun) {
    state = turn(here, walk.first(), number, state, /*isFirst=*/true);
    number = next ? numbers.later(number, 1) : a.c(1);
  }
  SmallVector<Value> init = state.pack();
  init.push_back(number);
  SmallVector<Value> result = walk.loop(
      hasBegun, init,
      [&](const TurnTiles &tiles, ValueRange carried) -> SmallVector<Value> {
        Value number = carried.back();
        State so = state.unpack(carried.drop_back());
        SmallVector<Value> values =
            turn(here, tiles, number, so, /*isFirst=*/false).pack();
        values.push_back(numbers.later(number, 1));
        return values;
      });
  number = result.pop_back_val();
  state = state.unpack(result);
  if (!tiling.valueLag())
    return state;
  reader->wait(number, 0);
  Value row =
      a.mul(numbers.stageOf(numbers.later(number, -1)), a.c(tiling.keys));
  if (!isLast)
    clearLast(here.block, walk.last(), row);
  else
    scf::IfOp::create(b, isLast, [&](OpBuilder &, Location) {
      clearLast(here.block, walk.last(), row);
      scf::YieldOp::create(b);
    });
  reader->takeTurn();
  state = fragments->finish(state, valueTile, row, [&] { reader->passTurn(); });
  if (next) {
    reader->release(number);
    next = numbers.later(number, 1);
  }
  return state;
}

/// Zeros behind the piece's last key, where that is in the last tile that was
/// read, whose keys begin with `last` and whose values at `row`.
void KernelEmitter::clearLast(const PieceTiles &of, Value last, Value row) {
  reader->clear(valueTile, tiling.valueTile, row, tiling.keys, last, of.end);
}

/// Keys past the ends repeat the first and the last one, and are masked.
TilePlace KernelEmitter::placeOf(const PieceTiles &of, Value from) {
  Value last = a.sub(of.end, a.c(1));
  bool beginsBefore = bounds().beginsWithBox(of.index);
  return {of.index, from,
          [this, index = of.index, last, beginsBefore](Value number) {
            Value row =
                views->keyRow(index, places[index], a.min(number, last));
            return beginsBefore ? a.max(row, a.c(0)) : row;
          }};
}

State KernelEmitter::turn(const PieceView &here, const TurnTiles &tiles,
                          Value number, State state, bool isFirst) {
  const PieceTiles &of = here.block;
  int64_t ahead = tiling.stages - 1, lag = tiling.valueLag();
  // All but the groups of the turns after this one.
  reader->wait(number, isFirst ? ahead : ahead - 1);
  TilePlace place = placeOf(of, tiles.from(0));
  // Before there are scores, which take most registers.
  Value tested = here.elements.test(place, tiling.keys, tiles.isAllowed);
  auto stage = [&](int64_t turns) {
    return numbers.stageOf(numbers.later(number, turns));
  };
  auto row = [&](int64_t turns) {
    return a.mul(stage(turns), a.c(tiling.keys));
  };
  auto scoresOf = [&](ValueRange products) {
    return scores(here, place, tested, tiles.isAllowed, products);
  };
  auto copyNext = [&] {
    if (!writer || isFirst)
      return;
    writer->group(numbers.later(number, ahead), [&] {
      copyKeys(of, tiles.from(ahead), stage(ahead));
      copyValues(of, tiles.from(ahead - lag), stage(ahead - lag));
    });
  };
  auto takeSlopes = [&](ValueRange slopes) {
    here.biasSums.add(slopes, place);
  };
  auto takeTurn = [&] { reader->takeTurn(); };
  auto passTurn = [&] { reader->passTurn(); };
  auto release = [&] { reader->release(number); };
  Turn turn{row(0),   row(-lag),  scoresOf, takeTurn,
            passTurn, takeSlopes, copyNext, release};
  return fragments->turn(state, turn, keyTile, valueTile);
}

/// The scores of a tile from its products. Tiles that every row sees whole run
/// no mask code, and those at one end of the rows' keys only that of this end.
SmallVector<Value> KernelEmitter::scores(const PieceView &here,
                                         const TilePlace &place, Value tested,
                                         Value isAllowed, ValueRange products) {
  ScoreElements &elements = here.elements;
  SmallVector<Value> scores = elements.adjust(products, place);
  auto [low, high] = here.lane;
  if (tested && !isAllowed)
    return elements.mask(scores, tested,
                         elements.between(place.from, low, high));
  auto maskUnless = [&](Value isWhole, Value low, Value high) {
    auto masked = scf::IfOp::create(
        b, isWhole,
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, scores); },
        [&](OpBuilder &, Location) {
          auto within = elements.between(place.from, low, high);
          scf::YieldOp::create(b, elements.mask(scores, tested, within));
        });
    scores = SmallVector<Value>(masked.getResults());
  };
  Value beginIsWhole = a.le(here.own.fullBegin, place.from);
  Value end = a.add(place.from, a.c(tiling.keys));
  Value endIsWhole = a.le(end, here.own.fullEnd);
  if (tested) {
    maskUnless(a.both(a.both(beginIsWhole, endIsWhole), isAllowed), low, high);
    return scores;
  }
  if (low)
    maskUnless(beginIsWhole, low, Value());
  maskUnless(endIsWhole, Value(), high);
  return scores;
}

/// The number of one of the lane's two rows.
Value KernelEmitter::rowOfHalf(int64_t half) {
  return a.add(rows->begin, rowOfLane(a, warp, lane, half));
}

gpu::GPUFuncOp mlir::megactx::nvgpu::emitKernel(gpu::GPUModuleOp module,
                                                StringRef name,
                                                const AttentionShape &shape,
                                                nvx::ScheduleAttr schedule) {
  if (shape.result == KernelResult::KeyGradient)
    return emitKeyGradient(module, name, shape, schedule);
  return KernelEmitter(module, name, shape, schedule).run();
}
