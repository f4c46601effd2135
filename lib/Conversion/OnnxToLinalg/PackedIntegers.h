//===- PackedIntegers.h - rows in integers times packed weights -*- C++ -*-===//
//
// Owns rows of 16 bits, each block of numbers with a scale of its own, and what
// they have times weights of few bits.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDINTEGERS_H
#define MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDINTEGERS_H

#include "PackedBlocks.h"

namespace mlir::megactx {

/// Rows in 16 bits, each chain of numbers with a scale of its own: a block of
/// weights, or a part of one.
struct IntegerRows {
  /// i32 [M, chains, words of a chain, pairs]: what meets a number of a word in
  /// the lower half, and what meets the one half a word further in the upper.
  Tensor pairs;
  Tensor scales; ///< f32 [M, chains, 1, 1]
};

/// [1, M, K] so, for weights that have words.
IntegerRows integerRows(Node &node, Tensor a, const PackedBlocks &weights);

/// The sum of both numbers of a pair.
Value sumOfPair(OpBuilder &b, Location loc, Value pair);

/// The rows times packed [N, K], transposed: f32 [1, M, N]. Several rows read
/// each weight once.
Tensor multiplyInIntegers(Node &node, const IntegerRows &rows,
                          const PackedBlocks &weights);

} // namespace mlir::megactx

#endif
