// Results that are inputs, views, constants, or the same tensor twice: each is the caller's own.
// RUN: rm -rf %t && mkdir %t
// RUN: megactx-compile %s -o %t/m.mctx 2>%t/log
// RUN: %python -c "import numpy as np; x = np.arange(12, dtype=np.float32).reshape(3, 4); y = 10 * x; save = lambda n, v: np.save('%t/' + n, v); [save('input_%%d' %% i, v) for i, v in enumerate([x, y])]; [save('output_%%d' %% i, v) for i, v in enumerate([x, x + y, x + y, np.array([1.5, 2.5], np.float32), (x + y)[:, 1:3]])]"
// RUN: megactx-run %t/m.mctx --test-data %t --benchmark --repeat=20 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LOG < %t/log

// CHECK-NOT: "ok": false
// CHECK: "ok": true
// LOG-NOT: warning
// LOG: raised 0 attentions, sparsified 0

func.func @main(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["n", ""]}, %y: tensor<?x4xf32> {onnx.name = "y", onnx.dims = ["n", ""]})
    -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<2xf32>, tensor<?x2xf32>) {
  %c = arith.constant dense<[1.5, 2.5]> : tensor<2xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %s = arith.addf %x, %y : tensor<?x4xf32>
  %v = tensor.extract_slice %s[0, 1] [%n, 2] [1, 1] : tensor<?x4xf32> to tensor<?x2xf32>
  return %x, %s, %s, %c, %v : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<2xf32>, tensor<?x2xf32>
}
