//===- TileWalk.cpp - the tiles of a piece, one after the other -----------===//

#include "TileWalk.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

TurnTiles TileWalk::from(Value first) {
  return {[this, first](int64_t turns) {
            return turns ? a.add(first, a.c(turns * tiling.keys)) : first;
          },
          Value()};
}

SmallVector<Value> TileWalk::loop(bool hasBegun, ValueRange init, Body body) {
  Value first = hasBegun ? a.add(begin, a.c(tiling.keys)) : begin;
  return emitFor(
      b, first, end, tiling.keys, init,
      [&](Value at, ValueRange carried) { return body(from(at), carried); });
}

namespace {
/// Each thread of the block asks for one of the tiles that follow each other.
/// Of the ballots of its warps, one for as many tiles as there are lanes, all
/// take up the first that names a tile, bit by bit; those behind it are asked
/// for again.
class TestedWalk : public TileWalk {
public:
  TestedWalk(ImplicitLocOpBuilder &b, const Tiling &tiling,
             const PieceTiles &tiles, const TileTest &test, Askers askers)
      : TileWalk(b, tiling, tiles, tiles.begin, tiles.end), test(test),
        askers(askers) {
    at.base = a.sub(begin, a.c(kSpan * tiling.keys));
    at.any = at.all = arith::ConstantIntOp::create(b, 0, 32);
    at.last = begin;
    for (int64_t i = 0; i < tiling.stages; ++i)
      at.turns.push_back(take(at));
  }

  Value any() override { return a.lt(at.turns.front().from, end); }
  TurnTiles first() override { return tilesOf(at); }
  SmallVector<Value> loop(bool hasBegun, ValueRange init, Body body) override;
  Value last() override { return at.last; }

private:
  static constexpr int64_t kSpan = nvx::kWarp; ///< tiles of a ballot

  struct Tile {
    Value from, isAllowed;
  };
  /// The tiles of this turn and the next ones, that of the turn before, and
  /// what is left of a ballot on the tiles from the key `base` on.
  struct State {
    SmallVector<Tile> turns;
    Value last, base, any, all;
  };
  TurnTiles tilesOf(const State &state) const {
    return {[turns = state.turns](int64_t i) { return turns[i].from; },
            state.turns.front().isAllowed};
  }
  Tile take(State &state);
  void ask(State &state);
  void tell(Value any, Value all);
  State later(State state);
  SmallVector<Value> pack(const State &state);
  State unpack(ValueRange values);
  Value narrow(Value x) {
    return arith::IndexCastOp::create(b, b.getI32Type(), x);
  }
  Value wide(Value x) {
    return arith::IndexCastOp::create(b, b.getIndexType(), x);
  }
  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 32);
  }
  Value isZero(Value x) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, constant(0));
  }

  TileTest test;
  Askers askers;
  State at;
};
} // namespace

/// Asks for the tiles from `base` on, and turns to the first ballot that names
/// one, or to the last.
void TestedWalk::ask(State &state) {
  Value inSpan = a.mul(narrow(askers.thread), constant(tiling.keys));
  Value from = wide(a.add(narrow(state.base), inSpan));
  Value behind = a.min(a.add(from, a.c(tiling.keys)), end);
  TestBlocks::Held held = test(from, behind);
  auto vote = [&](Value holds) -> Value {
    return NVVM::VoteSyncOp::create(b, b.getI32Type(), constant(-1), holds,
                                    NVVM::VoteSyncKind::ballot);
  };
  tell(vote(a.both(held.any, a.lt(from, end))), vote(held.all));
  gpu::BarrierOp::create(b);
  auto word = [&](int64_t i) -> Value {
    return memref::LoadOp::create(b, askers.ballots, a.c(i));
  };
  int64_t last = tiling.ballots / 2 - 1;
  Value index = constant(last);
  state.any = word(2 * last);
  state.all = word(2 * last + 1);
  for (int64_t i = last - 1; i >= 0; --i) {
    Value any = word(2 * i), isNone = isZero(any);
    index = a.select(isNone, index, constant(i));
    state.any = a.select(isNone, state.any, any);
    state.all = a.select(isNone, state.all, word(2 * i + 1));
  }
  state.base = a.add(state.base, a.mul(wide(index), a.c(kSpan * tiling.keys)));
  // All have read before anybody tells more.
  gpu::BarrierOp::create(b);
}

/// The ballots of this warp, to all.
void TestedWalk::tell(Value any, Value all) {
  Value lane = a.rem(askers.thread, a.c(kSpan));
  scf::IfOp::create(b, a.lt(lane, a.c(1)), [&](OpBuilder &, Location) {
    Value place = a.mul(a.div(askers.thread, a.c(kSpan)), a.c(2));
    memref::StoreOp::create(b, any, askers.ballots, place);
    memref::StoreOp::create(b, all, askers.ballots, a.add(place, a.c(1)));
    scf::YieldOp::create(b);
  });
}

/// The next tile for which the test holds somewhere; behind the last, the end.
TestedWalk::Tile TestedWalk::take(State &state) {
  Value span = a.c(kSpan * tiling.keys);
  SmallVector<Value> init = {narrow(state.base), state.any, state.all};
  auto search = scf::WhileOp::create(
      b, ValueRange(init).getTypes(), init,
      [&](OpBuilder &, Location, ValueRange carried) {
        Value isLeft = a.lt(a.add(wide(carried[0]), span), end);
        scf::ConditionOp::create(b, a.both(isZero(carried[1]), isLeft),
                                 carried);
      },
      [&](OpBuilder &, Location, ValueRange carried) {
        State next = state;
        next.base = a.add(wide(carried[0]), span);
        ask(next);
        scf::YieldOp::create(b,
                             ValueRange{narrow(next.base), next.any, next.all});
      });
  state.base = wide(search.getResult(0));
  Value any = search.getResult(1);
  state.all = search.getResult(2);
  Value bit = LLVM::CountTrailingZerosOp::create(b, b.getI32Type(), any,
                                                 /*is_zero_poison=*/false);
  Value from = a.add(state.base, a.mul(wide(bit), a.c(tiling.keys)));
  Value shift = arith::AndIOp::create(b, bit, constant(kSpan - 1));
  Value ofAll = arith::ShRUIOp::create(b, state.all, shift);
  Value isAllowed = arith::TruncIOp::create(b, b.getI1Type(), ofAll);
  // Without its lowest bit.
  state.any =
      arith::AndIOp::create(b, any, arith::SubIOp::create(b, any, constant(1)));
  return {a.select(isZero(any), end, from), isAllowed};
}

TestedWalk::State TestedWalk::later(State state) {
  state.last = state.turns.front().from;
  state.turns.erase(state.turns.begin());
  state.turns.push_back(take(state));
  return state;
}

SmallVector<Value> TestedWalk::pack(const State &state) {
  SmallVector<Value> values = {narrow(state.last), narrow(state.base),
                               state.any, state.all};
  for (const Tile &tile : state.turns)
    values.append({narrow(tile.from), tile.isAllowed});
  return values;
}

TestedWalk::State TestedWalk::unpack(ValueRange values) {
  State state;
  state.last = wide(values[0]);
  state.base = wide(values[1]);
  state.any = values[2];
  state.all = values[3];
  for (size_t i = 4; i < values.size(); i += 2)
    state.turns.push_back({wide(values[i]), values[i + 1]});
  return state;
}

SmallVector<Value> TestedWalk::loop(bool hasBegun, ValueRange init, Body body) {
  SmallVector<Value> carried = pack(hasBegun ? later(at) : at);
  size_t own = carried.size();
  llvm::append_range(carried, init);
  auto turns = scf::WhileOp::create(
      b, ValueRange(carried).getTypes(), carried,
      [&](OpBuilder &, Location, ValueRange carried) {
        Value from = unpack(carried.take_front(own)).turns.front().from;
        scf::ConditionOp::create(b, a.lt(from, end), carried);
      },
      [&](OpBuilder &, Location, ValueRange carried) {
        State state = unpack(carried.take_front(own));
        // Before there are scores, which take most registers.
        SmallVector<Value> next = pack(later(state));
        llvm::append_range(next, body(tilesOf(state), carried.drop_front(own)));
        scf::YieldOp::create(b, next);
      });
  ValueRange results = turns.getResults();
  at = unpack(results.take_front(own));
  return SmallVector<Value>(results.drop_front(own));
}

std::unique_ptr<TileWalk> TileWalk::create(ImplicitLocOpBuilder &b,
                                           const Tiling &tiling, Askers askers,
                                           const PieceTiles &tiles,
                                           const TileTest &test) {
  if (!test)
    return std::make_unique<TileWalk>(b, tiling, tiles, tiles.begin, tiles.end);
  return std::make_unique<TestedWalk>(b, tiling, tiles, test, askers);
}

TileTest TileWalk::testOf(ImplicitLocOpBuilder &b, const AttentionShape &shape,
                          const Tiling &tiling, const KeyViews &views,
                          const BlockRows &rows,
                          const KernelArguments &arguments, unsigned piece) {
  auto test = TestBlocks::of(shape, shape.pieces[piece]);
  if (!test)
    return nullptr;
  Arith a{b};
  Value last = a.min(a.add(rows.begin, a.c(tiling.rows)), rows.count);
  TestBlocks::Range positions{rows.positionOf(rows.begin),
                              rows.positionOf(a.sub(last, a.c(1)))};
  return [&b, a, test = *test, positions, &views,
          offset = arguments.keyOffset](Value from, Value behind) {
    Value last = a.sub(behind, a.c(1));
    return test.held(b, views, positions,
                     {a.add(from, offset), a.add(last, offset)});
  };
}
