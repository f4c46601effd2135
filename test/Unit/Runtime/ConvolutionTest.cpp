//===- ConvolutionTest.cpp - convolutions on the CPU ----------------------===//

#include "ProductForms.h"
#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace {
using Dims = std::vector<int64_t>;

/// A tensor of random numbers that lies in memory with gaps of NaN: after each
/// element, and after the rows of each dim.
struct Tensor {
  Dims sizes, strides;
  std::vector<float> data;

  Tensor(Dims sizes, int64_t step, int64_t gap, unsigned seed)
      : sizes(sizes), strides(sizes.size()) {
    int64_t stride = step;
    for (size_t i = sizes.size(); i-- > 0;) {
      strides[i] = stride;
      stride = stride * sizes[i] + gap;
    }
    data.assign(stride, std::numeric_limits<float>::quiet_NaN());
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    forEach([&](const Dims &at) { (*this)(at) = normal(random); });
  }

  float &operator()(const Dims &at) {
    return data[std::inner_product(at.begin(), at.end(), strides.begin(),
                                   int64_t(0))];
  }

  template <typename F> void forEach(F body) const {
    Dims at(sizes.size(), 0);
    int64_t count = std::accumulate(sizes.begin(), sizes.end(), int64_t(1),
                                    std::multiplies<>());
    for (int64_t i = 0; i < count; ++i) {
      body(at);
      for (size_t dim = at.size(); dim-- > 0;) {
        if (++at[dim] < sizes[dim])
          break;
        at[dim] = 0;
      }
    }
  }

  /// The memref of rank N, by a pointer to its descriptor.
  std::vector<int64_t> descriptor() {
    auto address = reinterpret_cast<int64_t>(data.data());
    std::vector<int64_t> words = {address, address, 0};
    words.insert(words.end(), sizes.begin(), sizes.end());
    words.insert(words.end(), strides.begin(), strides.end());
    return words;
  }
};

struct Form {
  int64_t batch, groups, channels, filters; ///< the last two of a group
  Dims elements, kernel, steps, dilations;
  int64_t step = 1, gap = 0; ///< of data and result
  bool isTransposed = false; ///< the kernel lies in memory channels first
  int64_t spare = 1;         ///< elements of the data behind the last window
};

const Form kForms[] = {
    {1, 1, 3, 5, {7}, {3}, {1}, {1}},
    {2, 1, 16, 33, {9, 11}, {3, 3}, {1, 1}, {1, 1}},
    {1, 1, 20, 70, {13, 6}, {3, 2}, {2, 1}, {1, 3}},
    {3, 4, 2, 3, {6, 5}, {2, 3}, {1, 2}, {2, 1}},
    {1, 40, 1, 1, {17, 9}, {3, 3}, {1, 1}, {1, 1}},
    {2, 6, 1, 2, {31}, {5}, {2}, {3}},
    {1, 1, 4, 6, {3, 4, 5}, {2, 1, 3}, {1, 2, 1}, {1, 1, 2}},
    {2, 1, 24, 130, {5, 7}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 24, 130, {5, 7}, {1, 1}, {1, 1}, {1, 1}, 1, 0, false, 0},
    {1, 1, 24, 130, {5, 7}, {1, 1}, {1, 1}, {1, 1}, 1, 0, true, 0},
    {2, 1, 24, 13, {5, 7}, {1, 1}, {1, 1}, {1, 1}, 1, 3, false, 0},
    {1, 1, 24, 10, {5, 7}, {1, 1}, {2, 3}, {1, 1}},
    {1, 1, 3, 64, {40, 1}, {7, 1}, {2, 1}, {1, 1}},
    {2, 1, 8, 8, {6, 6}, {3, 3}, {1, 1}, {1, 1}, 2},
    {2, 1, 8, 8, {6, 6}, {3, 3}, {1, 1}, {1, 1}, 1, 5},
    {1, 1, 8, 12, {6, 6}, {3, 3}, {1, 1}, {1, 1}, 1, 0, true},
    {1, 1, 200, 300, {2, 2}, {3, 3}, {1, 1}, {1, 1}},
};

Dims joined(std::initializer_list<Dims> parts) {
  Dims all;
  for (const Dims &part : parts)
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

double expected(const Form &form, Tensor &data, Tensor &kernel,
                const Dims &at) {
  bool hasGroups = form.groups > 1;
  Dims outer(at.begin(), at.begin() + 1 + hasGroups), taps = form.kernel;
  double sum = 0;
  Tensor window(joined({{form.channels}, form.kernel}), 1, 0, 0);
  window.forEach([&](const Dims &tap) {
    Dims from = outer, of = hasGroups ? Dims{at[1]} : Dims{};
    from.push_back(tap[0]);
    of.insert(of.end(), {at[1 + hasGroups], tap[0]});
    for (size_t i = 0; i < form.kernel.size(); ++i) {
      from.push_back(at[2 + hasGroups + i] * form.steps[i] +
                     tap[1 + i] * form.dilations[i]);
      of.push_back(tap[1 + i]);
    }
    if (form.isTransposed)
      std::swap(of[hasGroups], of[hasGroups + 1]);
    sum += double(data(from)) * double(kernel(of));
  });
  return sum;
}

/// A copy of the tensor's memory in another type, which it gets the numbers of.
template <typename T> std::vector<T> rounded(Tensor &tensor) {
  std::vector<T> copy;
  for (float &value : tensor.data) {
    copy.push_back(T(value));
    value = float(copy.back());
  }
  return copy;
}

/// Of data and kernel in the type.
template <typename T = float>
void check(const Form &form,
           decltype(_mlir_ciface_mctx_rt_convolution_f32) *convolve =
               _mlir_ciface_mctx_rt_convolution_f32) {
  bool hasGroups = form.groups > 1;
  Dims groups = hasGroups ? Dims{form.groups} : Dims{}, sizes;
  for (size_t i = 0; i < form.kernel.size(); ++i)
    sizes.push_back((form.elements[i] - 1) * form.steps[i] +
                    (form.kernel[i] - 1) * form.dilations[i] + 1 + form.spare);
  Tensor data(joined({{form.batch}, groups, {form.channels}, sizes}), form.step,
              form.gap, 1);
  Dims ofKernel = {form.filters, form.channels};
  if (form.isTransposed)
    std::swap(ofKernel[0], ofKernel[1]);
  Tensor kernel(joined({groups, ofKernel, form.kernel}), 1, 0, 2);
  Tensor result(joined({{form.batch}, groups, {form.filters}, form.elements}),
                form.step, form.gap, 3);
  auto ofData = data.descriptor(), ofWeights = kernel.descriptor(),
       ofResult = result.descriptor();
  std::vector<T> givenData = rounded<T>(data), givenKernel = rounded<T>(kernel);
  ofData[0] = ofData[1] = reinterpret_cast<int64_t>(givenData.data());
  ofWeights[0] = ofWeights[1] = reinterpret_cast<int64_t>(givenKernel.data());
  if (form.isTransposed)
    for (size_t first : {3, 3 + int(kernel.sizes.size())})
      std::swap(ofWeights[first + hasGroups], ofWeights[first + hasGroups + 1]);
  auto memref = [](Dims &words) {
    return mctx_memref{int64_t(words.size() - 3) / 2, words.data()};
  };
  mctx_memref x = memref(ofData), w = memref(ofWeights), y = memref(ofResult);
  Dims steps = form.steps, dilations = form.dilations;
  steps.resize(3, 1);
  dilations.resize(3, 1);
  convolve(&x, &w, &y, form.kernel.size(), steps[0], steps[1], steps[2],
           dilations[0], dilations[1], dilations[2]);
  result.forEach([&](const Dims &at) {
    ASSERT_NEAR(result(at), expected(form, data, kernel, at), 1e-3);
  });
  int64_t elements = std::accumulate(result.sizes.begin(), result.sizes.end(),
                                     int64_t(1), std::multiplies<>());
  int64_t untouched = std::count_if(result.data.begin(), result.data.end(),
                                    [](float x) { return std::isnan(x); });
  EXPECT_EQ(untouched, int64_t(result.data.size()) - elements);
}

TEST(Convolution, Forms) {
  for (int threads : {1, 5}) {
    mctx_set_threads(threads);
    for (const Form &form : kForms) {
      SCOPED_TRACE(&form - kForms);
      check(form);
      check(form); // by what was made the first time
    }
  }
  mctx_set_threads(0);
}

TEST(Convolution, Narrow) {
  for (const Form &form : kForms) {
    SCOPED_TRACE(&form - kForms);
    check<_Float16>(form, _mlir_ciface_mctx_rt_convolution_f16);
    check<megactx::test::BFloat>(form, _mlir_ciface_mctx_rt_convolution_bf16);
  }
}

TEST(Convolution, EmptyResults) {
  check({0, 1, 3, 5, {7}, {3}, {1}, {1}});
  check({2, 1, 3, 0, {7, 2}, {3, 1}, {1, 1}, {1, 1}});
}
} // namespace
