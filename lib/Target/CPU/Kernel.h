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

#include "../Common/AttentionShape.h"
#include "../Common/Emit.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <cmath>

namespace mlir::megactx::cpu {

class BlockForm;
class KernelParts;

struct KernelShape : AttentionShape {
  int64_t lanes;     ///< f32 elements of a hardware vector
  int64_t registers; ///< hardware vectors that code can name
  bool tiles;        ///< whether the target multiplies tiles of bf16 (AMX)

  /// Of scores in units of log2.
  float scaleBase2() const { return scale * static_cast<float>(M_LOG2E); }
  /// Equal keys: equal kernels.
  std::string key() const;
  /// What a form of block and its scratch depend on, whatever the pieces.
  std::string tileKey(const BlockForm &form) const;
};

/// Adds the kernel to the module; arguments as kernelArguments. What it can
/// share with other kernels of the module is in `parts`.
func::FuncOp emitKernel(KernelParts &parts, StringRef name,
                        const KernelShape &shape);

/// The bodies of all i in [0, count) as tasks of the pool.
void emitParallel(ImplicitLocOpBuilder &b, Value count,
                  function_ref<void(Value)> body);

/// 2^x per lane, relative error 2e-7. From this on down it is 0, nothing beside
/// the weight 1 of a row's best key: results are no denormals, which are slow.
constexpr float kLeastExponent = -100.0f;
Value emitExp2(ImplicitLocOpBuilder &b, Value x);
/// The same for what is rounded to bf16, by AVX-512: relative error 8e-5.
Value emitNarrowExp2(ImplicitLocOpBuilder &b, Value x);

/// A bias, or a vector of them, in units of log2: a finite one stays finite.
Value emitBase2(ImplicitLocOpBuilder &b, Value bias);

/// The elements at these leading indices of a memref, such as those of one head
/// of [B, H, N, D], as one flat run, and the strides of all dims.
std::pair<Value, ValueRange> flattenAt(ImplicitLocOpBuilder &b, Value memref,
                                       ArrayRef<Value> leading);

/// Asks for `size` elements from `at` on of flat data, into the second level of
/// the cache: a block and the next are more than the first holds.
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
