//===- ProductForms.h - products against three loops in double --*- C++ -*-===//
//
// Owns matrices of all forms that products are given, and their check.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_UNIT_RUNTIME_PRODUCTFORMS_H
#define MEGACTX_TEST_UNIT_RUNTIME_PRODUCTFORMS_H

#include "megactx/Runtime/KernelABI.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace megactx::test {
struct BFloat {
  uint16_t bits;
  BFloat() = default;
  explicit BFloat(float value) {
    uint32_t word;
    std::memcpy(&word, &value, 4);
    bits = (word + 0x7fff + (word >> 16 & 1)) >> 16;
  }
  operator float() const {
    uint32_t word = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &word, 4);
    return value;
  }
};

/// A batch of matrices in a larger, poisoned buffer.
template <typename T> struct Matrices {
  std::vector<T> data;
  mctx_memref3 memref;

  /// `transposed`: the last dimension is the slow one. `pad`: elements between
  /// lines.
  Matrices(int64_t batch, int64_t rows, int64_t columns, bool transposed,
           int64_t pad) {
    int64_t line = (transposed ? rows : columns) + pad;
    int64_t lines = transposed ? columns : rows;
    int64_t offset = 5;
    data.assign(offset + batch * line * lines + 1, poison());
    memref = {data.data(),
              data.data(),
              offset,
              {batch, rows, columns},
              {line * lines, transposed ? 1 : line, transposed ? line : 1}};
  }
  /// What no test expects.
  static T poison() {
    if constexpr (std::is_integral_v<T>)
      return std::numeric_limits<T>::max();
    else
      return T(NAN);
  }
  T &at(int64_t b, int64_t r, int64_t c) {
    return data[memref.offset + b * memref.strides[0] + r * memref.strides[1] +
                c * memref.strides[2]];
  }
  void fill(std::mt19937 &random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t b = 0; b < memref.sizes[0]; ++b)
      for (int64_t r = 0; r < memref.sizes[1]; ++r)
        for (int64_t c = 0; c < memref.sizes[2]; ++c)
          at(b, r, c) = T(uniform(random));
  }
};

struct Form {
  int64_t batchA, batchB, m, n, k;
  bool transposedA = false, transposedB = false;
  int64_t pad = 0;
};

/// Calls product(a, b, c): every element of c within `relative` times the sum
/// of |a b|; nothing else written.
template <typename T, typename Product>
void check(Product product, const Form &f, double relative) {
  std::mt19937 random(f.m * 31 + f.n * 7 + f.k);
  int64_t batch = std::max(f.batchA, f.batchB);
  Matrices<T> a(f.batchA, f.m, f.k, f.transposedA, f.pad);
  Matrices<T> b(f.batchB, f.k, f.n, f.transposedB, f.pad);
  Matrices<T> c(batch, f.m, f.n, false, f.pad);
  a.fill(random);
  b.fill(random);
  product(a, b, c);
  size_t written = 0;
  for (int64_t i = 0; i < batch; ++i)
    for (int64_t r = 0; r < f.m; ++r)
      for (int64_t col = 0; col < f.n; ++col) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < f.k; ++k) {
          double term = double(float(a.at(f.batchA == 1 ? 0 : i, r, k))) *
                        double(float(b.at(f.batchB == 1 ? 0 : i, k, col)));
          sum += term;
          size += std::fabs(term);
        }
        ASSERT_NEAR(double(float(c.at(i, r, col))), sum,
                    relative * size + 1e-30)
            << "batch " << batch << " m " << f.m << " n " << f.n << " k " << f.k
            << " at " << i << ", " << r << ", " << col;
        ++written;
      }
  size_t poison = 0;
  for (T &value : c.data)
    poison += std::isnan(float(value));
  EXPECT_EQ(poison, c.data.size() - written);
}

inline const Form kForms[] = {
    {1, 1, 1, 1, 1},
    {1, 1, 1, 300, 70},
    {1, 1, 1, 300, 70, false, true},
    {1, 1, 1, 70, 300, false, false, 3},
    {1, 1, 300, 1, 70},
    {1, 1, 2, 515, 33},
    {1, 1, 65, 129, 77},
    {1, 1, 129, 65, 77, true, false},
    {1, 1, 129, 65, 77, false, true, 5},
    {1, 1, 97, 31, 64, true, true, 2},
    {3, 3, 17, 19, 23},
    {3, 1, 17, 19, 23},
    {1, 4, 17, 19, 23, false, true},
    {5, 1, 70, 130, 40, false, false, 9},
    {64, 64, 3, 5, 7, false, true},
    {101, 101, 4, 21, 16},
    {101, 101, 4, 21, 16, true, true},
    {101, 101, 4, 21, 16, false, true, 3},
    {101, 1, 4, 21, 16, true, false},
    {1, 101, 1, 8, 16, false, true},
    {101, 101, 16, 1, 1},
    {50, 50, 33, 40, 48},
    {1, 1, 35, 37, 20000},
    {2, 2, 35, 37, 9000, true, true, 3},
    {7, 1, 1, 129, 64},
    {2, 2, 5, 4, 0},
};
} // namespace megactx::test

#endif
