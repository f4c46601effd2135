// Gists of 32 rows of attention, their heads joined.
!heads = tensor<1x4x?x16xf32>
!split = tensor<1x?x4x16xf32>
!rows = tensor<1x?x64xf32>

func.func @main(%q: !heads, %k: !heads, %v: !heads) -> !rows {
  %c2 = arith.constant 2 : index
  %n = tensor.dim %q, %c2 : !heads
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal and window<left = 127, right = 0>>) : (!heads, !heads) -> !megactx.source<!heads, !heads>
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!heads, !megactx.source<!heads, !heads>) -> !heads

  %empty = tensor.empty(%n) : !split
  %turned = linalg.transpose ins(%o : !heads) outs(%empty : !split) permutation = [0, 2, 1, 3]
  %joined = tensor.collapse_shape %turned [[0], [1], [2, 3]] : !split into !rows

  // %joined is never whole.
  %g = megactx.gist_pool mean %joined {ratio = 32} : (!rows) -> !rows
  return %g : !rows
}
