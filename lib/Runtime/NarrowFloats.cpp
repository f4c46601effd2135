//===- NarrowFloats.cpp - floats of 16 bits from and to f32 ---------------===//

#include "NarrowFloats.h"
#include <cstring>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {
/// Storage of bf16: the upper half of an f32.
struct BFloat {
  uint16_t bits;
  operator float() const {
    uint32_t word = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }
  /// To nearest even; a NaN stays one.
  explicit BFloat(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof(value));
    bits = value != value ? 0x7fc0 : (word + 0x7fff + (word >> 16 & 1)) >> 16;
  }
};

template <typename T>
void widen(const void *from, int64_t stride, float *to, int64_t count) {
  const T *elements = static_cast<const T *>(from);
  for (int64_t i = 0; i < count; ++i)
    to[i] = elements[i * stride];
}

template <typename T> void narrow(const float *from, void *to, int64_t count) {
  T *elements = static_cast<T *>(to);
  for (int64_t i = 0; i < count; ++i)
    elements[i] = static_cast<T>(from[i]);
}

#ifdef __x86_64__
bool hasHalf() {
  static const bool has =
      __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");
  return has;
}

__attribute__((target("avx,f16c"))) int64_t widenEights(const _Float16 *from,
                                                        float *to,
                                                        int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m128i halves;
    std::memcpy(&halves, from + i, sizeof(halves));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
  }
  return i;
}

__attribute__((target("avx,f16c"))) int64_t narrowEights(const float *from,
                                                         _Float16 *to,
                                                         int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m128i halves =
        _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(to + i, &halves, sizeof(halves));
  }
  return i;
}
#else
bool hasHalf() { return false; }
int64_t widenEights(const _Float16 *, float *, int64_t) { return 0; }
int64_t narrowEights(const float *, _Float16 *, int64_t) { return 0; }
#endif

void widenHalf(const void *from, int64_t stride, float *to, int64_t count) {
  const _Float16 *elements = static_cast<const _Float16 *>(from);
  int64_t done =
      stride == 1 && hasHalf() ? widenEights(elements, to, count) : 0;
  widen<_Float16>(elements + done * stride, stride, to + done, count - done);
}

void narrowHalf(const float *from, void *to, int64_t count) {
  _Float16 *elements = static_cast<_Float16 *>(to);
  int64_t done = hasHalf() ? narrowEights(from, elements, count) : 0;
  narrow<_Float16>(from + done, elements + done, count - done);
}
} // namespace

const megactx::NarrowFloats megactx::kHalf = {widenHalf, narrowHalf};
const megactx::NarrowFloats megactx::kBFloat = {widen<BFloat>, narrow<BFloat>};
