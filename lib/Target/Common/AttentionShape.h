//===- AttentionShape.h - what one attention kernel computes ----*- C++ -*-===//
//
// Owns what distinguishes one attention kernel from another whatever the target
// and the arguments kernels take. How they compute it is each target's own.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_COMMON_ATTENTIONSHAPE_H
#define MEGACTX_LIB_TARGET_COMMON_ATTENTIONSHAPE_H

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <limits>

namespace mlir::megactx {

/// The score of a masked key, and the least maximum of a row, which one that
/// has seen no key has: it is finite, so that no difference is NaN; such a row
/// is known by its sum, which is 0.
constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr float kLeastTop = std::numeric_limits<float>::lowest();

/// What a kernel computes from the scores of its pieces.
enum class KernelResult { Attention, QueryGradient, KeyGradient, BiasGradient };

struct AttentionShape {
  KernelResult result;
  SmallVector<pattern::Piece> pieces;
  Type element;     ///< f32, f16 or bf16
  int64_t headDim;  ///< D
  int64_t valueDim; ///< Dv
  float scale;
  std::optional<float> softcap;
  int64_t queryStep, keyStep; ///< tokens between rows
  bool hasLengths, hasSegments;
  bool accumulate;     ///< onto what the destinations hold; gradients always do
  bool offsetPerBatch; ///< of queries: one for each entry of the batch
  bool hasQueryPositions, hasKeyPositions; ///< instead of steps and offsets
  /// Of each bias: whether it is the same for every query.
  SmallVector<bool> biasPerKey;
  /// Of a bias's gradient: by distance; per key.
  bool sumsDistances = false, sumsQueries = false;

  /// Whether a piece has a test per element.
  bool hasTest() const;
  /// Of D and Dv.
  int64_t largerDim() const { return std::max(headDim, valueDim); }
  bool hasBiasPerKey() const { return llvm::is_contained(biasPerKey, true); }
  bool hasBiasPerRow() const { return llvm::is_contained(biasPerKey, false); }

  /// The shape of an operation on memrefs with static head dims; where it is
  /// none, an error of that operation.
  static FailureOr<AttentionShape> of(AttentionLinkInterface op);

  /// Whether which keys a row sees depends on its head.
  bool dependsOnHead() const;

  /// Equal keys: equal kernels.
  std::string key() const;
};

/// A memref with any offset and strides, 1 of the last where `unitLast`.
MemRefType stridedType(ArrayRef<int64_t> dims, Type element, bool unitLast);

/// The types of a kernel's arguments, strides dynamic but for the last:
///   q, k, v, biases, [lengths], [segments], query_offset, key_offset,
///   [query_positions], [key_positions], and then by the kernel's result
///   out, lse / lse, delta, dout, dq / lse, delta, dout, dk, dv /
///   lse, delta, dout, dbias
/// The query offset is an index, or a memref [B] of them.
SmallVector<Type> kernelArguments(MLIRContext *context,
                                  const AttentionShape &shape);

/// What the operation passes for them, in that order: offsets that it leaves
/// out are 0. An error of the operation where rows are not contiguous.
FailureOr<SmallVector<Value>> kernelOperands(ImplicitLocOpBuilder &b,
                                             AttentionLinkInterface op,
                                             const AttentionShape &shape);

/// The arguments by name, null where the kernel has none such.
struct KernelArguments {
  KernelArguments() = default;
  KernelArguments(ValueRange arguments, const AttentionShape &shape);
  static Type typeOfQueryOffset(MLIRContext *context,
                                const AttentionShape &shape);
  Value query, key, value, lengths, segmentBounds, queryOffset, keyOffset,
      queryPositions, keyPositions, out, lse, delta, dout, dq, dk, dv, dbias;
  SmallVector<Value> biases;
};

} // namespace mlir::megactx

#endif
