//===- Boxes.cpp - copies of boxes and the barriers that count them -------===//

#include "Boxes.h"
#include <algorithm>
#include <cstring>

using namespace megactx::emulator;
using llvm::ArrayRef;

static_assert(sizeof(TensorMap) <= 128);

int megactx::emulator::encodeTiled(void *map, int type, unsigned rank,
                                   void *memory, const uint64_t *sizes,
                                   const uint64_t *strides, const unsigned *box,
                                   const unsigned *elementStrides,
                                   int interleave, int swizzle, int promotion,
                                   int fill) {
  constexpr int kFloat16 = 6, kBFloat16 = 9, kSwizzleNone = 0, kSwizzle128B = 3,
                kMaxPromotion = 3;
  constexpr uint64_t kElementBytes = 2, kAlignment = 16, kLineBytes = 128;
  auto isMultiple = [](uint64_t x, uint64_t of) { return x % of == 0; };
  bool ok = (type == kFloat16 || type == kBFloat16) && rank >= 1 &&
            rank <= TensorMap::kMaxRank && interleave == 0 && fill == 0 &&
            (swizzle == kSwizzleNone || swizzle == kSwizzle128B) &&
            0 <= promotion && promotion <= kMaxPromotion &&
            isMultiple(reinterpret_cast<uintptr_t>(map), 64) && memory &&
            isMultiple(reinterpret_cast<uintptr_t>(memory), kAlignment);
  if (!ok)
    return 1;
  TensorMap made = {};
  made.magic = TensorMap::kMagic;
  made.rank = rank;
  made.elementBytes = kElementBytes;
  made.isSwizzled = swizzle == kSwizzle128B;
  made.memory = static_cast<const char *>(memory);
  for (unsigned i = 0; i < rank; ++i) {
    ok &= 1 <= sizes[i] && sizes[i] <= uint64_t(1) << 32;
    ok &= 1 <= box[i] && box[i] <= 256 && elementStrides[i] == 1;
    made.sizes[i] = sizes[i];
    made.box[i] = box[i];
    if (i + 1 == rank)
      continue;
    ok &= isMultiple(strides[i], kAlignment) && strides[i] < uint64_t(1) << 40;
    made.strides[i] = strides[i];
  }
  uint64_t lineBytes = box[0] * kElementBytes;
  ok &= isMultiple(lineBytes, kAlignment) &&
        (!made.isSwizzled || lineBytes <= kLineBytes);
  if (!ok)
    return 1;
  std::memcpy(map, &made, sizeof(made));
  return 0;
}

Barriers::Error Barriers::init(const char *at, unsigned count, unsigned thread,
                               Memory &memory) {
  if (!count)
    return std::string("barrier that nobody arrives at");
  if (Error error = memory.write(at, 8, thread))
    return error;
  Barrier barrier;
  barrier.count = barrier.left = count;
  barrier.agent = clocks.addAgent();
  barriers[at] = barrier;
  return std::nullopt;
}

Barriers::Error Barriers::find(const char *at, unsigned thread, Memory &memory,
                               Barrier *&found) {
  auto known = barriers.find(at);
  if (known == barriers.end())
    return std::string("address of a barrier that nobody made");
  found = &known->second;
  return memory.read(at, 8, thread);
}

Barriers::Error Barriers::expect(const char *at, uint64_t bytes,
                                 unsigned thread, Memory &memory) {
  Barrier *barrier;
  if (Error error = find(at, thread, memory, barrier))
    return error;
  if (!barrier->left)
    return std::string("expects bytes in a phase that may have ended, and that "
                       "nobody has waited for");
  barrier->expected += bytes;
  return std::nullopt;
}

Barriers::Error Barriers::arrive(const char *at, unsigned thread,
                                 Memory &memory) {
  Barrier *barrier;
  if (Error error = find(at, thread, memory, barrier))
    return error;
  if (!barrier->left)
    return std::string("arrives in a phase that may have ended, and that "
                       "nobody has waited for");
  --barrier->left;
  clocks.release(thread, barrier->known);
  return std::nullopt;
}

Barriers::Error Barriers::copyBox(const char *at, const TensorMap *map,
                                  ArrayRef<int32_t> from, char *to,
                                  unsigned thread, Memory &memory) {
  constexpr unsigned kLine = 128, kChunk = 16;
  Barrier *barrier;
  if (Error error = find(at, thread, memory, barrier))
    return error;
  // The barrier was made by a thread's write.
  if (Error error = memory.readAsync(at, 8, thread))
    return error;
  if (map->magic != TensorMap::kMagic || map->rank != from.size())
    return "copy of a box of " + std::to_string(from.size()) +
           " dimensions without such a tensor map";
  unsigned lineBytes = map->box[0] * map->elementBytes;
  uintptr_t alignment = map->isSwizzled ? 8 * kLine : kLine;
  if (reinterpret_cast<uintptr_t>(to) % alignment)
    return "box at an address that is no multiple of " +
           std::to_string(alignment) + " bytes";
  size_t lines = 1;
  for (unsigned i = 1; i < map->rank; ++i)
    lines *= map->box[i];
  if (Error error = memory.beginBox(to, lines * lineBytes, thread))
    return error;
  std::memset(to, 0xff, lines * lineBytes);
  barrier->asked += lines * lineBytes;
  for (size_t line = 0; line < lines; ++line) {
    const char *source = map->memory;
    bool isInside = true;
    size_t rest = line;
    for (unsigned i = 1; i < map->rank; ++i) {
      int64_t place = from[i] + int64_t(rest % map->box[i]);
      rest /= map->box[i];
      isInside &= 0 <= place && place < int64_t(map->sizes[i]);
      source += place * int64_t(map->strides[i - 1]);
    }
    for (unsigned byte = 0; byte < lineBytes; byte += kChunk) {
      int64_t column = from[0] + int64_t(byte / map->elementBytes);
      bool exists = isInside && 0 <= column && column < int64_t(map->sizes[0]);
      const char *chunk = source + column * int64_t(map->elementBytes);
      if (exists)
        if (Error error = memory.read(chunk, kChunk, thread))
          return error;
      auto target = reinterpret_cast<uintptr_t>(to + line * lineBytes + byte);
      if (map->isSwizzled)
        target ^= target / kLine % (kLine / kChunk) * kChunk;
      barrier->pieces.push_back(
          {reinterpret_cast<char *>(target), exists ? chunk : nullptr, kChunk});
    }
  }
  return std::nullopt;
}

Barriers::Error Barriers::wait(const char *at, unsigned parity, unsigned thread,
                               Memory &memory, bool &hasEnded) {
  Barrier *barrier;
  if (Error error = find(at, thread, memory, barrier))
    return error;
  if (parity > 1)
    return std::string("parity that is neither 0 nor 1");
  if (barrier->phase % 2 == parity) {
    if (barrier->left == 0 && barrier->expected < barrier->asked)
      return std::to_string(barrier->asked) +
             " bytes arrive at a barrier that expects " +
             std::to_string(barrier->expected);
    hasEnded = barrier->left == 0 && barrier->expected == barrier->asked;
    if (!hasEnded)
      return std::nullopt;
    endPhase(*barrier, memory);
  }
  hasEnded = true;
  clocks.acquire(thread, barrier->ended);
  return std::nullopt;
}

void Barriers::endPhase(Barrier &barrier, Memory &memory) {
  uint32_t time = ++barrier.phase;
  for (const Piece &piece : barrier.pieces) {
    if (piece.from)
      std::memcpy(piece.to, piece.from, piece.bytes);
    else
      std::memset(piece.to, 0, piece.bytes);
    memory.endBox(piece.to, piece.bytes, barrier.agent, time);
  }
  barrier.pieces.clear();
  barrier.expected = barrier.asked = 0;
  barrier.left = barrier.count;
  if (barrier.known.size() <= barrier.agent)
    barrier.known.resize(barrier.agent + 1);
  barrier.known[barrier.agent] = time;
  barrier.ended = std::make_shared<Clocks::Times>(std::move(barrier.known));
  barrier.known.clear();
}

std::string Barriers::stateOf(const char *at) const {
  auto known = barriers.find(at);
  if (known == barriers.end())
    return "";
  const Barrier &barrier = known->second;
  return " (" + std::to_string(barrier.left) + " are still to arrive, " +
         std::to_string(barrier.asked) + " of " +
         std::to_string(barrier.expected) + " bytes are asked for)";
}
