// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @product_c1_rank(%x: tensor<4x8xf32>, %w: tensor<1x8x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected operand to have rank 3, but got 'tensor<4x8xf32>'}}
  %0 = megactx.product %x, %w outs(%o) : (tensor<4x8xf32>, tensor<1x8x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c1_inner(%x: tensor<1x4x8xf32>, %w: tensor<1x9x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected rhs dim 1 to equal lhs dim 2, but got 9 vs 8}}
  %0 = megactx.product %x, %w outs(%o) : (tensor<1x4x8xf32>, tensor<1x9x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

// A bias is for columns, not for rows.
func.func @product_c1_bias(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %b: tensor<4xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected bias dim 0 to equal out dim 2, but got 4 vs 16}}
  %0 = megactx.product %x, %w bias(%b) outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<4xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c1_bias_rank(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %b: tensor<1x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected bias to have rank 1, but got 'tensor<1x16xf32>'}}
  %0 = megactx.product %x, %w bias(%b) outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<1x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c1_residual(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %r: tensor<1x1x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected residual dim 1 to equal out dim 1, but got 1 vs 4}}
  %0 = megactx.product %x, %w residual(%r) outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<1x1x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c2(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %b: tensor<16xbf16>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected one element type out of f32, f16 and bf16, but got 'bf16' and 'f32'}}
  %0 = megactx.product %x, %w bias(%b) outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<16xbf16>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c3(%x: tensor<1x4x?xf32>, %w: tensor<1x8x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected lhs dim 2 to be static and not 0}}
  %0 = megactx.product %x, %w outs(%o) : (tensor<1x4x?xf32>, tensor<1x8x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}

// -----

func.func @product_c4(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected one result on tensors, none on memrefs}}
  megactx.product %x, %w outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<1x4x16xf32>) -> ()
  return
}

// -----

func.func @product_c4_type(%x: tensor<1x4x8xf32>, %w: tensor<1x8x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected the result to have out's type, but got 'tensor<1x?x16xf32>' vs 'tensor<1x4x16xf32>'}}
  %0 = megactx.product %x, %w outs(%o) : (tensor<1x4x8xf32>, tensor<1x8x16xf32>, tensor<1x4x16xf32>) -> tensor<1x?x16xf32>
  return
}

// -----

func.func @product_mixed(%x: memref<1x4x8xf32>, %w: tensor<1x8x16xf32>, %o: tensor<1x4x16xf32>) {
  // expected-error@+1 {{expected ranked tensors or memrefs throughout, but got 'memref<1x4x8xf32>' and 'tensor<1x4x16xf32>'}}
  %0 = megactx.product %x, %w outs(%o) : (memref<1x4x8xf32>, tensor<1x8x16xf32>, tensor<1x4x16xf32>) -> tensor<1x4x16xf32>
  return
}
