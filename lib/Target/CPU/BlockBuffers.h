//===- BlockBuffers.h - a task's scratch ------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_BLOCKBUFFERS_H
#define MEGACTX_LIB_TARGET_CPU_BLOCKBUFFERS_H

#include "BlockForm.h"

namespace mlir::megactx::cpu {

/// One run of bytes on a task's stack, cut into buffers.
struct BlockBuffers {
  /// The buffers of a task; or, with `scratch`, those of the task that has
  /// given it to a part of the kernel.
  BlockBuffers(ImplicitLocOpBuilder &b, const KernelShape &shape,
               const BlockForm &form, Value scratch = {});
  /// Makes keys and values of one head readable at flat offsets.
  void bindRows(ImplicitLocOpBuilder &b, Value key, Value value, Value batch,
                Value head);

  const BlockForm &form;
  int64_t rows; ///< lanes of all vectors
  VectorType vector;
  Value scratch;                ///< memref<?xi8>: holds all that follow
  Value queries;                ///< [D][rows] f32, times the form's factor
  Value acc;                    ///< [Dv][rows] f32
  Value scores;                 ///< [keys][rows] f32
  Value top, sum;               ///< [rows] f32: maximum and sum so far
  Value allowed;                ///< [keys][rows] i32: what a test says
  Value rowBiases;              ///< [keys][rows] f32
  Value keyBiases;              ///< [keys] f32
  Value rowOf, headOf;          ///< [rows] index: each lane's row, its head
  Value low, high;              ///< [rows] i32: bounds of each lane
  Value vectorLow, vectorHigh;  ///< [vectors] index: hulls of their lanes'
  Value inverse, total;         ///< [rows] f32: 1 / sum, log-sum-exp
  Value old;                    ///< [rows] f32: of what `out` holds already
  Value turned;                 ///< [lanes][Dv] f32: rows of `acc`
  Value rowCount;               ///< how many of the lanes have a row
  Value keyRow, keyAt, valueAt; ///< [keys] index
  Value keyNext, valueNext;     ///< the same, the form's keysAhead() later
  SmallVector<Value, 4> own;    ///< the form's
  Value keyData, valueData, keyStride, valueStride;
};

} // namespace mlir::megactx::cpu

#endif
