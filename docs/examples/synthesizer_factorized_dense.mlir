// Factorized dense Synthesizer (arXiv:2005.00743): a token makes 4 + N / 4 numbers instead of N; score j is a[j mod 4] * b[j div 4].
// That is no product of a query and a key of few dimensions, so it is a bias.
//
// main(a [B, H, N, 4], b [B, H, N, N / 4], v [B, H, N, D]) -> [B, H, N, D]

#score = affine_map<(b, h, i, j, t) -> (b, h, i, t, j)>
#a = affine_map<(b, h, i, j, t) -> (b, h, i, j)>
#b = affine_map<(b, h, i, j, t) -> (b, h, i, t)>

!zeros = tensor<?x2x?x1xf32>
!rows = tensor<?x2x?x16xf32>

func.func @main(%a: tensor<?x2x?x4xf32>, %b: tensor<?x2x?x?xf32>, %v: !rows) -> !rows {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0.0 : f32
  %batch = tensor.dim %v, %c0 : !rows
  %n = tensor.dim %v, %c2 : !rows
  %blocks = tensor.dim %b, %c3 : tensor<?x2x?x?xf32>
  %keys = arith.muli %blocks, %c4 : index
  %same = arith.cmpi eq, %keys, %n : index
  cf.assert %same, "synthesizer: a and b do not make one score for each row"
  %se = tensor.empty(%batch, %n, %blocks) : tensor<?x2x?x?x4xf32>
  %split = linalg.generic {indexing_maps = [#a, #b, #score], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}
      ins(%a, %b : tensor<?x2x?x4xf32>, tensor<?x2x?x?xf32>) outs(%se : tensor<?x2x?x?x4xf32>) {
  ^bb0(%x: f32, %y: f32, %out: f32):
    %p = arith.mulf %x, %y : f32
    linalg.yield %p : f32
  } -> tensor<?x2x?x?x4xf32>
  %scores = tensor.collapse_shape %split [[0], [1], [2], [3, 4]] : tensor<?x2x?x?x4xf32> into tensor<?x2x?x?xf32>
  %e = tensor.empty(%batch, %n) : !zeros
  %q = linalg.fill ins(%zero : f32) outs(%e : !zeros) -> !zeros
  %s = megactx.source %q, %v bias(%scores) pattern(#megactx.pattern<causal>)
      : (!zeros, !rows, tensor<?x2x?x?xf32>) -> !megactx.source<!zeros, !rows>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!zeros, !megactx.source<!zeros, !rows>) -> !rows
  return %o : !rows
}
