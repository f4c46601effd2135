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
