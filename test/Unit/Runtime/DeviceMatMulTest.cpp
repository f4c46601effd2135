//===- DeviceMatMulTest.cpp - products in device memory -------------------===//
//
// With a CUDA driver and a cuBLASLt for tests, which this program links, so
// that the runtime finds them in the process.
//
//===----------------------------------------------------------------------===//

#include "Cuda.h"
#include "ProductForms.h"
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <unistd.h>

using namespace megactx;
using namespace megactx::test;

namespace {
using Function = void (*)(mctx_memref3 *, mctx_memref3 *, mctx_memref1 *,
                          mctx_memref3 *, mctx_memref3 *, int32_t);

/// What a product has besides.
struct Extras {
  bool bias = false;
  enum { None, Another, Itself } residual = None;
  mctx_activation activation = MCTX_ACTIVATION_NONE;
  int64_t biasOffset = 0;  ///< elements, beyond the memory's alignment
  int64_t residualPad = 4; ///< elements between rows
};

double activated(double x, mctx_activation activation) {
  if (activation == MCTX_ACTIVATION_RELU)
    return std::max(x, 0.0);
  if (activation == MCTX_ACTIVATION_GELU_TANH)
    return x / 2 *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  return x;
}

/// The device, with its calls written to a file.
class DeviceMatMul : public testing::Test {
protected:
  void SetUp() override {
    log = testing::TempDir() + "device-matmul." + std::to_string(getpid());
    std::remove(log.c_str());
    setenv("MEGACTX_FAKE_CUDA_LOG", log.c_str(), 1);
    std::string error;
    device = cuda::Device::open(0, error);
    ASSERT_TRUE(device) << error;
  }
  void TearDown() override {
    unsetenv("MEGACTX_FAKE_CUDA");
    std::remove(log.c_str());
  }

  /// The runtime's product on copies in device memory. `shift`: elements before
  /// the matrices, beyond the memory's alignment.
  template <typename T> auto on(Function product, int64_t shift = 0) {
    return
        [this, product, shift](Matrices<T> &a, Matrices<T> &b, Matrices<T> &c) {
          cuda::Run run(*device, nullptr);
          std::vector<T *> blocks;
          for (Matrices<T> *x : {&a, &b, &c}) {
            std::string error;
            size_t count = x->data.size();
            auto *block = static_cast<T *>(
                device->allocate((count + shift) * sizeof(T), nullptr, error));
            std::copy_n(x->data.data(), count, block + shift);
            x->memref.aligned = block + shift;
            blocks.push_back(block);
          }
          mctx_memref1 bias{};
          mctx_memref3 residual{};
          product(&a.memref, &b.memref, &bias, &residual, &c.memref,
                  MCTX_ACTIVATION_NONE);
          std::copy_n(blocks[2] + shift, c.data.size(), c.data.data());
          for (T *block : blocks)
            device->free(block);
        };
  }

  template <typename T> T *copied(const std::vector<T> &data, int64_t shift) {
    std::string error;
    auto *block = static_cast<T *>(
        device->allocate((data.size() + shift) * sizeof(T), nullptr, error));
    blocks.push_back(block);
    std::copy(data.begin(), data.end(), block + shift);
    return block + shift;
  }

  /// The runtime's product with an epilogue: every element of c within
  /// `relative` times the sum of all terms' sizes.
  template <typename T>
  void checkEpilogue(Function product, const Form &f, const Extras &extras,
                     double relative) {
    cuda::Run run(*device, nullptr);
    std::mt19937 random(f.m * 31 + f.n * 7 + f.k);
    int64_t batch = std::max(f.batchA, f.batchB);
    Matrices<T> a(f.batchA, f.m, f.k, f.transposedA, f.pad);
    Matrices<T> b(f.batchB, f.k, f.n, f.transposedB, f.pad);
    Matrices<T> c(batch, f.m, f.n, false, f.pad);
    Matrices<T> added(batch, f.m, f.n, false, extras.residualPad);
    Matrices<T> row(1, 1, f.n, false, 0);
    for (Matrices<T> *x : {&a, &b, &added, &row})
      x->fill(random);
    bool onto = extras.residual == Extras::Itself;
    if (onto)
      c = added;
    for (Matrices<T> *x : {&a, &b, &c, &added})
      x->memref.aligned = copied(x->data, 0);
    // The row begins at the fifth element.
    mctx_memref1 bias{nullptr,
                      copied(row.data, 3 + extras.biasOffset),
                      5,
                      {extras.bias ? f.n : 0},
                      {1}};
    mctx_memref3 none{};
    product(&a.memref, &b.memref, &bias,
            extras.residual == Extras::None ? &none
            : onto                          ? &c.memref
                                            : &added.memref,
            &c.memref, extras.activation);
    std::copy_n(static_cast<T *>(c.memref.aligned), c.data.size(),
                c.data.data());
    for (void *block : blocks)
      device->free(block);
    blocks.clear();
    for (int64_t i = 0; i < batch; ++i)
      for (int64_t r = 0; r < f.m; ++r)
        for (int64_t col = 0; col < f.n; ++col) {
          double sum = 0, size = 0;
          auto add = [&](double term) {
            sum += term;
            size += std::fabs(term);
          };
          if (extras.bias)
            add(row.at(0, 0, col));
          if (extras.residual != Extras::None)
            add(added.at(i, r, col));
          for (int64_t k = 0; k < f.k; ++k)
            add(double(float(a.at(f.batchA == 1 ? 0 : i, r, k))) *
                double(float(b.at(f.batchB == 1 ? 0 : i, k, col))));
          ASSERT_NEAR(double(float(c.at(i, r, col))),
                      activated(sum, extras.activation), relative * size)
              << i << ", " << r << ", " << col;
        }
  }

  std::vector<void *> blocks;

  /// What the fakes were called, of which `name` is part.
  std::vector<std::string> calls(const std::string &name) {
    std::vector<std::string> found;
    std::ifstream file(log);
    for (std::string line; std::getline(file, line);)
      if (line.find(name) != std::string::npos)
        found.push_back(line);
    return found;
  }

  cuda::Device *device = nullptr;
  std::string log;
};

TEST_F(DeviceMatMul, Float) {
  for (const Form &form : kForms)
    check<float>(on<float>(_mlir_ciface_mctx_rt_device_matmul_f32), form, 1e-6);
}

TEST_F(DeviceMatMul, Half) {
  for (const Form &form : kForms)
    check<_Float16>(on<_Float16>(_mlir_ciface_mctx_rt_device_matmul_f16), form,
                    1e-3);
}

TEST_F(DeviceMatMul, BFloat) {
  for (const Form &form : kForms)
    check<BFloat>(on<BFloat>(_mlir_ciface_mctx_rt_device_matmul_bf16), form,
                  5e-3);
}

TEST_F(DeviceMatMul, AlignmentIsPartOfWhatIsKept) {
  Form form{2, 2, 24, 40, 32};
  for (int64_t shift : {0, 1, 2, 3, 0, 2})
    check<float>(on<float>(_mlir_ciface_mctx_rt_device_matmul_f32, shift), form,
                 1e-6);
  // The matrices begin at the fifth element: 4, 8, 4, 32 bytes.
  EXPECT_EQ(calls("GetHeuristic").size(), 3u);
  EXPECT_EQ(calls("cublasLtMatmul ").size(), 6u);
}

TEST_F(DeviceMatMul, BatchesWithOneMatrixAreOneProduct) {
  check<float>(on<float>(_mlir_ciface_mctx_rt_device_matmul_f32),
               {6, 1, 7, 11, 13}, 1e-6);
  EXPECT_EQ(calls("cublasLtMatmul "),
            (std::vector<std::string>{"cublasLtMatmul f32 11 x 42 x 13 batch 1 "
                                      "stream 0"}));
}

const Form kEpilogueForms[] = {{1, 1, 33, 20, 17},
                               {1, 1, 1, 24, 40, false, true, 3},
                               {1, 1, 5, 2, 300},
                               {1, 1, 21, 64, 16, true, false, 8}};

/// All epilogues, residuals with other distances between rows than the result.
TEST_F(DeviceMatMul, Epilogues) {
  for (const Form &form : kEpilogueForms)
    for (bool bias : {false, true})
      for (auto residual : {Extras::None, Extras::Another, Extras::Itself})
        for (auto activation : {MCTX_ACTIVATION_NONE, MCTX_ACTIVATION_RELU,
                                MCTX_ACTIVATION_GELU_TANH}) {
          Extras extras{bias, residual, activation};
          checkEpilogue<float>(_mlir_ciface_mctx_rt_device_matmul_f32, form,
                               extras, 1e-6);
          checkEpilogue<_Float16>(_mlir_ciface_mctx_rt_device_matmul_f16, form,
                                  extras, 1e-3);
          checkEpilogue<BFloat>(_mlir_ciface_mctx_rt_device_matmul_bf16, form,
                                extras, 5e-3);
        }
}

/// Batches with a matrix each, and batches that are one product.
TEST_F(DeviceMatMul, ResidualsOfBatches) {
  for (auto residual : {Extras::Another, Extras::Itself}) {
    checkEpilogue<float>(_mlir_ciface_mctx_rt_device_matmul_f32,
                         {3, 3, 17, 19, 23}, {false, residual}, 1e-6);
    checkEpilogue<float>(_mlir_ciface_mctx_rt_device_matmul_f32,
                         {3, 1, 17, 19, 23}, {false, residual}, 1e-6);
  }
  EXPECT_EQ(calls("cublasLtMatmul ").back(),
            "cublasLtMatmul f32 19 x 51 x 23 batch 1 stream 0 onto itself");
}

/// What cuBLASLt's kernels may rely on: where a bias is not at 16 bytes it is
/// copied to where it is.
TEST_F(DeviceMatMul, BiasesAreAligned) {
  Form form{1, 1, 6, 24, 8};
  for (int64_t offset : {0, 1, 2, 4, 8, 0})
    checkEpilogue<BFloat>(_mlir_ciface_mctx_rt_device_matmul_bf16, form,
                          {true, Extras::None, MCTX_ACTIVATION_NONE, offset},
                          5e-3);
  EXPECT_EQ(calls("cuMemcpyAsync"),
            std::vector<std::string>(
                3, "cuMemcpyAsync device to device 48 stream 0"));
  // 16 bytes, 32 and those of a block.
  EXPECT_EQ(calls("GetHeuristic").size(), 3u);
}

TEST_F(DeviceMatMul, EpiloguesArePartOfWhatIsKept) {
  Form form{1, 1, 6, 24, 8};
  auto multiply = [&](const Extras &extras) {
    checkEpilogue<float>(_mlir_ciface_mctx_rt_device_matmul_f32, form, extras,
                         1e-6);
  };
  for (int i = 0; i < 2; ++i) {
    multiply({true});
    multiply({true, Extras::Another});
    multiply({true, Extras::Another, MCTX_ACTIVATION_RELU});
    multiply({false, Extras::None, MCTX_ACTIVATION_GELU_TANH});
  }
  EXPECT_EQ(calls("GetHeuristic").size(), 4u);
  EXPECT_EQ(calls("cublasLtMatmul ").at(2),
            "cublasLtMatmul f32 24 x 6 x 8 batch 1 stream 0 bias onto another "
            "relu");
}

TEST_F(DeviceMatMul, EmptyOperandsWriteNothing) {
  for (const Form &form : {Form{1, 1, 0, 4, 4}, Form{1, 1, 4, 0, 4},
                           Form{0, 1, 4, 4, 4}, Form{1, 1, 0, 0, 0}}) {
    int64_t batch = std::min(form.batchA, form.batchB);
    Matrices<float> a(form.batchA, form.m, form.k, false, 1);
    Matrices<float> b(form.batchB, form.k, form.n, false, 1);
    Matrices<float> c(batch, form.m, form.n, false, 1);
    on<float>(_mlir_ciface_mctx_rt_device_matmul_f32)(a, b, c);
    for (float value : c.data)
      EXPECT_TRUE(std::isnan(value));
  }
  EXPECT_TRUE(calls("cublasLt").empty());
}

/// Outside of a model's run the program ends with what the run would.
TEST_F(DeviceMatMul, FailuresNameDeviceAndProduct) {
  auto multiply = [&](const char *fail) {
    setenv("MEGACTX_FAKE_CUDA", fail, 1);
    check<_Float16>(on<_Float16>(_mlir_ciface_mctx_rt_device_matmul_f16),
                    {3, 3, 5, 6, 7}, 1e-3);
  };
  EXPECT_EXIT(multiply("fail=cublasLtMatmul:14"), testing::ExitedWithCode(1),
              "CUDA device 0 \\(Fake GPU\\): the f16 product \\[3, 5, 7\\] x "
              "\\[3, 7, 6\\]: cublasLtMatmul failed: "
              "CUBLAS_STATUS_INTERNAL_ERROR");
  EXPECT_EXIT(multiply("fail=cublasLtMatmulAlgoGetHeuristic:15"),
              testing::ExitedWithCode(1), "CUBLAS_STATUS_NOT_SUPPORTED");
}
} // namespace
