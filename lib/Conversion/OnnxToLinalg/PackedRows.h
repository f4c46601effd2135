//===- PackedRows.h - few rows times packed weights -------------*- C++ -*-===//
//
// Owns products of few rows and weights of few bits, which are widened in
// registers: no weight goes to memory.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDROWS_H
#define MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDROWS_H

#include "PackedBlocks.h"

namespace mlir::megactx {

/// What the terms of a sum are computed in.
enum class Terms {
  Reals,   ///< f32
  Integers ///< of rows in 16 bits with a scale for each block of weights
};

/// [1, M, K] times packed [N, K], transposed: [1, M, N]. `words` are the
/// weights' own or their bytes; `atOnce` rows read each once. Integers take
/// words.
Tensor multiplyFew(Node &node, Tensor a, const PackedBlocks &weights,
                   const Tensor &words, int64_t atOnce, Terms terms);

} // namespace mlir::megactx

#endif
