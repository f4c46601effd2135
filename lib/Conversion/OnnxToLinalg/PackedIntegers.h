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

/// Of rows [M, C, W, places], what one of the 16 bits stands for in each chain
/// of W words: f32 [M, C, 1, 1].
Tensor integerScales(Node &node, Tensor rows);

/// What stands for x in 16 bits, as i32.
Value inInteger(OpBuilder &b, Location loc, Value x, Value scale);

/// [1, M, K] times packed [N, K], transposed: [1, M, N]. The weights have
/// words; each is read once for some rows.
Tensor multiplyInIntegers(Node &node, Tensor a, const PackedBlocks &weights);

} // namespace mlir::megactx

#endif
