// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-linalg | FileCheck %s --check-prefix=LINALG --implicit-check-not='= megactx.'

// CHECK-LABEL: @gist_pool
// CHECK: megactx.gist_pool mean %{{.+}} {ratio = 32 : i64} : (tensor<2x?x8xf16>) -> tensor<2x?x8xf16>
// CHECK: megactx.gist_pool query %{{.+}} weight(%{{.+}}) {ratio = 4 : i64} : (tensor<2x11x8xf32>, tensor<8xf32>) -> tensor<2x2x8xf32>
// CHECK: megactx.gist_pool cls %{{.+}} {ratio = 4 : i64} : (tensor<2x3x8xf32>) -> tensor<2x0x8xf32>
// An incomplete last block is cut off.
// LINALG-LABEL: @gist_pool
// LINALG: tensor.extract_slice %{{.+}}[0, 0, 0] [2, 8, 8] [1, 1, 1] : tensor<2x11x8xf32> to tensor<2x8x8xf32>
// LINALG: tensor.extract_slice %{{.+}}[0, 0, 0] [2, 0, 8] [1, 4, 1]
func.func @gist_pool(%x: tensor<2x?x8xf16>, %y: tensor<2x11x8xf32>, %z: tensor<2x3x8xf32>, %w: tensor<8xf32>)
    -> (tensor<2x?x8xf16>, tensor<2x2x8xf32>, tensor<2x0x8xf32>) {
  %a = megactx.gist_pool mean %x {ratio = 32} : (tensor<2x?x8xf16>) -> tensor<2x?x8xf16>
  %b = megactx.gist_pool query %y weight(%w) {ratio = 4} : (tensor<2x11x8xf32>, tensor<8xf32>) -> tensor<2x2x8xf32>
  %c = megactx.gist_pool cls %z {ratio = 4} : (tensor<2x3x8xf32>) -> tensor<2x0x8xf32>
  return %a, %b, %c : tensor<2x?x8xf16>, tensor<2x2x8xf32>, tensor<2x0x8xf32>
}

// CHECK-LABEL: @gaussian_rope
// CHECK: %{{.+}}, %{{.+}} = megactx.gaussian_rope %{{.+}}, %{{.+}} {base = 5.000000e+02 : f32, dim = 8 : i64, ratio = 32 : i64} : (tensor<2x?xindex>, tensor<2x?xindex>) -> (tensor<2x?x4xf32>, tensor<2x?x4xf32>)
// CHECK: megactx.gaussian_rope %{{.+}}, %{{.+}} {dim = 2 : i64, ratio = 2 : i64} : (tensor<2x3xf32>, tensor<2x3xi32>)
// LINALG-LABEL: @gaussian_rope
// Angles are reduced in f64; cos and sin of one op.
// LINALG: linalg.generic {{.*}} outs(%{{.+}}, %{{.+}} : tensor<2x?x4xf32>, tensor<2x?x4xf32>)
// LINALG: math.roundeven {{.*}} : f64
// LINALG: math.cos {{.*}} : f32
// LINALG: math.sin {{.*}} : f32
func.func @gaussian_rope(%p: tensor<2x?xindex>, %l: tensor<2x?xindex>, %q: tensor<2x3xf32>, %m: tensor<2x3xi32>)
    -> (tensor<2x?x4xf32>, tensor<2x?x4xf32>, tensor<2x3x1xf32>, tensor<2x3x1xf32>) {
  %c, %s = megactx.gaussian_rope %p, %l {base = 500.0 : f32, dim = 8, ratio = 32} : (tensor<2x?xindex>, tensor<2x?xindex>) -> (tensor<2x?x4xf32>, tensor<2x?x4xf32>)
  %d, %t = megactx.gaussian_rope %q, %m {dim = 2, ratio = 2} : (tensor<2x3xf32>, tensor<2x3xi32>) -> (tensor<2x3x1xf32>, tensor<2x3x1xf32>)
  return %c, %s, %d, %t : tensor<2x?x4xf32>, tensor<2x?x4xf32>, tensor<2x3x1xf32>, tensor<2x3x1xf32>
}

// CHECK-LABEL: @lod_gather
// CHECK: megactx.lod_gather %{{.+}}, %{{.+}} levels(%{{.+}}, %{{.+}}) lengths(%{{.+}}) {ratio = 32 : i64} : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x64xbf16>, tensor<?x9x64xbf16>, tensor<?xindex>) -> tensor<?x?x64xbf16>
// CHECK: megactx.lod_gather %{{.+}}, %{{.+}} levels(%{{.+}}) {ratio = 2 : i64}
// The check stands before and outside of what it guards.
// LINALG-LABEL: @lod_gather
// LINALG: cf.assert %{{.+}}, "megactx.lod_gather: an entry has a lod that is no level's or a position past the level's rows"
// LINALG: linalg.generic
func.func @lod_gather(%l: tensor<?x?xi64>, %p: tensor<?x?xi64>, %x: tensor<?x?x64xbf16>, %g: tensor<?x9x64xbf16>, %n: tensor<?xindex>)
    -> (tensor<?x?x64xbf16>, tensor<?x?x64xbf16>) {
  %c = megactx.lod_gather %l, %p levels(%x, %g) lengths(%n) {ratio = 32}
      : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x64xbf16>, tensor<?x9x64xbf16>, tensor<?xindex>) -> tensor<?x?x64xbf16>
  %d = megactx.lod_gather %l, %p levels(%x) {ratio = 2} : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x64xbf16>) -> tensor<?x?x64xbf16>
  return %c, %d : tensor<?x?x64xbf16>, tensor<?x?x64xbf16>
}

// CHECK-LABEL: @lens_score
// CHECK: megactx.lens_score %{{.+}}, %{{.+}} bias(%{{.+}}) lods(%{{.+}}) {top = 2 : i64} : (tensor<?x?x8xf16>, tensor<8xf16>, tensor<f16>, tensor<?x?xi64>) -> tensor<?x?xf32>
// CHECK: megactx.lens_score %{{.+}}, %{{.+}} lods(%{{.+}}) {top = 1 : i64}
// LINALG-LABEL: @lens_score
// LINALG: math.tanh
func.func @lens_score(%f: tensor<?x?x8xf16>, %w: tensor<8xf16>, %c: tensor<f16>, %l: tensor<?x?xi64>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %s = megactx.lens_score %f, %w bias(%c) lods(%l) {top = 2} : (tensor<?x?x8xf16>, tensor<8xf16>, tensor<f16>, tensor<?x?xi64>) -> tensor<?x?xf32>
  %t = megactx.lens_score %f, %w lods(%l) {top = 1} : (tensor<?x?x8xf16>, tensor<8xf16>, tensor<?x?xi64>) -> tensor<?x?xf32>
  return %s, %t : tensor<?x?xf32>, tensor<?x?xf32>
}

// CHECK-LABEL: @focus
// CHECK: %[[E:.+]] = megactx.focus_allocate %{{.+}}, %{{.+}}, %{{.+}} lengths(%{{.+}}) {budget = 64 : i64, collapse_threshold = 5.000000e-01 : f32, expand_threshold = 2.500000e-01 : f32, max_edits = 4 : i64, ratio = 4 : i64, recent = 8 : i64, top = 1 : i64} : (tensor<?x?xf32>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?xindex>) -> tensor<?x?xi64>
// CHECK: megactx.focus_apply %{{.+}}, %{{.+}}, %{{.+}}, %[[E]] levels(%{{.+}}, %{{.+}}) lengths(%{{.+}}) {budget = 64 : i64, ratio = 4 : i64} : (tensor<?x?x8xf16>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x8xf16>, tensor<?x?x8xf16>, tensor<?xindex>) -> (tensor<?x64x8xf16>, tensor<?x64xi64>, tensor<?x64xi64>, tensor<?xindex>)
// LINALG-LABEL: @focus
// LINALG: cf.assert %{{.+}}, "megactx.focus_allocate: the entries' lods and positions do not tile the timeline"
// LINALG: scf.while
// LINALG: cf.assert %{{.+}}, "megactx.focus_apply: an edit is not one that its entry can make"
// LINALG: cf.assert %{{.+}}, "megactx.focus_apply: the edits make more entries than the budget"
func.func @focus(%s: tensor<?x?xf32>, %c: tensor<?x?x8xf16>, %l: tensor<?x?xi64>, %p: tensor<?x?xi64>, %n: tensor<?xindex>, %x: tensor<?x?x8xf16>, %g: tensor<?x?x8xf16>)
    -> (tensor<?x64x8xf16>, tensor<?x64xi64>, tensor<?x64xi64>, tensor<?xindex>) {
  %e = megactx.focus_allocate %s, %l, %p lengths(%n)
      {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.5 : f32, recent = 8, max_edits = 4, budget = 64}
      : (tensor<?x?xf32>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?xindex>) -> tensor<?x?xi64>
  %r:4 = megactx.focus_apply %c, %l, %p, %e levels(%x, %g) lengths(%n) {ratio = 4, budget = 64}
      : (tensor<?x?x8xf16>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?x8xf16>, tensor<?x?x8xf16>, tensor<?xindex>)
      -> (tensor<?x64x8xf16>, tensor<?x64xi64>, tensor<?x64xi64>, tensor<?xindex>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x64x8xf16>, tensor<?x64xi64>, tensor<?x64xi64>, tensor<?xindex>
}

// CHECK-LABEL: @gist_pyramid
// CHECK: %{{.+}}:2 = megactx.gist_pyramid %{{.+}} {levels = 2 : i64, ratio = 4 : i64} : (tensor<2x37x8xf32>) -> (tensor<2x9x8xf32>, tensor<2x2x8xf32>) {
// CHECK: ^bb0(%[[ROWS:.+]]: tensor<2x?x8xf32>, %{{.+}}: index):
// CHECK: megactx.gist_pool mean %[[ROWS]]
// CHECK: megactx.yield %{{.+}} : tensor<2x?x8xf32>
// The body gets whole blocks, and level 2 is made of level 1.
// LINALG-LABEL: @gist_pyramid
// LINALG: tensor.extract_slice %{{.+}}[0, 0, 0] [2, 36, 8] [1, 1, 1] : tensor<2x37x8xf32> to tensor<2x36x8xf32>
// LINALG: cf.assert %{{.+}}, "megactx.gist_pyramid: the body's gists are not one for each block of rows"
// LINALG: %[[FIRST:.+]] = tensor.cast %{{.+}} : tensor<2x?x8xf32> to tensor<2x9x8xf32>
// LINALG: tensor.extract_slice %[[FIRST]][0, 0, 0] [2, 8, 8] [1, 1, 1] : tensor<2x9x8xf32> to tensor<2x8x8xf32>
// LINALG: cf.assert
func.func @gist_pyramid(%x: tensor<2x37x8xf32>) -> (tensor<2x9x8xf32>, tensor<2x2x8xf32>) {
  %a:2 = megactx.gist_pyramid %x {levels = 2, ratio = 4} : (tensor<2x37x8xf32>) -> (tensor<2x9x8xf32>, tensor<2x2x8xf32>) {
  ^bb0(%rows: tensor<2x?x8xf32>, %level: index):
    %g = megactx.gist_pool mean %rows {ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32>
    megactx.yield %g : tensor<2x?x8xf32>
  }
  return %a#0, %a#1 : tensor<2x9x8xf32>, tensor<2x2x8xf32>
}
