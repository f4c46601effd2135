// RUN: megactx-opt %s --split-input-file --verify-diagnostics

func.func @online_attention_c1_rank_of_max(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected max to have rank 3, but got 'tensor<2x4xf32>'}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c1_rank_of_key(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected key to have rank 4}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c2_operands(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf16>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected query, key and value of one element type out of f32, f16 and bf16, but got 'f32', 'f16' and 'f32'}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf16>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c2_state(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf16>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected acc of element type f32, but got 'tensor<2x4x?x16xf16>'}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf16>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf16>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c3_heads_of_value(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x4x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected value dim 1 to equal key dim 1, but got 4 vs 2}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c3_width_of_key(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x16xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected key dim 3 to equal query dim 3, but got 16 vs 8}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c4(%q: tensor<2x4x?x8xf32>, %k: tensor<2x3x?x8xf32>, %v: tensor<2x3x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected the number of query heads to be a multiple of the key heads, but got 4 and 3}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x3x?x8xf32>, tensor<2x3x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c5_acc(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x8xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected acc dim 3 to equal value dim 3, but got 8 vs 16}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x8xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x8xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c5_max(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x2x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected max dim 1 to equal query dim 1, but got 2 vs 4}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x2x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x2x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c6_bias_type(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %b: tensor<4x?x?xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected bias to have rank 4 and element type f32}}
  %r:3 = megactx.online_attention %q, %k, %v bias(%b) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<4x?x?xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c6_bias_dim(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %b: tensor<1x2x?x?xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected bias dim 1 to be 1 or 4, but got 2}}
  %r:3 = megactx.online_attention %q, %k, %v bias(%b) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<1x2x?x?xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c6_lengths_type(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %l: tensor<2xi64>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected lengths to have rank 1 and element type index}}
  %r:3 = megactx.online_attention %q, %k, %v lengths(%l) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2xi64>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c6_lengths_dim(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %l: tensor<3xindex>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected lengths dim 0 to equal query dim 0, but got 3 vs 2}}
  %r:3 = megactx.online_attention %q, %k, %v lengths(%l) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<3xindex>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c7_scale(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected a finite scale}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 0x7F800000 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c7_softcap(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected a positive and finite softcap}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32, softcap = 0.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c8(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected key_step of 1 to 1099511627776, but got 0}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32, key_step = 0}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c9(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %i: index, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected origin to have 5 values (batch, head, query row, key row, number of key rows), but got 2}}
  %r:3 = megactx.online_attention %q, %k, %v origin(%i, %i) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, index, index, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c10(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected values per row of the names 'segment_begin' and 'segment_end', but got test<segment[p] == segment[k]>}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<test<segment[p] == segment[k]>> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @no_segments(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected segments, which lo<segment_begin[p]> reads}}
  %r:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<lo<segment_begin[p]>> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @segments_of_another_rank(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>, %s: tensor<2x?xindex>) {
  // expected-error@+1 {{expected segments to have rank 3 and element type index, but got 'tensor<2x?xindex>'}}
  %r:3 = megactx.online_attention %q, %k, %v segments(%s) outs(%acc, %max, %sum) #megactx.piece<lo<segment_begin[p]>> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x?xindex>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @results_on_memrefs(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %acc: memref<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected tensors only or memrefs only}}
  %r:2 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, memref<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @finish_attention_c1_rank(%acc: tensor<1x2x?x8xf32>, %max: tensor<1x2x?xf32>, %out: tensor<1x2x?x8xf16>, %lse: tensor<1x2xf32>) {
  // expected-error@+1 {{expected lse to have rank 3}}
  %r:2 = megactx.finish_attention %acc, %max, %max outs(%out, %lse) : (tensor<1x2x?x8xf32>, tensor<1x2x?xf32>, tensor<1x2x?xf32>, tensor<1x2x?x8xf16>, tensor<1x2xf32>) -> (tensor<1x2x?x8xf16>, tensor<1x2xf32>)
  return
}

// -----

func.func @finish_attention_c1_dims(%acc: tensor<1x2x?x8xf32>, %max: tensor<1x3x?xf32>, %out: tensor<1x2x?x8xf16>, %lse: tensor<1x2x?xf32>) {
  // expected-error@+1 {{expected max dim 1 to equal acc dim 1, but got 3 vs 2}}
  %r:2 = megactx.finish_attention %acc, %max, %max outs(%out, %lse) : (tensor<1x2x?x8xf32>, tensor<1x3x?xf32>, tensor<1x3x?xf32>, tensor<1x2x?x8xf16>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf16>, tensor<1x2x?xf32>)
  return
}

// -----

func.func @finish_attention_c2_state(%acc: tensor<1x2x?x8xf32>, %max: tensor<1x2x?xf16>, %out: tensor<1x2x?x8xf16>, %lse: tensor<1x2x?xf32>) {
  // expected-error@+1 {{expected max of element type f32}}
  %r:2 = megactx.finish_attention %acc, %max, %max outs(%out, %lse) : (tensor<1x2x?x8xf32>, tensor<1x2x?xf16>, tensor<1x2x?xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf16>, tensor<1x2x?xf32>)
  return
}

// -----

func.func @finish_attention_c2_out(%acc: tensor<1x2x?x8xf32>, %max: tensor<1x2x?xf32>, %out: tensor<1x2x?x8xf64>, %lse: tensor<1x2x?xf32>) {
  // expected-error@+1 {{expected out of element type f32, f16 or bf16}}
  %r:2 = megactx.finish_attention %acc, %max, %max outs(%out, %lse) : (tensor<1x2x?x8xf32>, tensor<1x2x?xf32>, tensor<1x2x?xf32>, tensor<1x2x?x8xf64>, tensor<1x2x?xf32>) -> (tensor<1x2x?x8xf64>, tensor<1x2x?xf32>)
  return
}

// -----

func.func @online_attention_c11_type(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %p: tensor<2x?xi64>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected query_positions of element type index, but got 'tensor<2x?xi64>'}}
  %r:3 = megactx.online_attention %q, %k, %v query_positions(%p) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2x?xi64>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c12(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %p: tensor<2xi64>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected query_offset of element type index, but got 'tensor<2xi64>'}}
  %r:3 = megactx.online_attention %q, %k, %v query_offset(%p) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<2xi64>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}

// -----

func.func @online_attention_c11_rank(%q: tensor<2x4x?x8xf32>, %k: tensor<2x2x?x8xf32>, %v: tensor<2x2x?x16xf32>, %p: tensor<?xindex>, %acc: tensor<2x4x?x16xf32>, %max: tensor<2x4x?xf32>, %sum: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected key_positions to have rank 2, but got 'tensor<?xindex>'}}
  %r:3 = megactx.online_attention %q, %k, %v key_positions(%p) outs(%acc, %max, %sum) #megactx.piece<all> {scale = 1.0 : f32}
      : (tensor<2x4x?x8xf32>, tensor<2x2x?x8xf32>, tensor<2x2x?x16xf32>, tensor<?xindex>, tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>) -> (tensor<2x4x?x16xf32>, tensor<2x4x?xf32>, tensor<2x4x?xf32>)
  return
}
