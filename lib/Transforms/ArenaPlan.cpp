//===- ArenaPlan.cpp - where buffers lie in one allocation ----------------===//

#include "megactx/Transforms/ArenaPlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <algorithm>

using namespace mlir::megactx;
using llvm::ArrayRef;
using llvm::SmallVector;

template <typename A, typename B>
static bool liveTogether(const A &a, const B &b) {
  return a.first <= b.last && b.first <= a.last;
}

namespace {
/// Buffers of one unit, by number, with a place for each.
struct Packing {
  SmallVector<unsigned> buffers;
  SmallVector<int64_t> offsets;
  int64_t height = 0;
};
} // namespace

/// Each buffer, in order, at the lowest place where nothing lies that lives at
/// the same time.
static Packing packInOrder(ArrayRef<ArenaBuffer> all,
                           SmallVector<unsigned> order) {
  Packing packing;
  for (unsigned number : order) {
    const ArenaBuffer &buffer = all[number];
    SmallVector<std::pair<int64_t, int64_t>> taken;
    for (auto [other, offset] :
         llvm::zip_equal(packing.buffers, packing.offsets))
      if (liveTogether(all[other], buffer))
        taken.push_back({offset, offset + all[other].count});
    llvm::sort(taken);
    int64_t offset = 0;
    for (auto [begin, end] : taken) {
      if (begin - offset >= buffer.count)
        break;
      offset = std::max(offset, end);
    }
    packing.buffers.push_back(number);
    packing.offsets.push_back(offset);
    packing.height = std::max(packing.height, offset + buffer.count);
  }
  return packing;
}

/// The best of some orders. None is best for all buffers; finding the lowest
/// packing is NP-hard.
static Packing pack(ArrayRef<ArenaBuffer> all, ArrayRef<unsigned> buffers) {
  auto in =
      [&](llvm::function_ref<bool(const ArenaBuffer &, const ArenaBuffer &)>
              before) {
        SmallVector<unsigned> order(buffers);
        llvm::stable_sort(order, [&](unsigned a, unsigned b) {
          return before(all[a], all[b]);
        });
        return packInOrder(all, order);
      };
  auto length = [](const ArenaBuffer &x) { return x.last - x.first; };
  Packing best = in([](auto &a, auto &b) {
    return std::pair(-a.count, a.first) < std::pair(-b.count, b.first);
  });
  for (Packing other : {in([&](auto &a, auto &b) {
                          return std::pair(-a.count, -length(a)) <
                                 std::pair(-b.count, -length(b));
                        }),
                        in([&](auto &a, auto &b) {
                          return std::pair(-length(a), a.first) <
                                 std::pair(-length(b), b.first);
                        }),
                        in([](auto &a, auto &b) {
                          return std::pair(a.first, -a.count) <
                                 std::pair(b.first, -b.count);
                        })})
    if (other.height < best.height)
      best = std::move(other);
  return best;
}

/// Splits a unit's buffers where none is live from one to the next.
static SmallVector<SmallVector<unsigned>>
chainsOf(ArrayRef<ArenaBuffer> all, SmallVector<unsigned> buffers) {
  llvm::stable_sort(buffers, [&](unsigned a, unsigned b) {
    return all[a].first < all[b].first;
  });
  SmallVector<SmallVector<unsigned>> chains;
  int64_t last = -1;
  for (unsigned number : buffers) {
    if (chains.empty() || all[number].first > last)
      chains.emplace_back();
    chains.back().push_back(number);
    last = std::max(last, all[number].last);
  }
  return chains;
}

ArenaPlan ArenaPlan::make(ArrayRef<ArenaBuffer> buffers) {
  SmallVector<SmallVector<unsigned>> ofUnit;
  for (auto [number, buffer] : llvm::enumerate(buffers)) {
    if (buffer.unit >= ofUnit.size())
      ofUnit.resize(buffer.unit + 1);
    ofUnit[buffer.unit].push_back(number);
  }
  SmallVector<std::pair<ArenaRegion, Packing>> regions;
  for (auto [unit, numbers] : llvm::enumerate(ofUnit))
    for (const SmallVector<unsigned> &chain : chainsOf(buffers, numbers)) {
      Packing packing = pack(buffers, chain);
      ArenaRegion region{
          unsigned(unit), packing.height, buffers[chain[0]].first, 0, {}};
      for (unsigned number : chain)
        region.last = std::max(region.last, buffers[number].last);
      regions.push_back({region, std::move(packing)});
    }
  // What lives long lies below, so that short-lived regions share what is left
  // above it.
  llvm::stable_sort(regions, [](const auto &a, const auto &b) {
    return a.first.last - a.first.first > b.first.last - b.first.first;
  });
  ArenaPlan plan;
  plan.places.resize(buffers.size());
  for (auto &[region, packing] : regions) {
    unsigned number = plan.regions.size();
    for (auto [below, other] : llvm::enumerate(plan.regions))
      if (liveTogether(other, region))
        region.below.push_back(below);
    for (auto [buffer, offset] :
         llvm::zip_equal(packing.buffers, packing.offsets))
      plan.places[buffer] = {number, offset};
    plan.regions.push_back(std::move(region));
  }
  return plan;
}
