// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @top_k_c1_element(%x: memref<9xf8E4M3FN>, %v: memref<3xf8E4M3FN>, %i: memref<3xi64>) {
  // expected-error @+1 {{expected numbers of 8 to 64 bits, but got 'memref<9xf8E4M3FN>'}}
  megactx.top_k %x along 0 outs(%v, %i) : (memref<9xf8E4M3FN>, memref<3xf8E4M3FN>, memref<3xi64>) -> ()
  return
}

// -----

func.func @top_k_c1_values(%x: memref<9xf32>, %v: memref<3xf64>, %i: memref<3xi64>) {
  // expected-error @+1 {{expected values of 'f32', but got 'memref<3xf64>'}}
  megactx.top_k %x along 0 outs(%v, %i) : (memref<9xf32>, memref<3xf64>, memref<3xi64>) -> ()
  return
}

// -----

func.func @top_k_c1_indices(%x: memref<9xf32>, %v: memref<3xf32>, %i: memref<3xi32>) {
  // expected-error @+1 {{expected indices of 'i64', but got 'memref<3xi32>'}}
  megactx.top_k %x along 0 outs(%v, %i) : (memref<9xf32>, memref<3xf32>, memref<3xi32>) -> ()
  return
}

// -----

func.func @top_k_c2_rank(%x: memref<f32>, %v: memref<f32>, %i: memref<i64>) {
  // expected-error @+1 {{expected data of rank 1 or more, but got 'memref<f32>'}}
  megactx.top_k %x along 0 outs(%v, %i) : (memref<f32>, memref<f32>, memref<i64>) -> ()
  return
}

// -----

func.func @top_k_c2_axis(%x: memref<9xf32>, %v: memref<3xf32>, %i: memref<3xi64>) {
  // expected-error @+1 {{expected an axis of 'memref<9xf32>', but got 1}}
  megactx.top_k %x along 1 outs(%v, %i) : (memref<9xf32>, memref<3xf32>, memref<3xi64>) -> ()
  return
}

// -----

func.func @top_k_c2_sizes(%x: memref<2x9xf32>, %v: memref<3x3xf32>, %i: memref<3x3xi64>) {
  // expected-error @+1 {{expected values dim 0 to equal data dim 0, but got 3 vs 2}}
  megactx.top_k %x along 1 outs(%v, %i) : (memref<2x9xf32>, memref<3x3xf32>, memref<3x3xi64>) -> ()
  return
}

// -----

func.func @top_k_c2_many(%x: memref<2x9xf32>, %v: memref<2x10xf32>, %i: memref<2x10xi64>) {
  // expected-error @+1 {{expected at most 9 elements along axis 1, but got 10}}
  megactx.top_k %x along 1 outs(%v, %i) : (memref<2x9xf32>, memref<2x10xf32>, memref<2x10xi64>) -> ()
  return
}

// -----

func.func @top_k_c3(%x: memref<2x9xf32>, %v: tensor<2x3xf32>, %i: memref<2x3xi64>) {
  // expected-error @+1 {{expected ranked tensors or memrefs throughout, but got 'memref<2x9xf32>' and 'tensor<2x3xf32>'}}
  %r = megactx.top_k %x along 1 outs(%v, %i) : (memref<2x9xf32>, tensor<2x3xf32>, memref<2x3xi64>) -> tensor<2x3xf32>
  return
}

// -----

func.func @top_k_c3_results(%x: tensor<2x9xf32>, %v: tensor<2x3xf32>, %i: tensor<2x3xi64>) {
  // expected-error @+1 {{result}}
  %r = megactx.top_k %x along 1 outs(%v, %i) : (tensor<2x9xf32>, tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return
}
