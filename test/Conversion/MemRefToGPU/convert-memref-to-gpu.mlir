// RUN: megactx-opt %s --megactx-convert-memref-to-gpu | FileCheck %s

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @kernel(%a: memref<?xf32>) kernel {
      gpu.return
    }
  }
  func.func private @product(memref<?xf32>) attributes {megactx.on_device}

  // A buffer of kernels, and of the runtime's functions for the device, is there.
  // CHECK-LABEL: func @buffers
  // CHECK: %[[A:.*]] = gpu.alloc (%{{.*}}) : memref<?xf32>
  // CHECK: gpu.launch_func {{.*}} args(%[[A]] : memref<?xf32>)
  // CHECK: call @product(%[[A]])
  // CHECK: gpu.dealloc %[[A]]
  // CHECK-NOT: memref.alloc
  func.func @buffers(%n: index) {
    %c1 = arith.constant 1 : index
    %a = memref.alloc(%n) : memref<?xf32>
    gpu.launch_func @kernels::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<?xf32>)
    call @product(%a) : (memref<?xf32>) -> ()
    memref.dealloc %a : memref<?xf32>
    return
  }

  // What the host reads and writes is its own; copies between are the device's.
  // CHECK-LABEL: func @memory_of_the_host
  // CHECK-SAME: %[[X:.*]]: memref<?xf32>, %[[N:.*]]: memref<i64> {megactx.memory = "host"})
  // CHECK-SAME: -> (memref<?xf32>, memref<i64> {megactx.memory = "host"})
  // CHECK: memref.load %[[N]][]
  // CHECK: %[[COUNT:.*]] = memref.alloc() : memref<i64>
  // CHECK: memref.store %{{.*}}, %[[COUNT]][]
  // CHECK: gpu.memcpy %{{.*}}, %[[X]] : memref<?xf32>, memref<?xf32>
  // CHECK: return
  func.func @memory_of_the_host(%x: memref<?xf32>, %n: memref<i64>) -> (memref<?xf32>, memref<i64>) {
    %v = memref.load %n[] : memref<i64>
    %size = arith.index_cast %v : i64 to index
    %count = memref.alloc() : memref<i64>
    memref.store %v, %count[] : memref<i64>
    %y = memref.alloc(%size) : memref<?xf32>
    memref.copy %x, %y : memref<?xf32> to memref<?xf32>
    return %y, %count : memref<?xf32>, memref<i64>
  }

  // Copies within the host's memory stay.
  // CHECK-LABEL: func @copy_on_the_host
  // CHECK: memref.copy
  // CHECK-NOT: gpu.memcpy
  func.func @copy_on_the_host(%a: memref<i64>, %b: memref<i64>, %v: i64) {
    memref.store %v, %a[] : memref<i64>
    memref.store %v, %b[] : memref<i64>
    memref.copy %a, %b : memref<i64> to memref<i64>
    return
  }
}
