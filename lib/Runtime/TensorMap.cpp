//===- TensorMap.cpp - tensor maps of attention's tensors -----------------===//

#include "TensorMap.h"
#include <algorithm>
#include <cstring>

using namespace megactx::cuda;

int megactx::cuda::encodeTensorMap(EncodeTiled encode, void *map,
                                   const Rows &tensor, unsigned rows) {
  // The driver's enumerations.
  constexpr int kFloat16 = 6, kBFloat16 = 9, kInterleaveNone = 0,
                kSwizzle128B = 3, kPromotion128B = 2, kFillZeros = 0;
  constexpr unsigned kRank = 4, kMapBytes = 128, kColumns = 64;
  constexpr uint64_t kElementBytes = 2, kStrideBytes = 16;
  if (std::find(tensor.sizes, tensor.sizes + kRank, 0) !=
      tensor.sizes + kRank) {
    std::memset(map, 0, kMapBytes);
    return 0;
  }
  // The driver's order is innermost first.
  uint64_t sizes[kRank], strides[kRank - 1];
  for (unsigned i = 0; i < kRank; ++i)
    sizes[i] = tensor.sizes[kRank - 1 - i];
  for (unsigned i = 0; i < kRank - 1; ++i)
    // Nobody steps along a dimension of size 1, whose stride may be anything.
    strides[i] = sizes[i + 1] == 1
                     ? kStrideBytes
                     : kElementBytes * tensor.strides[kRank - 2 - i];
  const unsigned box[kRank] = {kColumns, rows, 1, 1},
                 steps[kRank] = {1, 1, 1, 1};
  return encode(map, tensor.isBF16 ? kBFloat16 : kFloat16, kRank, tensor.memory,
                sizes, strides, box, steps, kInterleaveNone, kSwizzle128B,
                kPromotion128B, kFillZeros);
}
