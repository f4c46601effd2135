//===- Memory.cpp - the memory that an emulated kernel may touch ----------===//

#include "Memory.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include <cstring>

using namespace megactx::emulator;
using llvm::Twine;

static constexpr const char *kUpdated = "which the launch updates atomically";

void Memory::add(llvm::StringRef name, char *data, size_t bytes, Use use) {
  Region region{name.str(), data, use != Use::In, std::vector<Byte>(bytes)};
  for (Byte &byte : region.bytes)
    byte.holdsValue = use != Use::Out;
  regions.push_back(std::move(region));
}

void Memory::remove(char *data) {
  llvm::erase_if(regions, [&](const Region &r) { return r.begin == data; });
}

void Memory::beginBlock(char *begin, size_t bytes) {
  ++present;
  remove(begin);
  memset(begin, 0xff, bytes);
  add("shared memory", begin, bytes, Use::Out);
  shared = begin;
  sharedBytes = bytes;
  unfenced.clear();
  readerSets.assign(1, {});
  further.clear();
  lastFurther = {};
}

Memory::Region *Memory::regionOf(const void *at) {
  auto *address = static_cast<const char *>(at);
  auto holds = [&](const Region &region) {
    return region.begin <= address &&
           address < region.begin + region.bytes.size();
  };
  // Most accesses are where the one before was.
  if (lastFound < regions.size() && holds(regions[lastFound]))
    return &regions[lastFound];
  auto found = llvm::find_if(regions, holds);
  if (found == regions.end())
    return nullptr;
  lastFound = found - regions.begin();
  return &*found;
}

std::string Memory::placeOf(const void *at) {
  Region *region = regionOf(at);
  return ("byte " + Twine(static_cast<const char *>(at) - region->begin) +
          " of " + region->name)
      .str();
}

Memory::Byte *Memory::find(const void *at, size_t bytes, bool isWrite,
                           Error &error) {
  auto *address = static_cast<const char *>(at);
  if (Region *region = regionOf(at)) {
    size_t offset = address - region->begin;
    if (bytes > region->bytes.size() - offset)
      error = (Twine(bytes) + " bytes from " + placeOf(at) +
               " reach beyond its end")
                  .str();
    else if (isWrite && !region->writable)
      error = "write of " + placeOf(at) + ", which is constant";
    else
      return &region->bytes[offset];
    return nullptr;
  }
  error = std::string("access of memory that is neither shared nor given to "
                      "the kernel");
  ptrdiff_t nearest = 4096;
  for (const Region &region : regions) {
    ptrdiff_t before = region.begin - address;
    ptrdiff_t after = address - (region.begin + region.bytes.size());
    for (auto [distance, side] : {std::pair(before, " bytes before "),
                                  std::pair(after, " bytes after ")})
      if (0 <= distance && distance < nearest) {
        nearest = distance;
        error = (Twine("access ") + Twine(distance) + side + region.name).str();
      }
  }
  return nullptr;
}

Memory::Error Memory::checkRead(const Byte &byte, const void *at,
                                unsigned thread) {
  auto wrong = [&](const std::string &why) {
    return "read of " + placeOf(at) + ", " + why;
  };
  if (byte.inFlight)
    return wrong("to which a copy of thread " + std::to_string(byte.writer) +
                 " is still on its way");
  if (!byte.holdsValue)
    return wrong("which nothing wrote");
  if (isUpdatedHere(byte))
    return wrong(kUpdated);
  if (isForeign(byte.writeBlock))
    return wrong("which another block wrote");
  if (byte.writeBlock != present ||
      clocks.knows(thread, byte.writer, byte.writeTime))
    return std::nullopt;
  if (!clocks.isThread(byte.writer))
    return wrong("whose arrival the thread has not waited for");
  return wrong("which thread " + std::to_string(byte.writer) +
               " wrote with no barrier between");
}

/// Readers that the thread knows of are before it, and so are their reads
/// before what comes after it.
void Memory::noteRead(Byte &byte, unsigned thread) {
  if (byte.readBlock != present) {
    byte.foreignRead = byte.readBlock;
    byte.readBlock = present;
    byte.readers = 0;
  }
  std::tuple key(byte.readers, thread, clocks.now(thread));
  if (lastFurther.second && lastFurther.first == key) {
    byte.readers = lastFurther.second;
    return;
  }
  auto [found, isNew] = further.try_emplace(key, readerSets.size());
  if (isNew) {
    llvm::SmallVector<Reader, 4> all = {{thread, clocks.now(thread)}};
    for (const Reader &reader : readerSets[byte.readers])
      if (!clocks.knows(thread, reader.thread, reader.time))
        all.push_back(reader);
    readerSets.push_back(std::move(all));
  }
  lastFurther = {key, found->second};
  byte.readers = found->second;
}

Memory::Error Memory::read(const void *at, size_t bytes, unsigned thread) {
  Error error;
  Byte *first = find(at, bytes, /*isWrite=*/false, error);
  if (!first)
    return error;
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (Error wrong = checkRead(byte, at, thread))
      return wrong;
    noteRead(byte, thread);
  }
  return std::nullopt;
}

Memory::Error Memory::checkWrite(const Byte &byte, unsigned thread) const {
  if (byte.inFlight)
    return "to which a copy of thread " + std::to_string(byte.writer) +
           " is still on its way";
  if (isUpdatedHere(byte))
    return std::string(kUpdated);
  if (isForeign(byte.writeBlock) || isForeign(byte.foreignRead) ||
      isForeign(byte.readBlock))
    return std::string("which another block reads or writes");
  if (byte.writeBlock == present &&
      !clocks.knows(thread, byte.writer, byte.writeTime))
    return (clocks.isThread(byte.writer)
                ? "which thread " + std::to_string(byte.writer)
                : std::string("which a box")) +
           " wrote with no barrier between";
  if (byte.readBlock != present)
    return std::nullopt;
  for (const Reader &reader : readerSets[byte.readers])
    if (!clocks.knows(thread, reader.thread, reader.time))
      return "which thread " + std::to_string(reader.thread) +
             " read with no barrier between";
  return std::nullopt;
}

Memory::Error Memory::write(const void *at, size_t bytes, unsigned thread) {
  Error error;
  Byte *first = find(at, bytes, /*isWrite=*/true, error);
  if (!first)
    return error;
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (Error wrong = checkWrite(byte, thread))
      return "write of " + placeOf(at) + ", " + *wrong;
    byte.writeBlock = present;
    byte.writer = thread;
    byte.writeTime = clocks.now(thread);
    byte.holdsValue = true;
    byte.isUpdated = false;
    byte.fenceTime = 0;
    byte.readers = 0;
  }
  if (isShared(at))
    unfenced[thread].emplace_back(first, bytes);
  return std::nullopt;
}

/// In the order of launches alone: within one, updates take any.
Memory::Error Memory::update(const void *at, size_t bytes, unsigned thread) {
  Error error;
  Byte *first = find(at, bytes, /*isWrite=*/true, error);
  if (!first)
    return error;
  if (isShared(at))
    return std::string("atomic update of shared memory is not emulated");
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (!byte.holdsValue)
      return "atomic update of " + placeOf(at) + ", which nothing wrote";
    if (!isUpdatedHere(byte) &&
        launchBegin <= std::max(byte.writeBlock, byte.readBlock))
      return "atomic update of " + placeOf(at) +
             ", which the launch reads or writes otherwise";
    byte.writeBlock = present;
    byte.writer = thread;
    byte.writeTime = clocks.now(thread);
    byte.isUpdated = true;
  }
  return std::nullopt;
}

Memory::Error Memory::beginCopy(const void *at, size_t bytes, unsigned thread) {
  if (Error error = write(at, bytes, thread))
    return error;
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/true, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes))
    byte.inFlight = true;
  return std::nullopt;
}

Memory::Error Memory::readAsync(const void *at, size_t bytes,
                                llvm::ArrayRef<unsigned> threads) {
  for (unsigned thread : threads) {
    if (Error error = read(at, bytes, thread))
      return error;
    Error none;
    Byte *first = find(at, bytes, /*isWrite=*/false, none);
    for (const Byte &byte : llvm::ArrayRef<Byte>(first, bytes))
      if (!byte.fenceTime ||
          (byte.writeBlock == present &&
           !clocks.knows(thread, byte.writer, byte.fenceTime)))
        return "asynchronous read of " + placeOf(at) + ", which thread " +
               std::to_string(byte.writer) + " wrote with no fence.proxy since";
  }
  return std::nullopt;
}

Memory::Error Memory::beginBox(const void *at, size_t bytes, unsigned thread) {
  Error error;
  Byte *first = find(at, bytes, /*isWrite=*/true, error);
  if (!first)
    return error;
  if (!isShared(at))
    return std::string("box that is not copied to shared memory");
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes))
    if (byte.holdsValue && !byte.fenceTime)
      return "asynchronous write of " + placeOf(at) + ", which thread " +
             std::to_string(byte.writer) + " wrote with no fence.proxy since";
  return beginCopy(at, bytes, thread);
}

void Memory::endBox(const void *at, size_t bytes, unsigned agent,
                    uint32_t time) {
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/true, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    byte.inFlight = false;
    byte.writer = agent;
    byte.writeTime = byte.fenceTime = time;
  }
}

void Memory::fenceProxy(unsigned thread) {
  auto &own = unfenced[thread];
  llvm::erase_if(own, [this, thread](llvm::MutableArrayRef<Byte> bytes) {
    // Of a copy that is on its way, the fence says nothing.
    if (bytes.front().inFlight)
      return false;
    for (Byte &byte : bytes)
      if (byte.writer == thread && !byte.fenceTime)
        byte.fenceTime = clocks.now(thread);
    return true;
  });
}

void Memory::endCopy(const void *at, size_t bytes) {
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/true, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    byte.inFlight = false;
    byte.writeTime = clocks.now(byte.writer);
  }
}
