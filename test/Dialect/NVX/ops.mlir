// RUN: megactx-opt %s | megactx-opt | FileCheck %s

// CHECK-LABEL: func @shared_memory
// CHECK: nvx.shared_memory : memref<87040xi8, #gpu.address_space<workgroup>>
func.func @shared_memory() {
  %m = nvx.shared_memory : memref<87040xi8, #gpu.address_space<workgroup>>
  return
}

// CHECK-LABEL: func @mma_sync
// CHECK: nvx.mma_sync %{{.*}}, %{{.*}}, %{{.*}} : vector<4x2xbf16>, vector<2x2xbf16>
func.func @mma_sync(%a: vector<4x2xbf16>, %b: vector<2x2xbf16>,
                    %c: vector<2x2xf32>) -> vector<2x2xf32> {
  %d = nvx.mma_sync %a, %b, %c : vector<4x2xbf16>, vector<2x2xbf16>
  return %d : vector<2x2xf32>
}

// CHECK-LABEL: func @approximate
// CHECK: nvx.exp2 %{{.*}} : vector<2x2xf32>
// CHECK: nvx.log2 %{{.*}} : f32
func.func @approximate(%x: vector<2x2xf32>, %y: f32) -> (vector<2x2xf32>, f32) {
  %0 = nvx.exp2 %x : vector<2x2xf32>
  %1 = nvx.log2 %y : f32
  return %0, %1 : vector<2x2xf32>, f32
}
