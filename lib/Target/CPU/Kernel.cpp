//===- Kernel.cpp - emission of one attention kernel ----------------------===//

#include "Kernel.h"
#include "KernelRows.h"
#include "KernelSplit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;
using pattern::Digits;
using pattern::Expr;
using pattern::Piece;

namespace {
/// Emits one kernel; members are values of the function being built.
class KernelEmitter {
public:
  KernelEmitter(ModuleOp module, StringRef name, const KernelShape &shape)
      : shape(shape), module(module),
        b(module.getLoc(), OpBuilder::atBlockEnd(module.getBody())), a{b} {
    auto type = b.getFunctionType(kernelArguments(b.getContext(), shape), {});
    function = func::FuncOp::create(b, name, type);
    function.setPrivate();
    b.setInsertionPointToStart(function.addEntryBlock());
  }

  func::FuncOp run();

private:
  void readArguments();
  void readViews();
  void tasksByLength(ArrayRef<BlockForm> forms);
  void tasks(BlockForm form);
  void place(Value number, Value blocks, Value perBlock, BlockForm form);
  void task(BlockForm form);
  void prepare(const BlockBuffers &buffers);
  SmallVector<Value> piece(unsigned index, const BlockBuffers &buffers,
                           ValueRange state);
  SmallVector<Value> keyLoop(unsigned index, const BlockBuffers &buffers,
                             ValueRange state);
  std::array<Value, 4> rowBounds(unsigned index, const BlockBuffers &buffers);
  std::pair<Value, Value> boundsOfRow(unsigned index, Value position);
  void keyRows(unsigned index, const BlockBuffers &buffers, Value begin,
               Value last);
  ExprLeaves leaves(Value position);
  Value rankOf(unsigned index, Value position);
  Value loadTable(Value table, Value at);

  const KernelShape &shape;
  ModuleOp module;
  ImplicitLocOpBuilder b;
  Arith a;
  func::FuncOp function;

  // Arguments and sizes.
  Value query, key, value, bias, lengths, queryOffset, keyOffset, out, lse;
  Value batches, heads, queries, keys, group;
  // The query view: rows firstRow + rowStep * i of class `viewClass`.
  int64_t period = 1, numClasses = 1;
  Value queryResidues, rowsPerClass;
  /// Key residues of each piece: offsets per class, and the residues.
  struct KeyTable {
    Value begin, residues;
    int64_t uniform = 0; ///< residues per class where all have as many
  };
  SmallVector<KeyTable> keyTables;
  // The task at hand; `split` where tasks share the keys of a row.
  Value batch, head, keyHead, viewClass, firstRow, rowsHere, blockBegin, keyEnd;
  std::optional<KeySplit> split;
};
} // namespace

void KernelEmitter::readArguments() {
  unsigned at = 0;
  auto next = [&] { return Value(function.getArgument(at++)); };
  query = next();
  key = next();
  value = next();
  if (shape.hasBias)
    bias = next();
  if (shape.hasLengths)
    lengths = next();
  queryOffset = next();
  keyOffset = next();
  out = next();
  lse = next();
  auto dim = [&](Value of, int64_t i) -> Value {
    return memref::DimOp::create(b, of, i);
  };
  batches = dim(query, 0);
  heads = dim(query, 1);
  queries = dim(query, 2);
  keys = dim(key, 2);
  group = a.div(heads, a.max(dim(key, 1), a.c(1)));
}

/// Tables of the views: constants of the module, no larger than the period.
void KernelEmitter::readViews() {
  const Digits &view = shape.pieces.front().digits;
  if (!view.hasOneView()) {
    period = view.period;
    SmallVector<int64_t> residues;
    for (const Digits::Class &c : view.classes)
      residues.append(c.queries.begin(), c.queries.end());
    numClasses = residues.size();
    queryResidues = emitGlobalTable(b, module, residues);
  }
  for (const Piece &piece : shape.pieces) {
    KeyTable table;
    if (!piece.digits.isIdentity()) {
      SmallVector<int64_t> begin = {0}, residues;
      table.uniform = piece.digits.classes.front().keys.size();
      for (const Digits::Class &c : piece.digits.classes) {
        if (int64_t(c.keys.size()) != table.uniform)
          table.uniform = 0;
        // Rows of one class and different residues share their keys.
        for (size_t i = 0; i < (numClasses > 1 ? c.queries.size() : 1); ++i) {
          residues.append(c.keys.begin(), c.keys.end());
          begin.push_back(residues.size());
        }
      }
      table.begin = emitGlobalTable(b, module, begin);
      table.residues = emitGlobalTable(b, module, residues);
    }
    keyTables.push_back(table);
  }
  rowsPerClass = a.ceilDiv(queries, a.c(period));
}

func::FuncOp KernelEmitter::run() {
  readArguments();
  readViews();
  SmallVector<BlockForm> forms = {{1, /*byRow=*/true}, {1}};
  // Sums of six keys by two vectors fill sixteen registers best, and of six by
  // four, thirty-two; there, two without classes would be for short sequences.
  bool manyRegisters = shape.lanes == 16;
  if (numClasses > 1 || !manyRegisters)
    forms.push_back({2});
  if (manyRegisters)
    forms.push_back({4});
  tasksByLength(forms);
  func::ReturnOp::create(b);
  return function;
}

/// Blocks of the fewest vectors that hold a whole class, so that lanes of short
/// classes are not idle; of the most vectors where none does.
void KernelEmitter::tasksByLength(ArrayRef<BlockForm> forms) {
  BlockForm form = forms.front();
  if (forms.size() == 1)
    return tasks(form);
  scf::IfOp::create(
      b, a.le(rowsPerClass, a.c(form.mostRows(shape.lanes))),
      [&](OpBuilder &, Location) {
        tasks(form);
        scf::YieldOp::create(b);
      },
      [&](OpBuilder &, Location) {
        tasksByLength(forms.drop_front());
        scf::YieldOp::create(b);
      });
}

void KernelEmitter::tasks(BlockForm form) {
  Value blocks = a.ceilDiv(rowsPerClass, a.c(shape.lanes * form.vectors));
  Value perBlock = a.mul(a.mul(batches, heads), a.c(numClasses));
  Value count = a.mul(blocks, perBlock);
  split.reset();
  if (form.vectors == 1)
    split.emplace(b, shape, query, keys, count);
  emitParallel(b, split ? split->tasks() : count, [&](Value number) {
    if (split)
      number = split->enter(number);
    place(number, blocks, perBlock, form);
    scf::IfOp::create(b, a.lt(blockBegin, rowsHere),
                      [&](OpBuilder &, Location) {
                        task(form);
                        scf::YieldOp::create(b);
                      });
  });
  if (split)
    split->merge(out, lse);
}

/// Which rows of which head a task is for.
void KernelEmitter::place(Value number, Value blocks, Value perBlock,
                          BlockForm form) {
  // Late rows see most keys: the longest tasks go first.
  Value block = a.sub(a.sub(blocks, a.c(1)), a.div(number, perBlock));
  Value rest = a.rem(number, perBlock);
  viewClass = a.rem(rest, a.c(numClasses));
  rest = a.div(rest, a.c(numClasses));
  head = a.rem(rest, heads);
  batch = a.div(rest, heads);
  blockBegin = a.mul(block, a.c(shape.lanes * form.vectors));
  keyHead = a.div(head, group);
  firstRow = a.c(0);
  rowsHere = queries;
  if (period > 1) {
    Value residue = arith::IndexCastOp::create(
        b, b.getIndexType(),
        memref::LoadOp::create(b, queryResidues, viewClass));
    firstRow = emitFloorMod(b, a.sub(residue, queryOffset), a.c(period));
    rowsHere = a.max(a.ceilDiv(a.sub(queries, firstRow), a.c(period)), a.c(0));
  }
}

void KernelEmitter::task(BlockForm form) {
  int64_t vectors = form.vectors;
  BlockBuffers buffers(b, shape, form);
  keyEnd = keys;
  if (lengths) {
    Value length = memref::LoadOp::create(b, lengths, batch);
    keyEnd = a.max(a.min(length, keys), a.c(0));
  }
  Value valid = a.min(a.sub(rowsHere, blockBegin), a.c(buffers.rows));
  buffers.rowCount = valid;
  prepare(buffers);
  HeadRows rows(b, shape, buffers, batch, head);
  rows.load(query);
  if (form.byRow)
    buffers.turnQueries(b);
  VectorType vector = buffers.vector;
  SmallVector<Value> state(vectors, a.splat(kNoKey, vector));
  state.append(vectors, a.splat(0.0f, vector));
  for (unsigned i = 0; i < shape.pieces.size(); ++i)
    state = piece(i, buffers, state);
  if (form.byRow)
    buffers.turnResults(b);
  if (split)
    return split->store(buffers, batch, head, out, lse, valid, state);
  rows.store(out, lse, valid, state);
}

/// Says which row each lane stands for, and starts from nothing.
void KernelEmitter::prepare(const BlockBuffers &buffers) {
  Value last = a.sub(rowsHere, a.c(1));
  emitFor(b, a.c(0), a.c(buffers.rows), 1, [&](Value lane) {
    // Lanes past the class's end repeat its last row and are not stored.
    Value inClass = a.min(a.add(blockBegin, lane), last);
    Value row = a.add(firstRow, a.mul(inClass, a.c(period)));
    memref::StoreOp::create(b, row, buffers.rowOf, lane);
  });
  Value zero = a.splat(0.0f, buffers.vector);
  emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
    for (int64_t g = 0; g < buffers.vectors; ++g)
      vector::StoreOp::create(b, zero, buffers.acc,
                              ValueRange{d, a.c(g * shape.lanes)});
  });
  if (!buffers.byRow)
    return;
  Value none = a.f32(0);
  emitFor(b, a.c(0), buffers.rowCount, 1, [&](Value row) {
    emitFor(b, a.c(0), a.c(shape.valueDim), 1, [&](Value d) {
      memref::StoreOp::create(b, none, buffers.accRows, ValueRange{row, d});
    });
  });
  // Lanes without a row are computed on and never stored.
  emitFor(b, a.c(0), a.c(kBlockKeys), 1, [&](Value n) {
    vector::StoreOp::create(b, zero, buffers.scores, ValueRange{n, a.c(0)});
  });
}

ExprLeaves KernelEmitter::leaves(Value position) {
  ExprLeaves result;
  result.position = position;
  result.head = head;
  result.batch = batch;
  result.key = a.c(0);
  Value lastKey = a.mul(a.sub(keyEnd, a.c(1)), a.c(shape.keyStep));
  result.keyEnd = a.add(a.add(lastKey, keyOffset), a.c(1));
  return result;
}

SmallVector<Value> KernelEmitter::piece(unsigned index,
                                        const BlockBuffers &buffers,
                                        ValueRange state) {
  const Piece &piece = shape.pieces[index];
  if (!piece.heads)
    return keyLoop(index, buffers, state);
  auto table = [&](ArrayRef<int64_t> values) {
    return emitGlobalTable(b, module, values);
  };
  ExprLeaves at = leaves(a.c(0));
  at.table = table;
  Value chosen = a.lt(a.c(0), emitExpr(b, piece.heads, at));
  auto ifOp = scf::IfOp::create(
      b, chosen,
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, keyLoop(index, buffers, state));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, state); });
  return SmallVector<Value>(ifOp.getResults());
}

/// How many keys of the piece's view stand below a position.
Value KernelEmitter::rankOf(unsigned index, Value position) {
  const KeyTable &table = keyTables[index];
  Value m = a.c(shape.pieces[index].digits.period);
  Value x = a.max(position, a.c(0));
  Value residue = a.rem(x, m), cls = numClasses > 1 ? viewClass : a.c(0);
  auto countBelow = [&](Value i, Value sum) -> Value {
    Value less = a.lt(loadTable(table.residues, i), residue);
    return a.select(less, a.add(sum, a.c(1)), sum);
  };
  constexpr int64_t few = 4;
  Value each = a.c(table.uniform), below = a.c(0);
  if (table.uniform && table.uniform <= few) {
    Value begin = a.mul(cls, each);
    for (int64_t i = 0; i < table.uniform; ++i)
      below = countBelow(a.add(begin, a.c(i)), below);
  } else {
    Value begin = loadTable(table.begin, cls);
    Value end = loadTable(table.begin, a.add(cls, a.c(1)));
    each = a.sub(end, begin);
    below = emitFor(b, begin, end, 1, ValueRange{below},
                    [&](Value i, ValueRange sum) -> SmallVector<Value> {
                      return {countBelow(i, sum[0])};
                    })[0];
  }
  return a.add(a.mul(each, a.div(x, m)), below);
}

Value KernelEmitter::loadTable(Value table, Value at) {
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    memref::LoadOp::create(b, table, at));
}

/// The interval of keys of a row, in the numbers of the piece's key view.
std::pair<Value, Value> KernelEmitter::boundsOfRow(unsigned index,
                                                   Value position) {
  const Piece &piece = shape.pieces[index];
  auto table = [&](ArrayRef<int64_t> values) {
    return emitGlobalTable(b, module, values);
  };
  ExprLeaves at = leaves(position);
  at.table = table;
  Value lo = keyOffset, hi = at.keyEnd;
  for (const Expr &bound : piece.lo)
    lo = a.max(lo, emitExpr(b, bound, at));
  for (const Expr &bound : piece.hi)
    hi = a.min(hi, emitExpr(b, bound, at));
  if (piece.rowBegin != -Piece::kOpen)
    hi = a.select(a.lt(position, a.c(piece.rowBegin)), lo, hi);
  if (piece.rowEnd != Piece::kOpen)
    hi = a.select(a.lt(position, a.c(piece.rowEnd)), hi, lo);
  hi = a.max(hi, lo);
  if (!piece.digits.isIdentity())
    return {rankOf(index, lo), rankOf(index, hi)};
  Value step = a.c(shape.keyStep);
  Value first = a.ceilDiv(a.sub(lo, keyOffset), step);
  Value end = a.ceilDiv(a.sub(hi, keyOffset), step);
  return {first, a.max(end, first)};
}

/// Fills the lanes' bounds. Returns {lowest lo, highest lo, lowest hi, highest
/// hi}: keys outside of the first and last are seen by no row, keys between the
/// middle two by all.
std::array<Value, 4> KernelEmitter::rowBounds(unsigned index,
                                              const BlockBuffers &buffers) {
  Value huge = a.c(INT32_MAX), none = a.c(0);
  SmallVector<Value> init = {huge, none, huge, none};
  SmallVector<Value> hull = emitFor(
      b, a.c(0), a.c(buffers.rows), 1, init,
      [&](Value lane, ValueRange so) -> SmallVector<Value> {
        Value row = memref::LoadOp::create(b, buffers.rowOf, lane);
        Value position = a.add(a.mul(row, a.c(shape.queryStep)), queryOffset);
        auto [lo, hi] = boundsOfRow(index, position);
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
      });
  return {hull[0], hull[1], hull[2], hull[3]};
}

/// The rows of the block's keys: their numbers and their places in memory.
void KernelEmitter::keyRows(unsigned index, const BlockBuffers &buffers,
                            Value begin, Value last) {
  const Digits &digits = shape.pieces[index].digits;
  const KeyTable &table = keyTables[index];
  Value start, count;
  if (!digits.isIdentity()) {
    Value cls = numClasses > 1 ? viewClass : a.c(0);
    start = loadTable(table.begin, cls);
    count = table.uniform
                ? a.c(table.uniform)
                : a.sub(loadTable(table.begin, a.add(cls, a.c(1))), start);
  }
  emitFor(b, a.c(0), a.c(kBlockKeys), 1, [&](Value n) {
    // Keys past the end repeat the last one and are masked.
    Value at = a.min(a.add(begin, n), last);
    Value row = at;
    if (!digits.isIdentity()) {
      Value residue = loadTable(table.residues, a.add(start, a.rem(at, count)));
      Value position =
          a.add(a.mul(a.div(at, count), a.c(digits.period)), residue);
      row = a.sub(position, keyOffset);
    }
    memref::StoreOp::create(b, row, buffers.keyRow, n);
    Value keyAt = a.mul(row, buffers.keyStride);
    Value valueAt = a.mul(row, buffers.valueStride);
    memref::StoreOp::create(b, keyAt, buffers.keyAt, n);
    memref::StoreOp::create(b, valueAt, buffers.valueAt, n);
    // Rows far apart come by no hardware prefetcher.
    if (!digits.isIdentity()) {
      emitPrefetch(b, buffers.keyData, keyAt, shape.headDim);
      emitPrefetch(b, buffers.valueData, valueAt, shape.valueDim);
    }
  });
}

SmallVector<Value> KernelEmitter::keyLoop(unsigned index,
                                          const BlockBuffers &constBuffers,
                                          ValueRange state) {
  const Piece &piece = shape.pieces[index];
  BlockBuffers buffers = constBuffers;
  buffers.bindRows(b, key, value, batch, keyHead);
  std::array<Value, 4> hull = rowBounds(index, buffers);
  Value lowest = hull[0], highestLow = hull[1], lowestHigh = hull[2],
        highest = hull[3];
  Value begin = a.min(lowest, highest), end = highest;
  if (split)
    std::tie(begin, end) = split->share(begin, highest);
  return emitFor(b, begin, end, kBlockKeys, state,
                 [&](Value from, ValueRange carried) -> SmallVector<Value> {
                   keyRows(index, buffers, from, a.sub(highest, a.c(1)));
                   auto table = [&](ArrayRef<int64_t> values) {
                     return emitGlobalTable(b, module, values);
                   };
                   ElementContext element{shape, piece.test, leaves(a.c(0)),
                                          bias,  keyOffset,  queryOffset};
                   element.leaves.table = table;
                   KeyBlock block(b, shape, buffers, from, highest);
                   if (shape.hasBias || shape.softcap || piece.test)
                     return block.emit(carried, &element);
                   Value full =
                       a.both(a.le(highestLow, from),
                              a.le(a.add(from, a.c(kBlockKeys)), lowestHigh));
                   auto ifOp = scf::IfOp::create(
                       b, full,
                       [&](OpBuilder &, Location) {
                         scf::YieldOp::create(b, block.emit(carried, nullptr));
                       },
                       [&](OpBuilder &, Location) {
                         scf::YieldOp::create(b, block.emit(carried, &element));
                       });
                   return SmallVector<Value>(ifOp.getResults());
                 });
}

func::FuncOp mlir::megactx::cpu::emitKernel(ModuleOp module, StringRef name,
                                            const KernelShape &shape) {
  return KernelEmitter(module, name, shape).run();
}
