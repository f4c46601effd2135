//===- TaskEmitter.h - the tasks of a linalg op -----------------*- C++ -*-===//
//
// Owns how the loops of one op become code.
//
// An op's parallel dimensions but the innermost make rows; rows are cut into
// segments of at most `grain` elements, and a task takes as many segments as
// make up the grain:
//
//   scf.parallel task            segments [task * chunk, (task + 1) * chunk)
//     scf.for segment            -> row -> indices of the outer dimensions
//       scf.for reductions...    accumulators in registers where a reduction is
//         scf.for element        innermost, as vectors if it may be in any
//                                order; in the output's memory elsewhere
//
// Where an operand lies along another dimension, as of a transpose, some rows
// are taken together, element by element: each line of memory is read once.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOTASKS_TASKEMITTER_H
#define MEGACTX_LIB_CONVERSION_LINALGTOTASKS_TASKEMITTER_H

#include "VectorRow.h"
#include "megactx/Dialect/MegaCtx/IR/Combiner.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::megactx {

/// Emits the tasks of one op, and of its follower, and erases it; or what is of
/// one row, for tasks of several ops.
class TaskEmitter : public VectorRow {
public:
  /// A task is of `grain` elements or more, a vector of `lanes`.
  TaskEmitter(linalg::GenericOp op, int64_t grain, int64_t lanes)
      : VectorRow(op), grain(grain), lanes(lanes) {}
  void run();

protected:
  /// Finds how to compute a row, where the first loops count rows and those
  /// behind them run along one.
  void findRow(unsigned rowLoops);
  /// Computes the row that the indices of the loops which count them say.
  void emitRow();
  Value load(OpOperand &operand) override;

  Value min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
  Value roundDown(Value x, int64_t by) {
    return mul(b.createOrFold<arith::DivUIOp>(x, c(by)), c(by));
  }
  Value atLeastOne(Value x) { return arith::MaxSIOp::create(b, x, c(1)); }

private:
  void segment(Value number);
  void reduceInRegisters();
  void reduceInMemory(ArrayRef<unsigned> rest, Value begin, Value end);
  std::optional<int64_t> shortRow();
  void hold();
  std::optional<int64_t> findBlock();
  bool areRepeatable();
  Value reduceBlocks(Value begin, Value end);
  void findAcross();
  void acrossRows(Value begin, Value end);
  void findPartial();
  void takeUnrolled();
  int64_t unrolledRows();
  void forEachRow(function_ref<void(int64_t row)> inside);
  void together(int64_t count);
  SmallVector<Value> firstRows(int64_t count);
  void reduceVectors(int64_t count, Value first);
  void reducePartial();
  void addTerms(Value begin, Value end, int64_t width, int64_t count,
                MutableArrayRef<Value> sums);
  bool isShort();
  int64_t longest() const;

  int64_t grain, lanes;
  SmallVector<unsigned> outer, reductions;
  /// Loops of a map between those that count rows and the innermost one.
  SmallVector<unsigned> middle;
  std::optional<unsigned> inner; ///< the innermost dimension, if parallel
  /// The dimension along which an operand lies whose rows are taken together,
  /// and its extent; its blocks are an outer dimension.
  std::optional<unsigned> across;
  Value extentAcross;
  int64_t rowsAcross = 1;
  /// The parallel ones before it, within the reductions or in a task: their
  /// rows are summed at a time, and what they have in common is computed once.
  SmallVector<unsigned> unrolled;
  /// What combines partial results, if the innermost reduction is in vectors.
  std::optional<SmallVector<Combiner>> combiners;
  /// The length of blocks of a row whose sums are in registers, and of vectors
  /// of what is left of the row.
  std::optional<int64_t> block;
  int64_t blockLanes = 0;
  Value rowSegments;
  /// What inputs have for all elements of a row: loaded before any is written.
  DenseMap<OpOperand *, Value> held;
};

} // namespace mlir::megactx

#endif
