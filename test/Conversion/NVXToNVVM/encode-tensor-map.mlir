// RUN: megactx-opt %s -split-input-file -verify-diagnostics --megactx-convert-nvx-to-runtime | FileCheck %s

!k = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
// CHECK: llvm.func @mctx_rt_encode_tensor_map(!llvm.ptr, !llvm.ptr, i64, i64, i64, i64, i64, i64, i64, i64, i64)
module attributes {gpu.container_module} {
  gpu.binary @kernels [#gpu.object<#nvvm.target, "">]
  // CHECK-LABEL: func.func @launch
  // CHECK: %[[TO:.*]] = llvm.alloca {{.*}} x !llvm.array<16 x i64> {alignment = 64 : i64}
  // CHECK: scf.if
  // CHECK: %{{.*}}, %[[OFFSET:.*]], %[[SIZES:.*]]:4, %[[STRIDES:.*]]:4 = memref.extract_strided_metadata
  // CHECK: %[[BEGIN:.*]] = llvm.inttoptr
  // CHECK: %[[IS_BF16:.*]] = llvm.mlir.constant(1 : i64)
  // CHECK: %[[ROWS:.*]] = llvm.mlir.constant(48 : i64)
  // CHECK: %[[BATCHES:.*]] = arith.index_cast %[[SIZES]]#0
  // CHECK: %[[STRIDE:.*]] = arith.index_cast %[[STRIDES]]#0
  // CHECK: llvm.call @mctx_rt_encode_tensor_map(%[[TO]], %[[BEGIN]], %[[IS_BF16]], %[[ROWS]], %[[BATCHES]], %{{.*}}, %{{.*}}, %{{.*}}, %[[STRIDE]], %{{.*}}, %{{.*}})
  // CHECK: %[[MAP:.*]] = llvm.load %[[TO]] : !llvm.ptr -> !llvm.array<16 x i64>
  // CHECK: gpu.launch_func @kernels::@kernel {{.*}} args(%[[MAP]] : !llvm.array<16 x i64>)
  func.func @launch(%k: !k, %c: index, %some: i1) {
    scf.if %some {
      %m = nvx.encode_tensor_map %k box 48 : !k
      gpu.launch_func @kernels::@kernel blocks in (%c, %c, %c) threads in (%c, %c, %c) args(%m : !nvx.tensor_map)
    }
    return
  }
}

// -----

func.func @passed_on(%k: memref<?x?x?x64xf16>) -> !nvx.tensor_map {
  %m = nvx.encode_tensor_map %k box 48 : memref<?x?x?x64xf16>
  // expected-error@+1 {{expected tensor maps to be passed to kernels only}}
  return %m : !nvx.tensor_map
}
