//===- Kernel.cpp - one attention kernel ----------------------------------===//

#include "Kernel.h"
#include "Results.h"
#include "ScoreElements.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;
using pattern::Piece;

namespace {
/// The tiles of a piece that a block reads: keys [begin, end) in the numbers of
/// the key view, those of [fullBegin, fullEnd) seen by every row; [low, high)
/// (vector<2x2xi32>) by each of the lane's, low null where nothing bounds it.
struct PieceTiles {
  unsigned index;
  Value begin, end, fullBegin, fullEnd, low, high;
};

/// Emits one kernel; members are values of the function being built.
class KernelEmitter {
public:
  KernelEmitter(gpu::GPUModuleOp module, StringRef name,
                const AttentionShape &shape, nvx::ScheduleAttr schedule)
      : shape(shape), tiling(shape, schedule), module(module),
        b(module.getLoc(), OpBuilder::atBlockEnd(module.getBody())), a{b} {
    SmallVector<Type> types = kernelArguments(b.getContext(), shape);
    if (tiling.split)
      types.append(PartArguments::types(b.getContext(), shape));
    if (tiling.barriers)
      types.append(3, nvx::TensorMapType::get(b.getContext()));
    function =
        gpu::GPUFuncOp::create(b, name, b.getFunctionType(types, TypeRange()));
    function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(),
                      b.getUnitAttr());
    function->setAttr(nvx::ScheduleAttr::name, schedule);
    function->setAttr("nvvm.minctasm",
                      b.getI32IntegerAttr(schedule.getBlocks()));
    function.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({int32_t(tiling.threads), 1, 1}));
    b.setInsertionPointToStart(&function.getBody().front());
  }

  gpu::GPUFuncOp run();

private:
  void readBlock();
  void block();
  Value sharedTile(Value memory, int64_t from, const TileLayout &layout);
  void copyQueries();
  void copyKeys(const PieceTiles &here, Value from, Value stage);
  void copyValues(const PieceTiles &here, Value from, Value stage);
  void copyTile(const PieceTiles &here, Value from, Value stage, Value source,
                Value map, Value shared, const TileLayout &layout, int64_t dim);
  std::pair<Value, Value> boundsOfRow(unsigned index, Value position);
  State piece(unsigned index, State state);
  State tiles(const PieceTiles &here, ScoreElements &elements, State state);
  std::unique_ptr<TileLoader> loaderOf(unsigned index);
  void copyFirst(const PieceTiles &here);
  State turn(const PieceTiles &here, ScoreElements &elements, Value from,
             Value number, State state);
  SmallVector<Value> scores(const PieceTiles &here, ScoreElements &elements,
                            const TilePlace &place, Value tested,
                            ValueRange products);
  Value rowOfHalf(int64_t half);

  const AttentionShape &shape;
  Tiling tiling;
  gpu::GPUModuleOp module;
  ImplicitLocOpBuilder b;
  Arith a;
  gpu::GPUFuncOp function;
  KernelArguments arguments;
  PartArguments parts;
  Value queryMap, keyMap, valueMap; ///< null where nothing is a box
  std::unique_ptr<KeyViews> views;
  std::unique_ptr<BlockRows> rows;
  std::unique_ptr<Fragments> fragments;
  std::unique_ptr<TileLoader> queryLoader, loader; ///< loader: of the piece
  Value thread, lane, warp, lastHere;
  Value queryTile, keyTile, valueTile, barriers;
  SmallVector<KeyViews::Places> places;
};
} // namespace

/// Which rows the block has, which keys there are.
void KernelEmitter::readBlock() {
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
  warp = a.div(thread, a.c(32));
  views = std::make_unique<KeyViews>(b, module, shape, arguments);
  rows = std::make_unique<BlockRows>(b, tiling, *views, arguments, parts);
  lastHere = a.sub(rows->count, a.c(1));
  views->readKeyEnd(memref::DimOp::create(b, arguments.key, 2));
}

Value KernelEmitter::sharedTile(Value memory, int64_t from,
                                const TileLayout &layout) {
  auto type =
      MemRefType::get(layout.shape(), shape.element, AffineMap(),
                      cast<MemRefType>(memory.getType()).getMemorySpace());
  return memref::ViewOp::create(b, type, memory, a.c(from), ValueRange());
}

gpu::GPUFuncOp KernelEmitter::run() {
  readBlock();
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  Value memory = nvx::SharedMemoryOp::create(
      b, MemRefType::get({tiling.bytes()}, b.getI8Type(), AffineMap(), space));
  int64_t keyBegin = tiling.queryTile.bytes();
  int64_t valueBegin = keyBegin + tiling.keyTile.bytes();
  queryTile = sharedTile(memory, 0, tiling.queryTile);
  keyTile = sharedTile(memory, keyBegin, tiling.keyTile);
  valueTile = sharedTile(memory, valueBegin, tiling.valueTile);
  if (tiling.barriers)
    barriers = memref::ViewOp::create(
        b,
        MemRefType::get({tiling.barriers}, b.getI64Type(), AffineMap(), space),
        memory, a.c(valueBegin + tiling.valueTile.bytes()), ValueRange());
  scf::IfOp::create(b, a.lt(rows->begin, rows->count),
                    [&](OpBuilder &, Location) {
                      block();
                      scf::YieldOp::create(b);
                    });
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
    loader->load({source, dim, rowOf, views->keyStep(here.index), map}, shared,
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

/// The interval of keys of a row, in the numbers of the piece's key view.
std::pair<Value, Value> KernelEmitter::boundsOfRow(unsigned index,
                                                   Value position) {
  const Piece &piece = shape.pieces[index];
  auto [lo, hi] = views->interval(index, position);
  ExprLeaves at = views->leaves(position);
  // A row past all keys has none, and must not widen the block's interval.
  lo = a.min(lo, at.keyEnd);
  hi = a.max(hi, lo);
  if (piece.heads) {
    // The same empty interval for all rows: the block reads no tile.
    Value attends = a.lt(a.c(0), emitExpr(b, piece.heads, at));
    lo = a.select(attends, lo, arguments.keyOffset);
    hi = a.select(attends, hi, arguments.keyOffset);
  }
  return views->inView(index, lo, hi);
}

void KernelEmitter::copyQueries() {
  if (tiling.barriers)
    BoxLoader::start(b, thread, barriers);
  auto rowOf = [&](Value at) { return rows->at(at); };
  auto load = [&] {
    queryLoader->load(
        {arguments.query, shape.headDim, rowOf, rows->step(), queryMap},
        queryTile, tiling.queryTile, a.c(0), tiling.rows, rows->begin,
        rows->count);
  };
  if (tiling.loadsQueryBox) {
    queryLoader = std::make_unique<BoxLoader>(b, tiling, thread, barriers,
                                              tiling.barriers - 1);
    queryLoader->group(a.c(0), load);
  } else {
    // Of the first group that is closed.
    queryLoader = std::make_unique<CopyLoader>(b, tiling, thread);
    load();
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
  fragments->bindQueries(queryTile);
  State state = fragments->empty();
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    state = piece(i, state);
  Results results(b, shape, *rows, lane, {rowOfHalf(0), rowOfHalf(1)});
  results.store(state, *fragments, arguments, parts);
}

/// The bounds of the block's first and last row enclose those of all others:
/// bounds never decrease.
State KernelEmitter::piece(unsigned index, State state) {
  const Piece &piece = shape.pieces[index];
  Value last = a.min(a.add(rows->begin, a.c(tiling.rows - 1)), lastHere);
  Value firstAt = rows->positionOf(rows->begin);
  Value lastAt = rows->positionOf(last);
  auto isRow = [&](Value position) -> Value {
    Value holds = arith::ConstantIntOp::create(b, 1, 1);
    if (piece.rowBegin != -Piece::kOpen)
      holds = a.both(holds, a.le(a.c(piece.rowBegin), position));
    if (piece.rowEnd != Piece::kOpen)
      holds = a.both(holds, a.lt(position, a.c(piece.rowEnd)));
    return holds;
  };
  auto inRows = [&](Value position) {
    if (piece.rowBegin != -Piece::kOpen)
      position = a.max(position, a.c(piece.rowBegin));
    if (piece.rowEnd != Piece::kOpen)
      position = a.min(position, a.c(piece.rowEnd - 1));
    return position;
  };
  Value begin, firstEnd, lastBegin, end;
  std::tie(begin, firstEnd) = boundsOfRow(index, inRows(firstAt));
  std::tie(lastBegin, end) = boundsOfRow(index, inRows(lastAt));
  Value all = a.both(isRow(firstAt), isRow(lastAt));
  Value fullEnd = a.select(all, firstEnd, begin);
  if (tiling.split)
    std::tie(begin, end) = rows->parts.share(a, begin, end, tiling.keys);
  SmallVector<Value> low, high;
  std::array<Row, 2> own;
  for (int64_t i = 0; i < 2; ++i) {
    own[i] = rows->at(a.min(rowOfHalf(i), lastHere));
    Value position = views->positionOf(own[i].number);
    auto [lo, hi] = boundsOfRow(index, position);
    hi = a.select(isRow(position), hi, lo);
    lo = arith::IndexCastOp::create(b, b.getI32Type(), lo);
    hi = arith::IndexCastOp::create(b, b.getI32Type(), hi);
    low.append({lo, lo});
    high.append({hi, hi});
  }
  auto ints = VectorType::get({2, 2}, b.getI32Type());
  Value lows;
  if (!piece.lo.empty())
    lows = vector::FromElementsOp::create(b, ints, low);
  Value highs = vector::FromElementsOp::create(b, ints, high);
  ScoreElements elements(b, shape, *views, arguments, lane, own);
  PieceTiles tilesHere{index, begin, end, lastBegin, fullEnd, lows, highs};
  auto ifOp = scf::IfOp::create(
      b, a.lt(begin, end),
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, tiles(tilesHere, elements, state).pack());
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, state.pack()); });
  return state.unpack(ifOp.getResults());
}

std::unique_ptr<TileLoader> KernelEmitter::loaderOf(unsigned index) {
  if (tiling.loadsBoxes(shape.pieces[index]))
    return std::make_unique<BoxLoader>(b, tiling, thread, barriers,
                                       index * tiling.stages);
  return std::make_unique<CopyLoader>(b, tiling, thread);
}

/// Each turn begins one group of copies, with tiles or without, `stages - 1`
/// turns before that of its number: the keys of that turn's own tile, and the
/// values that its products are due with.
State KernelEmitter::tiles(const PieceTiles &here, ScoreElements &elements,
                           State state) {
  // Other warps may still read the last piece's tiles.
  if (here.index > 0)
    gpu::BarrierOp::create(b);
  loader = loaderOf(here.index);
  copyFirst(here);
  // Only copies of keys by cp.async are waited for with queries by cp.async.
  if (tiling.loadsBoxes(shape.pieces[here.index]) || tiling.loadsQueryBox)
    queryLoader->wait(a.c(0), 0);
  Value number = a.c(0), begin = here.begin;
  // Without weights from the tile before, the first turn has another form.
  if (tiling.valueLag()) {
    state = turn(here, elements, begin, number, state);
    number = a.c(1);
    begin = a.add(begin, a.c(tiling.keys));
  }
  SmallVector<Value> init = state.pack();
  init.push_back(number);
  SmallVector<Value> result =
      emitFor(b, begin, here.end, tiling.keys, init,
              [&](Value from, ValueRange carried) -> SmallVector<Value> {
                Value number = carried.back();
                State so = state.unpack(carried.drop_back());
                SmallVector<Value> values =
                    turn(here, elements, from, number, so).pack();
                values.push_back(loader->later(number, 1));
                return values;
              });
  number = result.pop_back_val();
  state = state.unpack(result);
  if (!tiling.valueLag())
    return state;
  loader->wait(number, 0);
  Value row =
      a.mul(loader->stageOf(loader->later(number, -1)), a.c(tiling.keys));
  // The last tile's: it ends at the first multiple of its size from `begin` on
  // that is no less than `end`.
  Value last =
      a.mul(a.div(a.sub(a.sub(here.end, here.begin), a.c(1)), a.c(tiling.keys)),
            a.c(tiling.keys));
  loader->clear(valueTile, tiling.valueTile, row, tiling.keys,
                a.add(here.begin, last), here.end);
  return fragments->finish(state, valueTile, row);
}

/// The copies of turns before the first.
void KernelEmitter::copyFirst(const PieceTiles &here) {
  auto from = [&](int64_t i) {
    return a.add(here.begin, a.c(i * tiling.keys));
  };
  for (int64_t i = 0; i < tiling.stages - 1; ++i)
    loader->group(a.c(i), [&] {
      copyKeys(here, from(i), a.c(i));
      if (int64_t of = i - tiling.valueLag(); of >= 0)
        copyValues(here, from(of), a.c(of));
    });
}

State KernelEmitter::turn(const PieceTiles &here, ScoreElements &elements,
                          Value from, Value number, State state) {
  int64_t ahead = tiling.stages - 1, lag = tiling.valueLag();
  // All but the groups of the turns after this one. All warps are done with
  // what the turn before read.
  loader->wait(number, ahead - 1);
  TilePlace place{here.index, places[here.index], from,
                  a.sub(here.end, a.c(1))};
  // Before there are scores, which take most registers.
  Value tested = elements.test(place, tiling.keys);
  auto stage = [&](int64_t turns) {
    return loader->stageOf(loader->later(number, turns));
  };
  auto row = [&](int64_t turns) {
    return a.mul(stage(turns), a.c(tiling.keys));
  };
  auto later = [&](int64_t turns) {
    return a.add(from, a.c(turns * tiling.keys));
  };
  auto scoresOf = [&](ValueRange products) {
    return scores(here, elements, place, tested, products);
  };
  auto copyNext = [&] {
    loader->group(loader->later(number, ahead), [&] {
      copyKeys(here, later(ahead), stage(ahead));
      copyValues(here, later(ahead - lag), stage(ahead - lag));
    });
  };
  Turn turn{row(0), row(-lag), scoresOf, copyNext};
  return fragments->turn(state, turn, keyTile, valueTile);
}

/// The scores of a tile from its products. Tiles that every row sees whole run
/// no mask code.
SmallVector<Value> KernelEmitter::scores(const PieceTiles &here,
                                         ScoreElements &elements,
                                         const TilePlace &place, Value tested,
                                         ValueRange products) {
  SmallVector<Value> scores = elements.adjust(products, place);
  if (tested)
    return elements.mask(scores, place, tested, here.low, here.high);
  Value next = a.add(place.from, a.c(tiling.keys));
  Value full =
      a.both(a.le(here.fullBegin, place.from), a.le(next, here.fullEnd));
  auto masked = scf::IfOp::create(
      b, full, [&](OpBuilder &, Location) { scf::YieldOp::create(b, scores); },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(
            b, elements.mask(scores, place, tested, here.low, here.high));
      });
  return SmallVector<Value>(masked.getResults());
}

/// The number of one of the lane's two rows.
Value KernelEmitter::rowOfHalf(int64_t half) {
  Value inBlock =
      a.add(a.mul(warp, a.c(16)), a.add(a.div(lane, a.c(4)), a.c(8 * half)));
  return a.add(rows->begin, inBlock);
}

gpu::GPUFuncOp mlir::megactx::nvgpu::emitKernel(gpu::GPUModuleOp module,
                                                StringRef name,
                                                const AttentionShape &shape,
                                                nvx::ScheduleAttr schedule) {
  return KernelEmitter(module, name, shape, schedule).run();
}
