//===- Heads.h - dims of attention's operands -------------------*- C++ -*-===//
//
// Owns how nodes bring operands to [B, H, N, D], and results from there.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_HEADS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_HEADS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// An initializer of rank 1.
Value integerList(ImplicitLocOpBuilder &b, ArrayRef<int64_t> list);

/// The sizes of dims from `first` to before `last`, a list.
Value sizesOf(ImplicitLocOpBuilder &b, Value value, int64_t first,
              int64_t last);

/// One list of several.
Value joinedLists(ImplicitLocOpBuilder &b, ArrayRef<Value> lists);

/// The same where `perm` changes nothing, or is none of the value's dims.
Value transposed(ImplicitLocOpBuilder &b, Value value, ArrayRef<int64_t> perm);

/// With dims of 1, at the ascending `axes` of the result.
Value unsqueezed(ImplicitLocOpBuilder &b, Value value, ArrayRef<int64_t> axes);

/// Dims of 1 in front, as products of matrices see an operand of lower rank.
Value withRank4(ImplicitLocOpBuilder &b, Value value);

/// Repeats [B, H, N, D] along its batch and its heads, which are 1, as often as
/// other tensors have; null for what stays.
Value repeated(ImplicitLocOpBuilder &b, Value value, Value batchLike,
               Value headsLike);

/// [B, H, N, D] of a tensor with more outer dims: those before `heads` are the
/// batch, those from there on the heads.
Value foldedOuterDims(ImplicitLocOpBuilder &b, Value value, int64_t heads);

/// The same backwards, with the outer dims of `like`, whose queries' rows
/// [B, H, N, D] has.
Value withOuterDims(ImplicitLocOpBuilder &b, Value rows, Value like,
                    int64_t heads);

/// [B, N, H * D] as [B, H, N, D].
Value splitHeads(ImplicitLocOpBuilder &b, Value rows, int64_t heads);

/// [B, H, N, D] as [B, N, H * D].
Value joinHeads(ImplicitLocOpBuilder &b, Value rows);

/// The numbers as another type of floats.
Value withElementType(ImplicitLocOpBuilder &b, Value value, Type element);

/// In place of a value of the graph, which may know less of the sizes.
Value withKnownType(ImplicitLocOpBuilder &b, Value value, Type known);

} // namespace mlir::megactx::raise

#endif
