//===- Passes.td - the NVIDIA target's passes ------------------*- tablegen -*-===//

#ifndef MEGACTX_TARGET_NVGPU_PASSES
#define MEGACTX_TARGET_NVGPU_PASSES

include "mlir/Pass/PassBase.td"

def ConvertAttentionToNVGPUKernelsPass
    : Pass<"megactx-convert-attention-to-nvgpu-kernels", "::mlir::ModuleOp"> {
  let summary = "emit a GPU kernel for each shape of fused attention and of its gradients, launch it";
  let description = [{
    Before: `megactx.fused_attention` on memrefs of f16, bf16 or f32 in device
    memory, rows 16-byte aligned. After: a `gpu.module` with a kernel for each
    (pieces, element type, head dims, options, schedule), and `gpu.launch_func`
    over (query block x class, head, batch x part). Tiles of keys come through
    stages of shared memory by cp.async, or as boxes of tensor maps; f16 and
    bf16 are multiplied by ldmatrix and mma.sync, or by wgmma, which multiplies
    the values of a tile while the softmax of the next runs; f32, which has none
    in full precision, by scalar products: the generic lowering here. Tiles that
    every row sees whole run no mask code.

    `megactx.fused_query_gradient` and `megactx.fused_key_gradient` likewise: a
    block of the latter has key rows that the same queries see, over (key block x
    class, key head, batch), and tiles of queries and dout come through the
    stages, of all heads that read the keys. Both add to what is there, f32.
    `megactx.fused_bias_gradient` is that of queries, whose gradients of scores
    are added atomically to the first part, those per key once for each warp.

    Where there are few rows, as in decoding, a block has those of all query
    heads that share a key head, and keys are split into parts, a block each,
    whose results a second kernel merges by log-sum-exp. How many parts there
    are is computed at run time, from the number of blocks, the keys that the
    last row sees and `split` (below); results of parts are in a buffer of the
    device, parts x B x Hq x Nq x (Dv + 1) numbers of f32, that lives as long as
    the launch. An attention with a dynamic number of rows has two kernels, and
    that for few rows is launched where a class has no more than 16; where
    pieces have classes of rows, a third is for those of 17 to 32.

    How a kernel uses the machine is its `#nvx.schedule`: an attribute
    `nvx.schedule` of the operation, else the option `schedule`, else what the
    file `schedules` has for the architecture and the class of the kernel, such
    as `bf16 128 band bias` (docs/gpu.md), else by a rule. Launches say both, as
    `nvx.schedule` and `megactx.schedule_class`. The rule:

    - `grouped`: where a class has no more than 16 rows, the numbers of heads are
      static and no piece depends on the head; the rows of a class are then
      those of all heads that share a key head in what follows.
    - `product`: fma for f32; for f16 and bf16 wgmma on sm_90a where a class of
      rows is not known to have no more than 32, else mma_sync.
    - `warps`: 4, and 16 `rows` each; 2 or 1 where a class is known to have no
      more than 32 or 16 rows. `columns` (keys of a tile): 64 where both head
      dims are at most 128, else 32; with one warp no more than 4096 / head dim;
      half of it for f32. `blocks`: 8 / `warps`. With wgmma as below.
    - `stages`: 2. `held`: where the head dim is at most 128, or 64 with a piece
      that has a test per element; not for wgmma. With a producer and without a
      bias, of short rows that see 256 keys and more on average, and of columns
      in long rows: 4 stages, and held.
    - `split`: the multiprocessors of `arch` times `blocks`; 0 where a launch is
      known to have more than half as many blocks, or no late row, none with a
      position of its own, sees as many keys as two parts have. No part has
      fewer than 16 keys for each row of a block.
    - `loads`: tma for wgmma and head dims above 32 (with a test per element up to
      128, beside columns in long rows from 65 on) where a piece has neither
      strides nor columns, and with a `producer`, else cp_async. With tma
      the keys and values of such pieces are boxes of tensor maps, and so are
      queries of one class and one head: one thread asks for them, and a barrier
      for each stage counts their bytes; the launch passes maps that
      `nvx.encode_tensor_map` makes. Rows that a tensor has behind a piece's last
      key come along, and those of values are zeroed before their product. Other
      pieces, and other queries, come by cp.async; with a `producer`, of columns
      that follow each other by a multiple of 8, without a lower bound, boxes of
      8 rows and more.
    - `producer`: for wgmma and head dims from 65 to 128, where there is one piece,
      whose keys follow each other, or there are at most two of long rows with columns
      that a producer takes, no bias and no segments; rows are of one class and
      one head, have no positions and are not known to be 64 or fewer, and biases are
      per row. A
      thread of four warps more asks for all boxes, and `rows` rows of a head are
      a unit of work, of which a block takes one after the other.
      `persistent`: with a producer, but where late rows see 3072 keys and more,
      on average, and not from the first on to where they stand; there are then
      only as many blocks as the device, which is asked at run time, has `blocks`
      for each multiprocessor.
    - wgmma, by times on an H100, and the larger of both head dims. Rows are *long*
      where late ones of a piece see keys from the first on, in one view; else
      *short* where late ones see no more than 96 Ki elements of keys on average
      (1536 keys of 64, 768 of 128), or a run says how many. Columns are
      multiples of 16.

      | head dim | | `warps` | `columns` | `blocks` |
      |---|---|---|---|---|
      | to 32 | | 4 | 64 | 4; with a bias 2 |
      | to 64 | long | 4 | 112 | 2 |
      | | short, strided views | 4 | 64 | 4; of two pieces with segments, gathered keys or strided views, and of more, 3 |
      | | others | 4 | 96 | 3 |
      | | columns in long rows; of more than two pieces, and biases | 4 | 64 | 4; 3 |
      | to 128, with a producer | short, of fewer than 256 keys | 4 | 64 | 2 |
      | | other short; columns in long rows; biases | 8 | 64 | 1 |
      | | others | 8 | 128 | 1 |
      | to 128 without | long; columns in them | 4 | 80; 64 | 2 |
      | | others | 4 | 48 | 3 |
      | | biases per key; others | 4 | 80; 64 | 2 |
      | above 128 | columns in long rows; others | 8 | 32; 48 | 1 |
      | any | a test per element | 4; above 128 8 | the first of 64, 48 and 32 that divides all blocks of keys for which it is the same, else 48; above 128 32 | 2, or 3 where one of several pieces with head dims to 64 has a test of blocks, none another test or a bias; 1 |

      Fewer blocks where they do not fit in the shared memory of `arch`.
    - Where a block does not fit, columns are halved down to 16, then warps down
      to 1 (wgmma: 4), until it does.

    - Gradients: mma_sync, or fma for f32; 4 `warps`, fewer where a block does not
      fit, 2 `stages`, 2 `blocks` if they fit, else 1. `columns` (keys of a tile,
      or queries): 64 where both head dims are at most 64, else 32; half of it
      with a test per element or rows at positions, and, without wgmma, for
      strided views and head dims above 96; half of it for f32; 16 at least. Only
      an operation's own `nvx.schedule` says something else.

    Head dims that are not static multiples of 8 up to 256, of gradients up to
    128, are errors, and so are schedules that the kernel or the architecture
    cannot have.
  }];
  let options = [
    Option<"arch", "arch", "std::string", "\"sm_80\"",
           "compute architecture, which says how much shared memory there is">,
    Option<"schedule", "schedule", "std::string", "\"\"",
           "#nvx.schedule of attention whose operation has none; empty: by rule">,
    Option<"schedules", "schedules", "std::string", "\"\"",
           "file of measured schedules, by megactx-tune-schedule">
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "kernels emitted">,
    Statistic<"numMeasured", "measured", "schedules taken from the file">,
    Statistic<"numLaunches", "launches", "attentions that launch them">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::nvgpu::NVGPUDialect", "::mlir::nvx::NVXDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def ShareKernelsPass : Pass<"megactx-share-kernels", "::mlir::ModuleOp"> {
  let summary = "gather a program's kernels in few modules, equal ones once";
  let description = [{
    Before: `gpu.module`s, each with its kernels and their tables. After: one
    `gpu.module @mctx_kernels`, or several of some thousand operations, each of
    which is compiled and loaded at once, side by side with the others; kernels
    that differ only in their names are one, launched from several places, as the
    layers of a model do.
  }];
  let options = [
    Option<"moduleSize", "module-size", "int64_t", "1500",
           "operations, nested ones too, from which on kernels go to the next module">
  ];
  let statistics = [
    Statistic<"numModules", "modules", "modules that are left">,
    Statistic<"numKernels", "kernels", "kernels that are left">,
    Statistic<"numLaunches", "launches", "launches of them">
  ];
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
}

def AssembleKernelsPass
    : Pass<"megactx-assemble-kernels", "::mlir::ModuleOp"> {
  let summary = "device code of kernels, as gpu.binary";
  let description = [{
    Before: `gpu.module`s in the LLVM dialect, each with its target. After: a
    `gpu.binary` for each, with LLVM IR, PTX, machine code, or the last two. What
    `ptxas` or `fatbinary` say where they fail, or are missing, is one error.
  }];
  let options = [
    Option<"arch", "arch", "std::string", "\"sm_80\"",
           "architecture of the targets, for messages">,
    Option<"format", "format", "std::string", "\"isa\"",
           "llvm, isa (PTX), bin (machine code, by ptxas), or fatbin (both)">,
    Option<"toolkit", "toolkit", "std::string", "\"\"",
           "the CUDA toolkit's folder; empty: tools are looked for on PATH">
  ];
  let statistics = [Statistic<"numModules", "modules", "modules assembled">];
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
}

#endif // MEGACTX_TARGET_NVGPU_PASSES
