//===- Emit.h - index arithmetic of kernels in few words --------*- C++ -*-===//
//
// What kernel emission is written in, whatever the target: scalars, loops and
// constant tables. Knows no vectors and no attention.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_EMIT_H
#define MEGACTX_LIB_TARGET_COMMON_EMIT_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::megactx {

/// Shorthand for index arithmetic in one location.
struct Arith {
  ImplicitLocOpBuilder &b;
  Value c(int64_t value) const;
  Value add(Value x, Value y) const;
  Value sub(Value x, Value y) const;
  Value mul(Value x, Value y) const;
  Value min(Value x, Value y) const;
  Value max(Value x, Value y) const;
  Value div(Value x, Value y) const;     ///< floor, y > 0, x >= 0
  Value rem(Value x, Value y) const;     ///< x >= 0
  Value ceilDiv(Value x, Value y) const; ///< any x, y > 0
  /// Quotient and remainder of numbers from 0 to 2^32: GPUs divide no 64 bits
  /// but by a call, after which ptxas knows of no register that it is alike in
  /// a warp.
  std::pair<Value, Value> divRem32(Value x, Value y) const;
  Value bitXor(Value x, Value y) const;
  Value lt(Value x, Value y) const;
  Value le(Value x, Value y) const;
  Value eq(Value x, Value y) const;
  Value both(Value x, Value y) const;
  Value select(Value cond, Value x, Value y) const;
  Value f32(float value) const;
  Value fmax(Value x, Value y) const; ///< floats; y where one is NaN
  Value splat(float value, VectorType type) const;
};

/// for (i = lo; i < hi; i += step) carrying values.
using LoopBody = function_ref<SmallVector<Value>(Value, ValueRange)>;
SmallVector<Value> emitFor(ImplicitLocOpBuilder &b, Value lo, Value hi,
                           int64_t step, ValueRange init, LoopBody body);
void emitFor(ImplicitLocOpBuilder &b, Value lo, Value hi, int64_t step,
             function_ref<void(Value)> body);
/// With `factor` turns at a time, and those that are left one by one; `hi` is
/// not below `lo`.
SmallVector<Value> emitUnrolledFor(ImplicitLocOpBuilder &b, Value lo, Value hi,
                                   int64_t factor, ValueRange init,
                                   LoopBody body);

/// if (condition) then() else otherwise(), without results; `otherwise` may be
/// null.
void emitIf(ImplicitLocOpBuilder &b, Value condition, function_ref<void()> then,
            function_ref<void()> otherwise = nullptr);

/// The least i in [begin, end) for which the condition does not hold, where it
/// holds for those before and for none after; else end. By bisection.
Value emitFirstNot(ImplicitLocOpBuilder &b, Value begin, Value end,
                   function_ref<Value(Value)> holds);

/// Makes a constant table a global of the module, a symbol table; equal tables
/// are one global. Returns memref<Nxi64>.
Value emitGlobalTable(ImplicitLocOpBuilder &b, Operation *module,
                      ArrayRef<int64_t> values);

/// An entry of such a table, as an index.
Value loadTable(ImplicitLocOpBuilder &b, Value table, Value at);

} // namespace mlir::megactx

#endif
