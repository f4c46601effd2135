// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @packed_product_c1_rank(%x: memref<3x64xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected rows to have rank 3, but got 'memref<3x64xi32>'}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x64xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_element(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi16>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected another element type of words, but got 'memref<24x16xi16>'}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi16>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_tensor(%x: memref<3x16x4xi32>, %xs: tensor<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected ranked tensors or memrefs throughout, but got 'tensor<3x4xf32>' and 'memref<3x24xf32>'}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, tensor<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_dynamic(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<?x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected words dim 0 to be static and not 0}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<?x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_rows(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<2x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected rowSums dim 0 to equal out dim 0, but got 2 vs 3}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<2x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_columns(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x25xf32>) {
  // expected-error@+1 {{expected words dim 0 to equal out dim 1, but got 24 vs 25}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x25xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_chains(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x8xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected rowSums dim 1 to equal rowScales dim 1, but got 8 vs 4}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x8xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c1_zeros(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x4xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected zeros dim 1 to equal scales dim 1, but got 4 vs 2}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x4xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c2_bits(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected 4 or 8 bits, but got 2}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(2) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c2_pairs(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x2xf32>, %z: memref<24x2xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected rows dim 2 (pairs of a word) to be 2, but got 4}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(8) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x2xf32>, memref<24x2xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c3_chains(%x: memref<3x16x4xi32>, %xs: memref<3x4xf32>, %xt: memref<3x4xi32>, %w: memref<24x16xi32>, %s: memref<24x3xf32>, %z: memref<24x3xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected words to be a multiple of chains, and these of blocks, but got 16, 4 and 3}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%y)
      : (memref<3x16x4xi32>, memref<3x4xf32>, memref<3x4xi32>, memref<24x16xi32>, memref<24x3xf32>, memref<24x3xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

func.func @packed_product_c4_long(%x: memref<3x65x2xi32>, %xs: memref<3x1xf32>, %xt: memref<3x1xi32>, %w: memref<24x65xi32>, %s: memref<24x1xf32>, %z: memref<24x1xf32>, %y: memref<3x24xf32>) {
  // expected-error@+1 {{expected at most 256 numbers in a chain, but got 260}}
  megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(8) outs(%y)
      : (memref<3x65x2xi32>, memref<3x1xf32>, memref<3x1xi32>, memref<24x65xi32>, memref<24x1xf32>, memref<24x1xf32>, memref<3x24xf32>) -> ()
  return
}

// -----

// One result of out's type on tensors.
func.func @packed_product_c5_result(%x: tensor<3x16x4xi32>, %xs: tensor<3x4xf32>, %xt: tensor<3x4xi32>, %w: tensor<24x16xi32>, %s: tensor<24x2xf32>, %y: tensor<3x24xf32>) {
  // expected-error@+1 {{expected type of operand #5 ('tensor<3x24xf32>') to match type of corresponding result ('tensor<?x24xf32>')}}
  %0 = megactx.packed_product %x, %xs, %xt by %w, %s bits(4) outs(%y)
      : (tensor<3x16x4xi32>, tensor<3x4xf32>, tensor<3x4xi32>, tensor<24x16xi32>, tensor<24x2xf32>, tensor<3x24xf32>) -> tensor<?x24xf32>
  return
}
