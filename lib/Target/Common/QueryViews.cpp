//===- QueryViews.cpp - the queries that see a block of keys --------------===//

#include "QueryViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;
using pattern::Digits;
using pattern::Piece;

QueryViews::QueryViews(ImplicitLocOpBuilder &b, Operation *module,
                       const AttentionShape &shape,
                       const KernelArguments &arguments, KeyViews &rows,
                       Search firstNot)
    : b(b), a{b}, module(module), shape(shape), arguments(arguments),
      rows(rows), firstNot(std::move(firstNot)),
      view(shape.pieces.front().digits.transposed()) {
  keyResidues = read(
      view.hasOneView() ? Digits() : view,
      +[](const Digits::Class &c) -> const auto & { return c.queries; });
  for (const Piece &piece : shape.pieces)
    queryResidues.push_back(read(
        piece.digits.transposed(),
        +[](const Digits::Class &c) -> const auto & { return c.keys; }));
}

QueryViews::Residues QueryViews::read(const Digits &digits,
                                      ResiduesOf residuesOf) {
  if (digits.isIdentity())
    return {1, Value(), Value()};
  SmallVector<int64_t> begin = {0}, residues;
  int64_t uniform = residuesOf(digits.classes.front()).size();
  for (const Digits::Class &c : digits.classes) {
    const std::vector<int64_t> &own = residuesOf(c);
    llvm::append_range(residues, own);
    begin.push_back(residues.size());
    if (int64_t(own.size()) != uniform)
      uniform = 0;
  }
  return {digits.period, emitGlobalTable(b, module, begin),
          emitGlobalTable(b, module, residues), uniform};
}

/// Where the class's residues are in the table, and how many.
std::pair<Value, Value> QueryViews::placesOf(const Residues &residues) const {
  Value begin = loadTable(b, residues.begin, keyClass);
  if (residues.uniform)
    return {begin, a.c(residues.uniform)};
  Value end = loadTable(b, residues.begin, a.add(keyClass, a.c(1)));
  return {begin, a.sub(end, begin)};
}

/// The positions with the class's residues, in ascending order, are numbered:
/// 0 is the first that is not negative.
Value QueryViews::positionOf(const Residues &residues, Value number) const {
  auto [begin, count] = placesOf(residues);
  Value residue = loadTable(b, residues.residues,
                            a.add(begin, emitFloorMod(b, number, count)));
  Value period = emitFloorDiv(b, number, count);
  return a.add(a.mul(period, a.c(residues.period)), residue);
}

/// The numbers of whole periods that hold the positions [begin, end).
std::pair<Value, Value> QueryViews::periodsOf(const Residues &residues,
                                              Value begin, Value end) const {
  Value count = placesOf(residues).second, m = a.c(residues.period);
  return {a.mul(emitFloorDiv(b, begin, m), count),
          a.mul(a.ceilDiv(end, m), count)};
}

/// The classes of a shape's key rows.
static Digits keyViewOf(const AttentionShape &shape) {
  return shape.pieces.front().digits.transposed();
}

int64_t QueryViews::classesOf(const AttentionShape &shape) {
  return keyViewOf(shape).classes.size();
}

Value QueryViews::mostRowsOfClass(const Arith &a, const AttentionShape &shape,
                                  Value keys) {
  Digits view = keyViewOf(shape);
  if (view.hasOneView() || view.isIdentity())
    return keys;
  size_t most = 0;
  for (const Digits::Class &c : view.classes)
    most = std::max(most, c.queries.size());
  // A period more where rows begin within one.
  Value periods = a.add(a.ceilDiv(keys, a.c(view.period)), a.c(1));
  return a.mul(periods, a.c(most));
}

void QueryViews::enter(Value ofBatch, Value ofClass, Value keys) {
  batch = ofBatch;
  keyClass = ofClass;
  rows.enterHead(batch, a.c(0));
  rows.readKeyEnd(keys);
  rowsHere = rows.keyEnd;
  if (!keyResidues.begin)
    return;
  Value first = arguments.keyOffset, last = a.add(first, rows.keyEnd);
  auto [begin, end] = periodsOf(keyResidues, first, last);
  auto below = [&](Value position) {
    return [&, position](Value number) {
      return a.lt(positionOf(keyResidues, number), position);
    };
  };
  firstNumber = firstNot(begin, end, below(first));
  rowsHere = a.sub(firstNot(firstNumber, end, below(last)), firstNumber);
}

Value QueryViews::rowAt(Value i) const {
  if (!keyResidues.begin)
    return i;
  return a.sub(positionOf(keyResidues, a.add(firstNumber, i)),
               arguments.keyOffset);
}

std::pair<Value, Value> QueryViews::queriesOf(unsigned index, Value lowest,
                                              Value highest,
                                              Value queries) const {
  const Piece &piece = shape.pieces[index];
  Value begin = a.c(0), end = queries;
  if (queryResidues[index].begin) {
    Value first = firstInPeriod(queryResidues[index]);
    std::tie(begin, end) =
        periodsOf(queryResidues[index], first, a.add(first, queries));
  }
  // Rows at positions in any order: all of them.
  if (arguments.queryPositions)
    return {begin, end};
  auto both = [&](Value x, Value y) { return a.both(x, y); };
  auto either = [&](Value x, Value y) -> Value {
    return arith::OrIOp::create(b, x, y);
  };
  begin = firstNot(begin, end, [&](Value number) {
    Value row = queryRow(index, number), p = rows.positionOf(row);
    Value isBefore =
        either(a.lt(row, a.c(0)), a.le(rows.interval(index, p).second, lowest));
    if (piece.rowBegin != -Piece::kOpen)
      isBefore = either(isBefore, a.lt(p, a.c(piece.rowBegin)));
    return isBefore;
  });
  end = firstNot(begin, end, [&](Value number) {
    Value row = queryRow(index, number), p = rows.positionOf(row);
    Value sees =
        both(a.lt(row, queries), a.le(rows.interval(index, p).first, highest));
    if (piece.rowEnd != Piece::kOpen)
      sees = both(sees, a.lt(p, a.c(piece.rowEnd)));
    return sees;
  });
  return {begin, end};
}

Value QueryViews::firstInPeriod(const Residues &residues) const {
  return emitFloorMod(b, rows.offsetOfQueries(), a.c(residues.period));
}

Value QueryViews::queryRow(unsigned index, Value number) const {
  const Residues &residues = queryResidues[index];
  if (!residues.begin)
    return number;
  return a.sub(positionOf(residues, number), firstInPeriod(residues));
}

Value mlir::megactx::placeInBlock(ImplicitLocOpBuilder &b,
                                  const AttentionShape &shape, Value position,
                                  Value lowest, Value count,
                                  function_ref<Value(Value)> positionAt) {
  Arith a{b};
  if (shape.hasKeyPositions)
    return emitFirstNot(b, a.c(0), count,
                        [&](Value i) { return a.lt(positionAt(i), position); });
  // What bounds nothing is so low that it has no distance.
  return a.min(a.sub(a.max(position, lowest), lowest), a.c(INT32_MAX));
}
