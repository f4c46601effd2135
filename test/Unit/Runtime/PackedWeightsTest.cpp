//===- PackedWeightsTest.cpp - products of weights that are packed --------===//

#include "MappedCopy.h"
#include "Weights.h"
#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>
#include <sys/mman.h>
#include <vector>

namespace {
/// A matrix [k, n] in a mapped file.
struct MappedMatrix {
  int64_t k, n;
  std::vector<float> contents;
  megactx::test::MappedCopy<float> copy;
  size_t bytes = copy.bytes;
  float *data = copy.data;

  static std::vector<float> randomNumbers(int64_t count, int64_t seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> numbers;
    for (int64_t i = 0; i < count; ++i)
      numbers.push_back(uniform(random));
    return numbers;
  }
  MappedMatrix(int64_t k, int64_t n)
      : k(k), n(n), contents(randomNumbers(k * n, k + n)), copy(contents) {}

  /// The largest error of a product with m rows, of inner dims and columns that
  /// begin at an offset of the matrix.
  double errorOf(int64_t m, int64_t columns) {
    std::vector<float> a(m * k), c(m * columns, NAN);
    for (int64_t i = 0; i < m * k; ++i)
      a[i] = float((i * 37) % 101) / 101 - 0.5f;
    mctx_memref3 ma{a.data(), a.data(), 0, {1, m, k}, {m * k, k, 1}};
    mctx_memref3 mb{data, data, 0, {1, k, columns}, {k * n, n, 1}};
    mctx_memref3 mc{
        c.data(), c.data(), 0, {1, m, columns}, {m * columns, columns, 1}};
    _mlir_ciface_mctx_rt_matmul_f32(&ma, &mb, &mc);
    double worst = 0;
    for (int64_t r = 0; r < m; ++r)
      for (int64_t col = 0; col < columns; ++col) {
        double sum = 0;
        for (int64_t i = 0; i < k; ++i)
          sum += double(a[r * k + i]) * contents[i * n + col];
        double error = std::fabs(sum - c[r * columns + col]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
    return worst;
  }
};

TEST(PackedWeights, ProductsOfManyRowsArePackedOnceAndRight) {
  mctx_set_threads(2); // few enough that no task is a block of columns
  for (auto [k, n] : {std::pair<int64_t, int64_t>{64, 192},
                      {70, 100},
                      {256, 64},
                      {33, 257}}) {
    MappedMatrix weights(k, n);
    megactx::addWeights(weights.data, weights.bytes);
    size_t before = megactx::packedWeightBytes();
    EXPECT_LT(weights.errorOf(700, n), 1e-4);
    size_t packed = megactx::packedWeightBytes();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw"))
      EXPECT_GE(packed - before, weights.bytes);
#endif
    for (int64_t m : {64, 65, 500, 1366, 1, 7})
      EXPECT_LT(weights.errorOf(m, n), 1e-4) << m << " rows";
    EXPECT_EQ(megactx::packedWeightBytes(), packed);
    // The pages that were given back hold what they held.
    for (int64_t i = 0; i < k * n; ++i)
      ASSERT_EQ(weights.data[i], weights.contents[i]);
    megactx::removeWeights(weights.data);
    EXPECT_EQ(megactx::packedWeightBytes(), before);
  }
}

TEST(PackedWeights, WhatIsNoWeightStaysPlain) {
  MappedMatrix other(64, 192);
  size_t before = megactx::packedWeightBytes();
  EXPECT_LT(other.errorOf(700, 192), 1e-4);
  // Part of a weight's columns, and memory that only begins as a weight.
  megactx::addWeights(other.data, other.bytes);
  EXPECT_LT(other.errorOf(700, 96), 1e-4);
  megactx::removeWeights(other.data);
  megactx::addWeights(other.data, other.bytes / 2);
  EXPECT_LT(other.errorOf(700, 192), 1e-4);
  megactx::removeWeights(other.data);
  EXPECT_EQ(megactx::packedWeightBytes(), before);
}

TEST(PackedWeights, MemoryOfAnUnloadedModelMayHoldOthers) {
  MappedMatrix first(64, 192);
  megactx::addWeights(first.data, first.bytes);
  EXPECT_LT(first.errorOf(700, 192), 1e-4);
  megactx::removeWeights(first.data);
  // The same place with other contents.
  mmap(first.data, first.bytes, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  for (int64_t i = 0; i < 64 * 192; ++i)
    first.data[i] = first.contents[i] = float(i % 7) - 3;
  EXPECT_LT(first.errorOf(700, 192), 1e-3);
}

/// Filters [k, n / 9, 3, 3] over an image of ones: what a result is.
double errorOfConvolution(MappedMatrix &weights, int64_t size) {
  int64_t k = weights.k, c = weights.n / 9, out = size - 2;
  std::vector<float> x(c * size * size, 1), y(k * out * out, NAN);
  auto descriptor = [](float *data, std::vector<int64_t> sizes) {
    auto address = reinterpret_cast<int64_t>(data);
    std::vector<int64_t> words = {address, address, 0}, strides(4, 1);
    for (int i = 2; i >= 0; --i)
      strides[i] = strides[i + 1] * sizes[i + 1];
    words.insert(words.end(), sizes.begin(), sizes.end());
    words.insert(words.end(), strides.begin(), strides.end());
    return words;
  };
  auto ofX = descriptor(x.data(), {1, c, size, size}),
       ofW = descriptor(weights.data, {k, c, 3, 3}),
       ofY = descriptor(y.data(), {1, k, out, out});
  mctx_memref mx{4, ofX.data()}, mw{4, ofW.data()}, my{4, ofY.data()};
  _mlir_ciface_mctx_rt_convolution_f32(&mx, &mw, &my, 2, 1, 1, 1, 1, 1, 1);
  double worst = 0;
  for (int64_t i = 0; i < k * out * out; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < weights.n; ++j)
      sum += weights.contents[i / (out * out) * weights.n + j];
    double error = std::fabs(sum - y[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

TEST(PackedWeights, FiltersArePackedSomeTimesAtMost) {
  MappedMatrix weights(160, 9 * 32);
  megactx::addWeights(weights.data, weights.bytes);
  size_t before = megactx::packedWeightBytes();
  EXPECT_LT(errorOfConvolution(weights, 30), 1e-3);
  size_t packed = megactx::packedWeightBytes();
  EXPECT_GE(packed - before, weights.bytes);
  EXPECT_LT(errorOfConvolution(weights, 30), 1e-3);
  EXPECT_EQ(megactx::packedWeightBytes(), packed);
  for (int threads : {1, 2, 3, 5, 8, 13}) {
    mctx_set_threads(threads);
    for (int64_t size : {40, 17, 8, 3, 25, 64})
      EXPECT_LT(errorOfConvolution(weights, size), 1e-3);
  }
  mctx_set_threads(2);
  EXPECT_LE(megactx::packedWeightBytes() - before, 16 * weights.bytes);
  megactx::removeWeights(weights.data);
  EXPECT_EQ(megactx::packedWeightBytes(), before);
}

TEST(PackedWeights, RemovingWhatIsNotThereDoesNothing) {
  megactx::removeWeights(nullptr);
  EXPECT_EQ(megactx::packedWeightBytes(), 0u);
}
} // namespace
