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
using Function = void (*)(mctx_memref3 *, mctx_memref3 *, mctx_memref3 *);

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
          product(&a.memref, &b.memref, &c.memref);
          std::copy_n(blocks[2] + shift, c.data.size(), c.data.data());
          for (T *block : blocks)
            device->free(block);
        };
  }

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
