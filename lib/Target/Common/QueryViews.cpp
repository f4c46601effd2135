//===- QueryViews.cpp - the queries that see a block of keys --------------===//

#include "QueryViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;
using pattern::Digits;
using pattern::Piece;

QueryViews::QueryViews(ImplicitLocOpBuilder &b, Operation *module,
                       const AttentionShape &shape,
                       const KernelArguments &arguments, KeyViews &rows)
    : b(b), a{b}, module(module), shape(shape), arguments(arguments),
      rows(rows) {
  Digits view = shape.pieces.front().digits.transposed();
  thePeriod = view.hasOneView() ? 1 : view.period;
  numClasses = view.hasOneView() ? 1 : view.rowResidues();
  if (!view.hasOneView()) {
    SmallVector<int64_t> residues;
    for (const Digits::Class &c : view.classes)
      llvm::append_range(residues, c.queries);
    keyResidues = emitGlobalTable(b, module, residues);
  }
  for (const Piece &piece : shape.pieces)
    readPiece(piece.digits.transposed());
}

void QueryViews::readPiece(const Digits &view) {
  QueryTable &read = tables.emplace_back();
  if (view.isIdentity())
    return;
  SmallVector<int64_t> begin = {0}, residues;
  for (const Digits::Class &c : view.classes)
    // Key rows of one class and different residues share their queries.
    for (size_t i = 0; i < (numClasses > 1 ? c.queries.size() : 1); ++i) {
      llvm::append_range(residues, c.keys);
      begin.push_back(residues.size());
    }
  read.begin = emitGlobalTable(b, module, begin);
  read.residues = emitGlobalTable(b, module, residues);
}

void QueryViews::enter(Value ofBatch, Value ofClass, Value keys) {
  batch = ofBatch;
  keyClass = ofClass;
  rows.enterHead(batch, a.c(0));
  rows.readKeyEnd(keys);
  firstRow = a.c(0);
  rowsHere = rows.keyEnd;
  if (thePeriod == 1)
    return;
  Value residue = loadTable(b, keyResidues, keyClass);
  firstRow =
      emitFloorMod(b, a.sub(residue, arguments.keyOffset), a.c(thePeriod));
  rowsHere =
      a.max(a.ceilDiv(a.sub(rows.keyEnd, firstRow), a.c(thePeriod)), a.c(0));
}

Value QueryViews::rowAt(Value i) const {
  return a.add(firstRow, a.mul(i, a.c(thePeriod)));
}

/// Where the class's query residues are in the table, and how many.
std::pair<Value, Value> QueryViews::residuesOf(const QueryTable &table) const {
  Value cls = numClasses > 1 ? keyClass : a.c(0);
  Value begin = loadTable(b, table.begin, cls);
  return {begin, a.sub(loadTable(b, table.begin, a.add(cls, a.c(1))), begin)};
}

std::pair<Value, Value> QueryViews::queriesOf(unsigned index, Value lowest,
                                              Value highest,
                                              Value queries) const {
  const Piece &piece = shape.pieces[index];
  Value begin = a.c(0), end = queries;
  if (!piece.digits.isIdentity()) {
    // Whole periods of positions that hold all rows.
    Value count = residuesOf(tables[index]).second;
    Value m = a.c(piece.digits.period), offset = rows.offsetOfQueries();
    begin = a.mul(emitFloorDiv(b, offset, m), count);
    end = a.mul(a.ceilDiv(a.add(offset, queries), m), count);
  }
  // Rows at positions in any order: all of them.
  if (arguments.queryPositions)
    return {begin, end};
  auto both = [&](Value x, Value y) { return a.both(x, y); };
  auto either = [&](Value x, Value y) -> Value {
    return arith::OrIOp::create(b, x, y);
  };
  begin = emitFirstNot(b, begin, end, [&](Value number) {
    Value row = queryRow(index, number), p = rows.positionOf(row);
    Value isBefore =
        either(a.lt(row, a.c(0)), a.le(rows.interval(index, p).second, lowest));
    if (piece.rowBegin != -Piece::kOpen)
      isBefore = either(isBefore, a.lt(p, a.c(piece.rowBegin)));
    return isBefore;
  });
  end = emitFirstNot(b, begin, end, [&](Value number) {
    Value row = queryRow(index, number), p = rows.positionOf(row);
    Value sees =
        both(a.lt(row, queries), a.le(rows.interval(index, p).first, highest));
    if (piece.rowEnd != Piece::kOpen)
      sees = both(sees, a.lt(p, a.c(piece.rowEnd)));
    return sees;
  });
  return {begin, end};
}

Value QueryViews::queryRow(unsigned index, Value number) const {
  const Digits &digits = shape.pieces[index].digits;
  if (digits.isIdentity())
    return number;
  auto [begin, count] = residuesOf(tables[index]);
  Value residue = loadTable(b, tables[index].residues,
                            a.add(begin, emitFloorMod(b, number, count)));
  Value period = emitFloorDiv(b, number, count);
  Value position = a.add(a.mul(period, a.c(digits.period)), residue);
  return a.sub(position, rows.offsetOfQueries());
}
