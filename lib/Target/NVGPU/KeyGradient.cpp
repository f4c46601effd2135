//===- KeyGradient.cpp - keys are a warp's rows, queries come by tiles ----===//

#include "KeyGradient.h"
#include "../Common/QueryViews.h"
#include "GradientTile.h"
#include "ScoreElements.h"
#include "SharedMemory.h"
#include "TileWalk.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
class KeyGradientEmitter {
public:
  KeyGradientEmitter(gpu::GPUModuleOp module, StringRef name,
                     const AttentionShape &shape, nvx::ScheduleAttr schedule);
  gpu::GPUFuncOp run();

private:
  /// The 16x8 tiles of the sums of a warp's keys and values.
  struct Sums {
    SmallVector<Value> dk, dv;
    SmallVector<Value> pack() const;
    Sums unpack(ValueRange values) const;
  };
  void enter();
  void reserve();
  void copyRows();
  void block();
  Sums ofHead(Value head, const Sums &sums);
  Sums ofPiece(unsigned index, const Sums &sums);
  PieceTiles queriesOf(unsigned index);
  TileTest testOf(unsigned index);
  Sums tiles(const PieceTiles &of, TileWalk &walkOver, const Sums &sums);
  void copyTile(const PieceTiles &of, Value from, Value stage);
  void placeQueries(const PieceTiles &of, Value from, Value stage);
  Sums turn(const PieceTiles &of, const TurnTiles &tiles, Value row,
            const Sums &sums);
  SmallVector<Value> masked(ValueRange scores, const PieceTiles &of,
                            const TurnTiles &tiles, Value row, Value tested);
  Value rowOf(const PieceTiles &of, Value number);
  Value ofColumns(Value words, Value row, int64_t n);
  Value rowOfHalf(int64_t half);
  Value positionOf(Value number);
  Value placeOf(Value position);
  Value ints(Value first, Value second);

  const AttentionShape &shape;
  Tiling tiling;
  ImplicitLocOpBuilder b;
  Arith a;
  gpu::GPUFuncOp function;
  KernelArguments arguments;
  KeyViews views;
  QueryViews walk;
  std::unique_ptr<WarpProducts> products;
  GradientTiles gradients;
  StageNumbers numbers;
  std::unique_ptr<CopyLoader> loader;
  std::unique_ptr<ScoreElements> elements; ///< of the head at hand
  Value thread, lane, warp, batch, keyHead, queries;
  Value begin, last;     ///< numbers of the block's first row, and of the last
  Value lowest, highest; ///< positions of the block's keys
  Value span;            ///< the place of the highest among them
  Value places;          ///< of the lane's keys: vector<2x2xi32>
  std::array<Value, 2> own; ///< rows of the lane's keys
  Value keyTile, valueTile, queryTile, doutTile;
  Value lse, delta, low, high; ///< of queries, by stages
  Value ballots;
  WarpRows keyRows, valueRows;
};
} // namespace

SmallVector<Value> KeyGradientEmitter::Sums::pack() const {
  SmallVector<Value> values(dk);
  llvm::append_range(values, dv);
  return values;
}

KeyGradientEmitter::Sums
KeyGradientEmitter::Sums::unpack(ValueRange values) const {
  return {SmallVector<Value>(values.take_front(dk.size())),
          SmallVector<Value>(values.drop_front(dk.size()))};
}

KeyGradientEmitter::KeyGradientEmitter(gpu::GPUModuleOp module, StringRef name,
                                       const AttentionShape &shape,
                                       nvx::ScheduleAttr schedule)
    : shape(shape), tiling(shape, schedule),
      b(module.getLoc(), OpBuilder::atBlockEnd(module.getBody())), a{b},
      function(createKernel(b, name, kernelArguments(b.getContext(), shape),
                            tiling, schedule)),
      arguments(function.getArguments(), shape),
      views(b, module, shape, arguments),
      walk(b, module, shape, arguments, views,
           [this](Value begin, Value end, function_ref<Value(Value)> holds) {
             return nvx::firstNotInWarp(b, lane, begin, end, holds);
           }),
      gradients(b, shape), numbers{b, tiling.stages, tiling.stages} {}

/// The class and the rows of the block's place in the grid.
void KeyGradientEmitter::enter() {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = a.rem(thread, a.c(nvx::kWarp));
  warp = indexOfWarp(b, a.div(thread, a.c(nvx::kWarp)));
  products = WarpProducts::create(b, shape.element, tiling.product, lane, warp);
  Value number = gpu::BlockIdOp::create(b, gpu::Dimension::x), keyClass;
  keyHead = gpu::BlockIdOp::create(b, gpu::Dimension::y);
  batch = gpu::BlockIdOp::create(b, gpu::Dimension::z);
  if (walk.classes() > 1) {
    // Blocks of one class follow each other, and find each other's queries.
    Value all = gpu::GridDimOp::create(b, gpu::Dimension::x);
    Value ofClass = a.divRem32(all, a.c(walk.classes())).first;
    std::tie(keyClass, number) = a.divRem32(number, ofClass);
  } else {
    keyClass = a.c(0);
  }
  begin = a.mul(number, a.c(tiling.rows));
  queries = memref::DimOp::create(b, arguments.query, 2);
  walk.enter(batch, keyClass, memref::DimOp::create(b, arguments.key, 2));
}

void KeyGradientEmitter::reserve() {
  SharedMemory memory(b, tiling, shape.element);
  keyTile = memory.tile(tiling.queryTile);
  valueTile = memory.tile(tiling.otherTile);
  queryTile = memory.tile(tiling.keyTile);
  doutTile = memory.tile(tiling.valueTile);
  int64_t count = tiling.queryWords / Tiling::kWordsOfQuery;
  for (Value *words : {&lse, &delta})
    *words = memory.words(count, b.getF32Type());
  for (Value *words : {&low, &high})
    *words = memory.words(count, b.getI32Type());
  ballots = memory.words(tiling.ballots, b.getI32Type());
}

gpu::GPUFuncOp KeyGradientEmitter::run() {
  enter();
  reserve();
  emitIf(b, a.lt(begin, walk.rowsHere), [&] { block(); });
  gpu::ReturnOp::create(b);
  return function;
}

void KeyGradientEmitter::copyRows() {
  auto rowOf = [&](Value at) -> Row {
    return {batch, keyHead, walk.rowAt(a.min(at, last))};
  };
  auto step = [&](int64_t numbers) { return walk.keyStep(numbers); };
  CopyLoader rows(b, tiling, thread);
  auto load = [&](Value memory, int64_t dim, Value tile,
                  const TileLayout &layout) {
    rows.load({memory, dim, rowOf, step}, tile, layout, a.c(0), tiling.rows,
              begin, walk.rowsHere);
  };
  load(arguments.key, shape.headDim, keyTile, tiling.queryTile);
  load(arguments.value, shape.valueDim, valueTile, tiling.otherTile);
  rows.wait(a.c(0), 0);
  keyRows = products->bind(keyTile, tiling.queryTile, /*held=*/false);
  valueRows = products->bind(valueTile, tiling.otherTile, /*held=*/false);
}

Value KeyGradientEmitter::rowOfHalf(int64_t half) {
  return a.add(begin, rowOfLane(a, warp, lane, half));
}

Value KeyGradientEmitter::ints(Value first, Value second) {
  auto narrow = [&](Value x) -> Value {
    return arith::IndexCastOp::create(b, b.getI32Type(), x);
  };
  Value x = narrow(first), y = narrow(second);
  return vector::FromElementsOp::create(
      b, VectorType::get({2, 2}, b.getI32Type()), ValueRange{x, x, y, y});
}

/// Of the key with a number of the class; of those past the last, that one's.
Value KeyGradientEmitter::positionOf(Value number) {
  return views.positionOfKey(walk.rowAt(a.min(number, last)));
}

Value KeyGradientEmitter::placeOf(Value position) {
  Value count = a.min(a.sub(walk.rowsHere, begin), a.c(tiling.rows));
  return placeInBlock(b, shape, position, lowest, count,
                      [&](Value i) { return positionOf(a.add(begin, i)); });
}

void KeyGradientEmitter::block() {
  last = a.sub(walk.rowsHere, a.c(1));
  copyRows();
  lowest = positionOf(begin);
  highest = positionOf(a.add(begin, a.c(tiling.rows - 1)));
  span = placeOf(highest);
  std::array<Value, 2> at;
  for (int64_t half = 0; half < 2; ++half) {
    own[half] = walk.rowAt(a.min(rowOfHalf(half), last));
    at[half] = placeOf(views.positionOfKey(own[half]));
  }
  places = ints(at[0], at[1]);
  Value none = a.splat(0.0f, VectorType::get({2, 2}, b.getF32Type()));
  Sums sums{SmallVector<Value>(tiling.paddedHead / 8, none),
            SmallVector<Value>(tiling.paddedValue / 8, none)};
  Value heads = memref::DimOp::create(b, arguments.query, 1);
  Value keyHeads = memref::DimOp::create(b, arguments.key, 1);
  Value group = a.divRem32(heads, keyHeads).first;
  Value first = a.mul(keyHead, group);
  sums =
      sums.unpack(emitFor(b, first, a.add(first, group), 1, sums.pack(),
                          [&](Value head, ValueRange so) -> SmallVector<Value> {
                            return ofHead(head, sums.unpack(so)).pack();
                          }));
  auto row = [&](int64_t half) -> SumRow {
    return {{batch, keyHead, own[half]}, a.le(rowOfHalf(half), last)};
  };
  std::array<SumRow, 2> rows = {row(0), row(1)};
  addSums(b, lane, sums.dk, shape.scale, arguments.dk, rows);
  addSums(b, lane, sums.dv, 1.0f, arguments.dv, rows);
}

KeyGradientEmitter::Sums KeyGradientEmitter::ofHead(Value head,
                                                    const Sums &before) {
  walk.enterHead(head);
  std::array<Row, 2> rows;
  for (int64_t half = 0; half < 2; ++half)
    rows[half] = {batch, head, own[half]};
  elements =
      std::make_unique<ScoreElements>(b, shape, views, arguments, lane, rows);
  Sums sums = before;
  for (unsigned i = 0; i < shape.pieces.size(); ++i) {
    const pattern::Expr &condition = shape.pieces[i].heads;
    if (!condition) {
      sums = ofPiece(i, sums);
      continue;
    }
    Value attends = a.lt(a.c(0), emitExpr(b, condition, views.leaves(a.c(0))));
    auto ifOp = scf::IfOp::create(
        b, attends,
        [&](OpBuilder &, Location) {
          scf::YieldOp::create(b, ofPiece(i, sums).pack());
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, sums.pack()); });
    sums = sums.unpack(ifOp.getResults());
  }
  return sums;
}

PieceTiles KeyGradientEmitter::queriesOf(unsigned index) {
  auto [from, end] = walk.queriesOf(index, lowest, highest, queries);
  auto test = TestBlocks::of(shape, shape.pieces[index]);
  if (test)
    from = beginOfTiles(a, from, views.offsetOfQueries(), test->queries,
                        tiling.keys);
  return {index, indexOfWarp(b, from), indexOfWarp(b, end), Value(), Value()};
}

TileTest KeyGradientEmitter::testOf(unsigned index) {
  auto test = TestBlocks::of(shape, shape.pieces[index]);
  if (!test)
    return nullptr;
  return [this, test = *test](Value from, Value behind) {
    Value last = a.sub(behind, a.c(1)), offset = views.offsetOfQueries();
    return test.held(b, views, {a.add(from, offset), a.add(last, offset)},
                     {lowest, highest});
  };
}

KeyGradientEmitter::Sums KeyGradientEmitter::ofPiece(unsigned index,
                                                     const Sums &sums) {
  PieceTiles of = queriesOf(index);
  auto walkOver =
      TileWalk::create(b, tiling, {thread, ballots}, of, testOf(index));
  auto ifOp = scf::IfOp::create(
      b, walkOver->any(),
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, tiles(of, *walkOver, sums).pack());
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, sums.pack()); });
  return sums.unpack(ifOp.getResults());
}

/// Numbers past the last repeat it.
Value KeyGradientEmitter::rowOf(const PieceTiles &of, Value number) {
  return walk.queryRow(of.index, a.min(number, a.sub(of.end, a.c(1))));
}

/// Queries from `from` on into a stage, where there are any.
void KeyGradientEmitter::copyTile(const PieceTiles &of, Value from,
                                  Value stage) {
  auto row = [&](Value at) -> Row {
    return {batch, views.head, rowOf(of, at)};
  };
  auto step = [&](int64_t numbers) {
    return walk.queryStep(of.index, numbers);
  };
  emitIf(b, a.lt(from, of.end), [&] {
    auto load = [&](Value memory, int64_t dim, Value tile,
                    const TileLayout &layout) {
      loader->load({memory, dim, row, step}, tile, layout,
                   a.mul(stage, a.c(tiling.keys)), tiling.keys, from, of.end);
    };
    load(arguments.query, shape.headDim, queryTile, tiling.keyTile);
    load(arguments.dout, shape.valueDim, doutTile, tiling.valueTile);
    placeQueries(of, from, stage);
  });
}

/// What the queries of a tile have: which keys they see, by places among the
/// block's; those past the end see none.
void KeyGradientEmitter::placeQueries(const PieceTiles &of, Value from,
                                      Value stage) {
  auto narrow = [&](Value position) -> Value {
    return arith::IndexCastOp::create(b, b.getI32Type(), placeOf(position));
  };
  Value first = a.mul(stage, a.c(tiling.keys));
  emitFor(b, thread, a.c(tiling.keys), tiling.threads, [&](Value column) {
    Value number = a.add(from, column), row = rowOf(of, number);
    Value at = a.add(first, column);
    SmallVector<Value> place = {batch, views.head, row};
    auto copy = [&](Value memory, Value words) {
      Value x = memref::LoadOp::create(b, memory, place);
      memref::StoreOp::create(b, x, words, at);
    };
    copy(arguments.lse, lse);
    copy(arguments.delta, delta);
    auto [lo, hi] = views.rowInterval(of.index, views.positionOf(row));
    memref::StoreOp::create(b, narrow(lo), low, at);
    hi = a.select(a.lt(number, of.end), narrow(hi),
                  arith::ConstantIntOp::create(b, 0, 32));
    memref::StoreOp::create(b, hi, high, at);
  });
}

KeyGradientEmitter::Sums KeyGradientEmitter::tiles(const PieceTiles &of,
                                                   TileWalk &walkOver,
                                                   const Sums &sums) {
  // Other warps may still read the last piece's tiles.
  gpu::BarrierOp::create(b);
  loader = std::make_unique<CopyLoader>(b, tiling, thread);
  int64_t ahead = tiling.stages - 1;
  TurnTiles first = walkOver.first();
  for (int64_t i = 0; i < ahead; ++i)
    loader->group(a.c(i), [&] { copyTile(of, first.from(i), a.c(i)); });
  SmallVector<Value> init = sums.pack();
  init.push_back(a.c(0));
  SmallVector<Value> result = walkOver.loop(
      /*hasBegun=*/false, init,
      [&](const TurnTiles &tiles, ValueRange so) -> SmallVector<Value> {
        Value number = so.back();
        loader->wait(number, ahead - 1);
        Value next = numbers.later(number, ahead);
        loader->group(next, [&] {
          copyTile(of, tiles.from(ahead), numbers.stageOf(next));
        });
        Value row = a.mul(numbers.stageOf(number), a.c(tiling.keys));
        SmallVector<Value> values =
            turn(of, tiles, row, sums.unpack(so.drop_back())).pack();
        values.push_back(numbers.later(number, 1));
        return values;
      });
  result.pop_back();
  return sums.unpack(result);
}

/// What the columns of the 16x8 elements n have of words.
Value KeyGradientEmitter::ofColumns(Value words, Value row, int64_t n) {
  Value first =
      a.add(a.add(row, a.mul(a.rem(lane, a.c(4)), a.c(2))), a.c(8 * n));
  Value x = memref::LoadOp::create(b, words, first);
  Value y = memref::LoadOp::create(b, words, a.add(first, a.c(1)));
  return vector::FromElementsOp::create(b, VectorType::get({2, 2}, x.getType()),
                                        ValueRange{x, y, x, y});
}

/// Unless all queries of the tile see all keys of the block. What queries see
/// ascends with them, unless they are at positions of their own.
SmallVector<Value> KeyGradientEmitter::masked(ValueRange scores,
                                              const PieceTiles &of,
                                              const TurnTiles &tiles, Value row,
                                              Value tested) {
  using Predicate = arith::CmpIPredicate;
  auto within = [&](int64_t n) -> Value {
    Value isAbove = arith::CmpIOp::create(b, Predicate::sle,
                                          ofColumns(low, row, n), places);
    Value isBelow = arith::CmpIOp::create(b, Predicate::slt, places,
                                          ofColumns(high, row, n));
    return a.both(isAbove, isBelow);
  };
  if (shape.hasQueryPositions || (tested && !tiles.isAllowed))
    return elements->mask(scores, tested, within);
  auto wide = [&](Value words, Value at) -> Value {
    return arith::IndexCastOp::create(b, b.getIndexType(),
                                      memref::LoadOp::create(b, words, at));
  };
  Value end = a.add(tiles.from(0), a.c(tiling.keys));
  Value lastLow = wide(low, a.add(row, a.c(tiling.keys - 1)));
  Value isWhole = a.both(a.le(lastLow, a.c(0)), a.lt(span, wide(high, row)));
  isWhole = a.both(isWhole, a.le(end, of.end));
  if (tested)
    isWhole = a.both(isWhole, tiles.isAllowed);
  auto ifOp = scf::IfOp::create(
      b, isWhole,
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, scores); },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, elements->mask(scores, tested, within));
      });
  return SmallVector<Value>(ifOp.getResults());
}

KeyGradientEmitter::Sums KeyGradientEmitter::turn(const PieceTiles &of,
                                                  const TurnTiles &tiles,
                                                  Value row,
                                                  const Sums &before) {
  TilePlace place{of.index, tiles.from(0),
                  [this, of](Value number) { return rowOf(of, number); }};
  Value tested = elements->test(place, tiling.keys, tiles.isAllowed);
  SmallVector<Value> ofQueries =
      products->multiply(keyRows, queryTile, tiling.keyTile, row, tiling.keys);
  SmallVector<Value> scores =
      masked(elements->adjust(ofQueries, place), of, tiles, row, tested);
  SmallVector<Value> ofDout = products->multiply(
      valueRows, doutTile, tiling.valueTile, row, tiling.keys);
  GradientTile tile =
      gradients.tile(ofQueries, scores, ofDout, [&](int64_t n) -> QueryNumbers {
        return {ofColumns(lse, row, n), ofColumns(delta, row, n)};
      });
  Sums sums = before;
  products->accumulate(sums.dv, tile.weights, doutTile, tiling.valueTile, row);
  products->accumulate(sums.dk, tile.slopes, queryTile, tiling.keyTile, row);
  return sums;
}

gpu::GPUFuncOp
mlir::megactx::nvgpu::emitKeyGradient(gpu::GPUModuleOp module, StringRef name,
                                      const AttentionShape &shape,
                                      nvx::ScheduleAttr schedule) {
  return KeyGradientEmitter(module, name, shape, schedule).run();
}
