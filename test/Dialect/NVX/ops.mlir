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

// CHECK-LABEL: func @wgmma_descriptor
// CHECK: nvx.wgmma_descriptor %{{.*}}[%{{.*}}] : memref<2x128x64xbf16, #gpu.address_space<workgroup>>
// CHECK: nvx.wgmma_descriptor %{{.*}}[%{{.*}}] transpose : memref<2x128x64xbf16, #gpu.address_space<workgroup>>
func.func @wgmma_descriptor(%t: memref<2x128x64xbf16, #gpu.address_space<workgroup>>, %row: index) -> (i64, i64) {
  %0 = nvx.wgmma_descriptor %t[%row] : memref<2x128x64xbf16, #gpu.address_space<workgroup>>
  %1 = nvx.wgmma_descriptor %t[%row] transpose : memref<2x128x64xbf16, #gpu.address_space<workgroup>>
  return %0, %1 : i64, i64
}

// CHECK-LABEL: func @wgmma
// CHECK: %[[S:.*]] = nvx.wgmma %{{.*}}, %{{.*}} {element = bf16} : (i64, i64) -> vector<16x2x2xf32>
// CHECK: %[[W:.*]] = nvx.wgmma_wait 1, %[[S]] : vector<16x2x2xf32>
// CHECK: %[[O:.*]] = nvx.wgmma %{{.*}}, %{{.*}}, %{{.*}} transpose {element = bf16} : (vector<4x2xbf16>, i64, vector<8x2x2xf32>) -> vector<8x2x2xf32>
// CHECK: nvx.wgmma_wait 0 after %{{.*}}, %[[O]], %[[W]] : vector<8x2x2xf32>, vector<16x2x2xf32>
func.func @wgmma(%q: i64, %k: i64, %p: vector<4x2xbf16>, %v: i64, %o: vector<8x2x2xf32>, %sum: f32)
    -> (vector<8x2x2xf32>, vector<16x2x2xf32>) {
  %0 = nvx.wgmma %q, %k {element = bf16} : (i64, i64) -> vector<16x2x2xf32>
  %1 = nvx.wgmma_wait 1, %0 : vector<16x2x2xf32>
  %2 = nvx.wgmma %p, %v, %o transpose {element = bf16} : (vector<4x2xbf16>, i64, vector<8x2x2xf32>) -> vector<8x2x2xf32>
  %3:2 = nvx.wgmma_wait 0 after %sum, %2, %1 : vector<8x2x2xf32>, vector<16x2x2xf32>
  return %3#0, %3#1 : vector<8x2x2xf32>, vector<16x2x2xf32>
}

// CHECK-LABEL: func @max
// CHECK: nvx.max %{{.*}}, %{{.*}} : vector<2x2xf32>
func.func @max(%x: vector<2x2xf32>, %y: vector<2x2xf32>) -> vector<2x2xf32> {
  %0 = nvx.max %x, %y : vector<2x2xf32>
  return %0 : vector<2x2xf32>
}

// CHECK-LABEL: func @boxes
// CHECK: %[[M:.*]] = nvx.encode_tensor_map %{{.*}} box 64 : memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
// CHECK: return %[[M]] : !nvx.tensor_map
// CHECK: func @load_box(%[[MAP:.*]]: !nvx.tensor_map,
// CHECK: nvx.load_box %[[MAP]][%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}], %{{.*}}[%{{.*}}, %{{.*}}], %{{.*}}[%{{.*}}] : memref<2x128x64xbf16, #gpu.address_space<workgroup>>, memref<2xi64, #gpu.address_space<workgroup>>
func.func @boxes(%k: memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>) -> !nvx.tensor_map {
  %m = nvx.encode_tensor_map %k box 64 : memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
  return %m : !nvx.tensor_map
}
func.func @load_box(%m: !nvx.tensor_map, %i: index, %t: memref<2x128x64xbf16, #gpu.address_space<workgroup>>,
                    %b: memref<2xi64, #gpu.address_space<workgroup>>) {
  nvx.load_box %m[%i, %i, %i, %i], %t[%i, %i], %b[%i]
      : memref<2x128x64xbf16, #gpu.address_space<workgroup>>, memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// CHECK-LABEL: func @checks
// CHECK: nvx.report_checks %{{.*}} ["first", "second"] : memref<i32>
func.func @checks(%number: memref<i32>) {
  nvx.report_checks %number ["first", "second"] : memref<i32>
  return
}

// CHECK-LABEL: func @multiprocessors
// CHECK: nvx.multiprocessors
func.func @multiprocessors() -> index {
  %n = nvx.multiprocessors
  return %n : index
}

// CHECK-LABEL: func @recompute
// CHECK: nvx.recompute %{{.*}} : index
func.func @recompute(%x: index) -> index {
  %y = nvx.recompute %x : index
  return %y : index
}

// CHECK-LABEL: func @atomic_add
// CHECK: nvx.atomic_add %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] : memref<?x?xf32, strided<[?, ?], offset: ?>>
func.func @atomic_add(%x: f32, %sums: memref<?x?xf32, strided<[?, ?], offset: ?>>, %i: index) {
  nvx.atomic_add %x, %sums[%i, %i] : memref<?x?xf32, strided<[?, ?], offset: ?>>
  return
}
