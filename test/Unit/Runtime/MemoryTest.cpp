//===- MemoryTest.cpp - blocks are aligned, distinct and reused -----------===//

#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include "gtest/gtest.h"
#include <cstring>
#include <thread>

namespace {
TEST(Memory, BlocksAreAlignedAndDoNotOverlap) {
  std::vector<std::pair<unsigned char *, uint64_t>> blocks;
  for (uint64_t size : {0, 1, 63, 64, 65, 511, 513, 4097, 100001, 3000000})
    for (int copy = 0; copy < 3; ++copy) {
      auto *block =
          static_cast<unsigned char *>(_mlir_memref_to_llvm_alloc(size));
      ASSERT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
      std::memset(block, int(blocks.size()), size);
      blocks.emplace_back(block, size);
    }
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (uint64_t at = 0; at < blocks[i].second; ++at)
      ASSERT_EQ(blocks[i].first[at], i);
    _mlir_memref_to_llvm_free(blocks[i].first);
  }
}

TEST(Memory, FreedBlocksOfASizeAreGivenOutAgain) {
  void *first = _mlir_memref_to_llvm_aligned_alloc(64, 77777);
  _mlir_memref_to_llvm_free(first);
  void *second = _mlir_memref_to_llvm_aligned_alloc(64, 77777);
  EXPECT_EQ(first, second);
  mctx_free(second);
  _mlir_memref_to_llvm_free(nullptr);
  mctx_free(nullptr);
}

TEST(Memory, ThreadsShareBlocks) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&wrong, t] {
      for (int i = 0; i < 2000; ++i) {
        uint64_t size = 64 + i % 7 * 100;
        auto *block =
            static_cast<unsigned char *>(_mlir_memref_to_llvm_alloc(size));
        std::memset(block, t, size);
        for (uint64_t at = 0; at < size; ++at)
          wrong += block[at] != t;
        _mlir_memref_to_llvm_free(block);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
}

/// Outside of a run there is nobody to tell but the process.
TEST(MemoryDeathTest, SizesThatOverflowedEndWithAText) {
  EXPECT_EXIT(_mlir_memref_to_llvm_alloc(UINT64_MAX - 100),
              testing::ExitedWithCode(1),
              "out of memory: 18446744073709551515");
}
} // namespace
