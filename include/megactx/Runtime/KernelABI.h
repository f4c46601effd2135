/*===- KernelABI.h - what generated code calls ----------------------*- C
 * -*-===*
 *
 * Owns the symbols that compiled models refer to and that the runtime defines.
 * Not for users: they call Runtime.h.
 *
 *===------------------------------------------------------------------------===*/

#ifndef MEGACTX_RUNTIME_KERNELABI_H
#define MEGACTX_RUNTIME_KERNELABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Runs body(context, i) for 0 <= i < count on all threads of the pool and
 *  returns when all are done. Tasks start in the order of i. Called within a
 *  task it runs in the caller. */
void mctx_rt_parallel_for(void (*body)(void *context, int64_t i), void *context,
                          int64_t count);

/** Inputs, weights and what is allocated in a device's memory start at
 *  multiples of so many bytes. */
enum { MCTX_DEVICE_ALIGNMENT = 16 };

/** A rank-1 memref: stride and offset in elements. */
typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t sizes[1];
  int64_t strides[1];
} mctx_memref1;

/** A rank-3 memref. */
typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t sizes[3];
  int64_t strides[3];
} mctx_memref3;

/** c[i] = a[i] b[i] for each i of the batch; [B, M, K] x [B, K, N] ->
 *  [B, M, N]. An operand with batch 1 is used for every i. One of the last two
 *  strides of each operand is 1. */
void _mlir_ciface_mctx_rt_matmul_f32(mctx_memref3 *a, mctx_memref3 *b,
                                     mctx_memref3 *c);
void _mlir_ciface_mctx_rt_matmul_f16(mctx_memref3 *a, mctx_memref3 *b,
                                     mctx_memref3 *c);
void _mlir_ciface_mctx_rt_matmul_bf16(mctx_memref3 *a, mctx_memref3 *b,
                                      mctx_memref3 *c);
/** a of uint8 times b of int8, summed as int32, modulo 2^32. */
void _mlir_ciface_mctx_rt_matmul_u8s8(mctx_memref3 *a, mctx_memref3 *b,
                                      mctx_memref3 *c);

/** A memref of any rank, whose descriptor is as those above. */
typedef struct {
  int64_t rank;
  void *descriptor;
} mctx_memref;

/** The convolution over `axes` spatial axes, 1 to 3, of data [N, C, ...] with a
 *  kernel [M, C, ...] into [N, M, ...], or of [N, G, C, ...] with [G, M, C,
 * ...] into [N, G, M, ...]: each element is the sum over c and k of the data at
 *  (element * step + k * dilation) times the kernel at k. */
void _mlir_ciface_mctx_rt_convolution_f32(mctx_memref *data,
                                          mctx_memref *kernel,
                                          mctx_memref *result, int64_t axes,
                                          int64_t step0, int64_t step1,
                                          int64_t step2, int64_t dilation0,
                                          int64_t dilation1, int64_t dilation2);
/** The same of data [N, ..., G C] with a kernel [G M, C, ...] into [N, ...,
 *  G M], where the data of element * step + k * dilation - pad is zero outside
 *  of it. Each window has some of the data. */
void _mlir_ciface_mctx_rt_convolution_last_f32(
    mctx_memref *data, mctx_memref *kernel, mctx_memref *result, int64_t groups,
    int64_t axes, int64_t step0, int64_t step1, int64_t step2,
    int64_t dilation0, int64_t dilation1, int64_t dilation2, int64_t pad0,
    int64_t pad1, int64_t pad2);
/** The same of data and a kernel in half precision; the result is of f32. */
void _mlir_ciface_mctx_rt_convolution_f16(mctx_memref *data,
                                          mctx_memref *kernel,
                                          mctx_memref *result, int64_t axes,
                                          int64_t step0, int64_t step1,
                                          int64_t step2, int64_t dilation0,
                                          int64_t dilation1, int64_t dilation2);
void _mlir_ciface_mctx_rt_convolution_bf16(
    mctx_memref *data, mctx_memref *kernel, mctx_memref *result, int64_t axes,
    int64_t step0, int64_t step1, int64_t step2, int64_t dilation0,
    int64_t dilation1, int64_t dilation2);

/** Of each row along the axis of data [..., N, ...] the K largest elements, or
 *  smallest, best first, and where they stand in it: values and indices (int64)
 *  [..., K, ...], K <= N. Of equal elements the earlier one is better; a NaN is
 *  worse than every number. Also of f16, bf16, f64, i8, i16, i32, i64, and
 *  integers without a sign: ui8, ui16, ui32, ui64. */
void _mlir_ciface_mctx_rt_top_k_f32(mctx_memref *data, mctx_memref *values,
                                    mctx_memref *indices, int64_t axis,
                                    int64_t isLargest);

/** What maps the elements of a product: nothing, max(x, 0), or
 *  x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
enum mctx_activation {
  MCTX_ACTIVATION_NONE = 0,
  MCTX_ACTIVATION_RELU = 1,
  MCTX_ACTIVATION_GELU_TANH = 2
};

/** c = activation(a b + bias + residual) in the memory of the device that this
 *  thread's run is on, by cuBLASLt on the run's stream; sums in f32, rounded
 *  once. bias [N] is added to every row and needs a batch of 1, residual has
 *  c's shape and rows of unit stride, as c has, and is c itself or overlaps
 *  none of it. One without elements is none; without terms (K = 0) there is no
 *  bias, and a residual is c. A failure ends the run. */
void _mlir_ciface_mctx_rt_device_matmul_f32(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation);
void _mlir_ciface_mctx_rt_device_matmul_f16(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation);
void _mlir_ciface_mctx_rt_device_matmul_bf16(mctx_memref3 *a, mctx_memref3 *b,
                                             mctx_memref1 *bias,
                                             mctx_memref3 *residual,
                                             mctx_memref3 *c,
                                             int32_t activation);

/** Makes the tensor map (CUtensorMap, 128 bytes, aligned to 64) of [batch,
 *  head, row, column] in the memory of the device that this thread's run is
 *  on; elements of 16 bits, bf16 or f16. Boxes are `rows` rows of 64 columns of
 *  one head, swizzled by 128 bytes; what is outside is zero. Strides of columns
 *  are 1, the others in elements, multiples of 8 where a dimension is larger
 *  than 1. A tensor without elements has a map of zeros. A failure ends the
 *  run. */
void mctx_rt_encode_tensor_map(void *map, void *memory, int64_t isBF16,
                               int64_t rows, int64_t batches, int64_t heads,
                               int64_t tensorRows, int64_t columns,
                               int64_t batchStride, int64_t headStride,
                               int64_t rowStride);

/** How many multiprocessors the device has that this thread's run is on. */
int64_t mctx_rt_multiprocessors(void);

/** Memory of compiled models: kept for reuse until the runtime is unloaded. */
void *_mlir_memref_to_llvm_alloc(uint64_t size);
void *_mlir_memref_to_llvm_aligned_alloc(uint64_t alignment, uint64_t size);
void _mlir_memref_to_llvm_free(void *pointer);

/** LLVM's names for f32 and f64 to bf16 where the CPU has no instruction for
 * it: libgcc has them from version 13 on. */
__bf16 __truncsfbf2(float value);
__bf16 __truncdfbf2(double value);

/** Records the first failure of the run; mctx_run reports it. */
void mctx_rt_fail(const char *message);

/** A rank-0 memref. */
typedef struct {
  void *allocated;
  void *aligned;
  int64_t offset;
} mctx_memref0;

/** Called by a model's own checks: ends the run with this text. */
void _mlir_ciface_mctx_rt_fail(mctx_memref1 *text);

/** Called where checks of data on a device are over: `number`, 32 bits in the
 *  device's memory, is that of the first that failed, counted from 1, or 0.
 *  `texts` is what they say, each with a zero byte after it. The run goes on;
 *  whoever waits for its outputs gets the text. */
void _mlir_ciface_mctx_rt_report_checks(mctx_memref0 *number,
                                        mctx_memref1 *texts);

#ifdef __cplusplus
}
#endif

#endif
