//===- Weights.h - which memory holds weights -------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_WEIGHTS_H
#define MEGACTX_LIB_RUNTIME_WEIGHTS_H

#include <cstddef>

namespace megactx {

/// Pages of a mapped file, which do not change until they are removed: products
/// may keep copies of what is in them, and give the pages back to the file.
void addWeights(const void *begin, size_t size);

/// To be called before the memory is unmapped; no product of them may run.
/// Copies of them are dropped.
void removeWeights(const void *begin);

/// Bytes of all copies.
size_t packedWeightBytes();

} // namespace megactx

/// The same for the runtime, which finds them by name once it has loaded the
/// library of products.
extern "C" {
void mctx_products_add_weights(const void *begin, size_t size);
void mctx_products_remove_weights(const void *begin);
}

#endif
