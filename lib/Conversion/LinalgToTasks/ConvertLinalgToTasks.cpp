//===- ConvertLinalgToTasks.cpp - linalg on memrefs as parallel tasks -----===//
//
// An op's parallel dimensions but the innermost make rows; rows are cut into
// segments of at most `grain` elements, and a task takes as many segments as
// make up the grain:
//
//   scf.parallel task            segments [task * chunk, (task + 1) * chunk)
//     scf.for segment            -> row -> indices of the outer dimensions
//       scf.for reductions...    accumulators in registers where a reduction is
//         scf.for element        innermost, in the output's memory elsewhere
//
//===----------------------------------------------------------------------===//

#include "VectorRow.h"
#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTLINALGTOTASKSPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Emits the tasks of one op, and of its follower, and erases it.
class TaskEmitter : VectorRow {
public:
  TaskEmitter(linalg::GenericOp op, int64_t grain)
      : VectorRow(op), grain(grain) {}
  using LinalgLoops::getFollower;
  void run();

private:
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
  Value atLeastOne(Value x) { return arith::MaxSIOp::create(b, x, c(1)); }

  void segment(Value number);
  void reduceInRegisters();
  void reduceInMemory(ArrayRef<unsigned> rest, Value begin, Value end);
  std::optional<int64_t> shortRow();
  void takeUnrolled();
  void together(int64_t count);
  void reduceVectors(int64_t count);

  int64_t grain;
  SmallVector<unsigned> outer, reductions;
  std::optional<unsigned> inner; ///< the innermost dimension, if parallel
  /// The parallel one before it, within the reductions or in a task: its rows
  /// are summed at a time, and what they have in common is computed once.
  std::optional<unsigned> unrolled;
  SmallVector<Value> fills; ///< what outputs start from, if not from memory
  Value rowSegments;
};
} // namespace

void TaskEmitter::run() {
  // Results of other reductions are in memory until the last of their terms.
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  if (!kinds.empty() && kinds.back() == utils::IteratorType::reduction)
    takeFollower();
  remarkFollower();
  findExtents();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? outer : reductions).push_back(dim);
  if (!outer.empty() && outer.back() + 1 == extents.size())
    inner = outer.pop_back_val();
  takeUnrolled();
  fills.resize(op.getNumDpsInits());
  if (!inner && !reductions.empty())
    fills = takeFills();
  Value rows = product(outer);
  Value work = atLeastOne(product(reductions));
  Value width = inner ? extents[*inner] : c(1);
  // A segment's elements, segments of a row, segments of a task.
  Value length = min(atLeastOne(width), c(grain));
  rowSegments = ceilDiv(width, length);
  Value chunk = ceilDiv(c(grain), atLeastOne(mul(length, work)));
  Value segments = mul(rows, rowSegments);
  auto tasks = scf::ParallelOp::create(b, c(0), ceilDiv(segments, chunk), c(1));
  b.setInsertionPointToStart(tasks.getBody());
  Value first = mul(tasks.getInductionVars()[0], chunk);
  Value last = min(add(first, chunk), segments);
  auto loop = scf::ForOp::create(b, first, last, c(1));
  b.setInsertionPointToStart(loop.getBody());
  segment(loop.getInductionVar());
  erase();
}

void TaskEmitter::segment(Value number) {
  Value row = number, begin, end;
  if (std::optional<int64_t> count = shortRow()) {
    unflatten(row, outer);
    return reductions.empty() ? together(*count) : reduceVectors(*count);
  }
  if (inner) {
    row = arith::DivUIOp::create(b, number, rowSegments);
    Value part = arith::RemUIOp::create(b, number, rowSegments);
    begin = mul(part, c(grain));
    end = min(add(begin, c(grain)), extents[*inner]);
  }
  unflatten(row, outer);
  if (inner)
    reduceInMemory(reductions, begin, end);
  else
    reduceInRegisters();
}

/// The length of rows that few vectors hold; nothing for others.
std::optional<int64_t> TaskEmitter::shortRow() {
  constexpr int64_t kShort = 32, kFewOps = 32;
  if (!inner || grain < kShort ||
      op.getBody()->getOperations().size() > kFewOps)
    return std::nullopt;
  std::optional<int64_t> count = getConstantIntValue(extents[*inner]);
  if (!count || *count > kShort)
    return std::nullopt;
  if (reductions.empty())
    return count;
  bool isVector = *count >= 4 && llvm::isPowerOf2_64(*count) && isVectorRow();
  return isVector ? count : std::nullopt;
}

/// A row's elements without a loop, read before any is written: LLVM makes
/// vectors of them, which it does not where a write may change what is read
/// next, and checks of that for a short loop cost more than they save. Of more
/// elements than 8 it would make vectors across rows, and gather and scatter.
void TaskEmitter::together(int64_t count) {
  if (count > 8 && llvm::isPowerOf2_64(count) && isVectorRow())
    return reduceVectors(count);
  SmallVector<SmallVector<Value>> results;
  for (int64_t i = 0; i < count; ++i) {
    indices[*inner] = c(i);
    results.push_back(llvm::to_vector(ValueRange(body(loadOutputs()))));
  }
  for (int64_t i = 0; i < count; ++i) {
    indices[*inner] = c(i);
    storeOutputs(results[i]);
  }
}

void TaskEmitter::takeUnrolled() {
  constexpr int64_t kFewRows = 4;
  if (reductions.empty() || outer.empty() || !shortRow())
    return;
  // Rows before the reductions are tasks, unless this is within one.
  if (outer.back() < reductions.back() &&
      !op->getParentOfType<scf::ParallelOp>())
    return;
  std::optional<int64_t> rows = getConstantIntValue(extents[outer.back()]);
  if (rows && *rows <= kFewRows)
    unrolled = outer.pop_back_val();
}

/// A row's elements as vectors, and their sums in registers, if there are any:
/// LLVM would make vectors of a row for each term, or gather terms.
void TaskEmitter::reduceVectors(int64_t count) {
  size_t outputs = op.getNumDpsInits();
  int64_t rows = unrolled ? *getConstantIntValue(extents[*unrolled]) : 1;
  auto forEach = [&](function_ref<void(size_t first)> row) {
    for (int64_t i = 0; i < rows; ++i) {
      if (unrolled)
        indices[*unrolled] = c(i);
      row(i * outputs);
    }
  };
  indices[*inner] = c(0);
  SmallVector<Value> sums;
  forEach([&](size_t) { llvm::append_range(sums, loadRows(count)); });
  sums = nest(reductions, sums, [&](ValueRange sofar) {
    SmallVector<Value> next;
    forEach([&](size_t first) {
      llvm::append_range(next, rowBody(count, sofar.slice(first, outputs)));
    });
    return next;
  });
  forEach(
      [&](size_t first) { storeRows(ArrayRef(sums).slice(first, outputs)); });
}

/// The outputs' element stays in registers throughout the reductions.
void TaskEmitter::reduceInRegisters() {
  SmallVector<Value> carried;
  for (auto [init, fill] : llvm::zip_equal(op.getDpsInitsMutable(), fills))
    carried.push_back(
        fill ? fill
             : memref::LoadOp::create(b, init.get(), point(init)).getResult());
  storeOutputs(
      nest(reductions, carried, [&](ValueRange sofar) { return body(sofar); }));
}

void TaskEmitter::reduceInMemory(ArrayRef<unsigned> rest, Value begin,
                                 Value end) {
  bool isLast = rest.empty();
  auto loop = scf::ForOp::create(b, isLast ? begin : c(0),
                                 isLast ? end : extents[rest.front()], c(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  indices[isLast ? *inner : rest.front()] = loop.getInductionVar();
  if (!isLast)
    return reduceInMemory(rest.drop_front(), begin, end);
  storeOutputs(body(loadOutputs()));
}

namespace {
struct ConvertLinalgToTasks
    : impl::ConvertLinalgToTasksPassBase<ConvertLinalgToTasks> {
  using ConvertLinalgToTasksPassBase::ConvertLinalgToTasksPassBase;

  void runOnOperation() override {
    if (grain < 1) {
      getOperation().emitError("expected a grain of at least 1, but got ")
          << int64_t(grain);
      return signalPassFailure();
    }
    lowerGenericOps(getOperation(), [&](linalg::GenericOp op) {
      TaskEmitter tasks(op, grain);
      tasks.run();
      numFollowers += bool(tasks.getFollower());
      return tasks.getFollower();
    });
  }
};
} // namespace
} // namespace mlir::megactx
