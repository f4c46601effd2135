// Causal attention of the Routing Transformer (arXiv:2003.05997): keys are queries, a row attends the rows of its clusters before it.
//
// main(q [B, H, N, D], v [B, H, N, D], centroids [H, C, D], lengths [B]) -> [B, H, N, D], here with clusters of 8 rows at most.

#all = affine_map<(b, h, n, d) -> (b, h, n, d)>
#row = affine_map<(b, h, n, d) -> (b, h, n)>

!rows = tensor<?x2x?x16xf32>
!means = tensor<?x2x?xf32>
!clusters = tensor<?x1x?x16xf32>

func.func @main(%q: !rows, %v: !rows, %centroids: tensor<2x?x16xf32>, %lengths: tensor<?xi64>) -> !rows {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %width = arith.constant 16.0 : f32
  %epsilon = arith.constant 1.0e-6 : f32
  %b = tensor.dim %q, %c0 : !rows
  %n = tensor.dim %q, %c2 : !rows

  // Layer norm without scale and bias, which makes all rows equally long.
  %me = tensor.empty(%b, %n) : !means
  %m0 = linalg.fill ins(%zero : f32) outs(%me : !means) -> !means
  %re = tensor.empty(%b, %n) : !rows
  %mean = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%q : !rows) outs(%m0 : !means) {
  ^bb0(%x: f32, %sum: f32):
    %part = arith.divf %x, %width : f32
    %next = arith.addf %sum, %part : f32
    linalg.yield %next : f32
  } -> !means
  %variance = linalg.generic {indexing_maps = [#all, #row, #row], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %mean : !rows, !means) outs(%m0 : !means) {
  ^bb0(%x: f32, %m: f32, %sum: f32):
    %d = arith.subf %x, %m : f32
    %square = arith.mulf %d, %d : f32
    %part = arith.divf %square, %width : f32
    %next = arith.addf %sum, %part : f32
    linalg.yield %next : f32
  } -> !means
  %x = linalg.generic {indexing_maps = [#all, #row, #row, #all], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%q, %mean, %variance : !rows, !means, !means) outs(%re : !rows) {
  ^bb0(%x: f32, %m: f32, %s: f32, %out: f32):
    %d = arith.subf %x, %m : f32
    %e = arith.addf %s, %epsilon : f32
    %r = math.rsqrt %e : f32
    %y = arith.mulf %d, %r : f32
    linalg.yield %y : f32
  } -> !rows

  // The rows of each cluster side by side, an attention with a batch row for each cluster, and back.
  %k = arith.index_cast %lengths : tensor<?xi64> to tensor<?xindex>
  %members, %counts = megactx.route %x, %centroids lengths(%k) {window = 8}
      : (!rows, tensor<2x?x16xf32>, tensor<?xindex>) -> (tensor<?x?xindex>, tensor<?xindex>)
  %x1 = megactx.gather_rows %x at %members : (!rows, tensor<?x?xindex>) -> !clusters
  %v1 = megactx.gather_rows %v at %members : (!rows, tensor<?x?xindex>) -> !clusters
  %s = megactx.source %x1, %v1 lengths(%counts) positions(%members) pattern(#megactx.pattern<causal>)
      : (!clusters, !clusters, tensor<?xindex>, tensor<?x?xindex>) -> !megactx.source<!clusters, !clusters>
  %y = megactx.attention %x1, %s positions(%members) {scale = 1.0 : f32}
      : (!clusters, !megactx.source<!clusters, !clusters>, tensor<?x?xindex>) -> !clusters
  %none = linalg.fill ins(%zero : f32) outs(%re : !rows) -> !rows
  %o = megactx.scatter_mean %y at %members outs(%none) : (!clusters, tensor<?x?xindex>, !rows) -> !rows
  return %o : !rows
}
