//===- Memory.h - the memory that an emulated kernel may touch --*- C++ -*-===//
//
// Owns what every byte of shared and global memory went through: who wrote and
// read it since which barrier, and whether a copy is still on its way to it.
// Accesses that no order of the threads makes right are errors, whatever the
// values.
//
// Time is counted in phases: a barrier of a block ends one, and blocks, which
// run one after the other, never share one. So a phase names its block too.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_MEMORY_H
#define MEGACTX_TEST_GPUEMULATOR_MEMORY_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace megactx::emulator {

/// What a kernel may do with a buffer of global memory.
enum class Use { In, Out, InOut };

class Memory {
public:
  /// Global memory that kernels may touch from now on. What is Out holds
  /// nothing until a kernel writes it.
  void add(llvm::StringRef name, char *data, size_t bytes, Use use);
  void remove(char *data);

  void beginLaunch() { launchBegin = ++phase; }
  /// A new block's shared memory: NaN in every type, and not to be read.
  void beginBlock(char *begin, size_t bytes);
  void barrier() {
    ++phase;
    seen.clear();
  }

  /// Each returns what is wrong with the access, if anything.
  using Error = std::optional<std::string>;
  Error read(const void *at, size_t bytes, unsigned thread);
  Error write(const void *at, size_t bytes, unsigned thread);
  /// A copy to `at` that arrives any time up to `endCopy`.
  Error beginCopy(const void *at, size_t bytes, unsigned thread);
  void endCopy(const void *at, size_t bytes);
  /// Of shared memory, through the proxy of asynchronous instructions, for all
  /// threads of the one's warpgroup.
  Error readAsync(const void *at, size_t bytes, unsigned thread);
  /// A box that is copied to `at` through that proxy, by `endBox` at the
  /// latest. Who has seen that arrival may read it, or, after a barrier, all.
  Error beginBox(const void *at, size_t bytes, unsigned thread);
  void endBox(const void *at, size_t bytes, uint32_t arrival);
  void seeArrival(unsigned thread, uint32_t arrival) {
    seen.insert({thread, arrival});
  }
  /// What the thread has written before is there for that proxy.
  void fenceProxy(unsigned thread);

private:
  struct Byte {
    uint32_t writePhase = 0, readPhase = 0;
    /// The last phase of another block that read it.
    uint32_t foreignRead = 0;
    uint32_t arrival = 0; ///< of the box that wrote it last, 0: none did
    uint16_t writer = 0, reader = 0;
    bool holdsValue = false, inFlight = false;
    bool isFenced = false; ///< for the proxy of asynchronous instructions
  };
  struct Region {
    std::string name;
    const char *begin;
    bool writable;
    std::vector<Byte> bytes;
  };
  static constexpr uint16_t kMany = UINT16_MAX;

  /// The bytes at an address, null with an error where they are none of ours.
  Byte *find(const void *at, size_t bytes, bool isWrite, Error &error);
  /// The region that holds an address, null where none does.
  Region *regionOf(const void *at);
  /// An address that a region holds, for messages.
  std::string placeOf(const void *at);
  /// Nothing orders what happened in the phase before the present.
  bool isForeign(uint32_t then) const {
    return launchBegin <= then && then < blockBegin;
  }
  Error checkWrite(const Byte &byte, unsigned thread) const;

  bool isShared(const void *at) const {
    return shared <= at && at < shared + sharedBytes;
  }

  std::vector<Region> regions;
  size_t lastFound = 0;
  const char *shared = nullptr;
  size_t sharedBytes = 0;
  /// What each thread has written to shared memory since its last fence.
  std::map<unsigned, std::vector<llvm::MutableArrayRef<Byte>>> unfenced;
  /// Threads and the arrivals that they have seen since the last barrier.
  std::set<std::pair<unsigned, uint32_t>> seen;
  uint32_t phase = 0, launchBegin = 0, blockBegin = 0;
};

} // namespace megactx::emulator

#endif
