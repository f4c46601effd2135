//===- Fibers.h - many cooperative threads on one ---------------*- C++ -*-===//
//
// Owns the stacks of a block's threads and which of them runs. Knows nothing of
// what they wait for.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_FIBERS_H
#define MEGACTX_TEST_GPUEMULATOR_FIBERS_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Memory.h"
#include <csetjmp>
#include <deque>
#include <vector>

namespace megactx::emulator {

class Fibers {
public:
  /// Runs body() on each of `count` fibers until all have ended, all wait, or
  /// one has called stop(). Returns how many have not ended.
  unsigned run(unsigned count, llvm::function_ref<void()> body);

  /// The number of the one that runs.
  unsigned current() const { return running; }
  /// Lets others run until somebody wakes this one.
  void wait();
  void wake(unsigned fiber) { ready.push_back(fiber); }
  /// Abandons all fibers, from within one.
  [[noreturn]] void stop();

private:
  struct Fiber {
    llvm::sys::OwningMemoryBlock stack;
    /// Where it goes on; unlike swapcontext, this needs no system call.
    std::jmp_buf place;
    bool started = false, hasEnded = false;
  };
  static void enter();
  /// Continues with the next that is ready, or with run().
  [[noreturn]] void next();

  std::vector<Fiber> fibers;
  std::deque<unsigned> ready;
  llvm::function_ref<void()> body;
  std::jmp_buf runner;
  unsigned running = 0, left = 0;
};

} // namespace megactx::emulator

#endif
