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

/** A dense, row-major tensor in host memory. `dtype` is one of ONNX's names:
 *  float, double, float16, bfloat16, int8, int16, int32, int64, uint8, bool.
 *  Sizes in elements. */
typedef struct {
  void *data;
  const char *dtype;
  int64_t rank;
  int64_t shape[8];
} mctx_tensor;

/** The text of this thread's last error; empty where there was none. */
const char *mctx_error(void);

/** Threads that models use, the calling one included; 0 = one per core. To be
 *  called before the first model runs. Returns the number in use. */
int mctx_set_threads(int count);

/** Opens an artifact. Returns null, with an error text, for a folder that is
 *  not an artifact, is damaged, or was compiled for another CPU. */
mctx_model *mctx_load(const char *path);
void mctx_unload(mctx_model *model);

/** The artifact's manifest, JSON; owned by the model. */
const char *mctx_describe(const mctx_model *model);

/** Runs the model. Inputs are in the manifest's order and are only read; each
 *  output's data is allocated here and is the caller's, who gives it to
 *  mctx_free. Returns 0, or 1 with an error text and no outputs. */
int mctx_run(mctx_model *model, const mctx_tensor *inputs, size_t input_count,
             mctx_tensor *outputs, size_t output_count);
void mctx_free(void *data);

#ifdef __cplusplus
}
#endif

#endif
