//===- ArenaPlan.cpp - where buffers lie in one allocation ----------------===//

#include "megactx/Transforms/ArenaPlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <algorithm>
#include <cmath>

using namespace mlir::megactx;
using llvm::ArrayRef;
using llvm::SmallVector;

namespace {
using Lists = SmallVector<SmallVector<unsigned>>;

/// The search for the order of a plan.
class Packer {
public:
  explicit Packer(ArrayRef<ArenaBuffer> all);
  /// From the bottom up.
  SmallVector<unsigned> best();
  Lists below(ArrayRef<unsigned> order) const;

private:
  using Before =
      llvm::function_ref<bool(const ArenaBuffer &, const ArenaBuffer &)>;

  SmallVector<unsigned> sorted(Before before) const;
  SmallVector<unsigned> packed(ArrayRef<unsigned> turns, size_t choice) const;
  int64_t height(ArrayRef<unsigned> order, size_t choice) const;
  double cost(ArrayRef<unsigned> order) const;
  void consider(SmallVector<unsigned> turns, size_t choice);

  ArrayRef<ArenaBuffer> all;
  Lists together;             ///< per buffer: those that live when it does
  SmallVector<int64_t> least; ///< per choice: what lives at once at the most
  SmallVector<unsigned> found;
  double foundCost = HUGE_VAL;
};
} // namespace

Packer::Packer(ArrayRef<ArenaBuffer> all) : all(all), together(all.size()) {
  least.resize(all.front().bytes.size());
  SmallVector<unsigned> live;
  for (unsigned number :
       sorted([](auto &a, auto &b) { return a.first < b.first; })) {
    llvm::erase_if(live, [&](unsigned other) {
      return all[other].last < all[number].first;
    });
    for (unsigned other : live) {
      together[other].push_back(number);
      together[number].push_back(other);
    }
    live.push_back(number);
    for (auto [choice, most] : llvm::enumerate(least)) {
      int64_t sum = 0;
      for (unsigned other : live)
        sum += all[other].bytes[choice];
      most = std::max(most, sum);
    }
  }
}

SmallVector<unsigned> Packer::sorted(Before before) const {
  auto order = llvm::to_vector(llvm::seq<unsigned>(0, all.size()));
  llvm::stable_sort(
      order, [&](unsigned a, unsigned b) { return before(all[a], all[b]); });
  return order;
}

/// Each buffer, in turn, at the lowest place where nothing lies that lives at
/// the same time; then all of them from the lowest place up.
SmallVector<unsigned> Packer::packed(ArrayRef<unsigned> turns,
                                     size_t choice) const {
  SmallVector<int64_t> offsets(all.size(), -1);
  for (unsigned number : turns) {
    SmallVector<std::pair<int64_t, int64_t>> taken;
    for (unsigned other : together[number])
      if (offsets[other] >= 0)
        taken.push_back(
            {offsets[other], offsets[other] + all[other].bytes[choice]});
    llvm::sort(taken);
    int64_t offset = 0;
    for (auto [begin, end] : taken) {
      if (begin - offset >= all[number].bytes[choice])
        break;
      offset = std::max(offset, end);
    }
    offsets[number] = offset;
  }
  SmallVector<unsigned> order(turns);
  llvm::stable_sort(order, [&](unsigned a, unsigned b) {
    return std::pair(offsets[a], all[a].bytes[choice]) <
           std::pair(offsets[b], all[b].bytes[choice]);
  });
  return order;
}

/// What the order takes where each buffer lies on those before it.
int64_t Packer::height(ArrayRef<unsigned> order, size_t choice) const {
  SmallVector<int64_t> ends(all.size(), 0);
  int64_t most = 0;
  for (unsigned number : order) {
    int64_t start = 0;
    for (unsigned other : together[number])
      start = std::max(start, ends[other]);
    ends[number] = start + all[number].bytes[choice];
    most = std::max(most, ends[number]);
  }
  return most;
}

/// How many times the least, as a logarithm, on average over choices.
double Packer::cost(ArrayRef<unsigned> order) const {
  double sum = 0;
  for (auto [choice, most] : llvm::enumerate(least))
    if (most > 0)
      sum += std::log(double(height(order, choice)) / double(most));
  return sum;
}

void Packer::consider(SmallVector<unsigned> turns, size_t choice) {
  SmallVector<unsigned> order = packed(turns, choice);
  double orderCost = cost(order);
  // Sums of floats differ where what they are of does not.
  if (orderCost < foundCost - 1e-9) {
    found = std::move(order);
    foundCost = orderCost;
  }
}

/// No order of turns is best for all buffers; finding the lowest packing is
/// NP-hard.
SmallVector<unsigned> Packer::best() {
  // Of many buffers, packings for few choices are compared.
  constexpr size_t kMostPairs = size_t(1) << 18;
  size_t pairs = 0, choices = least.size();
  for (const SmallVector<unsigned> &others : together)
    pairs += others.size();
  if (pairs > kMostPairs)
    choices = std::min<size_t>(choices, 2);
  auto length = [](const ArenaBuffer &x) { return x.last - x.first; };
  for (size_t choice = 0; choice < choices && foundCost > 1e-9; ++choice) {
    auto bytes = [&](const ArenaBuffer &x) { return x.bytes[choice]; };
    consider(sorted([&](auto &a, auto &b) {
               return std::pair(-bytes(a), a.first) <
                      std::pair(-bytes(b), b.first);
             }),
             choice);
    consider(sorted([&](auto &a, auto &b) {
               return std::pair(-bytes(a), -length(a)) <
                      std::pair(-bytes(b), -length(b));
             }),
             choice);
    consider(sorted([&](auto &a, auto &b) {
               return std::pair(-length(a), a.first) <
                      std::pair(-length(b), b.first);
             }),
             choice);
    consider(sorted([&](auto &a, auto &b) {
               return std::pair(a.first, -bytes(a)) <
                      std::pair(b.first, -bytes(b));
             }),
             choice);
  }
  return std::move(found);
}

Lists Packer::below(ArrayRef<unsigned> order) const {
  SmallVector<unsigned> place(all.size());
  for (auto [at, number] : llvm::enumerate(order))
    place[number] = at;
  Lists lists(all.size());
  SmallVector<unsigned> hidden(all.size(), all.size()); ///< of which buffer
  for (unsigned number : order) {
    SmallVector<unsigned> lower;
    for (unsigned other : together[number])
      if (place[other] < place[number])
        lower.push_back(other);
    // From the top: what is below one that is taken is no longer asked for.
    llvm::sort(lower,
               [&](unsigned a, unsigned b) { return place[a] > place[b]; });
    for (unsigned other : lower) {
      if (hidden[other] == number)
        continue;
      lists[number].push_back(other);
      for (unsigned under : together[other])
        if (place[under] < place[other])
          hidden[under] = number;
    }
  }
  return lists;
}

ArenaPlan ArenaPlan::make(ArrayRef<ArenaBuffer> buffers) {
  if (buffers.empty())
    return {};
  Packer packer(buffers);
  ArenaPlan plan;
  plan.order = packer.best();
  plan.below = packer.below(plan.order);
  return plan;
}
