// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @route_c1_rank(%x: tensor<2x8x4xf32>, %c: tensor<2x3x4xf32>) {
  // expected-error@+1 {{operand #0 must be 4D tensor of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<2x8x4xf32>'}}
  %m, %n = megactx.route %x, %c {window = 4} : (tensor<2x8x4xf32>, tensor<2x3x4xf32>) -> (tensor<12x4xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c1_type(%x: tensor<2x2x8x4xf32>, %c: tensor<2x3x4xf16>) {
  // expected-error@+1 {{expected centroids of element type 'f32', as rows, but got 'tensor<2x3x4xf16>'}}
  %m, %n = megactx.route %x, %c {window = 4} : (tensor<2x2x8x4xf32>, tensor<2x3x4xf16>) -> (tensor<12x4xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c2_heads(%x: tensor<2x2x8x4xf32>, %c: tensor<4x3x4xf32>) {
  // expected-error@+1 {{expected centroids dim 0 to equal rows dim 1, but got 4 vs 2}}
  %m, %n = megactx.route %x, %c {window = 4} : (tensor<2x2x8x4xf32>, tensor<4x3x4xf32>) -> (tensor<12x4xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c2_columns(%x: tensor<2x2x8x4xf32>, %c: tensor<2x3x5xf32>) {
  // expected-error@+1 {{expected centroids dim 2 to equal rows dim 3, but got 5 vs 4}}
  %m, %n = megactx.route %x, %c {window = 4} : (tensor<2x2x8x4xf32>, tensor<2x3x5xf32>) -> (tensor<12x4xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c2_lengths(%x: tensor<2x2x8x4xf32>, %c: tensor<2x3x4xf32>, %l: tensor<3xindex>) {
  // expected-error@+1 {{expected lengths dim 0 to equal rows dim 0, but got 3 vs 2}}
  %m, %n = megactx.route %x, %c lengths(%l) {window = 4} : (tensor<2x2x8x4xf32>, tensor<2x3x4xf32>, tensor<3xindex>) -> (tensor<12x4xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c3(%x: tensor<2x2x8x4xf32>, %c: tensor<2x3x4xf32>) {
  // expected-error@+1 {{attribute 'window' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %m, %n = megactx.route %x, %c {window = 0} : (tensor<2x2x8x4xf32>, tensor<2x3x4xf32>) -> (tensor<12x0xindex>, tensor<12xindex>)
  return
}

// -----

func.func @route_c4(%x: tensor<2x2x8x4xf32>, %c: tensor<2x3x4xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s) 'tensor<12x8xindex>', 'tensor<12xindex>' are incompatible with return type(s) of operation 'tensor<12x9xindex>', 'tensor<12xindex>'}}
  %m, %n = megactx.route %x, %c {window = 9} : (tensor<2x2x8x4xf32>, tensor<2x3x4xf32>) -> (tensor<12x9xindex>, tensor<12xindex>)
  return
}

// -----

// Sizes whose product is no number are dynamic.
func.func @route_c4_absurd(%x: tensor<4611686018427387904x2x8x4xf32>, %c: tensor<2x3x4xf32>) {
  %m, %n = megactx.route %x, %c {window = 4} : (tensor<4611686018427387904x2x8x4xf32>, tensor<2x3x4xf32>) -> (tensor<?x4xindex>, tensor<?xindex>)
  return
}

// -----

func.func @gather_rows_c1(%x: tensor<2x2x8x4xf32>, %m: tensor<12x4xi64>) {
  // expected-error@+1 {{operand #1 must be 2D tensor of index values, but got 'tensor<12x4xi64>'}}
  %y = megactx.gather_rows %x at %m : (tensor<2x2x8x4xf32>, tensor<12x4xi64>) -> tensor<12x1x4x4xf32>
  return
}

// -----

func.func @gather_rows_c2(%x: tensor<2x2x8x4xf32>, %m: tensor<11x4xindex>) {
  // expected-error@+1 {{expected as many clusters for each batch row and head, but got 11 for 2 x 2}}
  %y = megactx.gather_rows %x at %m : (tensor<2x2x8x4xf32>, tensor<11x4xindex>) -> tensor<11x1x4x4xf32>
  return
}

// -----

func.func @gather_rows_c2_none(%x: tensor<0x2x8x4xf32>, %m: tensor<2x4xindex>) {
  // expected-error@+1 {{expected as many clusters for each batch row and head, but got 2 for 0 x 2}}
  %y = megactx.gather_rows %x at %m : (tensor<0x2x8x4xf32>, tensor<2x4xindex>) -> tensor<2x1x4x4xf32>
  return
}

// -----

func.func @gather_rows_c3(%x: tensor<2x2x8x4xf32>, %m: tensor<12x4xindex>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s) 'tensor<12x1x4x4xf32>' are incompatible with return type(s) of operation 'tensor<12x2x4x4xf32>'}}
  %y = megactx.gather_rows %x at %m : (tensor<2x2x8x4xf32>, tensor<12x4xindex>) -> tensor<12x2x4x4xf32>
  return
}

// -----

func.func @scatter_mean_c1(%y: tensor<12x1x4x4xf16>, %m: tensor<12x4xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+1 {{expected rows of element type 'f32', as init, but got 'tensor<12x1x4x4xf16>'}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<12x1x4x4xf16>, tensor<12x4xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x8x4xf32>
  return
}

// -----

func.func @scatter_mean_c1_columns(%y: tensor<12x1x4x5xf32>, %m: tensor<12x4xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+1 {{expected rows dim 3 to equal init dim 3, but got 5 vs 4}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<12x1x4x5xf32>, tensor<12x4xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x8x4xf32>
  return
}

// -----

func.func @scatter_mean_c2(%y: tensor<12x1x4x4xf32>, %m: tensor<12x5xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+1 {{expected rows dim 2 to equal members dim 1, but got 4 vs 5}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<12x1x4x4xf32>, tensor<12x5xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x8x4xf32>
  return
}

// -----

func.func @scatter_mean_c2_heads(%y: tensor<12x2x4x4xf32>, %m: tensor<12x4xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+1 {{expected rows of one head, but got 'tensor<12x2x4x4xf32>'}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<12x2x4x4xf32>, tensor<12x4xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x8x4xf32>
  return
}

// -----

func.func @scatter_mean_c3(%y: tensor<11x1x4x4xf32>, %m: tensor<11x4xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+1 {{expected as many clusters for each batch row and head, but got 11 for 2 x 2}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<11x1x4x4xf32>, tensor<11x4xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x8x4xf32>
  return
}

// -----

func.func @scatter_mean_c4(%y: tensor<12x1x4x4xf32>, %m: tensor<12x4xindex>, %i: tensor<2x2x8x4xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{are incompatible with return type(s)}}
  %x = megactx.scatter_mean %y at %m outs(%i) : (tensor<12x1x4x4xf32>, tensor<12x4xindex>, tensor<2x2x8x4xf32>) -> tensor<2x2x9x4xf32>
  return
}
