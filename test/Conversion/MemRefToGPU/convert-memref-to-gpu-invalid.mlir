// RUN: megactx-opt %s -split-input-file -verify-diagnostics --megactx-convert-memref-to-gpu

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @kernel(%a: memref<4xf32>) kernel {
      gpu.return
    }
  }
  func.func @kernel_on_memory_of_the_host(%a: memref<4xf32>, %x: f32) {
    %c1 = arith.constant 1 : index
    // expected-note@below {{here}}
    memref.store %x, %a[%c1] : memref<4xf32>
    // expected-error@below {{expected memory of the device, but got 'memref<4xf32>' that the host reads or writes}}
    gpu.launch_func @kernels::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<4xf32>)
    return
  }
}

// -----

module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @kernel(%a: memref<4xf32>) kernel {
      gpu.return
    }
  }
  memref.global "private" constant @table : memref<4xf32> = dense<1.0>
  func.func @kernel_on_a_global_of_the_host() {
    %c1 = arith.constant 1 : index
    %a = memref.get_global @table : memref<4xf32>
    // expected-error@below {{expected memory of the device, but got 'memref<4xf32>' that the host reads or writes}}
    gpu.launch_func @kernels::@kernel blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : memref<4xf32>)
    return
  }
}
