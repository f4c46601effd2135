// RUN: megactx-opt %s --megactx-decompose-patterns --split-input-file --verify-diagnostics

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @segments_without_ids(%q: !t, %k: !t, %v: !t) -> !t {
  // expected-error@+1 {{'segments' needs segment ids, which this source does not have}}
  %s = megactx.source %k, %v pattern(#megactx.pattern<segments>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @source_of_unknown_origin(%q: !t, %s: !s) -> !t {
  // expected-error@+1 {{expected sources made by megactx.source}}
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @ids_without_segments(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  // expected-error@+1 {{has segment ids, which its pattern 'causal' does not read}}
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<causal>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}

// -----

!t = tensor<1x2x?x8xf32>
!s = !megactx.source<tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>>
func.func @other_segments(%q: !t, %k: !t, %v: !t, %i: tensor<1x?xindex>) -> !t {
  // expected-error@+1 {{expected 'segments' in an 'and', or in an 'or' with windows or first keys, not taken away nor beside strides, blocks or columns}}
  %s = megactx.source %k, %v segments(%i) pattern(#megactx.pattern<causal minus segments>) : (!t, !t, tensor<1x?xindex>) -> !s
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!t, !s) -> !t
  return %o : !t
}
