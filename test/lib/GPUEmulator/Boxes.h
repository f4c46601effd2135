//===- Boxes.h - copies of boxes and the barriers that count them -*- C++ -*-=//
//
// Owns tensor maps, of a form of the emulator's own, and mbarriers: a box that
// is copied arrives as late as it may, when somebody waits for the phase of its
// barrier. A phase ends once all have arrived and as many bytes are asked for
// as are expected.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_BOXES_H
#define MEGACTX_TEST_GPUEMULATOR_BOXES_H

#include "Memory.h"
#include "llvm/ADT/ArrayRef.h"
#include <array>
#include <map>

namespace megactx::emulator {

/// What stands in the 128 bytes of a CUtensorMap. Innermost dimension first.
struct TensorMap {
  static constexpr uint32_t kMagic = 0x7e5a0911, kMaxRank = 5;
  uint32_t magic, rank, elementBytes, isSwizzled;
  const char *memory;
  uint64_t sizes[kMaxRank];
  /// Bytes from one to the next; 40 bits are enough.
  uint64_t strides[kMaxRank - 1];
  uint16_t box[kMaxRank];
};

/// cuTensorMapEncodeTiled, of 16-bit elements, without interleaving, swizzled
/// by 128 bytes or not at all: the driver's result, 0 or 1 (an invalid value).
int encodeTiled(void *map, int type, unsigned rank, void *memory,
                const uint64_t *sizes, const uint64_t *strides,
                const unsigned *box, const unsigned *elementStrides,
                int interleave, int swizzle, int promotion, int fill);

/// The mbarriers of a block, by address. Who waits for a phase knows what those
/// did before who arrived in it, and has what boxes brought.
class Barriers {
public:
  using Error = Memory::Error;

  explicit Barriers(Clocks &clocks) : clocks(clocks) {}
  /// A block begins.
  void reset() {
    barriers.clear();
    waiting.clear();
  }

  Error init(const char *at, unsigned count, unsigned thread, Memory &memory);
  Error expect(const char *at, uint64_t bytes, unsigned thread, Memory &memory);
  Error arrive(const char *at, unsigned thread, Memory &memory);
  /// cp.async.bulk.tensor.
  Error copyBox(const char *at, const TensorMap *map,
                llvm::ArrayRef<int32_t> from, char *to, unsigned thread,
                Memory &memory);
  /// Whether the phase of a parity has ended; if it can end now, it does, and
  /// the thread may read what it brought.
  Error wait(const char *at, unsigned parity, unsigned thread, Memory &memory,
             bool &hasEnded);
  /// The threads that wait for any barrier, none any more.
  std::vector<unsigned> takeWaiting() { return std::move(waiting); }
  void addWaiting(unsigned thread) { waiting.push_back(thread); }
  /// What those who wait for it lack.
  std::string stateOf(const char *at) const;

private:
  /// Consecutive bytes; `from` null: zeros.
  struct Piece {
    char *to;
    const char *from;
    unsigned bytes;
  };
  struct Barrier {
    unsigned count, left, phase = 0;
    uint64_t expected = 0, asked = 0;
    std::vector<Piece> pieces;
    unsigned agent = 0; ///< what boxes do
    /// What those know who have arrived, and that of the last phase that ended.
    Clocks::Times known;
    Clocks::Known ended = std::make_shared<Clocks::Times>();
  };
  void endPhase(Barrier &barrier, Memory &memory);
  Error find(const char *at, unsigned thread, Memory &memory, Barrier *&found);

  Clocks &clocks;
  std::map<const char *, Barrier> barriers;
  std::vector<unsigned> waiting;
};

} // namespace megactx::emulator

#endif
