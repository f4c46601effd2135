//===- TensorMap.h - tensor maps of attention's tensors ---------*- C++ -*-===//
//
// Owns how rows in a device's memory are described to the CUDA driver, whose
// function is a parameter: there may be none, and tests have one of their own.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_TENSORMAP_H
#define MEGACTX_LIB_RUNTIME_TENSORMAP_H

#include <cstdint>

namespace megactx::cuda {

/// cuTensorMapEncodeTiled, of CUDA 12 and later.
using EncodeTiled = int (*)(void *map, int type, unsigned rank, void *memory,
                            const uint64_t *sizes, const uint64_t *strides,
                            const unsigned *box, const unsigned *elementStrides,
                            int interleave, int swizzle, int promotion,
                            int fill);

/// [batch, head, row, column] of 16 bits an element; columns are contiguous,
/// strides in elements.
struct Rows {
  void *memory;
  bool isBF16;
  int64_t sizes[4];
  int64_t strides[3];
};

/// Makes a map of 128 bytes with boxes of `rows` rows of 64 columns; the
/// driver's result, 0 where all is well.
int encodeTensorMap(EncodeTiled encode, void *map, const Rows &tensor,
                    unsigned rows);

} // namespace megactx::cuda

#endif
