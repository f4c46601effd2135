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
}

Memory::Byte *Memory::find(const void *at, size_t bytes, bool isWrite,
                           Error &error, std::string &place) {
  auto *address = static_cast<const char *>(at);
  for (Region &region : regions) {
    const char *end = region.begin + region.bytes.size();
    if (address < region.begin || address >= end)
      continue;
    ptrdiff_t offset = address - region.begin;
    place = ("byte " + Twine(offset) + " of " + region.name).str();
    if (bytes > size_t(end - address))
      error = (Twine(bytes) + " bytes from " + place + " reach beyond its end")
                  .str();
    else if (isWrite && !region.writable)
      error = "write of " + place + ", which is constant";
    else
      return &region.bytes[offset];
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
  std::string place;
  Byte *first = find(at, bytes, /*isWrite=*/false, error, place);
  if (!first)
    return error;
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (byte.inFlight)
      return "read of " + place + ", to which a copy of thread " +
             std::to_string(byte.writer) + " is still on its way";
    if (!byte.holdsValue)
      return "read of " + place + ", which nothing wrote";
    if (isForeign(byte.writePhase))
      return "read of " + place + ", which another block wrote";
    if (byte.writePhase == phase && byte.writer != thread)
      return "read of " + place + ", which thread " +
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
  std::string place;
  Byte *first = find(at, bytes, /*isWrite=*/true, error, place);
  if (!first)
    return error;
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    if (Error wrong = checkWrite(byte, thread))
      return "write of " + place + ", " + *wrong;
    byte.writePhase = phase;
    byte.writer = thread;
    byte.holdsValue = true;
    byte.isFenced = false;
  }
  if (isShared(at))
    unfenced[thread].emplace_back(first, bytes);
  return std::nullopt;
}

Memory::Error Memory::beginCopy(const void *at, size_t bytes, unsigned thread) {
  if (Error error = write(at, bytes, thread))
    return error;
  Error none;
  std::string place;
  Byte *first = find(at, bytes, /*isWrite=*/true, none, place);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes))
    byte.inFlight = true;
  return std::nullopt;
}

Memory::Error Memory::readAsync(const void *at, size_t bytes, unsigned thread) {
  if (Error error = read(at, bytes, thread))
    return error;
  Error none;
  std::string place;
  Byte *first = find(at, bytes, /*isWrite=*/false, none, place);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes))
    if (!byte.isFenced)
      return "asynchronous read of " + place + ", which thread " +
             std::to_string(byte.writer) + " wrote with no fence.proxy since";
  return std::nullopt;
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
  std::string place;
  Byte *first = find(at, bytes, /*isWrite=*/true, none, place);
  for (Byte &byte : llvm::MutableArrayRef<Byte>(first, bytes)) {
    byte.inFlight = false;
    byte.writePhase = phase;
  }
}
