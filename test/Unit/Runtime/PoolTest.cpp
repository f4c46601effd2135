//===- PoolTest.cpp - every task runs once --------------------------------===//

#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include "gtest/gtest.h"
#include <atomic>
#include <set>
#include <thread>

namespace {
using Counts = std::vector<std::atomic<int>>;

void countTask(void *context, int64_t i) {
  ++(*static_cast<Counts *>(context))[i];
}

/// Each thread count, each task count: each index once.
TEST(Pool, RunsEachIndexOnce) {
  for (int threads : {1, 2, 3, 7}) {
    ASSERT_EQ(mctx_set_threads(threads), threads);
    for (int64_t count : {0, 1, 2, 3, 64, 1000})
      for (int round = 0; round < 20; ++round) {
        Counts counts(count + 1);
        mctx_rt_parallel_for(countTask, &counts, count);
        for (int64_t i = 0; i < count; ++i)
          ASSERT_EQ(counts[i], 1) << threads << " threads, index " << i;
        ASSERT_EQ(counts[count], 0);
      }
  }
  mctx_set_threads(0);
}

struct Nested {
  Counts counts = Counts(32 * 16);
  std::atomic<int> strangers{0};
};

/// A loop within a task runs in the task's thread.
TEST(Pool, NestedLoopsRunInTheCaller) {
  mctx_set_threads(4);
  Nested nested;
  mctx_rt_parallel_for(
      [](void *context, int64_t i) {
        struct Inner {
          Nested *nested;
          int64_t row;
          std::thread::id caller;
        } inner{static_cast<Nested *>(context), i, std::this_thread::get_id()};
        mctx_rt_parallel_for(
            [](void *context, int64_t j) {
              auto *inner = static_cast<Inner *>(context);
              ++inner->nested->counts[inner->row * 16 + j];
              if (std::this_thread::get_id() != inner->caller)
                ++inner->nested->strangers;
            },
            &inner, 16);
      },
      &nested, 32);
  for (std::atomic<int> &count : nested.counts)
    EXPECT_EQ(count, 1);
  EXPECT_EQ(nested.strangers, 0);
  mctx_set_threads(0);
}

/// Loops that several threads start at once do not mix.
TEST(Pool, CallersTakeTurns) {
  mctx_set_threads(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        Counts counts(17);
        mctx_rt_parallel_for(countTask, &counts, 17);
        for (std::atomic<int> &count : counts)
          wrong += count != 1;
      }
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(wrong, 0);
  mctx_set_threads(0);
}

TEST(Pool, NegativeThreadsMeanOnePerCore) {
  int all = mctx_set_threads(0);
  EXPECT_GE(all, 1);
  EXPECT_EQ(mctx_set_threads(-3), all);
}
} // namespace
