// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @convolution_c1_axes(%x: memref<2x9xf32>, %w: memref<8x9xf32>, %y: memref<2x8xf32>) {
  // expected-error @+1 {{expected 1 to 3 spatial axes, but got 'memref<8x9xf32>'}}
  megactx.convolution %x by %w groups(1) strides[] dilations[] pads[] outs(%y)
      : (memref<2x9xf32>, memref<8x9xf32>, memref<2x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_rank(%x: memref<9x3xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected data to have rank 3}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<9x3xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_element(%x: memref<2x9x3xf16>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{f32}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<2x9x3xf16>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_tensor(%x: tensor<2x9x3xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected ranked tensors or memrefs throughout, but got 'tensor<2x9x3xf32>' and 'memref<2x7x8xf32>'}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (tensor<2x9x3xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_dynamic(%x: memref<2x9x3xf32>, %w: memref<8x3x?xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected a kernel of static shape, but got 'memref<8x3x?xf32>'}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<2x9x3xf32>, memref<8x3x?xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_channels(%x: memref<2x9x4xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected data to have 3 channels, but got 4}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<2x9x4xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c1_filters(%x: memref<2x9x3xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x9xf32>) {
  // expected-error @+1 {{expected kernel dim 0 to equal out dim 2}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<2x9x3xf32>, memref<8x3x3xf32>, memref<2x7x9xf32>) -> ()
  return
}

// -----

func.func @convolution_c2_strides(%x: memref<2x9x3xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected 1 strides of at least 1}}
  megactx.convolution %x by %w groups(1) strides[0] dilations[1] pads[0] outs(%y)
      : (memref<2x9x3xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c2_pads(%x: memref<2x9x3xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected 1 pads of at least 0}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0, 0] outs(%y)
      : (memref<2x9x3xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c3_groups(%x: memref<2x9x9xf32>, %w: memref<8x3x3xf32>, %y: memref<2x7x8xf32>) {
  // expected-error @+1 {{expected groups of as many filters each, but got 3 of 8}}
  megactx.convolution %x by %w groups(3) strides[1] dilations[1] pads[0] outs(%y)
      : (memref<2x9x9xf32>, memref<8x3x3xf32>, memref<2x7x8xf32>) -> ()
  return
}

// -----

func.func @convolution_c4_result(%x: tensor<2x9x3xf32>, %w: tensor<8x3x3xf32>, %y: tensor<2x7x8xf32>) {
  // expected-error @+1 {{expected 1 result}}
  megactx.convolution %x by %w groups(1) strides[1] dilations[1] pads[0] outs(%y)
      : (tensor<2x9x3xf32>, tensor<8x3x3xf32>, tensor<2x7x8xf32>) -> ()
  return
}
