//===- Kernel.cpp - emission of one attention kernel ----------------------===//

#include "Kernel.h"
#include "KernelFrame.h"
#include "KernelRows.h"
#include "KernelSplit.h"
#include "KeyBlock.h"
#include "TestedTiles.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;
using pattern::Piece;

namespace {
/// Emits one kernel of attention.
class KernelEmitter : KernelFrame {
public:
  using KernelFrame::KernelFrame;

  func::FuncOp run();

private:
  void tasksByLength(ArrayRef<BlockFormPtr> forms);
  void tasks(const BlockForm &form);
  Value headBlocks() { return a.ceilDiv(group, headsAtOnce); }
  Value headsInLanes();
  void place(Value number, Value blocks, const BlockForm &form);
  void task(const BlockForm &form);
  void prepare(const BlockBuffers &buffers);
  void keyLoop(unsigned index, const BlockBuffers &buffers);
  void keyTile(unsigned index, const BlockBuffers &buffers, Value from,
               const std::array<Value, 4> &hull, Value isAllowed);
  void boundRows(const BlockBuffers &buffers, Value end);
  std::array<Value, 4> rowBounds(unsigned index, const BlockBuffers &buffers);
  void keyRows(unsigned index, const BlockBuffers &buffers, Value begin,
               Value last);

  Value rowsPerClass;
  // Of how many heads that share keys a task of one vector has the rows, and of
  // how many one of the form at hand.
  Value mostHeads, headsAtOnce;
  // The task at hand: its rows are those of some heads, row by row, of which it
  // has a block; `split` where tasks share the keys of a row.
  Value batch, firstHead, headsHere, keyHead, blockBegin, rowsOfHeads;
  std::optional<KeySplit> split;
};
} // namespace

func::FuncOp KernelEmitter::run() {
  rowsPerClass = a.ceilDiv(queries, a.c(views->period()));
  mostHeads = headsInLanes();
  tasksByLength(formsOf(shape, views->classes()));
  func::ReturnOp::create(b);
  return function;
}

/// As many heads as have their classes in the lanes of one vector together:
/// each key is read once for all of them.
Value KernelEmitter::headsInLanes() {
  if (shape.dependsOnHead())
    return a.c(1);
  Value most = a.div(a.c(shape.lanes), a.max(rowsPerClass, a.c(1)));
  Value count = a.max(a.min(most, group), a.c(1));
  for (Value bias : arguments.biases) {
    Value isShared = a.le(memref::DimOp::create(b, bias, 1), a.c(1));
    count = a.select(isShared, count, a.c(1));
  }
  return count;
}

/// Blocks of the fewest vectors that hold a whole class, so that lanes of short
/// classes are not idle; of the most vectors where none does.
void KernelEmitter::tasksByLength(ArrayRef<BlockFormPtr> forms) {
  const BlockForm &form = *forms.front();
  if (forms.size() == 1)
    return tasks(form);
  emitIf(
      b, a.le(a.mul(rowsPerClass, mostHeads), a.c(form.mostRows())),
      [&] { tasks(form); }, [&] { tasksByLength(forms.drop_front()); });
}

void KernelEmitter::tasks(const BlockForm &form) {
  headsAtOnce = form.vectors == 1 ? mostHeads : a.c(1);
  Value rows = a.mul(rowsPerClass, headsAtOnce);
  Value blocks = a.ceilDiv(rows, a.c(form.rows()));
  Value perBlock = a.mul(a.mul(batches, a.mul(keyHeads, headBlocks())),
                         a.c(views->classes()));
  Value count = a.mul(blocks, perBlock);
  split.reset();
  if (form.vectors == 1)
    split.emplace(b, shape, arguments.query, keys, count);
  emitParallel(b, split ? split->tasks() : count, [&](Value number) {
    if (split)
      number = split->enter(number);
    place(number, blocks, form);
    scf::IfOp::create(b, a.lt(blockBegin, rowsOfHeads),
                      [&](OpBuilder &, Location) {
                        task(form);
                        scf::YieldOp::create(b);
                      });
  });
  if (split)
    split->merge(arguments.out, arguments.lse);
}

/// Which rows of which heads a task is for.
void KernelEmitter::place(Value number, Value blocks, const BlockForm &form) {
  // Blocks of one class follow each other, and find each other's keys in the
  // cache. Late rows see most keys: the longest go first.
  Value block = a.sub(a.sub(blocks, a.c(1)), a.rem(number, blocks));
  Value rest = a.div(number, blocks);
  Value viewClass = a.rem(rest, a.c(views->classes()));
  rest = a.div(rest, a.c(views->classes()));
  Value inGroup = a.mul(a.rem(rest, headBlocks()), headsAtOnce);
  rest = a.div(rest, headBlocks());
  keyHead = a.rem(rest, keyHeads);
  batch = a.div(rest, keyHeads);
  firstHead = a.add(a.mul(keyHead, group), inGroup);
  headsHere = headsAtOnce;
  if (form.vectors == 1)
    headsHere = a.min(headsHere, a.sub(group, inGroup));
  blockBegin = a.mul(block, a.c(form.rows()));
  views->enter(batch, firstHead, viewClass, queries);
  rowsOfHeads = a.mul(views->rowsHere, headsHere);
}

void KernelEmitter::task(const BlockForm &form) {
  BlockBuffers buffers(b, shape, form);
  views->readKeyEnd(keys);
  Value valid = a.min(a.sub(rowsOfHeads, blockBegin), a.c(buffers.rows));
  buffers.rowCount = valid;
  prepare(buffers);
  TaskRows rows(b, shape, buffers, batch);
  rows.load(parts, arguments.query);
  form.readQueries(b, buffers);
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    ifHead(i, [&] { keyLoop(i, buffers); });
  form.writeSums(b, buffers);
  if (split)
    return split->store(parts, buffers, batch, arguments.out, arguments.lse,
                        valid);
  rows.store(parts, arguments.out, arguments.lse, valid);
}

/// Says which row each lane stands for, and starts from nothing.
void KernelEmitter::prepare(const BlockBuffers &buffers) {
  Value last = a.sub(rowsOfHeads, a.c(1));
  emitFor(b, a.c(0), a.c(buffers.rows), 1, [&](Value lane) {
    // Lanes past the end repeat the last row and are not stored.
    Value number = a.min(a.add(blockBegin, lane), last);
    Value row = views->rowAt(a.div(number, headsHere));
    Value head = a.add(firstHead, a.rem(number, headsHere));
    memref::StoreOp::create(b, row, buffers.rowOf, lane);
    memref::StoreOp::create(b, head, buffers.headOf, lane);
  });
  Value zero = a.splat(0.0f, buffers.vector);
  for (int64_t g = 0; g < buffers.form.vectors; ++g) {
    Value lane = a.c(g * shape.lanes);
    vector::StoreOp::create(b, a.splat(kLeastTop, buffers.vector), buffers.top,
                            lane);
    vector::StoreOp::create(b, zero, buffers.sum, lane);
  }
  emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
    for (int64_t g = 0; g < buffers.form.vectors; ++g)
      vector::StoreOp::create(b, zero, buffers.acc,
                              ValueRange{d, a.c(g * shape.lanes)});
  });
  buffers.form.start(b, buffers);
}

/// Fills the lanes' and the vectors' bounds. Returns {lowest lo, highest lo,
/// lowest hi, highest hi}: keys outside of the first and last are seen by no
/// row, keys between the middle two by all.
std::array<Value, 4> KernelEmitter::rowBounds(unsigned index,
                                              const BlockBuffers &buffers) {
  Value huge = a.c(INT32_MAX), none = a.c(0), lanes = a.c(shape.lanes);
  SmallVector<Value> init = {huge, none, huge, none};
  auto ofLane = [&](Value lane, ValueRange so) -> SmallVector<Value> {
    Value row = memref::LoadOp::create(b, buffers.rowOf, lane);
    auto [lo, hi] = views->keysOf(index, views->positionOf(row));
    auto keep = [&](Value x, Value in) {
      Value narrow = arith::IndexCastOp::create(b, b.getI32Type(), x);
      memref::StoreOp::create(b, narrow, in, lane);
    };
    keep(lo, buffers.low);
    keep(hi, buffers.high);
    // A row without keys widens nothing, but then no block is full.
    Value some = a.lt(lo, hi);
    return {a.select(some, a.min(so[0], lo), so[0]),
            a.select(some, a.max(so[1], lo), huge), a.min(so[2], hi),
            a.select(some, a.max(so[3], hi), so[3])};
  };
  SmallVector<Value> hull =
      emitFor(b, a.c(0), a.c(buffers.form.vectors), 1, init,
              [&](Value g, ValueRange so) -> SmallVector<Value> {
                Value first = a.mul(g, lanes);
                SmallVector<Value> its =
                    emitFor(b, first, a.add(first, lanes), 1, init, ofLane);
                memref::StoreOp::create(b, its[0], buffers.vectorLow, g);
                memref::StoreOp::create(b, its[3], buffers.vectorHigh, g);
                return {a.min(so[0], its[0]), a.max(so[1], its[1]),
                        a.min(so[2], its[2]), a.max(so[3], its[3])};
              });
  return {hull[0], hull[1], hull[2], hull[3]};
}

/// The rows of the block's keys: their numbers and their places in memory.
void KernelEmitter::keyRows(unsigned index, const BlockBuffers &buffers,
                            Value begin, Value last) {
  KeyViews::Places places = views->places(index);
  // No more of them than are summed at once when the last block ends.
  Value step = a.c(buffers.form.maskedKeys());
  Value left = a.add(a.sub(last, begin), a.c(1));
  Value count =
      a.min(a.mul(a.ceilDiv(left, step), step), a.c(buffers.form.keys()));
  auto place = [&](Value row, Value n, Value keyAt, Value valueAt) {
    memref::StoreOp::create(b, a.mul(row, buffers.keyStride), keyAt, n);
    memref::StoreOp::create(b, a.mul(row, buffers.valueStride), valueAt, n);
  };
  emitFor(b, a.c(0), count, 1, [&](Value n) {
    // Keys past the end repeat the last one and are masked.
    Value row = views->keyRow(index, places, a.min(a.add(begin, n), last));
    memref::StoreOp::create(b, row, buffers.keyRow, n);
    place(row, n, buffers.keyAt, buffers.valueAt);
    if (int64_t keysAhead = buffers.form.keysAhead()) {
      // Tiles of a test may be anywhere.
      Value ahead = a.c(shape.pieces[index].test ? 0 : keysAhead);
      Value next = a.min(a.add(begin, a.add(n, ahead)), last);
      place(views->keyRow(index, places, next), n, buffers.keyNext,
            buffers.valueNext);
    }
    // Rows far apart come by no hardware prefetcher.
    if (places.begin && !buffers.form.keysAhead()) {
      emitPrefetch(b, buffers.keyData, a.mul(row, buffers.keyStride),
                   shape.headDim);
      emitPrefetch(b, buffers.valueData, a.mul(row, buffers.valueStride),
                   shape.valueDim);
    }
  });
}

void KernelEmitter::keyLoop(unsigned index, const BlockBuffers &constBuffers) {
  BlockBuffers buffers = constBuffers;
  buffers.bindRows(b, arguments.key, arguments.value, batch, keyHead);
  std::array<Value, 4> hull = rowBounds(index, buffers);
  Value begin = a.min(hull[0], hull[3]), end = hull[3];
  if (split)
    std::tie(begin, end) = split->share(begin, end, buffers.form.keys());
  auto test = TestBlocks::of(shape, shape.pieces[index]);
  // Its tiles begin anywhere: those of the next task's keys may be in one.
  if (test && split)
    boundRows(buffers, end);
  forTiles(b, test,
           {*views, /*areQueries=*/true, buffers.rowOf, buffers.rowCount},
           {begin, end, arguments.keyOffset, buffers.form.keys()},
           [&](Value from, Value isAllowed) {
             keyTile(index, buffers, from, hull, isAllowed);
           });
}

/// Keys from `end` on are not the task's.
void KernelEmitter::boundRows(const BlockBuffers &buffers, Value end) {
  auto bound = [&](Value bounds, int64_t count) {
    Type type = cast<MemRefType>(bounds.getType()).getElementType();
    Value most =
        type.isIndex() ? end : arith::IndexCastOp::create(b, type, end);
    emitFor(b, a.c(0), a.c(count), 1, [&](Value i) {
      Value of = memref::LoadOp::create(b, bounds, i);
      memref::StoreOp::create(b, a.min(of, most), bounds, i);
    });
  };
  bound(buffers.high, buffers.rows);
  bound(buffers.vectorHigh, buffers.form.vectors);
}

/// The keys from a number of the view on. `isAllowed`: whether the piece's
/// test, where it has one, holds for all of them; null where nobody knows.
void KernelEmitter::keyTile(unsigned index, const BlockBuffers &buffers,
                            Value from, const std::array<Value, 4> &hull,
                            Value isAllowed) {
  const Piece &piece = shape.pieces[index];
  keyRows(index, buffers, from, a.sub(hull[3], a.c(1)));
  ElementContext element{piece.test, views->leaves(a.c(0)), arguments.biases,
                         *views};
  std::unique_ptr<KeyBlock> block = buffers.form.block(b, buffers, from);
  auto masked = [&](const pattern::Expr &test) {
    element.test = test;
    block->callMasked(parts, element);
  };
  auto untested = [&] {
    if (!shape.biasPerKey.empty() || shape.softcap)
      return masked({});
    Value full = a.both(a.le(hull[1], from),
                        a.le(a.add(from, a.c(buffers.form.keys())), hull[2]));
    emitIf(b, full, [&] { block->callFull(parts); }, [&] { masked({}); });
  };
  if (!piece.test)
    return untested();
  if (!isAllowed)
    return masked(piece.test);
  emitIf(b, isAllowed, untested, [&] { masked(piece.test); });
}

func::FuncOp mlir::megactx::cpu::emitKernel(KernelParts &parts, StringRef name,
                                            const KernelShape &shape) {
  return KernelEmitter(parts, name, shape).run();
}
