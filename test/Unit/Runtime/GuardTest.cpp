//===- GuardTest.cpp - writes beside blocks of a device -------------------===//
//
// With a CUDA driver for tests, whose memory is the host's.
//
//===----------------------------------------------------------------------===//

#include "Cuda.h"
#include "megactx/Runtime/Runtime.h"
#include <cstdlib>
#include <gtest/gtest.h>

using namespace megactx;

namespace {
class Guard : public testing::Test {
protected:
  void SetUp() override {
    std::string error;
    device = cuda::Device::open(0, error);
    ASSERT_TRUE(device) << error;
    ASSERT_EQ(mctx_guard_memory(1000), 0);
  }
  void TearDown() override {
    mctx_guard_memory(0);
    unsetenv("MEGACTX_FAKE_CUDA");
  }

  unsigned char *allocate(uint64_t bytes) {
    std::string error;
    void *block = device->allocate(bytes, nullptr, error);
    EXPECT_TRUE(block) << error;
    return static_cast<unsigned char *>(block);
  }

  /// What mctx_check_guards says; empty where it finds nothing.
  static std::string found() { return mctx_check_guards() ? mctx_error() : ""; }

  cuda::Device *device = nullptr;
};

TEST_F(Guard, BlocksBeginAsNoNumbersAndAligned) {
  unsigned char *block = allocate(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 256, 0u);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(block[i], 0xff);
  device->free(block);
  EXPECT_EQ(found(), "");
}

TEST_F(Guard, TheBlockItselfIsNotLookedAt) {
  unsigned char *block = allocate(257);
  for (int i = 0; i < 257; ++i)
    block[i] = 1;
  EXPECT_EQ(found(), "");
  device->free(block);
  EXPECT_EQ(found(), "");
}

TEST_F(Guard, ByteBehind) {
  unsigned char *block = allocate(100);
  block[100] = 7;
  EXPECT_EQ(found(), "CUDA device 0 (Fake GPU): 1 bytes were written behind a "
                     "block of 100 bytes, the first at 100");
  block[100] = 0xff;
  EXPECT_EQ(found(), "");
  device->free(block);
}

TEST_F(Guard, BytesBefore) {
  unsigned char *block = allocate(100);
  block[-3] = block[-1] = 7;
  EXPECT_EQ(found(), "CUDA device 0 (Fake GPU): 2 bytes were written before a "
                     "block of 100 bytes, the first at -3");
  block[-3] = block[-1] = 0xff;
  device->free(block);
}

TEST_F(Guard, LastByteOfTheZone) {
  unsigned char *block = allocate(256);
  block[256 + 1023] = 0; // 1000, rounded up
  EXPECT_NE(found(), "");
  block[256 + 1023] = 0xff;
  device->free(block);
}

TEST_F(Guard, AFreedBlockIsReportedOnce) {
  unsigned char *block = allocate(100);
  block[100] = 7;
  device->free(block);
  EXPECT_NE(found(), "");
  EXPECT_EQ(found(), "");
  block = allocate(100);
  block[-1] = 7;
  device->release(block);
  EXPECT_NE(found(), "");
}

TEST_F(Guard, ABlockFromBeforeIsKeptAsItWas) {
  mctx_guard_memory(0);
  unsigned char *block = allocate(100);
  mctx_guard_memory(256);
  EXPECT_EQ(found(), "");
  device->free(block);
  EXPECT_EQ(found(), "");
}

TEST_F(Guard, OutOfMemory) {
  setenv("MEGACTX_FAKE_CUDA", "memory=2000", 1);
  std::string error;
  EXPECT_FALSE(device->allocate(100, nullptr, error));
  EXPECT_EQ(error, "out of memory: 100 bytes for a tensor on CUDA device 0 "
                   "(Fake GPU)");
}

TEST_F(Guard, AnAbsurdSize) {
  EXPECT_EQ(mctx_guard_memory(SIZE_MAX), 1);
  EXPECT_NE(std::string(mctx_error()).find("expected guards of at most"),
            std::string::npos);
}

TEST_F(Guard, ATensorThereAndBack) {
  float values[] = {1, 2, 3};
  mctx_tensor tensor{values, "float", 1, {3}, 0, 0};
  ASSERT_EQ(mctx_to_device(&tensor, 0, nullptr), 0);
  EXPECT_EQ(tensor.device_type, MCTX_CUDA);
  EXPECT_NE(tensor.data, values);
  ASSERT_EQ(mctx_to_host(&tensor), 0);
  EXPECT_EQ(static_cast<float *>(tensor.data)[2], 3);
  mctx_free(tensor.data);
  EXPECT_EQ(found(), "");
}

TEST_F(Guard, ATensorOfNoDtype) {
  float value = 1;
  mctx_tensor tensor{&value, "complex64", 0, {}, 0, 0};
  EXPECT_EQ(mctx_to_device(&tensor, 0, nullptr), 1);
  EXPECT_EQ(std::string(mctx_error()),
            "expected a dtype of ONNX, but got 'complex64'");
}

TEST_F(Guard, ATensorToADeviceThatIsNotThere) {
  float value = 1;
  mctx_tensor tensor{&value, "float", 0, {}, 0, 0};
  EXPECT_EQ(mctx_to_device(&tensor, 5, nullptr), 1);
  EXPECT_EQ(std::string(mctx_error()),
            "there is no CUDA device 5: the driver has 1");
  EXPECT_EQ(tensor.data, &value);
}
} // namespace
