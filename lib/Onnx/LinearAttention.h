//===- LinearAttention.h - linear attention by Scan -------------*- C++ -*-===//
//
// Owns the text of linear attention with gates and delta rule (ONNX's
// LinearAttention, and onnxruntime's forms of it) as a Scan over the tokens.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_LINEARATTENTION_H
#define MEGACTX_LIB_ONNX_LINEARATTENTION_H

#include <cstdint>
#include <string>

namespace mlir::onnx {

/// For each head, with S [Dk, Dv] and u_t = v_t, or by the delta rule
/// beta_t (v_t - exp(g_t) S_{t-1}^T k_t):
///
///   S_t = exp(g_t) S_{t-1} + k_t u_t^T,   o_t = scale S_t^T q_t
///
/// So o_t = scale (exp(g_t) S_{t-1}^T q_t + (q_t . k_t) u_t): one pass over the
/// state reads it, another writes the next.
struct LinearAttention {
  int64_t queryHeads, keyHeads, valueHeads;
  double scale;     ///< 0: 1 / sqrt(Dk)
  std::string rule; ///< linear, gated, delta, gated_delta
  /// Tensors by name: q, k and v [B, T, heads * D], the state [B, value heads,
  /// Dk, Dv], decay [B, T, value heads (* Dk)], the logarithm of what stays,
  /// and beta [B, T, value heads or 1]; empty: it has none.
  std::string query, key, value, state, decay, beta;

  /// Writes `result` [B, T, max(query heads, value heads) * Dv] and `present`,
  /// a state, both in f32. Value heads share query or key heads, or query heads
  /// share a state, where there are more. False for a form that is none.
  bool write(std::string &body) const;
};

} // namespace mlir::onnx

#endif
