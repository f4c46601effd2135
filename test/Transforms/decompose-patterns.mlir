// RUN: megactx-opt %s --megactx-decompose-patterns --canonicalize --cse | FileCheck %s

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>

// CHECK-LABEL: @a_link_per_piece
// CHECK-DAG: %[[LEAST:.+]] = arith.constant 0xFF800000 : f32
// CHECK-DAG: %[[ZERO:.+]] = arith.constant 0.000000e+00 : f32
// CHECK: %[[ACC:.+]] = linalg.fill ins(%[[ZERO]] : f32) outs(%[[OUT:.+]] : tensor<1x2x?x8xf32>)
// CHECK: %[[MAX:.+]] = linalg.fill ins(%[[LEAST]] : f32) outs(%[[LSE:.+]] : tensor<1x2x?xf32>)
// CHECK: %[[SUM:.+]] = linalg.fill ins(%[[ZERO]] : f32) outs(%[[LSE]] : tensor<1x2x?xf32>)
// CHECK: %[[A:.+]]:3 = megactx.online_attention {{.*}} outs(%[[ACC]], %[[MAX]], %[[SUM]])
// CHECK-SAME: #megactx.piece<hi<p - 3>, digits<2, [0]: [0], [1]: [1]>>
// CHECK: %[[B:.+]]:3 = megactx.online_attention {{.*}} outs(%[[A]]#0, %[[A]]#1, %[[A]]#2)
// CHECK-SAME: #megactx.piece<lo<p - 3>, hi<p + 1>>
// CHECK: megactx.finish_attention %[[B]]#0, %[[B]]#1, %[[B]]#2 outs(%[[OUT]], %[[LSE]])
func.func @a_link_per_piece(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @sources_in_order
// CHECK-SAME: %[[Q:.+]]: tensor<1x2x?x8xf32>, %[[K:.+]]: tensor<1x2x?x8xf32>, %[[V:.+]]: tensor<1x2x?x8xf32>, %[[P:.+]]: index, %[[O:.+]]: index
// CHECK: megactx.online_attention %[[Q]], %[[K]], %[[V]] query_offset(%[[P]]) outs
// CHECK-SAME: #megactx.piece<hi<p + 1>>
// CHECK: megactx.online_attention %[[Q]], %[[V]], %[[K]] query_offset(%[[P]]) key_offset(%[[O]]) outs
// CHECK-SAME: #megactx.piece<all> {key_step = 4 : i64
func.func @sources_in_order(%q: !t, %k: !t, %v: !t, %p: index, %o: index) -> !t {
  %s0 = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %s1 = megactx.source %v, %k offset(%o) pattern(#megactx.pattern<dense>) {key_step = 4} : (!t, !t, index) -> !s
  %r = megactx.attention %q, %s0, %s1 offset(%p) {scale = 1.0 : f32} : (!t, !s, !s, index) -> !t
  return %r : !t
}

// CHECK-LABEL: @pattern_without_keys_adds_no_link
// CHECK-NOT: megactx.online_attention
// CHECK: megactx.finish_attention
func.func @pattern_without_keys_adds_no_link(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal minus causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// The check comes before what relies on it.
// CHECK-LABEL: @rows_at_positions
// CHECK-SAME: %[[Q:.+]]: tensor<1x2x?x8xf32>, %[[K:.+]]: tensor<1x2x?x8xf32>, %[[P:.+]]: tensor<1x?xindex>, %[[O:.+]]: tensor<1x?xindex>
// CHECK: cf.assert %{{.+}}, "megactx.attention: the positions of keys decrease"
// CHECK: megactx.online_attention %[[Q]], %[[K]], %[[K]] query_positions(%[[P]]) key_positions(%[[O]]) outs
// CHECK-SAME: #megactx.piece<hi<p + 1>>
func.func @rows_at_positions(%q: !t, %k: !t, %p: tensor<1x?xindex>, %o: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %k positions(%o) pattern(#megactx.pattern<causal>) : (!t, !t, tensor<1x?xindex>) -> !s
  %r = megactx.attention %q, %s positions(%p) {scale = 1.0 : f32} : (!t, !s, tensor<1x?xindex>) -> !t
  return %r : !t
}

// Bounds of each row's segment, found by bisection.
// CHECK-LABEL: @segments
// CHECK: cf.assert %{{.+}}, "megactx.attention: the segment ids of keys decrease"
// CHECK: %[[BOUNDS:.+]] = linalg.generic {{.*}} outs(%{{.+}} : tensor<1x?x2xindex>)
// CHECK: scf.while
// CHECK: linalg.yield
// CHECK: megactx.online_attention {{.*}} segments(%[[BOUNDS]]) {{.*}} #megactx.piece<lo<segment_begin[p]>, hi<p - 3, segment_end[p]>, digits<2, [0]: [0], [1]: [1]>>
// CHECK: megactx.online_attention {{.*}} segments(%[[BOUNDS]]) {{.*}} #megactx.piece<lo<p - 3, segment_begin[p]>, hi<p + 1, segment_end[p]>>
func.func @segments(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<segments and causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// Links of gradients go on from each other's sums; a row without keys has a log-sum-exp of plus infinity.
// CHECK-LABEL: @links_of_gradients
// CHECK: arith.constant 0x7F800000 : f32
// CHECK: %[[A:.+]]:3 = megactx.online_attention_backward
// CHECK: %[[B:.+]]:3 = megactx.online_attention_backward {{.*}} outs(%[[A]]#0, %[[A]]#1, %[[A]]#2)
// CHECK: arith.truncf
func.func @links_of_gradients(%q: tensor<1x2x?x8xf16>, %k: tensor<1x2x?x8xf16>, %v: tensor<1x2x?x8xf16>, %out: tensor<1x2x?x8xf16>, %lse: tensor<1x2x?xf32>, %dout: tensor<1x2x?x8xf16>) -> tensor<1x2x?x8xf16> {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and (window<left = 3, right = 0> or strided<stride = 2>)>) : (tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>) -> !megactx.source<tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>>
  %g:3 = megactx.attention_backward %q, %s out(%out) lse(%lse) dout(%dout) {scale = 1.0 : f32} : (tensor<1x2x?x8xf16>, !megactx.source<tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>>, tensor<1x2x?x8xf16>, tensor<1x2x?xf32>, tensor<1x2x?x8xf16>) -> (tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>, tensor<1x2x?x8xf16>)
  return %g#1 : tensor<1x2x?x8xf16>
}

// What both sides of an 'or' have is no part of their difference.
// CHECK-LABEL: @segments_on_both_sides
// CHECK: megactx.online_attention {{.*}} #megactx.piece<lo<segment_begin[p]>, hi<p - 3, segment_end[p]>, digits<2, [0]: [0], [1]: [1]>>
// CHECK: megactx.online_attention {{.*}} #megactx.piece<lo<p - 3, segment_begin[p]>, hi<p + 1, segment_end[p]>>
func.func @segments_on_both_sides(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<(segments and window<left = 3, right = 0>) or (segments and causal and strided<stride = 2>)>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @segments_that_say_nothing
// CHECK-NOT: segments(
// CHECK: #megactx.piece<hi<p + 1>>
func.func @segments_that_say_nothing(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<(segments and causal) or causal>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @segments_and_everything
// CHECK-NOT: segments(
// CHECK: megactx.online_attention {{.*}} #megactx.piece<all>
func.func @segments_and_everything(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<segments or dense>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!t, !s) -> !t
  return %o : !t
}

// CHECK-LABEL: @segments_beside_residues_on_both_sides
// CHECK: megactx.online_attention {{.*}} #megactx.piece<lo<segment_begin[p]>, hi<segment_end[p]>, digits<6,
// CHECK-NOT: megactx.online_attention
func.func @segments_beside_residues_on_both_sides(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<(strided<stride = 3> and segments) or (segments and strided<stride = 2>)>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// Of sizes that a run knows; those that are known to be equal are not compared.
// CHECK-LABEL: @sizes_of_a_run
// CHECK-NOT: cf.assert
// CHECK: cf.assert %{{.+}}, "attention: expected key dim 0 to equal query dim 0"
// CHECK-NOT: cf.assert
// CHECK: cf.assert %{{.+}}, "attention: expected bias dim 2 to be 1 or query dim 2"
// CHECK: cf.assert %{{.+}}, "attention: expected bias dim 3 to be 1 or key dim 2"
// CHECK-NOT: cf.assert
// CHECK: megactx.online_attention
!d = tensor<?x2x?x8xf32>
!e = !megactx.source<tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>>
func.func @sizes_of_a_run(%q: !d, %k: !d, %b: tensor<1x1x?x?xf32>) -> !d {
  %s = megactx.source %k, %k bias(%b) pattern(#megactx.pattern<dense>) : (!d, !d, tensor<1x1x?x?xf32>) -> !e
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!d, !e) -> !d
  return %o : !d
}

// What the types of results say of a run's sizes, heads that may be none, and how far a key may stand from the first.
// CHECK-LABEL: @results_of_a_run
// CHECK-NOT: cf.assert
// CHECK: cf.assert %{{.+}}, "attention: expected the number of query heads to be a multiple of the key heads"
// CHECK: cf.assert %{{.+}}, "attention: expected a key offset of at most 2147483647 tokens"
// CHECK: cf.assert %{{.+}}, "attention: expected query dim 2 to be 5, as that of out"
// CHECK: cf.assert %{{.+}}, "attention: expected query dim 2 to be 5, as that of lse"
// CHECK-NOT: cf.assert
// CHECK: megactx.online_attention
!h = tensor<1x?x?x8xf32>
func.func @results_of_a_run(%q: tensor<1x2x?x8xf32>, %k: !h, %o: index) -> tensor<1x2x5x8xf32> {
  %s = megactx.source %k, %k offset(%o) pattern(#megactx.pattern<causal>) : (!h, !h, index) -> !megactx.source<!h, !h>
  %r:2 = megactx.attention %q, %s {scale = 1.0 : f32} : (tensor<1x2x?x8xf32>, !megactx.source<!h, !h>) -> (tensor<1x2x5x8xf32>, tensor<1x2x5xf32>)
  return %r#0 : tensor<1x2x5x8xf32>
}

// Rows are read by lengths of which it is known that there is one for each entry of the batch.
// CHECK-LABEL: @sizes_before_rows
// CHECK-NOT: tensor.extract
// CHECK: cf.assert %{{.+}}, "attention: expected lengths dim 0 to equal key dim 0"
// CHECK: tensor.extract %{{.+}}[%{{.+}}] : tensor<?xindex>
// CHECK: megactx.online_attention
func.func @sizes_before_rows(%q: !d, %k: !d, %l: tensor<?xindex>, %i: tensor<?x?xindex>) -> !d {
  %s = megactx.source %k, %k lengths(%l) segments(%i) pattern(#megactx.pattern<segments>) : (!d, !d, tensor<?xindex>, tensor<?x?xindex>) -> !e
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!d, !e) -> !d
  return %o : !d
}

// Of 8 slots, 3 heads have one each.
// CHECK-LABEL: @slots_of_heads
// CHECK-COUNT-9: megactx.online_attention
// CHECK-NOT: megactx.online_attention
!slots = tensor<1x3x?x8xf32>
!slot_source = !megactx.source<tensor<1x3x?x8xf32>, tensor<1x3x?x8xf32>>
func.func @slots_of_heads(%q: !slots, %k: !slots) -> !slots {
  %s = megactx.source %k, %k pattern(#megactx.pattern<fixed<block = 16, count = 2, slot = head>>) : (!slots, !slots) -> !slot_source
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!slots, !slot_source) -> !slots
  return %o : !slots
}
