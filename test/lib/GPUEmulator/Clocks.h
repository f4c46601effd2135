//===- Clocks.h - what threads know of each other ---------------*- C++ -*-===//
//
// Owns the order of what a block's threads do: vector clocks. A thread's time
// begins anew whenever it tells others of what it did before, at a barrier or
// an arrival; who learns of it knows all that it knew then. What two threads do
// without such a chain between has no order, however the emulator ran them.
//
// Copies by the machine have a clock too, as agents, each with a number behind
// those of the threads.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_CLOCKS_H
#define MEGACTX_TEST_GPUEMULATOR_CLOCKS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <memory>
#include <vector>

namespace megactx::emulator {

class Clocks {
public:
  /// Times by agent; those behind its end are 0.
  using Times = std::vector<uint32_t>;
  using Known = std::shared_ptr<const Times>;

  Clocks() { reset(1); }
  /// A block begins, of whose threads none knows anything.
  void reset(unsigned threads);
  unsigned addAgent() { return agents++; }
  bool isThread(unsigned agent) const { return agent < own.size(); }

  uint32_t now(unsigned thread) const { return own[thread]; }
  /// Whether what an agent did at a time was before what the thread does now.
  bool knows(unsigned thread, unsigned agent, uint32_t time) const {
    if (agent == thread)
      return true;
    const Times &times = *known[thread];
    return agent < times.size() && time <= times[agent];
  }

  /// Adds what the thread knows and did.
  void release(unsigned thread, Times &to);
  void acquire(unsigned thread, const Known &from);
  /// All learn of each other.
  void meet(llvm::ArrayRef<unsigned> threads);

private:
  static void join(Times &to, const Times &from);

  std::vector<uint32_t> own;
  std::vector<Known> known;
  unsigned agents = 0;
  /// Threads that know the same learn the same.
  Known lastKnown, lastFrom, lastJoined;
};

} // namespace megactx::emulator

#endif
