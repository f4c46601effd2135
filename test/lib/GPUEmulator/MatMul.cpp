//===- MatMul.cpp - the runtime's products and memory, emulated -----------===//
//
// Owns what compiled models call of the runtime beside MLIR's: products of
// matrices in device memory, with sums in f64, checks that fail, and the host's
// memory.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "megactx/Runtime/KernelABI.h"
#include "llvm/ADT/bit.h"
#include <cmath>
#include <cstdlib>
#include <cstring>

using namespace megactx::emulator;

namespace {
float wide(float x) { return x; }
float wide(_Float16 x) { return x; }
float wide(__bf16 x) {
  uint32_t bits = uint32_t(llvm::bit_cast<uint16_t>(x)) << 16;
  return llvm::bit_cast<float>(bits);
}
void narrow(double x, float &to) { to = x; }
void narrow(double x, _Float16 &to) { to = x; }
void narrow(double x, __bf16 &to) {
  auto bits = llvm::bit_cast<uint32_t>(float(x));
  bits += 0x7fff + ((bits >> 16) & 1);
  to = llvm::bit_cast<__bf16>(uint16_t(bits >> 16));
}

void require(const Memory::Error &wrong) {
  if (wrong && machine().error.empty())
    machine().error = "matrix product: " + *wrong;
}

template <typename T> class BatchedProduct {
public:
  static T *at(const mctx_memref3 &m, int64_t i, int64_t j, int64_t k) {
    // A batch of 1 is used for every one.
    i = m.sizes[0] == 1 ? 0 : i;
    return static_cast<T *>(m.aligned) + m.offset + i * m.strides[0] +
           j * m.strides[1] + k * m.strides[2];
  }
  static void readAll(const mctx_memref3 &m) {
    for (int64_t i = 0; i < m.sizes[0]; ++i)
      for (int64_t j = 0; j < m.sizes[1]; ++j)
        for (int64_t k = 0; k < m.sizes[2]; ++k)
          require(machine().memory.read(at(m, i, j, k), sizeof(T), 0));
  }
  /// c = activation(a b + bias + residual), as KernelABI.h says.
  static void run(const mctx_memref3 &a, const mctx_memref3 &b,
                  const mctx_memref1 &bias, const mctx_memref3 &residual,
                  const mctx_memref3 &c, int32_t activation) {
    if (!machine().error.empty())
      return;
    machine().memory.beginLaunch();
    readAll(a);
    readAll(b);
    readAll(residual);
    for (int64_t i = 0; i < bias.sizes[0]; ++i)
      require(machine().memory.read(elementOf(bias, i), sizeof(T), 0));
    if (!machine().error.empty())
      return;
    bool adds = residual.sizes[0] && residual.sizes[1] && residual.sizes[2];
    for (int64_t i = 0; i < c.sizes[0]; ++i)
      for (int64_t row = 0; row < c.sizes[1]; ++row)
        for (int64_t column = 0; column < c.sizes[2]; ++column) {
          double sum = adds ? wide(*at(residual, i, row, column)) : 0;
          if (bias.sizes[0])
            sum += wide(*elementOf(bias, column));
          for (int64_t k = 0; k < a.sizes[2]; ++k)
            sum += double(wide(*at(a, i, row, k))) *
                   double(wide(*at(b, i, k, column)));
          T *place = at(c, i, row, column);
          require(machine().memory.write(place, sizeof(T), 0));
          if (!machine().error.empty())
            return;
          narrow(activated(sum, activation), *place);
        }
  }

private:
  static T *elementOf(const mctx_memref1 &m, int64_t i) {
    return static_cast<T *>(m.aligned) + m.offset + i * m.strides[0];
  }
  static double activated(double x, int32_t activation) {
    if (activation == MCTX_ACTIVATION_RELU)
      return x > 0 ? x : 0;
    if (activation == MCTX_ACTIVATION_GELU_TANH)
      return x / 2 *
             (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    return x;
  }
};
} // namespace

extern "C" {
void _mlir_ciface_mctx_rt_device_matmul_f32(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation) {
  BatchedProduct<float>::run(*a, *b, *bias, *residual, *c, activation);
}
void _mlir_ciface_mctx_rt_device_matmul_f16(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation) {
  BatchedProduct<_Float16>::run(*a, *b, *bias, *residual, *c, activation);
}
void _mlir_ciface_mctx_rt_device_matmul_bf16(mctx_memref3 *a, mctx_memref3 *b,
                                             mctx_memref1 *bias,
                                             mctx_memref3 *residual,
                                             mctx_memref3 *c,
                                             int32_t activation) {
  BatchedProduct<__bf16>::run(*a, *b, *bias, *residual, *c, activation);
}

/// A check of the model failed. The run goes on, where the runtime would end
/// it.
void _mlir_ciface_mctx_rt_fail(mctx_memref1 *text) {
  if (machine().error.empty())
    machine().error = std::string(
        static_cast<char *>(text->aligned) + text->offset, text->sizes[0]);
}

/// The number of the first check that failed, 0 for none, and their texts, with
/// a zero behind each: told at once, where the runtime waits for nothing.
void _mlir_ciface_mctx_rt_report_checks(mctx_memref0 *number,
                                        mctx_memref1 *texts) {
  const auto *flag = static_cast<int32_t *>(number->aligned) + number->offset;
  if (auto wrong = machine().memory.read(flag, sizeof(*flag), 0);
      wrong && machine().error.empty())
    machine().error = "checks: " + *wrong;
  const char *text = static_cast<char *>(texts->aligned) + texts->offset;
  for (int32_t i = 1; i < *flag; ++i)
    text += std::strlen(text) + 1;
  if (*flag && machine().error.empty())
    machine().error = text;
}

void *_mlir_memref_to_llvm_alloc(uint64_t bytes) { return std::malloc(bytes); }
void *_mlir_memref_to_llvm_aligned_alloc(uint64_t, uint64_t bytes) {
  return std::malloc(bytes);
}
void _mlir_memref_to_llvm_free(void *memory) { std::free(memory); }
}
