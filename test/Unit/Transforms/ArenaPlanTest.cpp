//===- ArenaPlanTest.cpp - what lives together shares no memory -----------===//

#include "megactx/Transforms/ArenaPlan.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <random>

using namespace mlir::megactx;

namespace {
/// Starts of buffers, and the arena's size, once they have sizes.
std::vector<int64_t> startsOf(const ArenaPlan &plan,
                              const std::vector<int64_t> &bytes,
                              int64_t &size) {
  std::vector<int64_t> starts(bytes.size(), -1);
  size = 0;
  for (unsigned number : plan.order) {
    int64_t start = 0;
    for (unsigned below : plan.below[number]) {
      EXPECT_GE(starts[below], 0) << "a buffer lies on one that comes after it";
      start = std::max(start, starts[below] + bytes[below]);
    }
    starts[number] = start;
    size = std::max(size, start + bytes[number]);
  }
  return starts;
}

bool liveTogether(const ArenaBuffer &a, const ArenaBuffer &b) {
  return a.first <= b.last && b.first <= a.last;
}

int64_t mostAtOnce(const std::vector<ArenaBuffer> &buffers,
                   const std::vector<int64_t> &bytes) {
  int64_t most = 0;
  for (const ArenaBuffer &at : buffers) {
    int64_t sum = 0;
    for (size_t i = 0; i < buffers.size(); ++i)
      if (buffers[i].first <= at.first && at.first <= buffers[i].last)
        sum += bytes[i];
    most = std::max(most, sum);
  }
  return most;
}

/// Sizes are multiples of one of some units, by which they are chosen.
struct RandomBuffers {
  std::vector<ArenaBuffer> buffers;
  std::vector<unsigned> unit;
  std::vector<int64_t> count;

  RandomBuffers(std::mt19937 &random, unsigned units, unsigned choices) {
    int total = random() % 40 + 1;
    for (int i = 0; i < total; ++i) {
      int64_t first = random() % 60;
      buffers.push_back(
          {first, first + int64_t(random() % (i % 3 ? 8 : 50)), {}});
      unit.push_back(random() % units);
      count.push_back(random() % 12);
    }
    for (unsigned choice = 0; choice < choices; ++choice)
      for (auto [i, bytes] : llvm::enumerate(sizes(random, units, 1000)))
        buffers[i].bytes.push_back(bytes);
  }

  std::vector<int64_t> sizes(std::mt19937 &random, unsigned units, int most) {
    std::vector<int64_t> unitBytes, all;
    for (unsigned i = 0; i < units; ++i)
      unitBytes.push_back(64 * (random() % most));
    for (size_t i = 0; i < buffers.size(); ++i)
      all.push_back(count[i] * unitBytes[unit[i]]);
    return all;
  }
};

TEST(ArenaPlan, BuffersThatLiveTogetherDoNotOverlapWhateverTheSizes) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    unsigned units = round % 4 + 1;
    RandomBuffers all(random, units, round % 3 + 1);
    ArenaPlan plan = ArenaPlan::make(all.buffers);
    ASSERT_EQ(plan.order.size(), all.buffers.size());
    for (int sizes = 0; sizes < 3; ++sizes) {
      std::vector<int64_t> bytes = all.sizes(random, units, sizes ? 1000 : 3);
      int64_t size;
      std::vector<int64_t> at = startsOf(plan, bytes, size);
      for (size_t i = 0; i < bytes.size(); ++i)
        for (size_t j = 0; j < i; ++j)
          ASSERT_TRUE(!liveTogether(all.buffers[i], all.buffers[j]) ||
                      at[i] + bytes[i] <= at[j] || at[j] + bytes[j] <= at[i])
              << "buffers " << j << " and " << i << " of round " << round;
    }
  }
}

/// Buffers of one size need as many places as live at once.
TEST(ArenaPlan, BuffersOfOneSizeNeedNoMoreThanLiveAtOnce) {
  std::mt19937 random(2);
  for (int round = 0; round < 1000; ++round) {
    RandomBuffers all(random, 1, 1);
    for (ArenaBuffer &buffer : all.buffers)
      buffer.bytes = {320};
    std::vector<int64_t> bytes(all.buffers.size(), 320);
    int64_t size;
    startsOf(ArenaPlan::make(all.buffers), bytes, size);
    ASSERT_EQ(size, mostAtOnce(all.buffers, bytes)) << "round " << round;
  }
}

/// Of several units, by sizes that were not those of the choices.
TEST(ArenaPlan, LittleMoreThanLivesAtOnce) {
  std::mt19937 random(3);
  double taken = 0, least = 0;
  for (int round = 0; round < 500; ++round) {
    RandomBuffers all(random, 3, 10);
    ArenaPlan plan = ArenaPlan::make(all.buffers);
    std::vector<int64_t> bytes = all.sizes(random, 3, 1000);
    int64_t size;
    startsOf(plan, bytes, size);
    taken += size;
    least += mostAtOnce(all.buffers, bytes);
  }
  EXPECT_LT(taken, 1.2 * least);
}

/// A long-lived buffer of another unit is no wall between those of one.
TEST(ArenaPlan, ShortLivesOfTwoUnitsShareMemory) {
  std::vector<ArenaBuffer> buffers = {
      {0, 9, {64, 64}},    // the residual stream
      {1, 2, {640, 640}},  // rows
      {4, 5, {704, 1280}}, // rows, padded to blocks
      {7, 8, {640, 640}},
  };
  int64_t size;
  startsOf(ArenaPlan::make(buffers), {64, 640, 1024, 640}, size);
  EXPECT_EQ(size, 64 + 1024);
}

TEST(ArenaPlan, NothingToPlan) {
  EXPECT_TRUE(ArenaPlan::make({}).order.empty());
}
} // namespace
