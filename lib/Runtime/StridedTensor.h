//===- StridedTensor.h - tensors of convolutions ----------------*- C++ -*-===//
//
// Owns tensors of floats by their sizes and strides: as kernels hand them over,
// and as oneDNN can describe them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_STRIDEDTENSOR_H
#define MEGACTX_LIB_RUNTIME_STRIDEDTENSOR_H

#include "MemRef.h"
#include "NarrowFloats.h"
#include "OneDNN.h"
#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

namespace megactx {

using Dims = dnnl::memory::dims;

/// The elements of the dims from `first` on.
inline int64_t countOf(const Dims &sizes, size_t first = 0) {
  return std::accumulate(sizes.begin() + first, sizes.end(), int64_t(1),
                         std::multiplies<int64_t>());
}

/// A tensor of floats [outer, groups, channels, axes...], or of the kernel
/// [groups, filters, channels, axes...]; strides in elements.
struct Tensor {
  float *data;
  Dims sizes, strides;
  const NarrowFloats *narrow; ///< where its elements are none of f32

  /// As in memory.
  explicit Tensor(const mctx_memref &memref,
                  const NarrowFloats *narrow = nullptr)
      : narrow(narrow) {
    MemRef memory(memref);
    data = narrow ? reinterpret_cast<float *>(memory.data<uint16_t>())
                  : memory.data<float>();
    sizes.assign(memory.sizes, memory.sizes + memory.rank);
    strides.assign(memory.strides, memory.strides + memory.rank);
  }

  /// With a dim as one of groups and one within them.
  Tensor &split(size_t dim, int64_t groups) {
    sizes[dim] /= groups;
    sizes.insert(sizes.begin() + dim, groups);
    strides.insert(strides.begin() + dim, sizes[dim + 1] * strides[dim]);
    return *this;
  }

  /// With the last dim behind the first one.
  Tensor &moveLast() {
    for (Dims *dims : {&sizes, &strides})
      std::rotate(dims->begin() + 1, dims->end() - 1, dims->end());
    return *this;
  }

  bool isEmpty() const {
    return std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
  }

  /// Whether oneDNN has such strides: none is within what smaller ones reach,
  /// as where only some of the elements of rows belong to the tensor.
  bool isDescribable() const {
    std::vector<std::pair<int64_t, int64_t>> dims;
    for (size_t i = 0; i < sizes.size(); ++i)
      if (sizes[i] > 1)
        dims.push_back({strides[i], sizes[i]});
    std::sort(dims.begin(), dims.end());
    int64_t reached = 1;
    for (auto [stride, size] : dims) {
      if (stride < reached)
        return false;
      reached = stride * size;
    }
    return true;
  }
};

/// The tensor where oneDNN can describe it, else a dense one of f32.
class Dense {
public:
  explicit Dense(const Tensor &original) : tensor(original), own(original) {
    if (original.isDescribable() && !original.narrow)
      return;
    own.narrow = nullptr;
    int64_t elements = 1;
    for (size_t i = own.sizes.size(); i-- > 0;) {
      own.strides[i] = elements;
      elements *= own.sizes[i];
    }
    copy.resize(elements);
    own.data = copy.data();
  }

  const Tensor &get() const { return own; }
  void load() {
    if (!copy.empty())
      move(tensor, own, 0, 0, 0);
  }
  void store() {
    if (!copy.empty())
      move(own, tensor, 0, 0, 0);
  }

private:
  static void move(const Tensor &from, const Tensor &to, size_t dim,
                   int64_t source, int64_t target) {
    if (dim == from.sizes.size()) {
      to.data[target] = from.data[source];
      return;
    }
    if (from.narrow && dim + 1 == from.sizes.size()) {
      from.narrow->widen(reinterpret_cast<uint16_t *>(from.data) + source,
                         from.strides[dim], to.data + target, from.sizes[dim]);
      return;
    }
    for (int64_t i = 0; i < from.sizes[dim]; ++i)
      move(from, to, dim + 1, source + i * from.strides[dim],
           target + i * to.strides[dim]);
  }

  Tensor tensor, own;
  std::vector<float> copy;
};

} // namespace megactx

#endif
