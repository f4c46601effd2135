//===- Memory.h - the memory that an emulated kernel may touch --*- C++ -*-===//
//
// Owns what every byte of shared and global memory went through: who wrote and
// read it, and whether a copy is still on its way to it. Accesses that some
// order of the threads makes wrong are errors, whatever the values.
//
// Within a block, clocks say what is before what. Blocks, which run one after
// the other, have a number each, launches too.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_MEMORY_H
#define MEGACTX_TEST_GPUEMULATOR_MEMORY_H

#include "Clocks.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace megactx::emulator {

/// What an instruction does with memory; Update: atomically, both.
enum class Access : uint32_t { Read, Write, Update };

/// What a kernel may do with a buffer of global memory.
enum class Use { In, Out, InOut };

class Memory {
public:
  explicit Memory(const Clocks &clocks) : clocks(clocks) {}

  /// Global memory that kernels may touch from now on. What is Out holds
  /// nothing until a kernel writes it.
  void add(llvm::StringRef name, char *data, size_t bytes, Use use);
  void remove(char *data);

  void beginLaunch() { launchBegin = ++present; }
  /// A new block's shared memory: NaN in every type, and not to be read.
  void beginBlock(char *begin, size_t bytes);
  /// Each returns what is wrong with the access, if anything.
  using Error = std::optional<std::string>;
  Error read(const void *at, size_t bytes, unsigned thread);
  Error write(const void *at, size_t bytes, unsigned thread);
  /// Atomically, what is there and something else: others of the launch may do
  /// so too, and nothing but that.
  Error update(const void *at, size_t bytes, unsigned thread);
  /// A copy to `at` that arrives any time up to `endCopy`.
  Error beginCopy(const void *at, size_t bytes, unsigned thread);
  void endCopy(const void *at, size_t bytes);
  /// Of shared memory, through the proxy of asynchronous instructions, by
  /// threads together.
  Error readAsync(const void *at, size_t bytes,
                  llvm::ArrayRef<unsigned> threads);
  /// A box that is copied to `at` through that proxy, and arrives by `endBox`
  /// at the latest, as what the agent did at the time.
  Error beginBox(const void *at, size_t bytes, unsigned thread);
  void endBox(const void *at, size_t bytes, unsigned agent, uint32_t time);
  /// What the thread has written before is there for that proxy.
  void fenceProxy(unsigned thread);

private:
  struct Byte {
    /// Blocks, by number: the last that wrote and read it; the last before that
    /// one that read it.
    uint32_t writeBlock = 0, readBlock = 0, foreignRead = 0;
    /// Of the last write, and of the writer's fence for the proxy of
    /// asynchronous instructions since; 0: none.
    uint32_t writeTime = 0, fenceTime = 0;
    uint32_t readers = 0; ///< since the last write, a number of `readerSets`
    uint16_t writer = 0;  ///< a thread, or an agent
    bool holdsValue = false, inFlight = false;
    bool isUpdated = false; ///< by the last write
  };
  struct Region {
    std::string name;
    const char *begin;
    bool writable;
    std::vector<Byte> bytes;
  };
  /// The bytes at an address, null with an error where they are none of ours.
  Byte *find(const void *at, size_t bytes, bool isWrite, Error &error);
  /// The region that holds an address, null where none does.
  Region *regionOf(const void *at);
  /// An address that a region holds, for messages.
  std::string placeOf(const void *at);
  /// Nothing orders what another block of the launch did.
  bool isForeign(uint32_t block) const {
    return launchBegin <= block && block < present;
  }
  bool isUpdatedHere(const Byte &byte) const {
    return byte.isUpdated && launchBegin <= byte.writeBlock;
  }
  Error checkRead(const Byte &byte, const void *at, unsigned thread);
  void noteRead(Byte &byte, unsigned thread);
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
  const Clocks &clocks;
  /// Who read bytes, and when: sets that many bytes share, 0 is empty, and what
  /// they become by a further reader.
  struct Reader {
    unsigned thread;
    uint32_t time;
  };
  std::vector<llvm::SmallVector<Reader, 4>> readerSets = {{}};
  std::map<std::tuple<uint32_t, unsigned, uint32_t>, uint32_t> further;
  /// Of `further`, the last that was looked for and found.
  std::pair<std::tuple<uint32_t, unsigned, uint32_t>, uint32_t> lastFurther;
  uint32_t present = 0, launchBegin = 0;
};

} // namespace megactx::emulator

#endif
