//===- Passes.td - the CPU target's passes ---------------------*- tablegen -*-===//

#ifndef MEGACTX_TARGET_CPU_PASSES
#define MEGACTX_TARGET_CPU_PASSES

include "mlir/Pass/PassBase.td"

def ConvertAttentionToCPUKernelsPass
    : Pass<"megactx-convert-attention-to-cpu-kernels", "::mlir::ModuleOp"> {
  let summary = "emit a kernel for each shape of fused attention, and call it";
  let description = [{
    Before: `megactx.fused_attention` on memrefs. After: calls of private
    functions whose loops, an `scf.parallel` over (query block, head, batch),
    keep queries in the vector lanes. Ops of equal pieces, element type, head
    dims and options share a function. What does not depend on the pieces, such
    as the update by one block of keys, is in functions that kernels share.
    With `amx`, products of more than two rows of bf16 are those of
    `amx.tile_mulf`, weights and slopes among their factors rounded to bf16.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "512",
           "hardware vector width in bits: 128, 256 or 512">,
    Option<"vectorRegisters", "vector-registers", "int64_t", "32",
           "hardware vectors that code can name: x86 has 32 of 512 bits and 16 "
           "of fewer, AArch64 32">,
    Option<"amx", "amx", "bool", "false",
           "products of bf16 by matrix tiles (AMX), where vectors have 512 "
           "bits and head dims are multiples of 16">
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "kernels emitted">,
    Statistic<"numCalls", "calls", "attentions that call them">
  ];
  let dependentDialects = [
    "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect", "::mlir::x86vector::X86VectorDialect"
  ];
}

#endif // MEGACTX_TARGET_CPU_PASSES
