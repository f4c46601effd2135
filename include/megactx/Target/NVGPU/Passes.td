//===- Passes.td - the NVIDIA target's passes ------------------*- tablegen -*-===//

#ifndef MEGACTX_TARGET_NVGPU_PASSES
#define MEGACTX_TARGET_NVGPU_PASSES

include "mlir/Pass/PassBase.td"

def ConvertAttentionToNVGPUKernelsPass
    : Pass<"megactx-convert-attention-to-nvgpu-kernels", "::mlir::ModuleOp"> {
  let summary = "emit a GPU kernel for each shape of fused attention, launch it";
  let description = [{
    Before: `megactx.fused_attention` on memrefs of f16, bf16 or f32 in device
    memory, rows 16-byte aligned. After: a `gpu.module` with a kernel for each
    (pieces, element type, head dims, options) in the sm_80 schedule (cp.async,
    ldmatrix, mma.sync; 4 warps of 16 query rows, two stages of keys), and
    `gpu.launch_func` over (query block x class, head, batch). Tiles that every
    row sees whole run no mask code. f32 has no mma.sync in full precision: its
    products are scalar, which is the generic lowering here.

    Head dims that are not static multiples of 8 up to 256 are errors.
  }];
  let statistics = [
    Statistic<"numKernels", "kernels", "kernels emitted">,
    Statistic<"numLaunches", "launches", "attentions that launch them">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::nvgpu::NVGPUDialect", "::mlir::nvx::NVXDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

#endif // MEGACTX_TARGET_NVGPU_PASSES
