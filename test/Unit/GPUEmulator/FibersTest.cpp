//===- FibersTest.cpp - cooperative threads and their stacks --------------===//

#include "Fibers.h"
#include "gtest/gtest.h"
#include <array>

using megactx::emulator::Fibers;

namespace {

TEST(Fibers, TakeTurns) {
  Fibers fibers;
  std::vector<unsigned> order;
  auto twice = [&] {
    unsigned self = fibers.current();
    order.push_back(self);
    fibers.wake(self);
    fibers.wait();
    order.push_back(self);
  };
  EXPECT_EQ(fibers.run(3, twice), 0u);
  EXPECT_EQ(order, (std::vector<unsigned>{0, 1, 2, 0, 1, 2}));
}

TEST(Fibers, CountsThoseThatNobodyWakes) {
  Fibers fibers;
  auto oddWait = [&] {
    if (fibers.current() % 2)
      fibers.wait();
  };
  EXPECT_EQ(fibers.run(5, oddWait), 2u);
  EXPECT_EQ(fibers.run(5, [] {}), 0u);
}

/// A frame of megabytes, in use while others run, is not written by them.
TEST(Fibers, HaveLargeFrames) {
  constexpr unsigned kFibers = 40;
  Fibers fibers;
  std::array<long, kFibers> sums = {};
  auto sum = [&] {
    unsigned self = fibers.current();
    volatile long frame[1 << 19];
    for (unsigned i = 0; i < std::size(frame); ++i)
      frame[i] = self;
    fibers.wake(self);
    fibers.wait();
    for (unsigned i = 0; i < std::size(frame); ++i)
      sums[self] += frame[i];
  };
  EXPECT_EQ(fibers.run(kFibers, sum), 0u);
  for (unsigned i = 0; i < kFibers; ++i)
    EXPECT_EQ(sums[i], long(i) << 19);
}

} // namespace
