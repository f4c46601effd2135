// RUN: megactx-opt %s -split-input-file -verify-diagnostics

func.func @shared_memory_c1_address_space() {
  // expected-error@+1 {{expected a static memref of rank 1 of i8 in workgroup memory, but got 'memref<64xi8>'}}
  %m = nvx.shared_memory : memref<64xi8>
  return
}

// -----

func.func @mma_sync_c1(%a: vector<4x2xbf16>, %b: vector<2x2xf16>, %c: vector<2x2xf32>) {
  // expected-error@+1 {{expected a and b of one element type, but got 'vector<4x2xbf16>' and 'vector<2x2xf16>'}}
  %d = nvx.mma_sync %a, %b, %c : vector<4x2xbf16>, vector<2x2xf16>
  return
}

// -----

func.func @mma_sync_shape(%a: vector<2x4xf16>, %b: vector<2x2xf16>, %c: vector<2x2xf32>) {
  // expected-error@+1 {{operand #0 must be vector<4x2> of f16 or bf16}}
  %d = nvx.mma_sync %a, %b, %c : vector<2x4xf16>, vector<2x2xf16>
  return
}

// -----

func.func @wgmma_descriptor_c1_columns(%t: memref<2x128x32xbf16, #gpu.address_space<workgroup>>, %row: index) {
  // expected-error@+1 {{expected a static memref of panels, rows (a multiple of 8) and 64 columns of f16 or bf16 in workgroup memory, but got 'memref<2x128x32xbf16, #gpu.address_space<workgroup>>'}}
  %d = nvx.wgmma_descriptor %t[%row] : memref<2x128x32xbf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @wgmma_descriptor_c1_rows(%t: memref<2x12x64xbf16, #gpu.address_space<workgroup>>, %row: index) {
  // expected-error@+1 {{expected a static memref of panels, rows (a multiple of 8)}}
  %d = nvx.wgmma_descriptor %t[%row] : memref<2x12x64xbf16, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @wgmma_c1_columns(%a: i64, %b: i64) {
  // expected-error@+1 {{expected 1 to 32 tiles of 8 columns, but got 33}}
  %d = nvx.wgmma %a, %b {element = f16} : (i64, i64) -> vector<33x2x2xf32>
  return
}

// -----

func.func @wgmma_c1_sum(%a: i64, %b: i64, %c: vector<8x2x2xf32>) {
  // expected-error@+1 {{expected c and d of one type, but got 'vector<8x2x2xf32>' and 'vector<4x2x2xf32>'}}
  %d = nvx.wgmma %a, %b, %c {element = f16} : (i64, i64, vector<8x2x2xf32>) -> vector<4x2x2xf32>
  return
}

// -----

func.func @wgmma_c2_element(%a: i64, %b: i64) {
  // expected-error@+1 {{expected elements of f16 or bf16, but got 'f32'}}
  %d = nvx.wgmma %a, %b {element = f32} : (i64, i64) -> vector<8x2x2xf32>
  return
}

// -----

func.func @wgmma_c2_fragment(%a: vector<4x2xbf16>, %b: i64) {
  // expected-error@+1 {{expected a fragment of 'f16', but got 'vector<4x2xbf16>'}}
  %d = nvx.wgmma %a, %b {element = f16} : (vector<4x2xbf16>, i64) -> vector<8x2x2xf32>
  return
}

// -----

func.func @wgmma_wait_c1(%c: vector<8x2x2xf32>) {
  // expected-error@+1 {{attribute 'left' failed to satisfy constraint}}
  %d = nvx.wgmma_wait 8, %c : vector<8x2x2xf32>
  return
}

// -----

func.func @encode_tensor_map_c1_rank(%k: memref<?x?x64xbf16>) {
  // expected-error@+1 {{expected a memref of rank 4 of f16 or bf16 with contiguous rows, but got 'memref<?x?x64xbf16>'}}
  %m = nvx.encode_tensor_map %k box 64 : memref<?x?x64xbf16>
  return
}

// -----

func.func @encode_tensor_map_c1_stride(%k: memref<?x?x?x64xbf16, strided<[?, ?, ?, 2]>>) {
  // expected-error@+1 {{expected a memref of rank 4 of f16 or bf16 with contiguous rows}}
  %m = nvx.encode_tensor_map %k box 64 : memref<?x?x?x64xbf16, strided<[?, ?, ?, 2]>>
  return
}

// -----

func.func @encode_tensor_map_c1_element(%k: memref<?x?x?x64xf32>) {
  // expected-error@+1 {{expected a memref of rank 4 of f16 or bf16 with contiguous rows}}
  %m = nvx.encode_tensor_map %k box 64 : memref<?x?x?x64xf32>
  return
}

// -----

func.func @encode_tensor_map_c2(%k: memref<?x?x?x64xf16>) {
  // expected-error@+1 {{attribute 'rows' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive whose maximum value is 256}}
  %m = nvx.encode_tensor_map %k box 257 : memref<?x?x?x64xf16>
  return
}

// -----

func.func @load_box_c1_tile(%m: !nvx.tensor_map, %i: index, %t: memref<2x128x32xbf16, #gpu.address_space<workgroup>>, %b: memref<2xi64, #gpu.address_space<workgroup>>) {
  // expected-error@+1 {{expected a static memref of panels, rows (a multiple of 8) and 64 columns of f16 or bf16 in workgroup memory}}
  nvx.load_box %m[%i, %i, %i, %i], %t[%i, %i], %b[%i] : memref<2x128x32xbf16, #gpu.address_space<workgroup>>, memref<2xi64, #gpu.address_space<workgroup>>
  return
}

// -----

func.func @load_box_c1_barriers(%m: !nvx.tensor_map, %i: index, %t: memref<2x128x64xbf16, #gpu.address_space<workgroup>>, %b: memref<2xi64>) {
  // expected-error@+1 {{expected barriers in a static memref of rank 1 of i64 in workgroup memory, but got 'memref<2xi64>'}}
  nvx.load_box %m[%i, %i, %i, %i], %t[%i, %i], %b[%i] : memref<2x128x64xbf16, #gpu.address_space<workgroup>>, memref<2xi64>
  return
}

// -----

func.func @report_checks_number(%number: memref<2xi32>) {
  // expected-error@+1 {{operand #0 must be 0D memref of 32-bit signless integer values}}
  nvx.report_checks %number ["first"] : memref<2xi32>
  return
}

// -----

func.func @atomic_add_c1_indices(%x: f32, %sums: memref<?x?xf32>, %i: index) {
  // expected-error@+1 {{expected 2 indices, but got 1}}
  nvx.atomic_add %x, %sums[%i] : memref<?x?xf32>
  return
}

// -----

func.func @atomic_add_c1_space(%x: f32, %sums: memref<8xf32, #gpu.address_space<workgroup>>, %i: index) {
  // expected-error@+1 {{expected device memory, but got 'memref<8xf32, #gpu.address_space<workgroup>>'}}
  nvx.atomic_add %x, %sums[%i] : memref<8xf32, #gpu.address_space<workgroup>>
  return
}
