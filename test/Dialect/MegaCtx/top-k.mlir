// RUN: megactx-opt %s | megactx-opt | FileCheck %s

// CHECK-LABEL: @tensors
// CHECK: megactx.top_k largest %{{.+}} along 1 outs(%{{.+}}, %{{.+}}) : (tensor<?x50257xf32>, tensor<?x50xf32>, tensor<?x50xi64>) -> (tensor<?x50xf32>, tensor<?x50xi64>)
func.func @tensors(%x: tensor<?x50257xf32>, %v: tensor<?x50xf32>, %i: tensor<?x50xi64>) -> (tensor<?x50xf32>, tensor<?x50xi64>) {
  %values, %indices = megactx.top_k largest %x along 1 outs(%v, %i)
      : (tensor<?x50257xf32>, tensor<?x50xf32>, tensor<?x50xi64>) -> (tensor<?x50xf32>, tensor<?x50xi64>)
  return %values, %indices : tensor<?x50xf32>, tensor<?x50xi64>
}

// CHECK-LABEL: @memrefs
// CHECK: megactx.top_k %{{.+}} along 0 outs(%{{.+}}, %{{.+}}) : (memref<?xui8>, memref<?xui8>, memref<?xi64>) -> ()
func.func @memrefs(%x: memref<?xui8>, %v: memref<?xui8>, %i: memref<?xi64>) {
  megactx.top_k %x along 0 outs(%v, %i) : (memref<?xui8>, memref<?xui8>, memref<?xi64>) -> ()
  return
}
