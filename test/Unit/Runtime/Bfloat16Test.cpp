//===- Bfloat16Test.cpp - bf16 where the CPU has none ---------------------===//

#include "megactx/Runtime/KernelABI.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>

namespace {
float ofBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

float wide(__bf16 narrow) {
  uint16_t upper;
  memcpy(&upper, &narrow, sizeof(upper));
  return ofBits(uint32_t(upper) << 16);
}

float truncated(float value) { return wide(__truncsfbf2(value)); }
float truncated64(double value) { return wide(__truncdfbf2(value)); }

/// Between each bf16 and the next: below, at and above the middle.
TEST(Bfloat16, IsTheNearestAndTiesGoToEven) {
  for (uint32_t upper = 0; upper < 0x7f80; ++upper) {
    float low = ofBits(upper << 16), high = ofBits((upper + 1) << 16);
    float even = upper % 2 ? high : low;
    for (float sign : {1.0f, -1.0f}) {
      ASSERT_EQ(truncated(sign * low), sign * low);
      ASSERT_EQ(truncated(sign * ofBits(upper << 16 | 0x7fff)), sign * low);
      ASSERT_EQ(truncated(sign * ofBits(upper << 16 | 0x8000)), sign * even);
      ASSERT_EQ(truncated(sign * ofBits(upper << 16 | 0x8001)), sign * high);
    }
  }
}

/// What a f32 would round to the middle, and the middle to even.
TEST(Bfloat16, OfAnF64IsRoundedOnce) {
  for (uint32_t upper = 0x80; upper < 0x7f7f; ++upper) {
    float low = ofBits(upper << 16), high = ofBits((upper + 1) << 16);
    double middle = (double(low) + high) / 2, little = (high - low) * 1e-12;
    for (double sign : {1.0, -1.0}) {
      ASSERT_EQ(truncated64(sign * low), float(sign * low));
      ASSERT_EQ(truncated64(sign * (middle - little)), float(sign * low));
      ASSERT_EQ(truncated64(sign * middle),
                float(sign * (upper % 2 ? high : low)));
      ASSERT_EQ(truncated64(sign * (middle + little)), float(sign * high));
    }
  }
  EXPECT_EQ(truncated64(1e300), INFINITY);
  EXPECT_EQ(truncated64(-INFINITY), -INFINITY);
  EXPECT_EQ(truncated64(1e-300), 0.0f);
  EXPECT_TRUE(std::isnan(truncated64(NAN)));
}

TEST(Bfloat16, KeepsWhatIsNoNumber) {
  EXPECT_EQ(truncated(INFINITY), INFINITY);
  EXPECT_EQ(truncated(-INFINITY), -INFINITY);
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u})
    EXPECT_TRUE(std::isnan(truncated(ofBits(bits))));
}
} // namespace
