//===- MemoryTest.cpp - accesses that some order of threads makes wrong ---===//

#include "Memory.h"
#include "gtest/gtest.h"

using namespace megactx::emulator;

namespace {

/// One number that kernels may change, and two threads that know nothing of
/// each other.
class MemoryTest : public ::testing::Test {
protected:
  MemoryTest() {
    clocks.reset(2);
    memory.add("sums", data, sizeof(data), Use::InOut);
    memory.beginLaunch();
    beginBlock();
  }
  void beginBlock() { memory.beginBlock(shared, sizeof(shared)); }
  Memory::Error read(unsigned thread) {
    return memory.read(data, sizeof(data), thread);
  }
  Memory::Error write(unsigned thread) {
    return memory.write(data, sizeof(data), thread);
  }
  Memory::Error update(unsigned thread) {
    return memory.update(data, sizeof(data), thread);
  }

  Clocks clocks;
  Memory memory{clocks};
  char data[4] = {}, shared[16];
};

TEST_F(MemoryTest, ThreadsAndBlocksUpdateAtOnce) {
  EXPECT_FALSE(update(0));
  EXPECT_FALSE(update(1));
  beginBlock();
  EXPECT_FALSE(update(1));
}

TEST_F(MemoryTest, NobodyReadsOrWritesBesideUpdates) {
  const char *read = "read of byte 0 of sums, which the launch updates "
                     "atomically",
             *write = "write of byte 0 of sums, which the launch updates "
                      "atomically";
  EXPECT_FALSE(update(0));
  EXPECT_EQ(this->read(1), read);
  EXPECT_EQ(this->write(1), write);
  // Nor those who update themselves, after others.
  EXPECT_FALSE(update(1));
  EXPECT_EQ(this->read(1), read);
  EXPECT_EQ(this->write(1), write);
  beginBlock();
  EXPECT_FALSE(update(0));
  EXPECT_EQ(this->read(0), read);
}

TEST_F(MemoryTest, NobodyUpdatesBesideReadsAndWrites) {
  const char *wrong = "atomic update of byte 0 of sums, which the launch reads "
                      "or writes otherwise";
  EXPECT_FALSE(read(1));
  EXPECT_EQ(update(1), wrong);
  beginBlock();
  EXPECT_EQ(update(0), wrong);
  memory.beginLaunch();
  beginBlock();
  EXPECT_FALSE(write(0));
  EXPECT_EQ(update(1), wrong);
}

TEST_F(MemoryTest, UpdatesNeedAValue) {
  char more[4];
  memory.add("more", more, sizeof(more), Use::Out);
  EXPECT_EQ(memory.update(more, sizeof(more), 0),
            "atomic update of byte 0 of more, which nothing wrote");
}

TEST_F(MemoryTest, LaunchesFollowEachOther) {
  EXPECT_FALSE(update(0));
  memory.beginLaunch();
  beginBlock();
  EXPECT_FALSE(read(1));
  EXPECT_FALSE(write(1));
}

} // namespace
