//===- Guard.cpp - what is written beside blocks of a device --------------===//
//
// Owns the zones around blocks of device memory that finding faults of kernels
// needs: a block is given out between zones of one byte, which are looked at
// when it is freed, and when somebody asks.
//
//===----------------------------------------------------------------------===//

#include "Cuda.h"
#include "Memory.h"
#include "Model.h"
#include <algorithm>
#include <atomic>

using namespace megactx;
using namespace megactx::cuda;

namespace {
/// In every element type that has such: not a number.
constexpr unsigned char kPoison = 0xff;
std::atomic<uint64_t> zoneBytes{0};
} // namespace

uint64_t Device::zone() { return zoneBytes; }

void Device::guard(uint64_t bytes) {
  zoneBytes = (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
}

/// The zone behind a block begins at its very end.
void *Device::allocateGuarded(uint64_t bytes, Stream stream, uint64_t zone,
                              Result &result) {
  uint64_t rounded =
      (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
  uint64_t whole = rounded + 2 * zone;
  Pointer memory = 0;
  result = driver.cuMemAlloc_v2(&memory, whole);
  if (result == kSuccess)
    result = driver.cuMemsetD8Async(memory, kPoison, whole, stream);
  if (result != kSuccess)
    return nullptr;
  auto *block = reinterpret_cast<void *>(memory + zone);
  blocks[block] = {whole, stream, 1, {}, zone, bytes};
  return block;
}

void Device::checkZones(const void *block, const Block &its) {
  auto begin = reinterpret_cast<Pointer>(block);
  Pointer end = begin + its.asked, after = begin - its.zone + its.bytes;
  auto look = [&](Pointer from, Pointer to, bool isBehind) {
    std::vector<unsigned char> bytes(to - from);
    Result result =
        driver.cuMemcpyAsync(reinterpret_cast<Pointer>(bytes.data()), from,
                             bytes.size(), its.stream);
    if (result == kSuccess)
      result = driver.cuStreamSynchronize(its.stream);
    if (!fault.empty())
      return;
    if (result != kSuccess) {
      fault = title() + ": " + driver.explain("reading a guard", result);
      return;
    }
    auto isWritten = [](unsigned char byte) { return byte != kPoison; };
    size_t at =
        std::find_if(bytes.begin(), bytes.end(), isWritten) - bytes.begin();
    if (at == bytes.size())
      return;
    size_t count = std::count_if(bytes.begin(), bytes.end(), isWritten);
    fault = title() + ": " + std::to_string(count) + " bytes were written " +
            (isBehind ? "behind" : "before") + " a block of " +
            std::to_string(its.asked) + " bytes, the first at " +
            (isBehind ? std::to_string(its.asked + at)
                      : "-" + std::to_string(bytes.size() - at));
  };
  look(begin - its.zone, begin, false);
  look(end, after, true);
}

/// All work with a block that somebody frees is waited for: it may be a
/// borrower's.
void Device::freeGuarded(void *block, const Block &its) {
  driver.cuCtxSynchronize();
  checkZones(block, its);
  driver.cuMemFree_v2(reinterpret_cast<Pointer>(block) - its.zone);
  blocks.erase(block);
}

bool Device::checkGuards(std::string &error) {
  Run here(*this, nullptr);
  std::lock_guard<std::mutex> lock(mutex);
  Result result = driver.cuCtxSynchronize();
  if (result != kSuccess && fault.empty())
    fault = title() + ": " + driver.explain("cuCtxSynchronize", result);
  for (const auto &[block, its] : blocks)
    if (its.zone)
      checkZones(block, its);
  error.swap(fault);
  fault.clear();
  return error.empty();
}

extern "C" int mctx_guard_memory(size_t bytes) {
  if (bytes > kMostBytes) {
    setError("expected guards of at most " + std::to_string(kMostBytes) +
             " bytes, but got " + std::to_string(bytes));
    return 1;
  }
  Device::guard(bytes);
  return 0;
}

extern "C" int mctx_check_guards(void) {
  std::string error;
  for (Device *device : Device::all())
    if (!device->checkGuards(error)) {
      setError(error);
      return 1;
    }
  return 0;
}
