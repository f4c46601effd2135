// RUN: megactx-opt %s --megactx-assemble-kernels | FileCheck %s
// RUN: megactx-opt %s --megactx-assemble-kernels=format=llvm | FileCheck %s --check-prefix=LLVM
// RUN: not megactx-opt %s --megactx-assemble-kernels=format=elf 2>&1 | FileCheck %s --check-prefix=FORMAT

// CHECK: gpu.binary @kernels [#gpu.object<#nvvm.target<chip = "sm_80", features = "+ptx80">, {{.*}}assembly = "{{.*}}.version 8.0{{.*}}.target sm_80{{.*}}.visible .entry kernel
// LLVM: gpu.binary @kernels [#gpu.object<#nvvm.target<chip = "sm_80", features = "+ptx80">, offload = "BC
// FORMAT: assemble-kernels.mlir:{{.*}}: error: expected the format llvm, isa, bin or fatbin, but got 'elf'
module attributes {gpu.container_module} {
  gpu.module @kernels [#nvvm.target<chip = "sm_80", features = "+ptx80">] {
    llvm.func @kernel() attributes {gpu.kernel, nvvm.kernel} {
      llvm.return
    }
  }
}
