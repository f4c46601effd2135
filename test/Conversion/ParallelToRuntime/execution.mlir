// Parallel loops through the pool, with more threads than tasks and fewer.
// RUN: rm -rf %t && mkdir %t
// RUN: megactx-compile %s -o %t/m.mctx 2>/dev/null
// RUN: %python -c "import numpy as np; x = np.random.default_rng(0).standard_normal((37, 513, 3)).astype(np.float32); np.save('%t/input_0', x); np.save('%t/output_0', np.transpose(x, (2, 0, 1)) * 2)"
// RUN: megactx-run %t/m.mctx --test-data %t --threads 1 --atol 0 --rtol 0
// RUN: megactx-run %t/m.mctx --test-data %t --threads 3 --atol 0 --rtol 0
// RUN: megactx-run %t/m.mctx --test-data %t --threads 64 --atol 0 --rtol 0 --benchmark

func.func @main(%x: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = tensor.dim %x, %c0 : tensor<?x?x?xf32>
  %b = tensor.dim %x, %c1 : tensor<?x?x?xf32>
  %c = tensor.dim %x, %c2 : tensor<?x?x?xf32>
  %empty = tensor.empty(%c, %a, %b) : tensor<?x?x?xf32>
  %t = linalg.transpose ins(%x : tensor<?x?x?xf32>) outs(%empty : tensor<?x?x?xf32>) permutation = [2, 0, 1]
  %y = arith.addf %t, %t : tensor<?x?x?xf32>
  return %y : tensor<?x?x?xf32>
}
