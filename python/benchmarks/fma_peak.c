// Measures a machine's peak of fused multiply-adds in f32: independent chains of vector FMAs in registers.
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#if defined(__AVX512F__)
typedef __m512 vec;
#define LANES 16
#define FMA _mm512_fmadd_ps
#define SET _mm512_set1_ps
#define STORE _mm512_storeu_ps
#else
typedef __m256 vec;
#define LANES 8
#define FMA _mm256_fmadd_ps
#define SET _mm256_set1_ps
#define STORE _mm256_storeu_ps
#endif
#define CHAINS 12

__attribute__((noinline)) static void *chains(void *count) {
  vec a = SET(0.999999f), b = SET(1e-7f), x[CHAINS];
  for (int i = 0; i < CHAINS; i++)
    x[i] = SET((float)i);
  for (int64_t n = *(int64_t *)count; n > 0; n--) {
    for (int i = 0; i < CHAINS; i++)
      x[i] = FMA(x[i], a, b);
    __asm__ volatile("" : : : "memory");
  }
  volatile float sum = 0;
  float out[LANES];
  for (int i = 0; i < CHAINS; i++) {
    STORE(out, x[i]);
    sum = sum + out[0];
  }
  return (void *)(intptr_t)(sum != 0);
}

// Gives FLOP/s of `threads` threads that run together.
double fma_peak(int threads, int64_t count) {
  pthread_t handle[256];
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int t = 1; t < threads && t < 256; t++)
    pthread_create(&handle[t], 0, chains, &count);
  chains(&count);
  for (int t = 1; t < threads && t < 256; t++)
    pthread_join(handle[t], 0);
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = end.tv_sec - begin.tv_sec + 1e-9 * (end.tv_nsec - begin.tv_nsec);
  return 2.0 * LANES * CHAINS * count * threads / seconds;
}
