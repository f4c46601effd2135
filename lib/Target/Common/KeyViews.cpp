//===- KeyViews.cpp - rows, keys and bounds of a kernel's pieces ----------===//

#include "KeyViews.h"
#include "megactx/Pattern/SegmentBounds.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using pattern::Digits;
using pattern::Expr;
using pattern::Piece;

int64_t KeyViews::periodOf(const AttentionShape &shape) {
  const Digits &view = shape.pieces.front().digits;
  return view.hasOneView() ? 1 : view.period;
}

int64_t KeyViews::classesOf(const AttentionShape &shape) {
  const Digits &view = shape.pieces.front().digits;
  if (view.hasOneView())
    return 1;
  return shape.accumulate ? view.rowResidues() : view.period;
}

KeyViews::KeyViews(ImplicitLocOpBuilder &b, Operation *module,
                   const AttentionShape &shape,
                   const KernelArguments &arguments)
    : b(b), a{b}, module(module), shape(shape), arguments(arguments),
      makeTable([this](ArrayRef<int64_t> values) { return table(values); }),
      readOperand([this](StringRef name, Value position) {
        return segmentBound(name, position);
      }),
      thePeriod(periodOf(shape)), numClasses(classesOf(shape)) {
  const Digits &view = shape.pieces.front().digits;
  size_t keyless = 0;
  if (!view.hasOneView()) {
    SmallVector<int64_t> residues;
    for (const Digits::Class &c : view.classes)
      residues.append(c.queries.begin(), c.queries.end());
    keyless = numClasses - residues.size();
    for (int64_t r = 0; keyless && r < thePeriod; ++r)
      if (llvm::none_of(view.classes, [&](const Digits::Class &c) {
            return llvm::binary_search(c.queries, r);
          }))
        residues.push_back(r);
    queryResidues = table(residues);
  }
  for (const Piece &piece : shape.pieces)
    readPiece(piece, keyless);
}

Value KeyViews::table(ArrayRef<int64_t> values) const {
  return emitGlobalTable(b, module, values);
}

/// `keyless`: so many classes without keys come after the others.
void KeyViews::readPiece(const Piece &piece, size_t keyless) {
  KeyTable &read = keyTables.emplace_back();
  if (piece.digits.isIdentity())
    return;
  SmallVector<int64_t> begin = {0}, residues;
  read.uniform = piece.digits.classes.front().keys.size();
  read.follow = piece.digits.keyRun() == read.uniform;
  for (const Digits::Class &c : piece.digits.classes) {
    if (int64_t(c.keys.size()) != read.uniform)
      read.uniform = 0;
    // Rows of one class and different residues share their keys.
    for (size_t i = 0; i < (numClasses > 1 ? c.queries.size() : 1); ++i) {
      residues.append(c.keys.begin(), c.keys.end());
      begin.push_back(residues.size());
    }
  }
  begin.append(keyless, residues.size());
  if (keyless)
    read.uniform = 0;
  read.begin = table(begin);
  read.residues = table(residues);
}

void KeyViews::enterHead(Value ofBatch, Value ofHead) {
  batch = ofBatch;
  queryOffset = arguments.queryOffset;
  if (!queryOffset.getType().isIndex())
    queryOffset = memref::LoadOp::create(b, queryOffset, batch);
  head = ofHead;
}

void KeyViews::enter(Value ofBatch, Value ofHead, Value ofClass,
                     Value queries) {
  enterHead(ofBatch, ofHead);
  viewClass = ofClass;
  firstRow = a.c(0);
  rowsHere = queries;
  if (thePeriod == 1)
    return;
  Value residue = loadTable(b, queryResidues, viewClass);
  firstRow = emitFloorMod(b, a.sub(residue, queryOffset), a.c(thePeriod));
  rowsHere = a.max(a.ceilDiv(a.sub(queries, firstRow), a.c(thePeriod)), a.c(0));
}

void KeyViews::readKeyEnd(Value keys) {
  keyEnd = keys;
  if (arguments.lengths) {
    Value length = memref::LoadOp::create(b, arguments.lengths, batch);
    keyEnd = a.max(a.min(length, keys), a.c(0));
  }
  positionEnd = endOfKeys();
}

Value KeyViews::endOfKeys() const {
  auto afterLast = [&] {
    return a.add(positionOfKey(a.sub(keyEnd, a.c(1))), a.c(1));
  };
  if (!arguments.keyPositions)
    return afterLast();
  // Without any key there is no last one to look up, and nothing to see.
  auto ifOp = scf::IfOp::create(
      b, a.lt(a.c(0), keyEnd),
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, afterLast()); },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, a.c(0)); });
  return ifOp.getResult(0);
}

Value KeyViews::rowAt(Value i) const {
  return a.add(firstRow, a.mul(i, a.c(thePeriod)));
}

Value KeyViews::positionOf(Value row) const {
  if (arguments.queryPositions)
    return memref::LoadOp::create(b, arguments.queryPositions,
                                  ValueRange{batch, row});
  return a.add(a.mul(row, a.c(shape.queryStep)), queryOffset);
}

Value KeyViews::positionOfKey(Value row) const {
  if (arguments.keyPositions)
    return memref::LoadOp::create(b, arguments.keyPositions,
                                  ValueRange{batch, row});
  return a.add(a.mul(row, a.c(shape.keyStep)), arguments.keyOffset);
}

Value KeyViews::firstPosition() const {
  return arguments.keyPositions ? a.c(INT64_MIN) : arguments.keyOffset;
}

ExprLeaves KeyViews::leaves(Value position) const {
  ExprLeaves result;
  result.position = position;
  result.head = head;
  result.batch = batch;
  result.key = a.c(0);
  result.keyEnd = positionEnd;
  result.table = makeTable;
  result.operand = readOperand;
  return result;
}

/// A bound of the segment that a position is in; of all keys where the bounds
/// are not at hand.
Value KeyViews::segmentBound(StringRef name, Value position) const {
  if (arguments.segmentBounds)
    return emitSegmentBound(b, arguments.segmentBounds, name, batch, position,
                            arguments.keyOffset);
  return name == pattern::kSegmentEnd ? positionEnd : firstPosition();
}

std::pair<Value, Value> KeyViews::interval(unsigned piece,
                                           Value position) const {
  ExprLeaves at = leaves(position);
  Value lo = firstPosition(), hi = at.keyEnd;
  for (const Expr &bound : shape.pieces[piece].lo)
    lo = a.max(lo, emitExpr(b, bound, at));
  for (const Expr &bound : shape.pieces[piece].hi)
    hi = a.min(hi, emitExpr(b, bound, at));
  return {lo, hi};
}

std::pair<Value, Value> KeyViews::inView(unsigned piece, Value lo,
                                         Value hi) const {
  if (!shape.pieces[piece].digits.isIdentity())
    return {rankOf(piece, lo), rankOf(piece, hi)};
  if (arguments.keyPositions)
    return {shape.pieces[piece].lo.empty() ? a.c(0) : keysBelow(lo),
            keysBelow(hi)};
  Value step = a.c(shape.keyStep);
  Value first = a.ceilDiv(a.sub(lo, arguments.keyOffset), step);
  Value end = a.ceilDiv(a.sub(hi, arguments.keyOffset), step);
  return {first, a.max(end, first)};
}

std::pair<Value, Value> KeyViews::rowInterval(unsigned index,
                                              Value position) const {
  const Piece &piece = shape.pieces[index];
  auto [lo, hi] = interval(index, position);
  if (piece.rowBegin != -Piece::kOpen)
    hi = a.select(a.lt(position, a.c(piece.rowBegin)), lo, hi);
  if (piece.rowEnd != Piece::kOpen)
    hi = a.select(a.lt(position, a.c(piece.rowEnd)), hi, lo);
  return {lo, a.max(hi, lo)};
}

std::pair<Value, Value> KeyViews::keysOf(unsigned index, Value position) const {
  auto [lo, hi] = rowInterval(index, position);
  return inView(index, lo, hi);
}

/// How many keys, which ascend, stand below a position.
Value KeyViews::keysBelow(Value position) const {
  return emitFirstNot(b, a.c(0), keyEnd, [&](Value key) {
    return a.lt(positionOfKey(key), position);
  });
}

/// How many keys of the piece's view stand below a position.
Value KeyViews::rankOf(unsigned piece, Value position) const {
  const KeyTable &table = keyTables[piece];
  Value m = a.c(shape.pieces[piece].digits.period);
  Value x = a.max(position, a.c(0));
  Value residue = a.rem(x, m), cls = numClasses > 1 ? viewClass : a.c(0);
  if (Places run = places(piece); run.first) {
    Value below = a.max(a.sub(residue, run.first), a.c(0));
    return a.add(a.mul(run.count, a.div(x, m)), a.min(below, run.count));
  }
  auto countBelow = [&](Value i, Value sum) -> Value {
    Value less = a.lt(loadTable(b, table.residues, i), residue);
    return a.select(less, a.add(sum, a.c(1)), sum);
  };
  constexpr int64_t few = 4;
  Value each = a.c(table.uniform), below = a.c(0);
  if (table.uniform && table.uniform <= few) {
    Value begin = a.mul(cls, each);
    for (int64_t i = 0; i < table.uniform; ++i)
      below = countBelow(a.add(begin, a.c(i)), below);
  } else {
    Value begin = loadTable(b, table.begin, cls);
    Value end = loadTable(b, table.begin, a.add(cls, a.c(1)));
    each = a.sub(end, begin);
    below = emitFor(b, begin, end, 1, ValueRange{below},
                    [&](Value i, ValueRange sum) -> SmallVector<Value> {
                      return {countBelow(i, sum[0])};
                    })[0];
  }
  return a.add(a.mul(each, a.div(x, m)), below);
}

KeyViews::Places KeyViews::places(unsigned piece) const {
  if (shape.pieces[piece].digits.isIdentity())
    return {};
  const KeyTable &table = keyTables[piece];
  Value cls = numClasses > 1 ? viewClass : a.c(0);
  if (!table.uniform) {
    Value begin = loadTable(b, table.begin, cls);
    Value end = loadTable(b, table.begin, a.add(cls, a.c(1)));
    return {begin, a.sub(end, begin), Value()};
  }
  Value begin = a.mul(cls, a.c(table.uniform)), first;
  if (table.follow)
    first = numClasses > 1
                ? loadTable(b, table.residues, begin)
                : a.c(shape.pieces[piece].digits.classes.front().keys.front());
  return {begin, a.c(table.uniform), first};
}

std::optional<int64_t> KeyViews::keyStep(unsigned piece,
                                         int64_t numbers) const {
  const Digits &digits = shape.pieces[piece].digits;
  if (digits.isIdentity())
    return numbers;
  int64_t each = keyTables[piece].uniform;
  if (each && numbers % each == 0)
    return numbers / each * digits.period;
  return std::nullopt;
}

Value KeyViews::keyRow(unsigned piece, const Places &places, Value at) const {
  const Digits &digits = shape.pieces[piece].digits;
  if (digits.isIdentity())
    return at;
  Value place = a.rem(at, places.count);
  Value residue = places.first ? a.add(places.first, place)
                               : loadTable(b, keyTables[piece].residues,
                                           a.add(places.begin, place));
  Value position =
      a.add(a.mul(a.div(at, places.count), a.c(digits.period)), residue);
  return a.sub(position, arguments.keyOffset);
}
