//===- MatMul.cpp - the runtime's products and memory, emulated -----------===//
//
// Owns what compiled models call of the runtime beside MLIR's: products of
// matrices in device memory, with sums in f64, checks that fail, and the host's
// memory.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "llvm/ADT/bit.h"
#include <cstdlib>

using namespace megactx::emulator;

namespace {
template <unsigned rank> struct MemRef {
  char *allocated, *aligned;
  int64_t offset, sizes[rank], strides[rank];
};

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
  static T *at(const MemRef<3> &m, int64_t i, int64_t j, int64_t k) {
    // A batch of 1 is used for every one.
    i = m.sizes[0] == 1 ? 0 : i;
    return reinterpret_cast<T *>(m.aligned) + m.offset + i * m.strides[0] +
           j * m.strides[1] + k * m.strides[2];
  }
  static void readAll(const MemRef<3> &m) {
    for (int64_t i = 0; i < m.sizes[0]; ++i)
      for (int64_t j = 0; j < m.sizes[1]; ++j)
        for (int64_t k = 0; k < m.sizes[2]; ++k)
          require(machine().memory.read(at(m, i, j, k), sizeof(T), 0));
  }
  static void run(const MemRef<3> &a, const MemRef<3> &b, const MemRef<3> &c) {
    if (!machine().error.empty())
      return;
    machine().memory.beginLaunch();
    readAll(a);
    readAll(b);
    if (!machine().error.empty())
      return;
    for (int64_t i = 0; i < c.sizes[0]; ++i)
      for (int64_t row = 0; row < c.sizes[1]; ++row)
        for (int64_t column = 0; column < c.sizes[2]; ++column) {
          double sum = 0;
          for (int64_t k = 0; k < a.sizes[2]; ++k)
            sum += double(wide(*at(a, i, row, k))) *
                   double(wide(*at(b, i, k, column)));
          T *place = at(c, i, row, column);
          require(machine().memory.write(place, sizeof(T), 0));
          if (!machine().error.empty())
            return;
          narrow(sum, *place);
        }
  }
};
} // namespace

extern "C" {
void _mlir_ciface_mctx_rt_device_matmul_f32(MemRef<3> *a, MemRef<3> *b,
                                            MemRef<3> *c) {
  BatchedProduct<float>::run(*a, *b, *c);
}
void _mlir_ciface_mctx_rt_device_matmul_f16(MemRef<3> *a, MemRef<3> *b,
                                            MemRef<3> *c) {
  BatchedProduct<_Float16>::run(*a, *b, *c);
}
void _mlir_ciface_mctx_rt_device_matmul_bf16(MemRef<3> *a, MemRef<3> *b,
                                             MemRef<3> *c) {
  BatchedProduct<__bf16>::run(*a, *b, *c);
}

/// A check of the model failed. The run goes on, where the runtime would end
/// it.
void _mlir_ciface_mctx_rt_fail(MemRef<1> *text) {
  if (machine().error.empty())
    machine().error = std::string(text->aligned + text->offset, text->sizes[0]);
}

void *_mlir_memref_to_llvm_alloc(uint64_t bytes) { return std::malloc(bytes); }
void *_mlir_memref_to_llvm_aligned_alloc(uint64_t, uint64_t bytes) {
  return std::malloc(bytes);
}
void _mlir_memref_to_llvm_free(void *memory) { std::free(memory); }
}
