// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @gist_pool_c1_rank(%x: tensor<2x8xf32>) {
  // expected-error@+1 {{operand #0 must be 3D tensor of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<2x8xf32>'}}
  %r = megactx.gist_pool mean %x {ratio = 4} : (tensor<2x8xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c2(%x: tensor<2x8x8xf32>) {
  // expected-error@+1 {{attribute 'ratio' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 2}}
  %r = megactx.gist_pool mean %x {ratio = 0} : (tensor<2x8x8xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c3_missing(%x: tensor<2x8x8xf32>) {
  // expected-error@+1 {{expected weight for query and only there, but got query without weight}}
  %r = megactx.gist_pool query %x {ratio = 4} : (tensor<2x8x8xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c3_needless(%x: tensor<2x8x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{expected weight for query and only there, but got mean with weight}}
  %r = megactx.gist_pool mean %x weight(%w) {ratio = 4} : (tensor<2x8x8xf32>, tensor<8xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c3_type(%x: tensor<2x8x8xf32>, %w: tensor<8xf16>) {
  // expected-error@+1 {{expected weight of element type 'f32', as input, but got 'tensor<8xf16>'}}
  %r = megactx.gist_pool query %x weight(%w) {ratio = 4} : (tensor<2x8x8xf32>, tensor<8xf16>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c3_size(%x: tensor<2x8x8xf32>, %w: tensor<4xf32>) {
  // expected-error@+1 {{expected weight dim 0 to equal input dim 2, but got 4 vs 8}}
  %r = megactx.gist_pool query %x weight(%w) {ratio = 4} : (tensor<2x8x8xf32>, tensor<4xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gist_pool_c4(%x: tensor<2x11x8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s) 'tensor<2x2x8xf32>' are incompatible with return type(s) of operation 'tensor<2x3x8xf32>'}}
  %r = megactx.gist_pool mean %x {ratio = 4} : (tensor<2x11x8xf32>) -> tensor<2x3x8xf32>
  return
}

// -----

func.func @gist_pool_kind(%x: tensor<2x8x8xf32>) {
  // expected-error@+1 {{expected string or keyword containing one of the following enum values for attribute 'kind' [mean, query, cls]}}
  %r = megactx.gist_pool median %x {ratio = 4} : (tensor<2x8x8xf32>) -> tensor<2x2x8xf32>
  return
}

// -----

func.func @gaussian_rope_c1(%p: tensor<2x8xi64>, %l: tensor<2x7xi64>) {
  // expected-error@+1 {{expected lods dim 1 to equal positions dim 1, but got 7 vs 8}}
  %c, %s = megactx.gaussian_rope %p, %l {ratio = 4, dim = 2} : (tensor<2x8xi64>, tensor<2x7xi64>) -> (tensor<2x8x1xf32>, tensor<2x8x1xf32>)
  return
}

// -----

func.func @gaussian_rope_c2_ratio(%p: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'ratio' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 2}}
  %c, %s = megactx.gaussian_rope %p, %p {ratio = -32, dim = 2} : (tensor<2x8xi64>, tensor<2x8xi64>) -> (tensor<2x8x1xf32>, tensor<2x8x1xf32>)
  return
}

// -----

func.func @gaussian_rope_c2_odd_dim(%p: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'dim' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 2 which is even}}
  %c, %s = megactx.gaussian_rope %p, %p {ratio = 4, dim = 3} : (tensor<2x8xi64>, tensor<2x8xi64>) -> (tensor<2x8x1xf32>, tensor<2x8x1xf32>)
  return
}

// -----

func.func @gaussian_rope_c2_negative_dim(%p: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'dim' failed to satisfy constraint: 64-bit signless integer attribute whose minimum value is 2 which is even}}
  %c, %s = megactx.gaussian_rope %p, %p {ratio = 4, dim = -2} : (tensor<2x8xi64>, tensor<2x8xi64>) -> (tensor<2x8x1xf32>, tensor<2x8x1xf32>)
  return
}

// -----

func.func @gaussian_rope_c2_base(%p: tensor<2x8xi64>) {
  // expected-error@+1 {{expected a finite base of more than 1}}
  %c, %s = megactx.gaussian_rope %p, %p {ratio = 4, dim = 2, base = 0x7FC00000 : f32} : (tensor<2x8xi64>, tensor<2x8xi64>) -> (tensor<2x8x1xf32>, tensor<2x8x1xf32>)
  return
}

// -----

func.func @gaussian_rope_c3(%p: tensor<2x8xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{are incompatible with return type(s)}}
  %c, %s = megactx.gaussian_rope %p, %p {ratio = 4, dim = 2} : (tensor<2x8xi64>, tensor<2x8xi64>) -> (tensor<2x8x2xf32>, tensor<2x8x2xf32>)
  return
}

// -----

func.func @lod_gather_c1_type(%l: tensor<2x8xi64>, %p: tensor<2x8xi32>, %x: tensor<2x9x4xf32>) {
  // expected-error@+1 {{expected positions of element type 'i64', as lods, but got 'tensor<2x8xi32>'}}
  %r = megactx.lod_gather %l, %p levels(%x) {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi32>, tensor<2x9x4xf32>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c1_lengths(%l: tensor<2x8xi64>, %x: tensor<2x9x4xf32>, %n: tensor<3xindex>) {
  // expected-error@+1 {{expected lengths dim 0 to equal lods dim 0, but got 3 vs 2}}
  %r = megactx.lod_gather %l, %l levels(%x) lengths(%n) {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>, tensor<3xindex>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c2_none(%l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected SSA operand}}
  %r = megactx.lod_gather %l, %l levels() {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c2_type(%l: tensor<2x8xi64>, %x: tensor<2x9x4xf32>, %g: tensor<2x2x4xf16>) {
  // expected-error@+1 {{expected levels of one element type, but got 'f32' and 'f16'}}
  %r = megactx.lod_gather %l, %l levels(%x, %g) {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>, tensor<2x2x4xf16>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c2_width(%l: tensor<2x8xi64>, %x: tensor<2x9x4xf32>, %g: tensor<2x2x5xf32>) {
  // expected-error@+1 {{expected level dim 2 to equal level 0 dim 2, but got 5 vs 4}}
  %r = megactx.lod_gather %l, %l levels(%x, %g) {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>, tensor<2x2x5xf32>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c3(%l: tensor<2x8xi64>, %x: tensor<2x9x4xf32>) {
  // expected-error@+1 {{expected ratio to the number of levels to be less than 2^62, but got 2147483648 to 2}}
  %r = megactx.lod_gather %l, %l levels(%x, %x) {ratio = 2147483648} : (tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>, tensor<2x9x4xf32>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @lod_gather_c4(%l: tensor<2x8xi64>, %x: tensor<2x9x4xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s) 'tensor<2x8x4xf32>' are incompatible}}
  %r = megactx.lod_gather %l, %l levels(%x) {ratio = 4} : (tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>) -> tensor<2x9x4xf32>
  return
}

// -----

func.func @lens_score_c1(%f: tensor<2x8x4xf32>, %w: tensor<4xf16>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected features, weight and bias of one element type, but got 'f32' and 'f16'}}
  %r = megactx.lens_score %f, %w lods(%l) {top = 2} : (tensor<2x8x4xf32>, tensor<4xf16>, tensor<2x8xi64>) -> tensor<2x8xf32>
  return
}

// -----

func.func @lens_score_c2_weight(%f: tensor<2x8x4xf32>, %w: tensor<5xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected weight dim 0 to equal features dim 2, but got 5 vs 4}}
  %r = megactx.lens_score %f, %w lods(%l) {top = 2} : (tensor<2x8x4xf32>, tensor<5xf32>, tensor<2x8xi64>) -> tensor<2x8xf32>
  return
}

// -----

func.func @lens_score_c2_lods(%f: tensor<2x8x4xf32>, %w: tensor<4xf32>, %l: tensor<2x9xi64>) {
  // expected-error@+1 {{expected lods dim 1 to equal features dim 1, but got 9 vs 8}}
  %r = megactx.lens_score %f, %w lods(%l) {top = 2} : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<2x9xi64>) -> tensor<2x8xf32>
  return
}

// -----

func.func @lens_score_c3(%f: tensor<2x8x4xf32>, %w: tensor<4xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'top' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %r = megactx.lens_score %f, %w lods(%l) {top = -1} : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<2x8xi64>) -> tensor<2x8xf32>
  return
}

// -----

func.func @lens_score_c4(%f: tensor<2x8x4xf32>, %w: tensor<4xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s) 'tensor<2x8xf32>' are incompatible}}
  %r = megactx.lens_score %f, %w lods(%l) {top = 1} : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<2x8xi64>) -> tensor<2x9xf32>
  return
}

// -----

func.func @focus_allocate_c1(%s: tensor<2x9xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected scores dim 1 to equal lods dim 1, but got 9 vs 8}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 0, max_edits = 1, budget = 8} : (tensor<2x9xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c2_recent(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'recent' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = -1, max_edits = 1, budget = 8} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c2_max_edits(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'max_edits' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 0, max_edits = -1, budget = 8} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c2_budget(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{attribute 'budget' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 0, max_edits = 1, budget = 0} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c2_top(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected ratio to the number of levels to be less than 2^62, but got 4 to 32}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 31, expand_threshold = 0.25 : f32, collapse_threshold = 0.25 : f32, recent = 0, max_edits = 1, budget = 8} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c3_zero(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected finite, positive thresholds}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.0 : f32, collapse_threshold = 0.25 : f32, recent = 0, max_edits = 1, budget = 8} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_allocate_c3_nan(%s: tensor<2x8xf32>, %l: tensor<2x8xi64>) {
  // expected-error@+1 {{expected finite, positive thresholds}}
  %r = megactx.focus_allocate %s, %l, %l {ratio = 4, top = 1, expand_threshold = 0.25 : f32, collapse_threshold = 0x7FC00000 : f32, recent = 0, max_edits = 1, budget = 8} : (tensor<2x8xf32>, tensor<2x8xi64>, tensor<2x8xi64>) -> tensor<2x8xi64>
  return
}

// -----

func.func @focus_apply_c1_edits(%c: tensor<2x8x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi32>, %x: tensor<2x9x4xf32>) {
  // expected-error@+1 {{expected edits of element type 'i64', as lods, but got 'tensor<2x8xi32>'}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 8} : (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi32>, tensor<2x9x4xf32>) -> (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @focus_apply_c1_context(%c: tensor<2x7x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi64>, %x: tensor<2x9x4xf32>) {
  // expected-error@+1 {{expected rows dim 1 to equal lods dim 1, but got 7 vs 8}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 8} : (tensor<2x7x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>) -> (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @focus_apply_c2_type(%c: tensor<2x8x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi64>, %x: tensor<2x9x4xf16>) {
  // expected-error@+1 {{expected levels of the rows' element type 'f32', but got 'f16'}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 8} : (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf16>) -> (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @focus_apply_c2_width(%c: tensor<2x8x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi64>, %x: tensor<2x9x5xf32>) {
  // expected-error@+1 {{expected rows dim 2 to equal level 0 dim 2, but got 4 vs 5}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 8} : (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x5xf32>) -> (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @focus_apply_c3(%c: tensor<2x8x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi64>, %x: tensor<2x9x4xf32>) {
  // expected-error@+1 {{attribute 'budget' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 0} : (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>) -> (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @focus_apply_c4(%c: tensor<2x8x4xf32>, %l: tensor<2x8xi64>, %e: tensor<2x8xi64>, %x: tensor<2x9x4xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{inferred type(s)}}
  %r:4 = megactx.focus_apply %c, %l, %l, %e levels(%x) {ratio = 4, budget = 8} : (tensor<2x8x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2x9x4xf32>) -> (tensor<2x9x4xf32>, tensor<2x8xi64>, tensor<2x8xi64>, tensor<2xindex>)
  return
}

// -----

func.func @gist_pyramid_c2(%x: tensor<2x?x8xf32>) {
  // expected-error@+1 {{expected ratio to the number of levels to be less than 2^62, but got 1048576 to 4}}
  %a, %b, %c, %d = megactx.gist_pyramid %x {levels = 4, ratio = 1048576} : (tensor<2x?x8xf32>) -> (tensor<2x?x8xf32>, tensor<2x?x8xf32>, tensor<2x?x8xf32>, tensor<2x?x8xf32>) {
  ^bb0(%rows: tensor<2x?x8xf32>, %level: index):
    megactx.yield %rows : tensor<2x?x8xf32>
  }
  return
}

// -----

func.func @gist_pyramid_c3_arguments(%x: tensor<2x?x8xf32>) {
  // expected-error@+1 {{expected a body with two arguments, rows and the level's number (index)}}
  %a = megactx.gist_pyramid %x {levels = 1, ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32> {
  ^bb0(%rows: tensor<2x?x8xf32>):
    megactx.yield %rows : tensor<2x?x8xf32>
  }
  return
}

// -----

func.func @gist_pyramid_c3_static(%x: tensor<2x64x8xf32>) {
  // expected-error@+1 {{expected rows of the body with a dynamic dim 1, as it differs from level to level, but got 'tensor<2x64x8xf32>'}}
  %a = megactx.gist_pyramid %x {levels = 1, ratio = 4} : (tensor<2x64x8xf32>) -> tensor<2x16x8xf32> {
  ^bb0(%rows: tensor<2x64x8xf32>, %level: index):
    megactx.yield %rows : tensor<2x64x8xf32>
  }
  return
}

// -----

func.func @gist_pyramid_c3_columns(%x: tensor<2x?x8xf32>) {
  // expected-error@+1 {{expected rows of the body dim 2 to equal input dim 2, but got 4 vs 8}}
  %a = megactx.gist_pyramid %x {levels = 1, ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32> {
  ^bb0(%rows: tensor<2x?x4xf32>, %level: index):
    megactx.yield %rows : tensor<2x?x4xf32>
  }
  return
}

// -----

func.func @gist_pyramid_c4_type(%x: tensor<2x?x8xf32>, %y: tensor<2x?x8xf16>) {
  // expected-error@+1 {{expected gists of the body of rank 3 and element type 'f32', as input, but got 'tensor<2x?x8xf16>'}}
  %a = megactx.gist_pyramid %x {levels = 1, ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32> {
  ^bb0(%rows: tensor<2x?x8xf32>, %level: index):
    megactx.yield %y : tensor<2x?x8xf16>
  }
  return
}

// -----

func.func @gist_pyramid_c4_end(%x: tensor<2x?x8xf32>) {
  // expected-error@+1 {{expected a body that ends in megactx.yield}}
  %a = megactx.gist_pyramid %x {levels = 1, ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32> {
  ^bb0(%rows: tensor<2x?x8xf32>, %level: index):
    llvm.unreachable
  }
  return
}

// -----

func.func @gist_pyramid_c5(%x: tensor<2x?x8xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{are incompatible with return type(s) of operation}}
  %a = megactx.gist_pyramid %x {levels = 2, ratio = 4} : (tensor<2x?x8xf32>) -> tensor<2x?x8xf32> {
  ^bb0(%rows: tensor<2x?x8xf32>, %level: index):
    megactx.yield %rows : tensor<2x?x8xf32>
  }
  return
}
