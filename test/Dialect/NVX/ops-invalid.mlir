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
