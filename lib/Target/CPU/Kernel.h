//===- Kernel.h - emission of one attention kernel --------------*- C++ -*-===//
//
// Owns the form of the CPU's attention kernels: queries in the vector lanes.
//
//   Qt[D][M]   the block's queries, scaled, one per lane
//   S[n][m]    = sum over d of K[n][d] * Qt[d][m]     scalar loads, broadcast
//   P[n][m]    = exp2(S[n][m] - max[m])
//   Ot[Dv][M] += V[n][d] * P[n][m]
//
// Keys and values stay where they are: a block of N keys starts with the
// addresses of its rows, whatever view of the keys they come from.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_KERNEL_H
#define MEGACTX_LIB_TARGET_CPU_KERNEL_H

#include "megactx/Dialect/MegaCtx/IR/EmitExpr.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::megactx::cpu {

/// What distinguishes one kernel from another.
struct KernelShape {
  SmallVector<pattern::Piece> pieces;
  Type element;     ///< f32, f16 or bf16
  int64_t headDim;  ///< D
  int64_t valueDim; ///< Dv
  float scale;
  std::optional<float> softcap;
  int64_t queryStep, keyStep; ///< tokens between rows
  bool hasBias, hasLengths, accumulate;
  bool biasPerKey; ///< the bias is the same for every query
  int64_t lanes;   ///< f32 elements of a hardware vector

  /// Equal keys: equal kernels.
  std::string key() const;
};

/// Adds the kernel to the module:
///   name(q, k, v, [bias], [lengths], query_offset, key_offset, out, lse)
func::FuncOp emitKernel(ModuleOp module, StringRef name,
                        const KernelShape &shape);

/// The types of the kernel's arguments, strides dynamic but for the last.
SmallVector<Type> kernelArguments(MLIRContext *context,
                                  const KernelShape &shape);

/// Makes an index constant table a global of the module.
Value emitGlobalTable(ImplicitLocOpBuilder &b, ModuleOp module,
                      ArrayRef<int64_t> values);

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
  Value lt(Value x, Value y) const;
  Value le(Value x, Value y) const;
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

/// The bodies of all i in [0, count) as tasks of the pool.
void emitParallel(ImplicitLocOpBuilder &b, Value count,
                  function_ref<void(Value)> body);

/// 2^x per lane, relative error 2e-7. Smaller x count as this: products of the
/// result with values are then normal numbers, which denormals would be far
/// slower than, and still nothing beside the weight 1 of a row's best key.
constexpr float kLeastExponent = -100.0f;
Value emitExp2(ImplicitLocOpBuilder &b, Value x);

/// Asks for `size` elements from `at` on of flat data.
void emitPrefetch(ImplicitLocOpBuilder &b, Value data, Value at, int64_t size);

/// The square of vectors with rows and columns exchanged.
SmallVector<Value> emitTranspose(ImplicitLocOpBuilder &b, ValueRange rows);

/// Conversions between storage and f32, of scalars and vectors.
Value toF32(ImplicitLocOpBuilder &b, Value x);
Value fromF32(ImplicitLocOpBuilder &b, Value x, Type element);

/// f32, or a vector of it, out of memory of any float type and into it.
Value loadF32(ImplicitLocOpBuilder &b, Type type, Value from, ValueRange at);
void storeF32(ImplicitLocOpBuilder &b, Value x, Value to, ValueRange at);

} // namespace mlir::megactx::cpu

#endif
