//===- Memory.cpp - the memory that an emulated kernel may touch ----------===//

#include "Memory.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include <cstring>

using namespace megactx::emulator;
using llvm::Twine;

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
  blockBegin = ++phase;
  remove(begin);
  memset(begin, 0xff, bytes);
  add("shared memory", begin, bytes, Use::Out);
  shared = begin;
  sharedBytes = bytes;
  unfenced.clear();
  seen.clear();
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

Memory::Error Memory::read(const void *at, size_t bytes, unsigned thread) {
  Error error;
  Byte *first = find(at, bytes, /*isWrite=*/false, error);
  if (!first)
    return error;
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (byte.inFlight)
      return "read of " + placeOf(at) + ", to which a copy of thread " +
             std::to_string(byte.writer) + " is still on its way";
    if (!byte.holdsValue)
      return "read of " + placeOf(at) + ", which nothing wrote";
    if (isForeign(byte.writePhase))
      return "read of " + placeOf(at) + ", which another block wrote";
    if (byte.writePhase == phase && byte.arrival &&
        !seen.count({thread, byte.arrival}))
      return "read of " + placeOf(at) +
             ", whose arrival the thread has not waited for";
    if (byte.writePhase == phase && byte.writer != thread && !byte.arrival)
      return "read of " + placeOf(at) + ", which thread " +
             std::to_string(byte.writer) + " wrote with no barrier between";
    if (byte.readPhase < blockBegin)
      byte.foreignRead = byte.readPhase;
    bool again = byte.readPhase == phase && byte.reader != thread;
    byte.reader = again ? kMany : thread;
    byte.readPhase = phase;
  }
  return std::nullopt;
}

Memory::Error Memory::checkWrite(const Byte &byte, unsigned thread) const {
  if (byte.inFlight)
    return "to which a copy of thread " + std::to_string(byte.writer) +
           " is still on its way";
  if (isForeign(byte.writePhase) || isForeign(byte.foreignRead) ||
      isForeign(byte.readPhase))
    return std::string("which another block reads or writes");
  if (byte.writePhase == phase && byte.writer != thread)
    return "which thread " + std::to_string(byte.writer) +
           " wrote with no barrier between";
  if (byte.readPhase == phase && byte.reader != thread)
    return (byte.reader == kMany
                ? std::string("which several threads")
                : "which thread " + std::to_string(byte.reader)) +
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
    byte.writePhase = phase;
    byte.writer = thread;
    byte.holdsValue = true;
    byte.isFenced = false;
    byte.arrival = 0;
  }
  if (isShared(at))
    unfenced[thread].emplace_back(first, bytes);
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

Memory::Error Memory::readAsync(const void *at, size_t bytes, unsigned thread) {
  if (Error error = read(at, bytes, thread))
    return error;
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/false, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (!byte.isFenced)
      return "asynchronous read of " + placeOf(at) + ", which thread " +
             std::to_string(byte.writer) + " wrote with no fence.proxy since";
    byte.reader = kMany;
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
    if (byte.holdsValue && !byte.isFenced)
      return "asynchronous write of " + placeOf(at) + ", which thread " +
             std::to_string(byte.writer) + " wrote with no fence.proxy since";
  return beginCopy(at, bytes, thread);
}

void Memory::endBox(const void *at, size_t bytes, uint32_t arrival) {
  endCopy(at, bytes);
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/true, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    byte.isFenced = true;
    byte.arrival = arrival;
  }
}

void Memory::fenceProxy(unsigned thread) {
  auto &own = unfenced[thread];
  llvm::erase_if(own, [thread](llvm::MutableArrayRef<Byte> bytes) {
    // Of a copy that is on its way, the fence says nothing.
    if (bytes.front().inFlight)
      return false;
    for (Byte &byte : bytes)
      byte.isFenced |= byte.writer == thread;
    return true;
  });
}

void Memory::endCopy(const void *at, size_t bytes) {
  Error none;
  Byte *first = find(at, bytes, /*isWrite=*/true, none);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    byte.inFlight = false;
    byte.writePhase = phase;
  }
}
