// RUN: megactx-opt %s --pass-pipeline='builtin.module(gpu.module(megactx-convert-math-to-nvvm))' | FileCheck %s --implicit-check-not=math.

gpu.module @kernels {
  // What NVPTX has an instruction for.
  // CHECK-LABEL: func @instructions
  // CHECK: llvm.call_intrinsic "llvm.sqrt.f32"
  // CHECK: llvm.call_intrinsic "llvm.fabs.f64"
  // CHECK: llvm.call_intrinsic "llvm.ceil.f32"
  // CHECK: llvm.call_intrinsic "llvm.floor.f32"
  // CHECK: llvm.call_intrinsic "llvm.trunc.f32"
  // CHECK: llvm.call_intrinsic "llvm.rint.f32"
  // CHECK: llvm.call_intrinsic "llvm.round.f32"
  // CHECK: llvm.call_intrinsic "llvm.fma.f32"
  // CHECK: llvm.call_intrinsic "llvm.copysign.f32"
  func.func @instructions(%x: f32, %w: f64) -> (f32, f64) {
    %0 = math.sqrt %x : f32
    %1 = math.absf %w : f64
    %2 = math.ceil %0 : f32
    %3 = math.floor %2 : f32
    %4 = math.trunc %3 : f32
    %5 = math.roundeven %4 : f32
    %6 = math.round %5 : f32
    %7 = math.fma %6, %x, %x : f32
    %8 = math.copysign %7, %x : f32
    return %8, %1 : f32, f64
  }

  // The inverse of an exact root, which rsqrt.approx is not.
  // CHECK-LABEL: func @rsqrt
  // CHECK: %[[ROOT:.*]] = llvm.call_intrinsic "llvm.sqrt.f32"
  // CHECK: arith.divf %cst{{.*}}, %[[ROOT]]
  func.func @rsqrt(%x: f32) -> f32 {
    %y = math.rsqrt %x : f32
    return %y : f32
  }

  // CHECK-LABEL: func @leading_zeros
  // CHECK: "llvm.intr.ctlz"(%{{.*}}) <{is_zero_poison = false}> : (i64) -> i64
  func.func @leading_zeros(%x: i64) -> i64 {
    %y = math.ctlz %x : i64
    return %y : i64
  }
  // CHECK-LABEL: func @absi
  // CHECK: %[[MINUS:.*]] = arith.subi %c0_i64, %arg0
  // CHECK: arith.maxsi %arg0, %[[MINUS]]
  func.func @absi(%x: i64) -> i64 {
    %y = math.absi %x : i64
    return %y : i64
  }

  // Polynomials: of f32, and no call.
  // CHECK-LABEL: func @functions
  // CHECK-NOT: call @
  // CHECK: llvm.fma.f32
  // CHECK: return
  func.func @functions(%x: f32, %y: f32) -> (f32, f32, f32, f32, f32) {
    %0 = math.exp %x : f32
    %1 = math.log %x : f32
    %2 = math.tanh %x : f32
    %3 = math.erf %x : f32
    %4 = math.powf %x, %y : f32
    return %0, %1, %2, %3, %4 : f32, f32, f32, f32, f32
  }

  // The argument is reduced in f64; cos is sin a quarter later.
  // CHECK-LABEL: func @sine_and_cosine
  // CHECK: arith.extf %arg0 : f32 to f64
  // CHECK: llvm.call_intrinsic "llvm.rint.f64"
  // CHECK-COUNT-2: llvm.call_intrinsic "llvm.fma.f64"
  // CHECK: arith.truncf
  // CHECK: arith.fptosi
  // CHECK: arith.select
  // CHECK: arith.extf %arg0 : f32 to f64
  // CHECK: arith.addi %{{.*}}, %c1_i64
  func.func @sine_and_cosine(%x: f32) -> (f32, f32) {
    %0 = math.sin %x : f32
    %1 = math.cos %x : f32
    return %0, %1 : f32, f32
  }
}
