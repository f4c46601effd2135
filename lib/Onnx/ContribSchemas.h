//===- ContribSchemas.h - operators beside ONNX's ---------------*- C++ -*-===//
//
// Owns what ONNX's library has to know of operators that it does not define and
// that later levels take as they are: the types of their results.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_CONTRIBSCHEMAS_H
#define MEGACTX_LIB_ONNX_CONTRIBSCHEMAS_H

#include <onnx/onnx_pb.h>

namespace mlir::onnx {

/// The domain of this project's own operators:
///
///   out, present_key, present_value = ai.megactx.CachedAttention
///       (query, key, value, past_key, past_value, starts, lengths, total,
///        bias, sink, block_rows, block_columns, first, capacity)
///
/// query [B, N, H * D], key and value [B, N, Hkv * D] new rows, past [B, Hkv,
/// P, D] or none. Row i of batch entry b stands at position starts[b] + i and
/// is written there into present [B, Hkv, max(P, total), D], which holds the
/// past elsewhere, and 0 beyond it. Queries attend the first lengths[b] rows of
/// it, where `pattern` says; bias (or none) is broadcast to [B, H, N, total].
/// sink [H] or [1], or none: the score of one more key, whose value is 0.
/// starts, lengths [B] and total [1] are int64. scale 0 is 1 / sqrt(D); softcap
/// 0 is none. Of the tables of blocks, see the op. first [B] and capacity [1],
/// or none: present is `capacity` rows of that, from row first[b] on.
///
///   out = ai.megactx.DequantizeBlocks <bits, block_size> (bytes, scales,
///   zeros)
///
/// bytes [..., blocks * block_size * bits / 8] hold numbers of 4 or 8 bits, the
/// lower half of a byte first, scales [..., blocks]. zeros, or none for
/// 2^(bits - 1), are packed like them, each row from a byte on. out [...,
/// blocks * block_size] is (number - zero) * scale.
///
///   out = ai.megactx.Assume <is> (data, condition)
///
/// out is data; a run whose condition, one bool, is not `is` ends with an
/// error.
inline constexpr char kMegaCtxDomain[] = "ai.megactx";

/// Makes the operators known to ONNX's library. Once is enough.
void registerContribSchemas();

/// Declares the domain in a model that has nodes of it.
void importContribDomains(::ONNX_NAMESPACE::ModelProto &model);

} // namespace mlir::onnx

#endif
