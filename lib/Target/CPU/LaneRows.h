//===- LaneRows.h - rows between memory and lanes ---------------*- C++ -*-===//
//
// Owns the way of rows in memory into columns of a scratch matrix, one in each
// lane, and back: squares of one vector's length are transposed in registers.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_LANEROWS_H
#define MEGACTX_LIB_TARGET_CPU_LANEROWS_H

#include "../Common/Emit.h"

namespace mlir::megactx::cpu {

/// The rows of one batch entry of a tensor [B, H, N, dim] of any float type.
struct BatchOf {
  Value tensor, batch;
  int64_t dim;
};

class LaneRows {
public:
  /// `rowOf` and `headOf` [M], index: the row of each lane and its head.
  LaneRows(ImplicitLocOpBuilder &b, VectorType vector, Value rowOf,
           Value headOf)
      : b(b), a{b}, vector(vector), rowOf(rowOf), headOf(headOf) {}

  /// to [dim][M] = the lanes' rows times the factor, f32.
  void load(const BatchOf &from, float factor, Value to);

  /// turned[i] = column lane + i of `from` [dim][M] times its entry of
  /// `weights` [M], for one vector's lanes; turned is [lanes][at least dim].
  void turn(Value from, int64_t dim, Value lane, Value weights, Value turned);
  /// The lane's row of `to` = a row of `turned`, plus what it was times the old
  /// weight, if there is one.
  void store(Value turned, Value turnedRow, const BatchOf &to, Value lane,
             Value oldWeight);

private:
  int64_t lanes() const { return vector.getNumElements(); }
  int64_t whole(int64_t dim) const { return dim / lanes() * lanes(); }
  /// A lane's row, batch and head first.
  SmallVector<Value> rowAt(const BatchOf &of, Value lane) const;
  void loadSquare(const BatchOf &from, ArrayRef<SmallVector<Value>> rows,
                  float factor, Value lane, Value d, Value to);

  ImplicitLocOpBuilder &b;
  Arith a;
  VectorType vector;
  Value rowOf, headOf;
};

} // namespace mlir::megactx::cpu

#endif
