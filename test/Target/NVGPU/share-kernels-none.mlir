// RUN: megactx-opt %s --megactx-share-kernels | FileCheck %s

// A program without kernels stays as it is.
// CHECK-NOT: gpu.module
// CHECK: func @main
func.func @main() {
  return
}
