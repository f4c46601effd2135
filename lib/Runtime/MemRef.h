//===- MemRef.h - memrefs of any rank ---------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_MEMREF_H
#define MEGACTX_LIB_RUNTIME_MEMREF_H

#include "megactx/Runtime/KernelABI.h"

namespace megactx {

/// What a memref's descriptor says; sizes and strides in elements.
class MemRef {
  struct Head {
    void *allocated, *aligned;
    int64_t offset;
  };
  const Head *head;

public:
  const int64_t rank, *sizes, *strides;

  explicit MemRef(const mctx_memref &memref)
      : head(static_cast<const Head *>(memref.descriptor)), rank(memref.rank),
        sizes(reinterpret_cast<const int64_t *>(head + 1)),
        strides(sizes + rank) {}

  /// The first element.
  template <typename T> T *data() const {
    return static_cast<T *>(head->aligned) + head->offset;
  }
};

} // namespace megactx

#endif
