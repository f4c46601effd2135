/*===- Runtime.h - loading and running compiled models --------------*- C
 * -*-===*
 *
 * Owns the C API of libmegactx_runtime.so. The library links neither LLVM nor
 * MLIR.
 *
 *   mctx_model *model = mctx_load("model.mctx");
 *   if (!model) puts(mctx_error());
 *   mctx_run(model, inputs, 2, outputs, 1);
 *
 *===------------------------------------------------------------------------===*/

#ifndef MEGACTX_RUNTIME_RUNTIME_H
#define MEGACTX_RUNTIME_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mctx_model mctx_model;

/** Where a tensor is, by DLPack's codes; 0 is host memory too. */
enum { MCTX_HOST = 1, MCTX_CUDA = 2 };

/** The most dims of a tensor. */
enum { MCTX_MAX_RANK = 8 };

/** A dense, row-major tensor. `dtype` is one of ONNX's names: float, double,
 *  float16, bfloat16, int8, int16, int32, int64, uint8, bool. Sizes in
 * elements. `device` counts the devices of that type. */
typedef struct {
  void *data;
  const char *dtype;
  int64_t rank;
  int64_t shape[MCTX_MAX_RANK];
  int32_t device_type;
  int32_t device;
} mctx_tensor;

/** The text of this thread's last error; empty where there was none. */
const char *mctx_error(void);

/** Threads that models use, the calling one included; 0 = one per core. To be
 *  called before the first model runs. Returns the number in use. */
int mctx_set_threads(int count);

/** Opens an artifact. Returns null, with an error text, for a folder that is
 *  not an artifact, is damaged, was compiled for another CPU, or needs a GPU
 *  where there is none or no driver. Of GPUs the thread's current one is looked
 *  at, or the first. */
mctx_model *mctx_load(const char *path);
void mctx_unload(mctx_model *model);

/** The artifact's manifest, JSON; owned by the model. */
const char *mctx_describe(const mctx_model *model);

/** Runs the model. Inputs are in the manifest's order and are only read; each
 *  output's data is allocated here and is the caller's, who gives it to
 *  mctx_free. Returns 0, or 1 with an error text and no outputs.
 *
 *  Of an output of which the manifest says that it `updates` an input, which a
 *  model compiled with --caches-in-place has, the data is the input's: the run
 *  writes into it, and may have done so where it fails; mctx_free is not for
 * it. On a GPU such an input has to be in the device's memory.
 *
 *  A model for a GPU runs on the device of its inputs, or the thread's current
 *  one where all are in host memory, from which it copies them; its outputs are
 *  in the memory of that device. It runs on the default stream, and may still
 *  be running on return: work of that stream comes after it. */
int mctx_run(mctx_model *model, const mctx_tensor *inputs, size_t input_count,
             mctx_tensor *outputs, size_t output_count);

/** The same on a stream (CUstream) of the device's primary context; inputs have
 *  to be there for that stream. Models of the CPU have no stream. */
int mctx_run_on_stream(mctx_model *model, void *stream,
                       const mctx_tensor *inputs, size_t input_count,
                       mctx_tensor *outputs, size_t output_count);

/** Waits for the run that an output is of. What failed in it, and in the runs
 *  that its inputs come from, is reported here and by mctx_to_host, and where
 *  neither was called by the model's next run. Returns 0, or 1 with an error
 * text. */
int mctx_wait(const mctx_tensor *output);

/** Moves an output to host memory, after the run that it is of; what failed in
 *  that is reported as by mctx_wait. Returns 0, or 1 with an error text and the
 * output as it was. An output in host memory stays as it is. */
int mctx_to_host(mctx_tensor *output);

/** Copies a tensor of host memory to a CUDA device, to memory as outputs have
 * it: work of `stream` (null: the default stream) comes after the copy.
 * `device` -1 is the thread's current one, or the first. The data that the
 * tensor had stays the caller's. Returns 0, or 1 with an error text and the
 * tensor as it was. */
int mctx_to_device(mctx_tensor *tensor, int device, void *stream);

/** An output in a GPU's memory for others, by DLPack: a DLManagedTensor that
 *  holds the memory until its deleter is called. What a stream does from now on
 *  comes after the run. Null, with an error text, for other memory. */
void *mctx_to_dlpack(const mctx_tensor *output, void *stream);

/** One more holder of an output in a GPU's memory: mctx_free has to be called
 *  once more. */
void mctx_retain(void *data);

/** Gives an output's memory back. Of a GPU it may be given out again to runs on
 *  the stream that it is of, after what the streams of mctx_to_dlpack have been
 *  given so far. */
void mctx_free(void *data);

/** To find kernels that write where they should not: GPUs' memory that is
 *  allocated from now on, for inputs, outputs, weights and all between, is
 * filled with bytes 0xff, which are no numbers, and stands between zones of at
 * least `bytes` bytes of 0xff. 0 ends that. Runs become slow. Returns 0, or 1
 * with an error text. */
int mctx_guard_memory(size_t bytes);

/** Waits for all GPUs in use. Returns 0 where no zone was written to since the
 *  last call, or 1 with an error text that says beside what. */
int mctx_check_guards(void);

#ifdef __cplusplus
}
#endif

#endif
