//===- Pool.cpp - the one thread pool -------------------------------------===//
//
// Each thread has a share of a loop's tasks, neighbours, which it takes in
// order, and then what is left of others' shares: memory is read in long runs,
// and what a core has in its caches of one loop, the next one over the same
// rows finds there. Workers spin for a short while between loops, since loops
// of one model follow each other closely, and then sleep. A caller waits for
// those that have begun alone: one that wakes up late, or on a core that
// another thread has, finds the loop closed.
//
//===----------------------------------------------------------------------===//

#include "Pool.h"
#include "megactx/Runtime/KernelABI.h"
#include "megactx/Runtime/Runtime.h"
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <sched.h>
#include <thread>
#include <vector>

namespace {
/// Within a task: loops run in the caller.
thread_local bool withinTask = false;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

int coresOfThisProcess() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

/// A thread's tasks of a loop, on a line of memory of their own.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

class Pool {
public:
  explicit Pool(int threads) : shares(threads) {
    for (int i = 1; i < threads; ++i)
      workers.emplace_back([this, i] { work(i); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
      generation.fetch_add(1);
    }
    wake.notify_all();
    for (std::thread &worker : workers)
      worker.join();
  }
  int size() const { return static_cast<int>(workers.size()) + 1; }

  void run(void (*body)(void *, int64_t), void *context, int64_t count) {
    std::lock_guard<std::mutex> oneAtATime(callers);
    this->body = body;
    this->context = context;
    int64_t size = shares.size(), each = count / size, rest = count % size;
    for (int64_t i = 0, begin = 0; i < size; ++i) {
      shares[i].next.store(begin, std::memory_order_relaxed);
      begin += each + (i < rest);
      shares[i].end = begin;
    }
    isOpen.store(true);
    {
      std::lock_guard<std::mutex> lock(mutex);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    take(0);
    // Sequentially consistent, as in work(): either a worker is seen here, or
    // it sees that the loop is closed.
    isOpen.store(false);
    for (int spin = 0; inside.load() > 0; ++spin) {
      relax();
      if (spin % 1024 == 1023) // it may wait for this core
        std::this_thread::yield();
    }
  }

private:
  /// A thread's own tasks, then those of others.
  void take(size_t thread) {
    withinTask = true;
    for (size_t i = 0; i < shares.size(); ++i) {
      Share &share = shares[(thread + i) % shares.size()];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task < share.end)
          body(context, task);
      }
    }
    withinTask = false;
  }

  void work(size_t thread) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0;
           spin < 4000 && generation.load(std::memory_order_acquire) == seen;
           ++spin)
        relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return generation.load() != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stopping)
        return;
      inside.fetch_add(1);
      if (isOpen.load())
        take(thread);
      inside.fetch_sub(1);
    }
  }

  std::vector<Share> shares; ///< of each thread, the caller's first
  std::vector<std::thread> workers;
  std::mutex mutex, callers;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<bool> isOpen{false};
  std::atomic<int> inside{0}; ///< workers that may take tasks
  std::atomic<bool> stopping{false};
  void (*body)(void *, int64_t) = nullptr;
  void *context = nullptr;
};

std::mutex poolMutex;
std::unique_ptr<Pool> pool;
int requestedThreads = 0;

Pool &thePool() {
  std::lock_guard<std::mutex> lock(poolMutex);
  if (!pool)
    pool = std::make_unique<Pool>(requestedThreads > 0 ? requestedThreads
                                                       : coresOfThisProcess());
  return *pool;
}
} // namespace

extern "C" int mctx_set_threads(int count) {
  {
    std::lock_guard<std::mutex> lock(poolMutex);
    int wanted = count > 0 ? std::min(count, 1024) : 0;
    if (wanted != requestedThreads)
      pool.reset();
    requestedThreads = wanted;
  }
  return thePool().size();
}

bool megactx::insideTask() { return withinTask; }

int megactx::poolSize() { return thePool().size(); }

extern "C" void mctx_rt_parallel_for(void (*body)(void *, int64_t),
                                     void *context, int64_t count) {
  if (count <= 0)
    return;
  if (withinTask || count == 1) {
    for (int64_t i = 0; i < count; ++i)
      body(context, i);
    return;
  }
  thePool().run(body, context, count);
}
