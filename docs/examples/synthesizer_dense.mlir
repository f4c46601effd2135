// Dense Synthesizer (arXiv:2005.00743): the scores of a token are relu(x W1 + b1) W2 + b2, with a column of W2 for each position.
// So relu(x W1 + b1) is a query, a column of W2 a key, and b2 a bias for each key.
//
// main(h = x W1 + b1 [B, H, N, K], w2 [H, N, K], b2 [1, H, 1, N], v [B, H, N, D]) -> [B, H, N, D]

#all = affine_map<(b, h, n, k) -> (b, h, n, k)>

!hidden = tensor<?x2x?x8xf32>
!rows = tensor<?x2x?x16xf32>

func.func @main(%h: !hidden, %w2: tensor<2x?x8xf32>, %b2: tensor<1x2x1x?xf32>, %v: !rows) -> !rows {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %b = tensor.dim %h, %c0 : !hidden
  %n = tensor.dim %h, %c2 : !hidden
  %e = tensor.empty(%b, %n) : !hidden
  %q = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%h : !hidden) outs(%e : !hidden) {
  ^bb0(%x: f32, %out: f32):
    %r = arith.maximumf %x, %zero : f32
    linalg.yield %r : f32
  } -> !hidden
  %k = linalg.broadcast ins(%w2 : tensor<2x?x8xf32>) outs(%e : !hidden) dimensions = [0]
  %s = megactx.source %k, %v bias(%b2) pattern(#megactx.pattern<causal>)
      : (!hidden, !rows, tensor<1x2x1x?xf32>) -> !megactx.source<!hidden, !rows>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!hidden, !megactx.source<!hidden, !rows>) -> !rows
  return %o : !rows
}
