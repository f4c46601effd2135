//===- Machine.cpp - one multiprocessor, a block at a time ----------------===//

#include "Machine.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Alignment.h"

using namespace megactx::emulator;
using llvm::Twine;

unsigned Dim3::at(unsigned number, unsigned axis) const {
  for (unsigned i = 0; i < axis; ++i)
    number /= size[i];
  return axis < 2 ? number % size[axis] : number;
}

std::string Machine::where(unsigned thread) const {
  auto at = [&](unsigned axis) {
    return Twine(grid.at(blockNumber, axis)).str();
  };
  return "block (" + at(0) + ", " + at(1) + ", " + at(2) + "), thread " +
         std::to_string(thread) + ", " +
         (*kernel->sites)[threads[thread].site] + ": ";
}

void Machine::require(const Memory::Error &wrong, unsigned thread) {
  if (!wrong)
    return;
  error = where(thread) + *wrong;
  fibers.stop();
}

void Machine::requireAligned(const void *at, size_t alignment,
                             unsigned thread) {
  if (!llvm::isAddrAligned(llvm::Align(alignment), at))
    require("address that is no multiple of " + std::to_string(alignment) +
                " bytes",
            thread);
}

void Machine::countEvent(unsigned thread) {
  if (++events > kEvents)
    require(std::string("the block does not end"), thread);
}

void Machine::access(const void *at, size_t bytes, size_t alignment, Access how,
                     unsigned site) {
  unsigned thread = fibers.current();
  threads[thread].site = site;
  countEvent(thread);
  requireAligned(at, alignment, thread);
  auto check = how == Access::Read    ? &Memory::read
               : how == Access::Write ? &Memory::write
                                      : &Memory::update;
  require((memory.*check)(at, bytes, thread), thread);
}

void Machine::call(const Intrinsic &intrinsic, unsigned site,
                   const Slot *operands, Slot *results) {
  unsigned thread = fibers.current();
  threads[thread].site = site;
  countEvent(thread);
  Lane lane{thread, operands, results};
  if (intrinsic.scope == Scope::Thread)
    return intrinsic.run(*this, lane);
  unsigned warp = thread / kWarp;
  // The instructions with a meeting are all .aligned.
  for (unsigned i = warp * kWarp; i < (warp + 1) * kWarp; ++i)
    if (threads[i].waits && threads[i].site != site)
      require("the warp's thread " + std::to_string(i) +
                  " is at another instruction, " +
                  (*kernel->sites)[threads[i].site],
              thread);
  unsigned warpgroup = thread / kWarpgroup;
  switch (intrinsic.scope) {
  case Scope::Thread:
    return;
  case Scope::Warp:
    return meet(intrinsic, warps[warp], warp * kWarp, kWarp, lane);
  case Scope::Warpgroup:
    if (threads.size() % kWarpgroup)
      require(std::string("the block does not consist of whole warpgroups"),
              thread);
    return meet(intrinsic, warpgroups[warpgroup], warpgroup * kWarpgroup,
                kWarpgroup, lane);
  case Scope::Block:
    return meet(intrinsic, wholeBlock, 0, threads.size(), lane);
  case Scope::Named:
    if (arrive(lane, /*waits=*/true))
      return;
    threads[thread].waits = true;
    return fibers.wait();
  }
}

/// Whether the last one has arrived, and others go on.
bool Machine::arrive(const Lane &lane, bool waits) {
  unsigned number = lane.operands[0].get<uint32_t>();
  unsigned count = lane.operands[1].get<uint32_t>();
  std::string name = "barrier " + std::to_string(number);
  std::string wanted = name + " for " + std::to_string(count) + " threads";
  if (number >= kNamed || !count || count % kWarp || count > threads.size())
    require(wanted, lane.thread);
  Named &barrier = named[number];
  if (!barrier.arrived.empty() && barrier.count != count)
    require(wanted + ", and for others for " + std::to_string(barrier.count),
            lane.thread);
  if (llvm::is_contained(barrier.arrived, lane.thread))
    require(name + ", where the thread has arrived already", lane.thread);
  barrier.count = count;
  barrier.arrived.push_back(lane.thread);
  if (waits)
    barrier.waiting.push_back(lane);
  if (barrier.arrived.size() < count)
    return false;
  std::vector<Lane> all = std::exchange(barrier, Named()).waiting;
  synchronize(all);
  for (const Lane &other : all) {
    if (other.thread == fibers.current())
      continue;
    threads[other.thread].waits = false;
    fibers.wake(other.thread);
  }
  return true;
}

void Machine::arrive(llvm::ArrayRef<Lane> lanes) {
  for (const Lane &lane : lanes)
    arrive(lane, /*waits=*/false);
}

void Machine::synchronize(llvm::ArrayRef<Lane> lanes) {
  std::vector<unsigned> all;
  for (const Lane &lane : lanes)
    all.push_back(lane.thread);
  clocks.meet(all);
}

/// The thread that arrived last waits for all of its warpgroup.
void Machine::setRegisters(unsigned count, bool isMore) {
  unsigned thread = fibers.current();
  if (!kernel->registers)
    require(
        std::string("setmaxnreg in a kernel whose registers nothing bounds"),
        thread);
  unsigned &own = registers[thread / kWarpgroup];
  if (isMore ? count < own : count > own)
    require("setmaxnreg from " + std::to_string(own) + " to " +
                std::to_string(count) + " registers, which is not " +
                (isMore ? "more" : "less"),
            thread);
  while (count > own + freeRegisters) {
    waitForRegisters.push_back(thread);
    threads[thread].waits = true;
    fibers.wait();
  }
  freeRegisters = freeRegisters + own - count;
  own = count;
  for (unsigned waiting : std::exchange(waitForRegisters, {})) {
    threads[waiting].waits = false;
    fibers.wake(waiting);
  }
}

/// The last to arrive does the work of all.
void Machine::meet(const Intrinsic &intrinsic, Meeting &meeting, unsigned first,
                   unsigned size, Lane lane) {
  meeting.lanes.resize(size);
  meeting.lanes[lane.thread - first] = lane;
  if (++meeting.arrived < size) {
    threads[lane.thread].waits = true;
    fibers.wait();
    return;
  }
  meeting.arrived = 0;
  intrinsic.run(*this, meeting.lanes);
  for (unsigned i = first; i < first + size; ++i) {
    if (i == lane.thread)
      continue;
    threads[i].waits = false;
    fibers.wake(i);
  }
}

void Machine::copy(unsigned thread, char *to, const char *from, size_t bytes,
                   size_t fromMemory) {
  requireAligned(to, bytes, thread);
  requireAligned(from, bytes, thread);
  if (fromMemory)
    require(memory.read(from, fromMemory, thread), thread);
  require(memory.beginCopy(to, bytes, thread), thread);
  memset(to, 0xff, bytes);
  threads[thread].groups.back().push_back({to, from, bytes, fromMemory});
}

void Machine::commitCopies(unsigned thread) {
  threads[thread].groups.emplace_back();
}

void Machine::waitForCopies(unsigned thread, size_t groupsLeft) {
  auto &groups = threads[thread].groups;
  for (; groups.size() > groupsLeft + 1; groups.pop_front()) {
    for (const Copy &copy : groups.front()) {
      memcpy(copy.to, copy.from, copy.fromMemory);
      memset(copy.to + copy.fromMemory, 0, copy.bytes - copy.fromMemory);
      memory.endCopy(copy.to, copy.bytes);
    }
  }
}

void Machine::change(const Memory::Error &wrong, unsigned thread) {
  require(wrong, thread);
  for (unsigned waiting : barriers.takeWaiting()) {
    threads[waiting].waits = false;
    fibers.wake(waiting);
  }
}

void Machine::waitForPhase(unsigned thread, const char *at, unsigned parity) {
  for (bool hasEnded = false;;) {
    countEvent(thread);
    require(barriers.wait(at, parity, thread, memory, hasEnded), thread);
    if (hasEnded)
      break;
    barriers.addWaiting(thread);
    threads[thread].waits = true;
    threads[thread].barrier = at;
    fibers.wait();
  }
  threads[thread].barrier = nullptr;
}

/// Where the threads are that have not ended.
std::string Machine::stuck() const {
  std::string text = "no thread can go on:";
  for (unsigned i = 0; i < threads.size(); ++i)
    if (threads[i].waits && (i == 0 || !threads[i - 1].waits ||
                             threads[i - 1].site != threads[i].site))
      text += "\n  from " + where(i) + "waits for others" +
              barriers.stateOf(threads[i].barrier);
  return text;
}

void Machine::launch(const Kernel &launched, Dim3 gridSize, Dim3 blockSize,
                     size_t sharedBytes, void **arguments) {
  kernel = &launched;
  grid = gridSize;
  block = blockSize;
  unsigned count = block.count();
  if (!count || count > kThreads || count % kWarp || sharedBytes > kShared) {
    error = (Twine("expected whole warps of at most ") + Twine(kThreads) +
             " threads and at most " + Twine(kShared) +
             " bytes of shared memory, but got " + Twine(count) + " and " +
             Twine(sharedBytes))
                .str();
    return;
  }
  memory.beginLaunch();
  for (blockNumber = 0; blockNumber < grid.count(); ++blockNumber) {
    clocks.reset(count);
    memory.beginBlock(shared, sharedBytes);
    threads.assign(count, Thread());
    for (Thread &thread : threads)
      thread.groups.emplace_back();
    warps.assign(count / kWarp, Meeting());
    warpgroups.assign(count / kWarpgroup, Meeting());
    warpgroupProducts.assign(count / kWarpgroup, Products());
    wholeBlock = Meeting();
    barriers.reset();
    named.clear();
    registers.assign(count / kWarpgroup, kernel->registers);
    freeRegisters = 0;
    waitForRegisters.clear();
    events = 0;
    unsigned left = fibers.run(count, [&] { kernel->entry(arguments); });
    if (error.empty() && left)
      error = stuck();
    if (!error.empty())
      return;
  }
}
