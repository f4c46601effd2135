//===- PackedRows.h - few rows times packed weights -------------*- C++ -*-===//
//
// Owns products of few rows and weights of few bits, which are widened in
// registers: no weight goes to memory.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDROWS_H
#define MEGACTX_LIB_CONVERSION_ONNXTOLINALG_PACKEDROWS_H

#include "PackedIntegers.h"

namespace mlir::megactx {

/// [1, M, K] times packed [N, K], transposed: [1, M, N]. `words` are the
/// weights' own or their bytes; `atOnce` rows read each once.
Tensor multiplyFew(Node &node, Tensor a, const PackedBlocks &weights,
                   const Tensor &words, int64_t atOnce);

/// Rows in integers times packed [N, K], transposed: f32 [1, M, N]. Each row
/// reads all weights, which have words.
Tensor multiplyOne(Node &node, const IntegerRows &rows,
                   const PackedBlocks &weights);

} // namespace mlir::megactx

#endif
