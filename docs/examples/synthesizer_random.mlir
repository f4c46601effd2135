// Random Synthesizer (arXiv:2005.00743): scores are learned numbers, whatever the tokens. They are a bias; queries and keys are 0.
//
// main(v [B, H, N, D], scores [1, H, N, N]) -> [B, H, N, D]

!zeros = tensor<?x2x?x1xf32>
!rows = tensor<?x2x?x16xf32>

func.func @main(%v: !rows, %scores: tensor<1x2x?x?xf32>) -> !rows {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %b = tensor.dim %v, %c0 : !rows
  %n = tensor.dim %v, %c2 : !rows
  %e = tensor.empty(%b, %n) : !zeros
  %q = linalg.fill ins(%zero : f32) outs(%e : !zeros) -> !zeros
  %s = megactx.source %q, %v bias(%scores) pattern(#megactx.pattern<causal>)
      : (!zeros, !rows, tensor<1x2x?x?xf32>) -> !megactx.source<!zeros, !rows>
  %o = megactx.attention %q, %s {scale = 1.0 : f32} : (!zeros, !megactx.source<!zeros, !rows>) -> !rows
  return %o : !rows
}
