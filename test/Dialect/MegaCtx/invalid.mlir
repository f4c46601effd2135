// RUN: megactx-opt %s --split-input-file --verify-diagnostics

!t = tensor<1x2x?x8xf32>
!h = tensor<1x2x?x8xf16>
func.func @source_c1(%k: !t, %v: !h) {
  // expected-error@+1 {{expected key and value of one element type out of f32, f16 and bf16}}
  %s = megactx.source %k, %v pattern(#megactx.pattern<dense>) : (!t, !h) -> !megactx.source<!t, !h>
  return
}

// -----

!q = tensor<1x3x?x8xf32>
!k = tensor<1x2x?x8xf32>
func.func @attention_c2(%q: !q, %k: !k) -> !q {
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) : (!k, !k) -> !megactx.source<!k, !k>
  // expected-error@+1 {{expected the number of query heads to be a multiple of the key heads, but got 3 and 2}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!q, !megactx.source<!k, !k>) -> !q
  return %o : !q
}

// -----

// expected-error@+1 {{unknown pattern 'windw', did you mean 'window'?}}
func.func private @pattern_name() attributes {p = #megactx.pattern<windw<left = 1, right = 0>>}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c1_rank(%k: !t, %x: tensor<2x?x8xf32>) {
  // expected-error@+1 {{expected key and value to have rank 4, but got 3 and 4}}
  %s = megactx.source %x, %k pattern(#megactx.pattern<dense>) : (tensor<2x?x8xf32>, !t) -> !megactx.source<tensor<2x?x8xf32>, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c1_heads(%k: !t, %x: tensor<2x4x?x8xf32>) {
  // expected-error@+1 {{expected value dim 1 to equal key dim 1, but got 4 vs 2}}
  %s = megactx.source %k, %x pattern(#megactx.pattern<dense>) : (!t, tensor<2x4x?x8xf32>) -> !megactx.source<!t, tensor<2x4x?x8xf32>>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c2(%k: !t) {
  // expected-error@+1 {{expected key_step of 1 to 1099511627776, but got 0}}
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) {key_step = 0} : (!t, !t) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c2_negative(%k: !t) {
  // expected-error@+1 {{expected key_step of 1 to 1099511627776, but got -1}}
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) {key_step = -1} : (!t, !t) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c2_no_level_of_the_pyramid(%k: !t) {
  // expected-error@+1 {{expected a key step that is one of 1, 32, 1024, of 'pyramid<ratio = 32, windows = [8, 8]>', but got 64}}
  %s = megactx.source %k, %k pattern(#megactx.pattern<causal and pyramid<ratio = 32, windows = [8, 8]>>) {key_step = 64} : (!t, !t) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c3_bias(%k: !t, %x: tensor<2x?xf32>) {
  // expected-error@+1 {{expected bias to have rank 4 and element type f32}}
  %s = megactx.source %k, %k bias(%x) pattern(#megactx.pattern<dense>) : (!t, !t, tensor<2x?xf32>) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c3_lengths(%k: !t, %x: tensor<3xindex>) {
  // expected-error@+1 {{expected lengths dim 0 to equal key dim 0, but got 3 vs 2}}
  %s = megactx.source %k, %k lengths(%x) pattern(#megactx.pattern<dense>) : (!t, !t, tensor<3xindex>) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c4(%k: !t) {
  // expected-error@+1 {{expected the result to have the types of key and value}}
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) : (!t, !t) -> !megactx.source<!t, tensor<2x2x?x8xf16>>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c1_sources(%q: !t, %s: !s) {
  // expected-error@+1 {{expected at least one source}}
  %o = "megactx.attention"(%q) {operandSegmentSizes = array<i32: 1, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0>, scale = 1.0 : f32} : (!t) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c1_type(%q: tensor<2x2x?x8xf16>, %s: !s) {
  // expected-error@+1 {{expected query of the sources' element type 'f32', but got 'f16'}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<2x2x?x8xf16>, !s) -> tensor<2x2x?x8xf16>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c3_out(%q: !t, %s: !s) {
  // expected-error@+1 {{expected out dim 1 to equal query dim 1, but got 4 vs 2}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> tensor<2x4x?x8xf32>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c3_lse(%q: !t, %s: !s) {
  // expected-error@+1 {{expected lse dim 1 to equal query dim 1, but got 4 vs 2}}
  %o, %l = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> (!t, tensor<2x4x?xf32>)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c3_lse_type(%q: !t, %s: !s) {
  // expected-error@+1 {{expected lse to have rank 3 and element type f32}}
  %o, %l = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> (!t, tensor<2x2x?xf16>)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c4_scale(%q: !t, %s: !s) {
  // expected-error@+1 {{expected a finite scale}}
  %o = megactx.attention %q, %s {scale = 0x7F800000 : f32} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c4_softcap(%q: !t, %s: !s) {
  // expected-error@+1 {{expected a positive and finite softcap}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32, softcap = -1.0 : f32} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c4_infinite_softcap(%q: !t, %s: !s) {
  // expected-error@+1 {{expected a positive and finite softcap}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32, softcap = 0x7F800000 : f32} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c4_softcap_to_base_2(%q: !t, %s: !s) {
  // expected-error@+1 {{expected a positive and finite softcap}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32, softcap = 3.0e+38 : f32} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!l = tensor<2x2x?xf32>
func.func @piece_names(%q: !t, %lse: !l) {
  // expected-error@+1 {{unknown name 'foo'}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%q, %lse) [#megactx.piece<hi<foo - 5>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (!t, !l)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!l = tensor<2x2x?xf32>
func.func @piece_classes(%q: !t, %lse: !l) {
  // expected-error@+1 {{expected each query residue in one class}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%q, %lse) [#megactx.piece<digits<4, [0]: [0], [0]: [1]>>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (!t, !l)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c5(%q: !t, %s: !s) {
  // expected-error@+1 {{expected query_step of 1 to 1099511627776, but got 0}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32, query_step = 0} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
!s = !megactx.source<!t, !t>
func.func @attention_c5_large(%q: !t, %s: !s) {
  // expected-error@+1 {{expected query_step of 1 to 1099511627776, but got 4611686018427387904}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32, query_step = 4611686018427387904} : (!t, !s) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @fused_attention_c1(%q: !t, %out: !t, %lse: tensor<2x2x?xf32>) {
  // expected-error@+1 {{expected at least one piece}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%out, %lse) [] {scale = 1.0 : f32} : (!t, !t, !t, !t, tensor<2x2x?xf32>) -> (!t, tensor<2x2x?xf32>)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @fused_attention_c2_type(%q: !t, %out: tensor<2x2x?x8xf16>, %lse: tensor<2x2x?xf32>) {
  // expected-error@+1 {{expected out of element type 'f32', but got 'tensor<2x2x?x8xf16>'}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%out, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, tensor<2x2x?x8xf16>, tensor<2x2x?xf32>) -> (tensor<2x2x?x8xf16>, tensor<2x2x?xf32>)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @fused_attention_c2_lse(%q: !t, %out: !t, %lse: tensor<2x4x?xf32>) {
  // expected-error@+1 {{expected lse dim 1 to equal query dim 1, but got 4 vs 2}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%out, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, tensor<2x4x?xf32>) -> (!t, tensor<2x4x?xf32>)
  return
}

// -----

!t = memref<2x2x?x8xf32>
!l = memref<2x2x?xf32>
func.func @fused_attention_c3(%q: !t, %lse: !l) {
  // expected-error@+1 {{expected 0 results, one per destination on tensors and none on memrefs, but got 2}}
  %r:2 = megactx.fused_attention %q, %q, %q outs(%q, %lse) [#megactx.piece<all>] {scale = 1.0 : f32} : (!t, !t, !t, !t, !l) -> (tensor<2x2x?x8xf32>, tensor<2x2x?xf32>)
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c5_dim(%k: !t, %p: tensor<3x?xindex>) {
  // expected-error@+1 {{expected positions dim 0 to equal key dim 0, but got 3 vs 2}}
  %s = megactx.source %k, %k positions(%p) pattern(#megactx.pattern<dense>) : (!t, !t, tensor<3x?xindex>) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x7x8xf32>
func.func @source_c5_rows(%k: !t, %p: tensor<2x6xindex>) {
  // expected-error@+1 {{expected positions dim 1 to equal key dim 2, but got 6 vs 7}}
  %s = megactx.source %k, %k positions(%p) pattern(#megactx.pattern<dense>) : (!t, !t, tensor<2x6xindex>) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c5_offset(%k: !t, %p: tensor<2x?xindex>, %o: index) {
  // expected-error@+1 {{expected either positions or an offset of the same rows, not both}}
  %s = megactx.source %k, %k offset(%o) positions(%p) pattern(#megactx.pattern<dense>) : (!t, !t, index, tensor<2x?xindex>) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @source_c7(%k: !t) {
  // expected-error@+1 {{expected rows that stand everywhere to have the pattern 'dense', but got 'causal'}}
  %s = megactx.source %k, %k pattern(#megactx.pattern<causal>) everywhere : (!t, !t) -> !megactx.source<!t, !t>
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @attention_c6(%q: !t, %k: !t, %p: tensor<2x?xindex>, %o: index) {
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) : (!t, !t) -> !megactx.source<!t, !t>
  // expected-error@+1 {{expected either positions or an offset of the same rows, not both}}
  %r = megactx.attention %q, %s offset(%o) positions(%p) {scale = 1.0 : f32} : (!t, !megactx.source<!t, !t>, index, tensor<2x?xindex>) -> !t
  return
}

// -----

!t = tensor<2x2x?x8xf32>
func.func @attention_c7(%q: !t, %k: !t, %o: tensor<3xindex>) {
  %s = megactx.source %k, %k pattern(#megactx.pattern<dense>) : (!t, !t) -> !megactx.source<!t, !t>
  // expected-error@+1 {{expected offset dim 0 to equal query dim 0, but got 3 vs 2}}
  %r = megactx.attention %q, %s offset(%o) {scale = 1.0 : f32} : (!t, !megactx.source<!t, !t>, tensor<3xindex>) -> !t
  return
}

// -----

func.func @transpose_view_c1(%x: tensor<1x?x2x8xf32>) -> tensor<1x2x?x8xf32> {
  // expected-error@+1 {{expected a permutation of the 4 dims of input}}
  %0 = megactx.transpose_view %x permutation = [0, 2, 2, 3] : tensor<1x?x2x8xf32> to tensor<1x2x?x8xf32>
  return %0 : tensor<1x2x?x8xf32>
}

// -----

func.func @transpose_view_c1_rank(%x: tensor<1x?x2x8xf32>) -> tensor<1x2x?x8xf32> {
  // expected-error@+1 {{expected a permutation of the 4 dims of input}}
  %0 = megactx.transpose_view %x permutation = [0, 2, 1] : tensor<1x?x2x8xf32> to tensor<1x2x?x8xf32>
  return %0 : tensor<1x2x?x8xf32>
}

// -----

func.func @transpose_view_c2(%x: tensor<1x?x2x8xf32>) -> tensor<1x?x2x8xf32> {
  // expected-error@+1 {{expected a result of type 'tensor<1x2x?x8xf32>'}}
  %0 = megactx.transpose_view %x permutation = [0, 2, 1, 3] : tensor<1x?x2x8xf32> to tensor<1x?x2x8xf32>
  return %0 : tensor<1x?x2x8xf32>
}

// -----

!q = memref<?x?x?x64xf64>
!l = memref<?x?x?xf32>
func.func @fused_attention_c2_f64(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  // expected-error@+1 {{expected query, key and value of one element type out of f32, f16 and bf16, but got 'f64', 'f64' and 'f64'}}
  megactx.fused_attention %q, %k, %v outs(%o, %lse)
      [#megactx.piece<all>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}
