//===- Memory.cpp - memory of compiled models -----------------------------===//
//
// Freed blocks are kept by size class and given out again: a model's run asks
// for the same sizes as the one before.
//
//===----------------------------------------------------------------------===//

#include "Memory.h"
#include "Cuda.h"
#include "Model.h"
#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

using namespace megactx;

namespace {
/// Stands before each block.
struct Header {
  uint64_t size;
};
static_assert(sizeof(Header) <= megactx::kAlignment);

std::mutex mutex;
std::map<uint64_t, std::vector<void *>> &freeBlocks() {
  static auto *blocks = new std::map<uint64_t, std::vector<void *>>();
  return *blocks;
}
} // namespace

extern "C" void *_mlir_memref_to_llvm_alloc(uint64_t size) {
  if (size < kMostBytes) {
    uint64_t rounded = sizeClass(size);
    {
      std::lock_guard<std::mutex> lock(mutex);
      std::vector<void *> &blocks = freeBlocks()[rounded];
      if (!blocks.empty()) {
        void *block = blocks.back();
        blocks.pop_back();
        return block;
      }
    }
    char *base = static_cast<char *>(
        std::aligned_alloc(kAlignment, rounded + kAlignment));
    if (base) {
      reinterpret_cast<Header *>(base)->size = rounded;
      return base + kAlignment;
    }
  }
  char text[80];
  std::snprintf(text, sizeof(text), "out of memory: %llu bytes for a tensor",
                static_cast<unsigned long long>(size));
  mctx_rt_fail(text);
  megactx::leaveRun();
  // No run that could end: generated code does not look at the pointer.
  std::fprintf(stderr, "megactx: %s\n", text);
  std::exit(1);
}

extern "C" void *_mlir_memref_to_llvm_aligned_alloc(uint64_t, uint64_t size) {
  return _mlir_memref_to_llvm_alloc(size);
}

extern "C" void _mlir_memref_to_llvm_free(void *pointer) {
  if (!pointer)
    return;
  auto *header =
      reinterpret_cast<Header *>(static_cast<char *>(pointer) - kAlignment);
  std::lock_guard<std::mutex> lock(mutex);
  freeBlocks()[header->size].push_back(pointer);
}

extern "C" void mctx_free(void *data) {
  if (!data)
    return;
  if (cuda::Device *device = cuda::Device::of(data))
    device->free(data);
  else
    _mlir_memref_to_llvm_free(data);
}

extern "C" void mctx_retain(void *data) {
  if (cuda::Device *device = cuda::Device::of(data))
    device->retain(data);
}
