//===- PackedBlocks.h - numbers of few bits in blocks -----------*- C++ -*-===//
//
// Owns how weights of 4 and 8 bits lie in bytes, with a scale and a zero point
// for each block of them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_PACKEDBLOCKS_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_PACKEDBLOCKS_H

#include "Lowering.h"

namespace mlir::megactx {

/// Rows of blocks of numbers of 4 or 8 bits, packed in bytes: [rows, blocks,
/// size * bits / 8], with a scale and a zero point for each block.
struct PackedBlocks {
  int64_t bits;
  Tensor bytes, scales; ///< scales [rows, blocks]
  /// [rows, blocks] of f32 or, as bytes without a sign, i8; or 2^(bits - 1).
  std::optional<Tensor> zeros;
  /// The same numbers as i32 [rows, blocks, size * bits / 32], where they are
  /// constants.
  std::optional<Tensor> words;

  PackedBlocks rowsFrom(Graph &graph, Location loc, const IndexExpr &first,
                        const IndexExpr &count) const;
  /// By place, a block's numbers in the lower halves of bytes come first, so
  /// that neighbours in memory are neighbours in the result.
  enum class Order { Own, ByPlace };
  /// (number - zero) * scale: [rows, blocks * size].
  Tensor widen(Graph &graph, Location loc, Type element, Order order) const;
};

/// The node's bytes, scales and zero points: inputs of these numbers.
FailureOr<PackedBlocks> blocksOf(Node &node, ArrayRef<unsigned> inputs,
                                 int64_t bits, const IndexExpr &rows,
                                 int64_t blocks, int64_t size);

/// Number `place` of those that are packed in a byte or a word, the lowest bits
/// first, as f32.
Value numberIn(OpBuilder &b, Location loc, Value packed, Value place,
               int64_t bits);

/// One of `zeros`, as f32.
Value zeroPoint(OpBuilder &b, Location loc, Value zero);

/// (number - zero) * scale, where there is a zero, one of `zeros`.
Value widened(OpBuilder &b, Location loc, Value number, Value scale, Value zero,
              int64_t bits, Type element);

} // namespace mlir::megactx

#endif
