//===- TopKTest.cpp - the largest elements of rows on the CPU -------------===//

#include "megactx/Runtime/KernelABI.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>
#include <type_traits>
#include <vector>

namespace {
/// A memref of [a, b, c] with gaps between elements.
template <typename T> struct Tensor {
  int64_t sizes[3];
  std::vector<T> data;
  struct {
    void *allocated, *aligned;
    int64_t offset, numbers[6];
  } head;
  mctx_memref memref{3, &head};

  Tensor(int64_t a, int64_t b, int64_t c)
      : sizes{a, b, c}, data(5 + 2 * a * b * (c + 1), T(77)) {
    head = {data.data(), data.data(), 5, {a, b, c, 2 * b * (c + 1), 2, 2 * b}};
  }
  T &operator()(int64_t i, int64_t j, int64_t k) {
    return data[5 + 2 * (i * sizes[1] * (sizes[2] + 1) + j + k * sizes[1])];
  }
};

using Function = void (*)(mctx_memref *, mctx_memref *, mctx_memref *, int64_t,
                          int64_t);

template <typename T> T random(std::mt19937 &generator) {
  if constexpr (std::is_floating_point_v<T>) {
    constexpr T special[] = {0,
                             T(-0.0),
                             std::numeric_limits<T>::quiet_NaN(),
                             -std::numeric_limits<T>::quiet_NaN(),
                             std::numeric_limits<T>::infinity(),
                             -std::numeric_limits<T>::infinity()};
    if (generator() % 4 == 0)
      return special[generator() % std::size(special)];
    return std::ldexp(T(int(generator() % 41) - 20), int(generator() % 20) - 9);
  } else {
    if (generator() % 8 == 0)
      return generator() % 2 ? std::numeric_limits<T>::min()
                             : std::numeric_limits<T>::max();
    return T(generator() % 50 - 25);
  }
}

/// The order that KernelABI.h says, element by element.
template <typename T> bool isBetter(T x, T y, bool largest) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(x) || std::isnan(y))
      return !std::isnan(x) && std::isnan(y);
  return largest ? x > y : x < y;
}

template <typename T> void check(Function function) {
  std::mt19937 generator(7);
  // Few of many, many, all, none, of rows in any dim.
  const int64_t cases[][5] = {
      {2, 3, 400, 2, 5}, {2, 3, 400, 2, 100}, {1, 90, 3, 1, 90},
      {70, 2, 3, 0, 4},  {70, 2, 3, 0, 0},    {2, 1, 17, 2, 1},
      {40, 1, 64, 2, 8}, {0, 3, 20, 2, 7},    {1, 1, 5000, 2, 50}};
  for (auto [a, b, c, axis, k] : cases)
    for (bool largest : {true, false}) {
      Tensor<T> data(a, b, c);
      int64_t sizes[] = {a, b, c};
      sizes[axis] = k;
      Tensor<T> values(sizes[0], sizes[1], sizes[2]);
      Tensor<int64_t> indices(sizes[0], sizes[1], sizes[2]);
      for (int64_t i = 0; i < a * b * c; ++i)
        data(i / (b * c), i / c % b, i % c) = random<T>(generator);
      auto unwritten = values.data;
      function(&data.memref, &values.memref, &indices.memref, axis, largest);
      int64_t other[3];
      auto at = [&](auto &tensor, int64_t i) -> auto & {
        int64_t place[] = {other[0], other[1], other[2]};
        place[axis] = i;
        return tensor(place[0], place[1], place[2]);
      };
      int64_t rows = a * b * c / data.sizes[axis];
      for (int64_t row = 0; row < rows; ++row) {
        int64_t left = row;
        for (int dim = 0; dim < 3; ++dim)
          if (dim != axis) {
            other[dim] = left % data.sizes[dim];
            left /= data.sizes[dim];
          }
        std::vector<int64_t> order(data.sizes[axis]);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) {
          return isBetter(at(data, x), at(data, y), largest);
        });
        for (int64_t i = 0; i < k; ++i) {
          ASSERT_EQ(at(indices, i), order[i]) << "row " << row << ", " << i;
          ASSERT_EQ(std::memcmp(&at(values, i), &at(data, order[i]), sizeof(T)),
                    0);
          at(values, i) = T(77);
        }
      }
      EXPECT_EQ(std::memcmp(values.data.data(), unwritten.data(),
                            unwritten.size() * sizeof(T)),
                0)
          << "written beside";
    }
}

extern "C" {
#define DECLARE(name)                                                          \
  void _mlir_ciface_mctx_rt_top_k_##name(mctx_memref *, mctx_memref *,         \
                                         mctx_memref *, int64_t, int64_t)
DECLARE(f16);
DECLARE(bf16);
DECLARE(f64);
DECLARE(i8);
DECLARE(i16);
DECLARE(i32);
DECLARE(i64);
DECLARE(ui8);
DECLARE(ui16);
DECLARE(ui32);
DECLARE(ui64);
}
} // namespace

TEST(TopK, Floats) {
  check<float>(_mlir_ciface_mctx_rt_top_k_f32);
  check<double>(_mlir_ciface_mctx_rt_top_k_f64);
}

TEST(TopK, Integers) {
  check<int8_t>(_mlir_ciface_mctx_rt_top_k_i8);
  check<int16_t>(_mlir_ciface_mctx_rt_top_k_i16);
  check<int32_t>(_mlir_ciface_mctx_rt_top_k_i32);
  check<int64_t>(_mlir_ciface_mctx_rt_top_k_i64);
  check<uint8_t>(_mlir_ciface_mctx_rt_top_k_ui8);
  check<uint16_t>(_mlir_ciface_mctx_rt_top_k_ui16);
  check<uint32_t>(_mlir_ciface_mctx_rt_top_k_ui32);
  check<uint64_t>(_mlir_ciface_mctx_rt_top_k_ui64);
}

/// Their bits in order: -NaN, -inf, -1, -0, 0, 1, inf, NaN.
TEST(TopK, NarrowFloats) {
  for (auto [function, bits] :
       {std::pair<Function, std::vector<uint16_t>>{
            _mlir_ciface_mctx_rt_top_k_f16,
            {0xfe00, 0xfc00, 0xbc00, 0x8000, 0, 0x3c00, 0x7c00, 0x7e00}},
        {_mlir_ciface_mctx_rt_top_k_bf16,
         {0xffc0, 0xff80, 0xbf80, 0x8000, 0, 0x3f80, 0x7f80, 0x7fc0}}}) {
    Tensor<uint16_t> data(1, 1, 8), values(1, 1, 8);
    Tensor<int64_t> indices(1, 1, 8);
    for (int i = 0; i < 8; ++i)
      data(0, 0, i) = bits[i];
    for (auto [largest, order] :
         {std::pair<int, std::vector<int64_t>>{1, {6, 5, 3, 4, 2, 1, 0, 7}},
          {0, {1, 2, 3, 4, 5, 6, 0, 7}}}) {
      function(&data.memref, &values.memref, &indices.memref, 2, largest);
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(indices(0, 0, i), order[i]);
        EXPECT_EQ(values(0, 0, i), bits[order[i]]);
      }
    }
  }
}
