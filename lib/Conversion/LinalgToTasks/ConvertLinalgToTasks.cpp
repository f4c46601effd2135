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

#include "../LinalgLoops/LinalgLoops.h"
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
class TaskEmitter : LinalgLoops {
public:
  TaskEmitter(linalg::GenericOp op, int64_t grain)
      : LinalgLoops(op), grain(grain) {}
  using LinalgLoops::getFollower;
  void run();

private:
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
  Value atLeastOne(Value x) { return arith::MaxSIOp::create(b, x, c(1)); }

  void segment(Value number);
  void reduceInRegisters();
  void reduceInMemory(ArrayRef<unsigned> rest, Value begin, Value end);
  std::optional<int64_t> shortRow();
  void together(int64_t count);

  int64_t grain;
  SmallVector<unsigned> outer, reductions;
  std::optional<unsigned> inner; ///< the innermost dimension, if parallel
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
    return together(*count);
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
  if (!inner || !reductions.empty() || grain < kShort ||
      op.getBody()->getOperations().size() > kFewOps)
    return std::nullopt;
  std::optional<int64_t> count = getConstantIntValue(extents[*inner]);
  return count && *count <= kShort ? count : std::nullopt;
}

/// A row's elements without a loop, read before any is written: LLVM makes
/// vectors of them, which it does not where a write may change what is read
/// next, and checks of that for a short loop cost more than they save.
void TaskEmitter::together(int64_t count) {
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
