//===- ArenaPlanTest.cpp - what lives together shares no memory -----------===//

#include "megactx/Transforms/ArenaPlan.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <random>

using namespace mlir::megactx;

namespace {
/// Starts of buffers, and the arena's size, in bytes once units have sizes.
std::vector<int64_t> startsOf(const ArenaPlan &plan,
                              const std::vector<int64_t> &unitBytes,
                              int64_t &size) {
  std::vector<int64_t> begin, end;
  size = 0;
  for (const ArenaRegion &region : plan.regions) {
    int64_t start = 0;
    for (unsigned below : region.below)
      start = std::max(start, end[below]);
    begin.push_back(start);
    end.push_back(start + region.count * unitBytes[region.unit]);
    size = std::max(size, end.back());
  }
  std::vector<int64_t> starts;
  for (const ArenaPlace &place : plan.places)
    starts.push_back(begin[place.region] +
                     place.offset * unitBytes[plan.regions[place.region].unit]);
  return starts;
}

std::vector<ArenaBuffer> randomBuffers(std::mt19937 &random, unsigned units) {
  std::vector<ArenaBuffer> buffers;
  int count = random() % 40 + 1;
  for (int i = 0; i < count; ++i) {
    int64_t first = random() % 60;
    buffers.push_back({unsigned(random() % units), int64_t(random() % 12),
                       first, first + int64_t(random() % (i % 3 ? 8 : 50))});
  }
  return buffers;
}

TEST(ArenaPlan, BuffersThatLiveTogetherDoNotOverlapWhateverTheUnits) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::vector<ArenaBuffer> buffers = randomBuffers(random, round % 4 + 1);
    ArenaPlan plan = ArenaPlan::make(buffers);
    for (int sizes = 0; sizes < 3; ++sizes) {
      std::vector<int64_t> unitBytes;
      for (int unit = 0; unit < 4; ++unit)
        unitBytes.push_back(64 * (random() % (sizes ? 1000 : 3)));
      int64_t size;
      std::vector<int64_t> at = startsOf(plan, unitBytes, size);
      for (size_t i = 0; i < buffers.size(); ++i) {
        int64_t bytes = buffers[i].count * unitBytes[buffers[i].unit];
        ASSERT_GE(at[i], 0);
        ASSERT_LE(at[i] + bytes, size);
        for (size_t j = 0; j < i; ++j) {
          int64_t others = buffers[j].count * unitBytes[buffers[j].unit];
          bool together = buffers[i].first <= buffers[j].last &&
                          buffers[j].first <= buffers[i].last;
          ASSERT_TRUE(!together || at[i] + bytes <= at[j] ||
                      at[j] + others <= at[i])
              << "buffers " << j << " and " << i << " of round " << round;
        }
      }
    }
  }
}

/// Of one unit, buffers of one size need as many places as live at once.
TEST(ArenaPlan, BuffersOfOneSizeNeedNoMoreThanLiveAtOnce) {
  std::mt19937 random(2);
  for (int round = 0; round < 1000; ++round) {
    std::vector<ArenaBuffer> buffers = randomBuffers(random, 1);
    for (ArenaBuffer &buffer : buffers)
      buffer.count = 5;
    int64_t most = 0;
    for (int64_t time = 0; time < 120; ++time)
      most =
          std::max<int64_t>(most, std::count_if(buffers.begin(), buffers.end(),
                                                [&](const ArenaBuffer &buffer) {
                                                  return buffer.first <= time &&
                                                         time <= buffer.last;
                                                }));
    int64_t size;
    startsOf(ArenaPlan::make(buffers), {64}, size);
    ASSERT_EQ(size, most * 5 * 64) << "round " << round;
  }
}

TEST(ArenaPlan, RegionsThatDoNotLiveTogetherShareMemory) {
  ArenaPlan plan =
      ArenaPlan::make({ArenaBuffer{0, 1, 0, 3}, ArenaBuffer{1, 1, 5, 8},
                       ArenaBuffer{2, 1, 2, 9}});
  int64_t size;
  std::vector<int64_t> at = startsOf(plan, {640, 1280, 64}, size);
  EXPECT_EQ(at, (std::vector<int64_t>{64, 64, 0}));
  EXPECT_EQ(size, 64 + 1280);
}

TEST(ArenaPlan, NothingToPlan) {
  EXPECT_TRUE(ArenaPlan::make({}).regions.empty());
}
} // namespace
