//===- Machine.h - one multiprocessor, a block at a time --------*- C++ -*-===//
//
// Owns the run of a launch: its blocks one after the other, a fiber per thread,
// and the meetings of the threads that run an instruction together. What the
// instructions do is in Intrinsics.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_MACHINE_H
#define MEGACTX_TEST_GPUEMULATOR_MACHINE_H

#include "Boxes.h"
#include "Fibers.h"
#include "Memory.h"
#include "Products.h"
#include "llvm/ADT/ArrayRef.h"
#include <array>
#include <cstdlib>
#include <functional>
#include <map>

namespace megactx::emulator {

class Machine;

/// Named: those whose first two operands are the number of a barrier and how
/// many threads it is for.
enum class Scope { Thread, Warp, Warpgroup, Block, Named };

/// What stands for `llvm.nvvm.<name>`, or for inline assembly: runs once for
/// all threads of the scope.
struct Intrinsic {
  llvm::StringRef name;
  Scope scope;
  /// Of those that wait at a named barrier, nothing.
  std::function<void(Machine &, llvm::ArrayRef<Lane>)> run;
};

/// Null where the emulator does not know it.
const Intrinsic *findIntrinsic(llvm::StringRef name);
/// The same for inline assembly with so many operands and results.
const Intrinsic *findAssembly(llvm::StringRef text, size_t operands,
                              size_t results);

/// A kernel that runs on the host.
struct Kernel {
  void (*entry)(void **arguments);
  /// Instructions as text, by the numbers that calls and accesses pass.
  const std::vector<std::string> *sites;
  /// Of a thread when it begins, where the kernel bounds them; else 0.
  unsigned registers = 0;
};

struct Dim3 {
  std::array<unsigned, 3> size;
  unsigned count() const { return size[0] * size[1] * size[2]; }
  unsigned at(unsigned number, unsigned axis) const;
};

class Machine {
  /// The addresses of shared memory, which descriptors name by their last 18
  /// bits. The first bytes are the system's.
  static constexpr size_t kWindow = 1 << 18, kSystem = 1 << 10;
  struct Free {
    void operator()(char *memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> window{
      static_cast<char *>(std::aligned_alloc(kWindow, kWindow))};

public:
  static constexpr unsigned kWarp = 32, kWarpgroup = 128, kThreads = 1024,
                            kNamed = 16;
  static constexpr size_t kShared = 227 << 10;

  /// Runs all blocks of a launch; an error ends it.
  void launch(const Kernel &kernel, Dim3 grid, Dim3 block, size_t sharedBytes,
              void **arguments);

  /// What kernels call.
  void call(const Intrinsic &intrinsic, unsigned site, const Slot *operands,
            Slot *results);
  void access(const void *at, size_t bytes, size_t alignment, Access how,
              unsigned site);

  /// cp.async: what is copied arrives at the wait for its group.
  void copy(unsigned thread, char *to, const char *from, size_t bytes,
            size_t fromMemory);
  void commitCopies(unsigned thread);
  void waitForCopies(unsigned thread, size_t groupsLeft);

  /// A change of the block's barriers, after which others may go on.
  void change(const Memory::Error &wrong, unsigned thread);
  /// Until the phase of a parity has ended.
  void waitForPhase(unsigned thread, const char *at, unsigned parity);

  /// All threads that meet know of each other from now on.
  void synchronize(llvm::ArrayRef<Lane> lanes);
  /// barrier.cta.arrive: at a named barrier, without waiting there. What the
  /// threads did is not seen by those that do.
  void arrive(llvm::ArrayRef<Lane> lanes);
  /// setmaxnreg: the warpgroup has so many registers a thread from now on. It
  /// gives back others or waits for them. (Which numbers there are, LLVM's
  /// verifier knows.)
  void setRegisters(unsigned count, bool isMore);

  /// The products of the thread's warpgroup.
  Products &products(unsigned thread) {
    return warpgroupProducts[thread / kWarpgroup];
  }

  /// Ends the launch where there is an error.
  void require(const Memory::Error &error, unsigned thread);
  void requireAligned(const void *at, size_t alignment, unsigned thread);

  Clocks clocks;
  Memory memory{clocks};
  Barriers barriers{clocks};
  Dim3 grid, block;
  unsigned blockNumber;
  std::string error;
  char *const shared = window.get() + kSystem;

private:
  static constexpr uint64_t kEvents = 100'000'000;
  struct Copy {
    char *to;
    const char *from;
    size_t bytes, fromMemory;
  };
  struct Thread {
    /// The instruction it runs or waits at.
    unsigned site = 0;
    bool waits = false;
    const char *barrier = nullptr; ///< that it waits at
    /// Groups of copies; the last is open.
    std::deque<std::vector<Copy>> groups;
  };
  struct Meeting {
    std::vector<Lane> lanes;
    unsigned arrived = 0;
  };
  void meet(const Intrinsic &intrinsic, Meeting &meeting, unsigned first,
            unsigned size, Lane lane);
  /// A barrier with a number, for so many threads.
  struct Named {
    unsigned count = 0;
    std::vector<unsigned> arrived;
    std::vector<Lane> waiting; ///< of these
  };
  bool arrive(const Lane &lane, bool waits);
  void countEvent(unsigned thread);
  std::string where(unsigned thread) const;
  std::string stuck() const;

  const Kernel *kernel;
  Fibers fibers;
  std::vector<Thread> threads;
  std::vector<Meeting> warps, warpgroups;
  std::vector<Products> warpgroupProducts;
  Meeting wholeBlock;
  std::map<unsigned, Named> named; ///< by number
  /// Registers of a thread, by warpgroup, and what others may take.
  std::vector<unsigned> registers;
  unsigned freeRegisters;
  std::vector<unsigned> waitForRegisters;
  uint64_t events;
};

/// The one that launches and the runtime's functions work with.
Machine &machine();

} // namespace megactx::emulator

#endif
