// RUN: megactx-opt %s -pass-pipeline='builtin.module(gpu.module(convert-nvx-to-nvvm))' | FileCheck %s

gpu.module @kernels {
  // CHECK-LABEL: func @bf16_in_words
  // CHECK: vector.bitcast %{{.*}} : vector<4x2xbf16> to vector<4x1xi32>
  // CHECK: nvvm.mma.sync
  // CHECK-SAME: multiplicandAPtxType = #nvvm.mma_type<bf16>
  // CHECK-SAME: (i32, i32, f32)
  // CHECK: vector.from_elements %{{.*}} : vector<2x2xf32>
  func.func @bf16_in_words(%a: vector<4x2xbf16>, %b: vector<2x2xbf16>, %c: vector<2x2xf32>) -> vector<2x2xf32> {
    %d = nvx.mma_sync %a, %b, %c : vector<4x2xbf16>, vector<2x2xbf16>
    return %d : vector<2x2xf32>
  }
  // CHECK-LABEL: func @f16_in_pairs
  // CHECK: nvvm.mma.sync
  // CHECK-SAME: (vector<2xf16>, vector<2xf16>, f32)
  func.func @f16_in_pairs(%a: vector<4x2xf16>, %b: vector<2x2xf16>, %c: vector<2x2xf32>) -> vector<2x2xf32> {
    %d = nvx.mma_sync %a, %b, %c : vector<4x2xf16>, vector<2x2xf16>
    return %d : vector<2x2xf32>
  }
}
