// One schedule for all kernels of a GPU, by option.
// RUN: megactx-compile %s --target=sm_80 --compile-to=loops --schedule='#nvx.schedule<rows = 32, columns = 48, warps = 2, stages = 3, product = mma_sync, held = true, blocks = 1>' -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: rm -rf %t.mctx && not megactx-compile %s --target=sm_80 --schedule='#nvx.schedule<rows = 64>' -o %t.mctx 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not megactx-compile %s --schedule='#nvx.schedule<rows = 64>' -o %t.mctx 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: not ls %t.mctx

// Two warps; 32 rows of queries, three stages of 48 keys and values, of 72 elements.
// CHECK: gpu.launch_func @mctx_kernels::@mctx_attention_0 {{.*}} threads in (%c64, %c1, %c1) dynamic_shared_memory_size %c46080_i32

// SYNTAX: error: expected a valid #nvx.schedule, but got '#nvx.schedule<rows = 64>'
// CPU: error: --schedule is of a GPU's kernels, but the target is cpu

!t = tensor<1x2x?x64xf16>
!s = !megactx.source<tensor<1x2x?x64xf16>, tensor<1x2x?x64xf16>>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
