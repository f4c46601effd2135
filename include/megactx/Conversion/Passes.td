//===- Passes.td - passes between levels -----*- tablegen -*-===//
//
// Owns the declarations of every pass that leads from one level to the next; one
// folder per arrow holds its implementation.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_PASSES
#define MEGACTX_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def ConvertAttentionToLinalgPass
    : Pass<"megactx-convert-attention-to-linalg"> {
  let summary = "lower online attention, gists and routing to linalg";
  let description = [{
    Before: tensors with `megactx.online_attention`, `megactx.finish_attention`,
    level-of-detail ops or ops on clusters of rows. After: what these say that
    they are (`AggregatedOpInterface`), for every target; other ops stay.

    Attention becomes the matrix of scores, the piece as a condition on each
    element of it, and an online softmax. It works for every piece, element type,
    offset and size, and is the compiled reference that kernels are compared with;
    its scores take 4 * B * Hq * Nq * Nk bytes. The other ops become
    `linalg.generic`, loops of `scf` over entries or rows, and `cf.assert` for
    what is wrong in run-time values.

    ```mlir
    %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum)
        #megactx.piece<hi<p + 1>> {scale = 1.0 : f32} : ...
    ```
    becomes
    ```mlir
    %s = linalg.generic ... ins(%q, %k) outs(%zero)      // s += q * k
    %m = linalg.generic ... outs(%s)                     // k < p + 1 ? s : -inf
    %max1 = linalg.generic ... ins(%m) outs(%max)        // maximum
    %p = linalg.generic ... ins(%max1) outs(%m)          // exp(s - max)
    %sum1 = linalg.generic ... ins(%p) outs(%decayed)    // sum += p
    %acc1 = linalg.generic ... ins(%p, %v) outs(%faded)  // acc += p * v
    ```
  }];
  let statistics = [
    Statistic<"numConverted", "converted", "ops converted">
  ];
  let dependentDialects = ["::mlir::megactx::MegaCtxDialect"];
}

def ConvertMatmulToRuntimePass
    : Pass<"megactx-convert-matmul-to-runtime", "::mlir::ModuleOp"> {
  let summary = "hand matrix products to the runtime";
  let description = [{
    Before: `linalg.generic` on memrefs that is a batched matrix product of f32,
    f16 or bf16 with rows of unit stride. After: a call of
    `mctx_rt_matmul_<type>`, which multiplies with oneDNN on the pool's threads,
    or, with `on-device`, of `mctx_rt_device_matmul_<type>`, which multiplies
    with cuBLASLt on the run's stream; sums are in f32 (never TF32).

    With `on-device`, `megactx.product` on memrefs of unit stride is such a call
    with its bias, residual and activation: cuBLASLt's epilogue, and beta = 1. A
    product of linalg that does not start from zeros adds to what its destination
    holds. Other `megactx.product`s become linalg: a product, which may be a call,
    and a map.
  }];
  let options = [
    Option<"onDevice", "on-device", "bool", "false",
           "memrefs are in the memory of a GPU">
  ];
  let statistics = [Statistic<"numProducts", "products", "products handed over">];
  let dependentDialects = ["::mlir::func::FuncDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ConvertConvolutionToRuntimePass
    : Pass<"megactx-convert-convolution-to-runtime", "::mlir::ModuleOp"> {
  let summary = "hand convolutions to the runtime";
  let description = [{
    Before: `linalg.generic` on memrefs of f32 that is a convolution of padded
    data over 1 to 3 spatial axes, [N, C, ...] with [M, C, ...] into [N, M, ...]
    or with groups before C and M, onto zeros. Data and kernel may be of f16 or
    bf16. After: a call of `mctx_rt_convolution_<type>`, their type, which
    convolves in f32 with oneDNN on the pool's threads; those whose channels have
    a kernel each, by single steps along the last axis (Mamba, Conformer, SegFormer)
    stay ops, with the loop along that axis innermost. A `megactx.convolution` is a
    call of `mctx_rt_convolution_last_f32`, which pads.
  }];
  let statistics = [
    Statistic<"numConvolutions", "convolutions", "convolutions handed over">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ConvertTopKToRuntimePass
    : Pass<"megactx-convert-top-k-to-runtime", "::mlir::ModuleOp"> {
  let summary = "hand the search for largest elements to the runtime";
  let description = [{
    Before: `megactx.top_k` on memrefs. After: a call of
    `mctx_rt_top_k_<type>`, the type of its elements, with data, values, indices,
    axis and 1 for the largest elements or 0 for the smallest, which does rows on
    the pool's threads.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ConvertAssertToRuntimePass
    : Pass<"megactx-convert-assert-to-runtime", "::mlir::ModuleOp"> {
  let summary = "hand run-time checks to the runtime";
  let description = [{
    Before: `cf.assert` outside of parallel loops, on memrefs. After: a call of
    `mctx_rt_fail` with the message where the condition does not hold, which ends
    the model's run with that text as its error. `nvx.report_checks` becomes a call
    of `mctx_rt_report_checks`, which the run goes on after.
  }];
  let statistics = [Statistic<"numChecks", "checks", "checks handed over">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ConvertSCFToControlFlowPass : Pass<"megactx-convert-scf-to-cf"> {
  let summary = "loops and choices to branches, from the last to the first";
  let description = [{
    After: no op of `scf` is left, as after upstream's `convert-scf-to-cf`, whose
    patterns these are. It takes time and memory by the number of ops in a
    function, upstream's by its square.
  }];
  let dependentDialects = ["::mlir::cf::ControlFlowDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect"];
}

def ConvertLinalgToTasksPass
    : Pass<"megactx-convert-linalg-to-tasks", "::mlir::func::FuncOp"> {
  let summary = "turn linalg on memrefs into parallel loops of sizeable tasks";
  let description = [{
    Before: linalg ops on memrefs. After: one-dimensional `scf.parallel` whose
    iterations are tasks of at least `grain` elements (reductions count), with
    sequential loops within. Where the innermost dimension is parallel and has few
    elements, sums over other dimensions stay in registers as vectors of them, for
    some rows at a time where a dimension within the reductions says so; what does
    not differ between rows is computed once. Where it is a reduction, results stay
    in registers until it ends, as vectors of partial results, some for each row,
    where these may be combined in any order. Rows that an operand lies across, as
    in a transpose, are taken 16 at a time, 8 where elements have 64 bits. A
    `linalg.fill` that reductions start from and an op that maps them in place
    afterwards are part of the loop then, such as the scores of `megactx.lens_score`
    and what is legal of them (remark `map-fused` of the category `fuse-lod`).

    A task of `megactx.fused_rows` does its ops for one row after the other; what
    they alone use of a row is on the task's stack where it is known to have no
    more than 64 KiB.

    A task of `megactx.packed_product` has two vectors' lanes of weights' rows. It
    transposes some words of them at a time on its stack, where each line meets
    six rows at once (two, where vectors have less than 512 bits): sums of a chain
    stay in registers, and so do those of all chains.
  }];
  let options = [
    Option<"grain", "grain", "int64_t", "8192", "elements of a task, at least">,
    Option<"vectorBits", "vector-bits", "int64_t", "512",
           "width of a vector register: 128, 256 or 512">
  ];
  let statistics = [
    Statistic<"numFollowers", "followers", "maps done where a reduction ends">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

def ConvertLinalgToGPUPass
    : Pass<"megactx-convert-linalg-to-gpu", "::mlir::func::FuncOp"> {
  let summary = "turn linalg on memrefs in device memory into kernels";
  let description = [{
    Before: linalg ops on memrefs and `megactx.fused_rows`, all of them in device
    memory. After: a `gpu.launch` of blocks of 256 threads for each.

    Threads run along the innermost parallel loop, so that neighbours touch
    neighbouring memory, several rows a block where that loop is known to be
    short; reductions around it are loops within a thread. Where the innermost
    loop is a reduction of 8 elements or more, or of unknown extent, whose
    partial results a single op combines, threads run along it: a warp for each
    row of at most 1024 elements, else a block. Sums are taken in an order of
    their own, as on the CPU.

    Along that loop a thread takes neighbours, as many as there are of the
    narrowest operand in 16 bytes, and moves them as vectors where an operand has
    them next to one another at multiples of the vectors' bytes. Static sizes,
    strides and offsets say so, and those of what an operand is a view of;
    arguments start at multiples of 16 bytes, which the runtime sees to, buffers
    where their `alignment` says. What is left open, such as rows of a length that
    is not known, is asked once before the kernel, which else takes elements one
    by one. An operand that allows less at once is loaded in smaller vectors or
    one by one, elements of i1 always; one that has a single element for all
    neighbours is loaded once.

    The ops of `megactx.fused_rows` are one kernel: a warp or a block does them one
    after the other for its row, a thread the same elements in each. Every thread
    gets the sums. Of rows that are known to be no longer than 32 elements for
    each thread, what one has loaded or computed stays in its registers for the
    ops that follow; scratch is then nowhere in memory. Other rows are read again.

    A `linalg.fill` that a reduction starts from, and an op that maps its results
    in place afterwards, become part of its kernel (remark `map-fused` of the
    category `fuse-lod`).

    ```mlir
    linalg.fill ins(%zero : f32) outs(%sums : memref<?xf32>)
    linalg.generic ... ["parallel", "reduction"]
        ins(%x : memref<?x768xf32>) outs(%sums : memref<?xf32>) { sum += x }
    ```
    becomes a warp for each row, eight to a block
    ```mlir
    gpu.launch blocks(%block, ..) in (%b = ceildiv %rows, 8, ..)
               threads(%thread, ..) in (%t = 256, ..) {
      %row = %block * 8 + %thread / 32
      scf.if %row < %rows {
        %v0 = vector.load %x[%row, %thread mod 32 * 4] : vector<4xf32> ...
        %v5 = vector.load %x[%row, %thread mod 32 * 4 + 640] : vector<4xf32>
        %partial = %v0[0] + %v0[1] + ... + %v5[3]
        %other = gpu.shuffle xor %partial, 16 ...
    ```
  }];
  let statistics = [
    Statistic<"numLaunches", "launches", "kernels">,
    Statistic<"numFused", "fused", "ops in kernels of fused rows">,
    Statistic<"numFollowers", "followers", "maps done where a reduction ends">
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::gpu::GPUDialect", "::mlir::memref::MemRefDialect",
    "::mlir::nvx::NVXDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def ConvertHostAccessToGPUPass
    : Pass<"megactx-convert-host-access-to-gpu", "::mlir::func::FuncOp"> {
  let summary = "let the host reach single elements of device memory";
  let description = [{
    Before: a function on memrefs with `gpu.launch`, whose host code loads and
    stores elements as if all memory were its own. After: it does so only to
    memory that no kernel and no call uses, which is to stay with the host; the
    rest is the device's.

    A check (`cf.assert`) of what is in device memory becomes a kernel that keeps
    the number of the first check that fails; `nvx.report_checks` at the function's
    end tells whoever waits for the results. So they are not to be used before, and
    kernels must not rely on checks for the safety of their accesses. A store becomes a kernel. A load becomes a copy that waits
    for all work before it: one in each place where a size depends on data.

    ```mlir
    %ok = memref.load %all[] : memref<i1>
    cf.assert %ok, "an index of Gather is out of range"
    ```
    becomes
    ```mlir
    gpu.launch ... { if !%all[] && %flag[] == 0: %flag[] = 1 }
    ...
    nvx.report_checks %flag ["an index of Gather is out of range"] : memref<i32>
    ```
  }];
  let statistics = [
    Statistic<"numChecks", "checks", "checks made on the device">,
    Statistic<"numStores", "stores", "stores that are kernels">,
    Statistic<"numLoads", "loads", "loads that wait for the device">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::nvx::NVXDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect"
  ];
}

def ConvertHostLoopsToGPUPass
    : Pass<"megactx-convert-host-loops-to-gpu", "::mlir::func::FuncOp"> {
  let summary = "make kernels of loops over single elements of device memory";
  let description = [{
    Before: a function on memrefs with `gpu.launch`, whose host code has loops
    (`scf.for`, `scf.while`) of arithmetic, loads and stores, such as the edits of
    `megactx.focus_allocate`. After: each outermost one is a launch, in which one
    thread runs it, so that the host waits for none of the elements; what the loop
    carries goes through memory. An `scf.for` that carries nothing, and of which
    each iteration keeps to its own rows of the buffers that it stores to, has a
    block of the launch for each iteration.

    ```mlir
    scf.for %b = %c0 to %batches step %c1 {
      %x = memref.load %edits[%b, %entry] : memref<?x?xi64> ...
      memref.store %y, %edits[%b, %other] : memref<?x?xi64>
    }
    ```
    becomes
    ```mlir
    gpu.launch blocks(%b, ..) in (%n = %batches, ..) threads(%t, ..) in (%m = 32, ..) {
      scf.if %t == 0 {
        %x = memref.load %edits[%b, %entry] : memref<?x?xi64> ...
        memref.store %y, %edits[%b, %other] : memref<?x?xi64>
    ```
  }];
  let statistics = [Statistic<"numLoops", "loops", "loops that are kernels">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"
  ];
}

def OutlineParallelPass
    : Pass<"megactx-outline-parallel", "::mlir::ModuleOp"> {
  let summary = "turn parallel loops into functions that a thread pool runs";
  let description = [{
    Before: one-dimensional `scf.parallel` without reductions, on memrefs. After:
    a private function per loop (index first, then what the loop reads), and a
    call of a declared function marked `megactx.launches`, which
    `megactx-define-launches` gives a body after conversion to LLVM.
  }];
  let statistics = [Statistic<"numLoops", "loops", "loops outlined">];
  let dependentDialects = ["::mlir::func::FuncDialect",
                           "::mlir::arith::ArithDialect"];
}

def DefineLaunchesPass
    : Pass<"megactx-define-launches", "::mlir::ModuleOp"> {
  let summary = "hand outlined loops to the runtime's thread pool";
  let description = [{
    Before: LLVM dialect with declared functions marked `megactx.launches`.
    After: they pack their arguments and call `mctx_rt_parallel_for`.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def CheckGPUHostPass
    : Pass<"megactx-check-gpu-host", "::mlir::ModuleOp"> {
  let summary = "name what has no lowering to a GPU";
  let description = [{
    Before: a module on memrefs, past every lowering to kernels but that of fused
    attention. After: the same module, whose functions hold nothing but
    arithmetic on single numbers, control, buffers, launches and fused attention.
    Anything else is one error that names each kind of operation, how many there
    are, and where the first one stands.
  }];
}

def ConvertMemRefToGPUPass
    : Pass<"megactx-convert-memref-to-gpu", "::mlir::ModuleOp"> {
  let summary = "give buffers to the device, copies to its stream";
  let description = [{
    Before: functions on memrefs with `gpu.launch_func`. After: a buffer that host
    code neither loads from, stores to nor passes to a call is the device's:
    `gpu.alloc`, `gpu.dealloc`; copies are `gpu.memcpy`. Arguments and results
    of the others are marked `megactx.memory = "host"`, which the artifact's
    manifest says; those without the mark are the device's. Kernels that are
    given the host's memory are errors.

    ```mlir
    %out = memref.alloc(%n) : memref<?xf32>
    gpu.launch_func @kernels::@kernel blocks in ... args(%out : memref<?xf32>)
    ```
    becomes
    ```mlir
    %out = gpu.alloc (%n) : memref<?xf32>
    gpu.launch_func @kernels::@kernel blocks in ... args(%out : memref<?xf32>)
    ```
  }];
  let statistics = [Statistic<"numBuffers", "buffers", "buffers of the device">];
  let dependentDialects = ["::mlir::gpu::GPUDialect"];
}

def ConvertNVXToNVVMPass
    : Pass<"convert-nvx-to-nvvm", "::mlir::gpu::GPUModuleOp"> {
  let summary = "lower machine features to nvvm and LLVM, one pattern per op";
  let description = [{
    Before: `nvx` in a `gpu.module`, on upstream vectors and memrefs. After: no
    `nvx`; the vectors are left to `convert-vector-to-llvm`.

    ```mlir
    %y = nvx.exp2 %x : f32
    // becomes
    %y = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%x) : (f32) -> f32
    ```
  }];
  let statistics = [Statistic<"numOps", "ops", "ops lowered">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::NVVM::NVVMDialect",
                           "::mlir::vector::VectorDialect"];
}


def PassTensorMapsByValuePass
    : Pass<"megactx-pass-tensor-maps-by-value", "::mlir::gpu::GPUModuleOp"> {
  let summary = "kernels hold their tensor maps, in constant memory";
  let description = [{
    Before: kernels in the LLVM dialect that copy boxes of tensor maps whose
    addresses they take as arguments. After: the arguments are the maps, 128 bytes
    in the constant memory of the launch (`__grid_constant__`), which is how
    `megactx-convert-nvx-to-runtime` passes them. Of `gpu.func`'s
    attributes `convert-gpu-to-nvvm` keeps none that says so.

    ```mlir
    llvm.func @kernel(%map: !llvm.ptr)
    // becomes
    llvm.func @kernel(%map: !llvm.ptr {llvm.align = 64 : i64,
      llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant})
    ```
  }];
  let statistics = [Statistic<"numMaps", "maps", "arguments of kernels">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def ConvertNVXToRuntimePass
    : Pass<"megactx-convert-nvx-to-runtime", "::mlir::ModuleOp"> {
  let summary = "let the runtime make tensor maps and count multiprocessors";
  let description = [{
    Before: `nvx.encode_tensor_map` in host code, passed to launches of kernels
    that are device code already. After: a call of `mctx_rt_encode_tensor_map`,
    which asks the CUDA driver, and a launch with the 128 bytes. So does
    `mctx_rt_multiprocessors` for `nvx.multiprocessors`.

    ```mlir
    %map = nvx.encode_tensor_map %keys box 64 : memref<...>
    // becomes
    llvm.call @mctx_rt_encode_tensor_map(%to, %keys, ...)
    %map = llvm.load %to : !llvm.ptr -> !llvm.array<16 x i64>
    ```
  }];
  let statistics = [Statistic<"numMaps", "maps", "maps that the host makes">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect"];
}

def ConvertMathToNVVMPass
    : Pass<"megactx-convert-math-to-nvvm", "::mlir::gpu::GPUModuleOp"> {
  let summary = "lower functions of f32 without CUDA's libdevice";
  let description = [{
    Before: `math` on scalars in a `gpu.module`, narrow floats extended to f32
    (`math-extend-to-supported-types`). After: square roots and rounding are
    instructions, exact ones; exp, log, powf, tanh, erf and others of f32
    polynomials, as on the CPU; sin and cos of f32 polynomials of an argument
    that is reduced in f64, right for |x| up to 2^31. What is left, such as exp
    of f64, `convert-gpu-to-nvvm` makes calls of libdevice, which
    `megactx-check-kernels` refuses.

    ```mlir
    %y = math.sqrt %x : f32
    // becomes
    %y = llvm.call_intrinsic "llvm.sqrt.f32"(%x) : (f32) -> f32
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def CheckKernelsPass
    : Pass<"megactx-check-kernels", "::mlir::gpu::GPUModuleOp"> {
  let summary = "name what a kernel calls that is not there";
  let description = [{
    Before: kernels in the LLVM dialect. After: the same; a call of a function
    without a body, which PTX would leave unresolved, is an error at the call.
  }];
}

include "megactx/Conversion/OnnxPasses.td"

#endif // MEGACTX_CONVERSION_PASSES
