//===- IntegerMatMulTest.cpp - products of bytes --------------------------===//

#include "IntegerMatMul.h"
#include "MappedCopy.h"
#include "ProductForms.h"
#include "Weights.h"
#include "megactx/Runtime/Runtime.h"

using namespace megactx;
using namespace megactx::test;

namespace {
using Product = void (*)(const mctx_memref3 &, const mctx_memref3 &,
                         const mctx_memref3 &);

template <typename T> void fill(Matrices<T> &x, std::mt19937 &random) {
  // The largest products of all, some times.
  std::uniform_int_distribution<int> any(std::numeric_limits<T>::min(),
                                         std::numeric_limits<T>::max());
  using Limits = std::numeric_limits<T>;
  T extreme = Limits::is_signed ? Limits::min() : Limits::max();
  bool isExtreme = random() % 4 == 0;
  for (T &value : x.data)
    value = isExtreme ? extreme : T(any(random));
}

/// Every element of c is the sum, nothing else is written.
void check(Product product, const Form &f) {
  std::mt19937 random(f.m * 31 + f.n * 7 + f.k);
  int64_t batch = std::max(f.batchA, f.batchB);
  Matrices<uint8_t> a(f.batchA, f.m, f.k, f.transposedA, f.pad);
  Matrices<int8_t> b(f.batchB, f.k, f.n, f.transposedB, f.pad);
  Matrices<int32_t> c(batch, f.m, f.n, false, f.pad);
  fill(a, random);
  fill(b, random);
  Matrices<int32_t> want = c;
  for (int64_t i = 0; i < batch; ++i)
    for (int64_t r = 0; r < f.m; ++r)
      for (int64_t col = 0; col < f.n; ++col) {
        int32_t &sum = want.at(i, r, col) = 0;
        for (int64_t k = 0; k < f.k; ++k)
          sum += a.at(f.batchA == 1 ? 0 : i, r, k) *
                 b.at(f.batchB == 1 ? 0 : i, k, col);
      }
  product(a.memref, b.memref, c.memref);
  EXPECT_EQ(c.data, want.data) << "batches " << f.batchA << " " << f.batchB
                               << " m " << f.m << " n " << f.n << " k " << f.k;
}

std::vector<Form> forms() {
  std::vector<Form> all(std::begin(kForms), std::end(kForms));
  all.push_back({1, 1, 3, 200, 2000});
  all.push_back({1, 1, 150, 700, 515, false, false, 3});
  return all;
}

TEST(IntegerMatMul, IsExact) {
  for (int threads : {1, 4}) {
    mctx_set_threads(threads);
    for (const Form &form : forms())
      check(multiplyBytes, form);
  }
  mctx_set_threads(0);
}

TEST(IntegerMatMul, IsExactInFloats) {
  for (const Form &form : forms())
    check(multiplyBytesInFloats, form);
}

/// Weights in a layout of their own, the same for any number of rows, of which
/// the last block of columns ends with the file.
TEST(IntegerMatMul, WeightsArePackedOnce) {
  constexpr int64_t k = 300, n = 1000;
  std::mt19937 random(1);
  Matrices<int8_t> contents(1, k, n, false, 0);
  fill(contents, random);
  contents.data.erase(contents.data.begin(),
                      contents.data.begin() + contents.memref.offset);
  contents.data.resize(k * n);
  MappedCopy<int8_t> weights(contents.data);
  addWeights(weights.data, weights.bytes);
  size_t packed = 0;
  for (int64_t m : {1, 5, 70, 1}) {
    Matrices<uint8_t> a(1, m, k, false, 0);
    Matrices<int32_t> c(1, m, n, false, 0);
    fill(a, random);
    mctx_memref3 b{weights.data, weights.data, 0, {1, k, n}, {k * n, n, 1}};
    multiplyBytes(a.memref, b, c.memref);
    for (int64_t r = 0; r < m; ++r)
      for (int64_t col = 0; col < n; ++col) {
        int32_t sum = 0;
        for (int64_t i = 0; i < k; ++i)
          sum += a.at(0, r, i) * contents.data[i * n + col];
        ASSERT_EQ(c.at(0, r, col), sum)
            << m << " rows, at " << r << ", " << col;
      }
    size_t now = packedWeightBytes();
    EXPECT_TRUE(packed == 0 || now == packed);
    packed = now;
  }
  removeWeights(weights.data);
  EXPECT_EQ(packedWeightBytes(), 0u);
}
} // namespace
