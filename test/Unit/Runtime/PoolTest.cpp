//===- PoolTest.cpp - every task runs once --------------------------------===//

#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include "gtest/gtest.h"
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
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

struct Order {
  std::mutex mutex;
  std::map<std::thread::id, std::vector<int64_t>> tasks;
  std::condition_variable changed;
};

/// A thread takes neighbours in order; what one that waits leaves of its share,
/// others take.
TEST(Pool, SharesAreTakenInOrderThenByOthers) {
  mctx_set_threads(2);
  Order order;
  mctx_rt_parallel_for(
      [](void *context, int64_t i) {
        auto &order = *static_cast<Order *>(context);
        std::unique_lock<std::mutex> lock(order.mutex);
        order.tasks[std::this_thread::get_id()].push_back(i);
        order.changed.notify_all();
        // The first task ends when all others have begun.
        if (i == 0)
          order.changed.wait(lock, [&] {
            size_t begun = 0;
            for (auto &[thread, tasks] : order.tasks)
              begun += tasks.size();
            return begun == 40;
          });
      },
      &order, 40);
  ASSERT_EQ(order.tasks.size(), 2u);
  std::vector<int64_t> ofCaller, ofWorker(20);
  std::iota(ofWorker.begin(), ofWorker.end(), 20);
  // A caller that is late finds its first task taken.
  std::vector<int64_t> &own = order.tasks[std::this_thread::get_id()];
  bool isLate = own.front() != 0;
  (isLate ? ofWorker : ofCaller).push_back(0);
  for (int64_t i = 1; i < 20; ++i)
    (isLate ? ofCaller : ofWorker).push_back(i);
  EXPECT_EQ(own, ofCaller);
  order.tasks.erase(std::this_thread::get_id());
  EXPECT_EQ(order.tasks.begin()->second, ofWorker);
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
