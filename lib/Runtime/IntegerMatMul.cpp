//===- IntegerMatMul.cpp - products of bytes ------------------------------===//

#include "IntegerMatMul.h"
#include "MatMul.h"
#include "OneDNN.h"
#include <algorithm>
#include <vector>

using namespace dnnl;
using megactx::guarded;

namespace {
constexpr int64_t kExactTerms = 256;

/// Older CPUs add pairs of products in 16 bits, which saturate.
bool sumsExactly() {
  static const bool does = [] {
    switch (get_effective_cpu_isa()) {
    case cpu_isa::avx512_core_vnni:
    case cpu_isa::avx512_core_bf16:
    case cpu_isa::avx512_core_amx:
      return true;
    default:
      return false;
    }
  }();
  return does;
}

/// The product of sizes [b, m, n] of some terms, and dense copies of them.
struct Wide {
  std::vector<float> data;
  mctx_memref3 memref = {};

  Wide(int64_t batch, int64_t rows, int64_t columns)
      : data(batch * rows * columns) {
    memref.aligned = data.data();
    std::copy_n(std::begin({batch, rows, columns}), 3, memref.sizes);
    std::copy_n(std::begin({rows * columns, columns, int64_t(1)}), 3,
                memref.strides);
  }
  /// body(index in x's data, index in the copy) of each element, whose place in
  /// x is `r` rows and `c` columns further.
  template <typename F>
  void each(const mctx_memref3 &x, int64_t r, int64_t c, F body) {
    const int64_t *sizes = memref.sizes;
    size_t dense = 0;
    for (int64_t i = 0; i < sizes[0]; ++i)
      for (int64_t row = r; row < r + sizes[1]; ++row)
        for (int64_t column = c; column < c + sizes[2]; ++column)
          body(x.offset + i * x.strides[0] + row * x.strides[1] +
                   column * x.strides[2],
               dense++);
  }
  template <typename T> void take(const mctx_memref3 &x, int64_t r, int64_t c) {
    const T *from = static_cast<const T *>(x.aligned);
    each(x, r, c, [&](size_t at, size_t to) { data[to] = from[at]; });
  }
};

} // namespace

void megactx::multiplyBytesInFloats(const mctx_memref3 &a,
                                    const mctx_memref3 &b,
                                    const mctx_memref3 &c) {
  int64_t terms = a.sizes[2];
  auto *sums = static_cast<int32_t *>(c.aligned);
  Wide product(c.sizes[0], c.sizes[1], c.sizes[2]);
  product.each(c, 0, 0, [&](size_t at, size_t) { sums[at] = 0; });
  for (int64_t first = 0; first < terms; first += kExactTerms) {
    int64_t count = std::min(kExactTerms, terms - first);
    Wide left(a.sizes[0], a.sizes[1], count),
        right(b.sizes[0], count, b.sizes[2]);
    left.take<uint8_t>(a, 0, first);
    right.take<int8_t>(b, first, 0);
    multiply(left.memref, right.memref, product.memref, kReal);
    product.each(c, 0, 0, [&](size_t at, size_t from) {
      sums[at] += int32_t(product.data[from]);
    });
  }
}

void megactx::multiplyBytes(const mctx_memref3 &a, const mctx_memref3 &b,
                            const mctx_memref3 &c) {
  using Type = memory::data_type;
  if (sumsExactly())
    multiply(a, b, c, {Type::u8, Type::s8, Type::s32});
  else
    multiplyBytesInFloats(a, b, c);
}

extern "C" void _mlir_ciface_mctx_rt_matmul_u8s8(mctx_memref3 *a,
                                                 mctx_memref3 *b,
                                                 mctx_memref3 *c) {
  guarded([&] { megactx::multiplyBytes(*a, *b, *c); });
}
