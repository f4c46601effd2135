//===- PackedProductTasks.h - tasks of packed products ----------*- C++ -*-===//
//
// Owns the tasks of megactx.packed_product. Weights' rows are the lanes of
// vectors, so that numbers of a chain are added where their scale, one for
// each lane, is multiplied once:
//
//   scf.parallel task             panel of weights' rows, run of other rows
//     scf.for chains of words     as many as the task's memory has
//       words and scales          transposed: lanes next to one another
//       scf.for rows              as many as registers have sums for
//         scf.for chain           sums in f32, in registers
//           scf.for word          sums in i32, in registers
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOTASKS_PACKEDPRODUCTTASKS_H
#define MEGACTX_LIB_CONVERSION_LINALGTOTASKS_PACKEDPRODUCTTASKS_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// Emits the tasks, and erases the op.
class PackedProductTasks {
public:
  /// A vector is of `lanes` words.
  PackedProductTasks(PackedProductOp op, int64_t lanes);
  void run();

private:
  Value c(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
  Value divide(Value x, int64_t y) {
    return arith::DivUIOp::create(b, x, c(y));
  }
  Value divideRest(Value x, int64_t y) {
    return arith::RemUIOp::create(b, x, c(y));
  }
  Value vectorOf(Value scalar);
  Value splat(int64_t value);

  void takeMemory();
  Value withNeighbours(Value operand);
  void chunk(Value first);
  void transpose(Value from, Value first, Value count, Value to);
  void prefetch(Value from, Value row, Value column);
  SmallVector<Value> squareOf(Value from, Value row, Value column);
  void transposeSquare(SmallVector<Value> &square);
  void rows(int64_t count, Value begin, Value end);
  void tile(int64_t count, Value row);
  SmallVector<Value> chain(int64_t count, Value row, Value number,
                           ValueRange sums);
  SmallVector<Value> dots(int64_t count, Value row, Value number);
  Value lanesAt(Value memory, Value line, int64_t part);

  PackedProductOp op;
  int64_t lanes;
  ImplicitLocOpBuilder b;
  int64_t words, chains, blocks, columns; ///< the op's sizes
  int64_t inChain, perBlock; ///< words of a chain, chains of a block
  int64_t inChunk;           ///< chains that are transposed at a time
  Value out, weights, scales, zeros;
  /// Of a task: words, scales and zero points with lanes next to one another.
  Value wordMemory, scaleMemory, zeroMemory;
  Value column;          ///< the panel's first row of weights
  Value firstChain;      ///< of those that are transposed
  SmallVector<Value> in; ///< which lanes are rows of weights, by part
};

} // namespace mlir::megactx

#endif
