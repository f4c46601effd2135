// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-product-epilogues))' | FileCheck %s
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-product-epilogues,megactx-fuse-elementwise,megactx-fuse-product-epilogues))' | FileCheck %s --check-prefix=AGAIN

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>
#id = affine_map<(b, m, n) -> (b, m, n)>
#row = affine_map<(b, m, n) -> (n)>
#column = affine_map<(b, m, n) -> (m)>
#turned = affine_map<(b, m, n) -> (b, n, m)>

// How exact cuBLASLt's tanh is nobody says.
// CHECK-LABEL: @gelu_of_f32_stays
// CHECK-NOT: megactx.product
// AGAIN-LABEL: @gelu_of_f32_stays
// AGAIN-NOT: megactx.product
// AGAIN: math.tanh
func.func @gelu_of_f32_stays(%x: tensor<1x?x8xf32>, %w: tensor<1x8x16xf32>, %m: index) -> tensor<1x?x16xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%m) : tensor<1x?x16xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<1x?x16xf32>) -> tensor<1x?x16xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xf32>, tensor<1x8x16xf32>) outs(%z : tensor<1x?x16xf32>) {
  ^bb0(%p0: f32, %p1: f32, %acc: f32):
    %term = arith.mulf %p0, %p1 : f32
    %sum = arith.addf %acc, %term : f32
    linalg.yield %sum : f32
  } -> tensor<1x?x16xf32>
  %x3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %c = arith.constant 3.0 : f32
    %1 = math.powf %a0, %c : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %x3c = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x3 : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %c = arith.constant 4.471500e-02 : f32
    %1 = arith.mulf %c, %a0 : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %in1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %x3c : tensor<1x?x16xf32>, tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %a1: f32, %o: f32):
    %1 = arith.addf %a0, %a1 : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %in2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%in1 : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %c = arith.constant 0.79788458 : f32
    %1 = arith.mulf %a0, %c : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %t = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%in2 : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %1 = math.tanh %a0 : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %t1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%t : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %c = arith.constant 1.0 : f32
    %1 = arith.addf %a0, %c : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %half = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %o: f32):
    %c = arith.constant 0.5 : f32
    %1 = arith.mulf %a0, %c : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%half, %t1 : tensor<1x?x16xf32>, tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %a1: f32, %o: f32):
    %1 = arith.mulf %a0, %a1 : f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  return %y : tensor<1x?x16xf32>
}

// CHECK-LABEL: @another_cube_is_no_gelu
// CHECK-NOT: megactx.product
func.func @another_cube_is_no_gelu(%x: tensor<1x?x8xf16>, %w: tensor<1x8x16xf16>, %m: index) -> tensor<1x?x16xf16> {
  %zero = arith.constant 0.0 : f16
  %e = tensor.empty(%m) : tensor<1x?x16xf16>
  %z = linalg.fill ins(%zero : f16) outs(%e : tensor<1x?x16xf16>) -> tensor<1x?x16xf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xf16>, tensor<1x8x16xf16>) outs(%z : tensor<1x?x16xf16>) {
  ^bb0(%p0: f16, %p1: f16, %acc: f16):
    %term = arith.mulf %p0, %p1 : f16
    %sum = arith.addf %acc, %term : f16
    linalg.yield %sum : f16
  } -> tensor<1x?x16xf16>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<1x?x16xf16>) outs(%e : tensor<1x?x16xf16>) {
  ^bb0(%a0: f16, %o: f16):
    %c1 = arith.constant 4.571500e-02 : f16
    %c2 = arith.constant 0.79788458 : f16
    %one = arith.constant 1.0 : f16
    %half = arith.constant 0.5 : f16
    %x2 = arith.mulf %a0, %a0 : f16
    %x3 = arith.mulf %x2, %c1 : f16
    %x4 = arith.addf %x3, %one : f16
    %x5 = arith.mulf %a0, %x4 : f16
    %x6 = arith.mulf %x5, %c2 : f16
    %t = math.tanh %x6 : f16
    %t1 = arith.addf %t, %one : f16
    %h1 = arith.mulf %a0, %half : f16
    %g = arith.mulf %h1, %t1 : f16
    linalg.yield %g : f16
  } -> tensor<1x?x16xf16>
  return %y : tensor<1x?x16xf16>
}

// Its result alone is used, too.
// CHECK-LABEL: @used_twice
// CHECK-NOT: megactx.product
func.func @used_twice(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>) -> tensor<1x?x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty(%m) : tensor<1x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x?x16xbf16>
  %n = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %1 = arith.negf %a0 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%n, %h : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.mulf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// CHECK-LABEL: @scalar_term
// CHECK-NOT: megactx.product
func.func @scalar_term(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: bf16) -> tensor<1x?x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty(%m) : tensor<1x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, affine_map<(b, m, n) -> ()>, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, bf16) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// As long as a row is, but for columns.
// CHECK-LABEL: @vector_of_rows_is_no_bias
// CHECK-NOT: megactx.product
func.func @vector_of_rows_is_no_bias(%x: tensor<1x16x8xbf16>, %w: tensor<1x8x16xbf16>, %v: tensor<16xbf16>) -> tensor<1x16x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty() : tensor<1x16x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x16x16xbf16>) -> tensor<1x16x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x16x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x16x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x16x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x16x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x16x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x16x16xbf16>
  return %y : tensor<1x16x16xbf16>
}

// CHECK-LABEL: @turned_residual
// CHECK-NOT: megactx.product
func.func @turned_residual(%x: tensor<1x16x8xbf16>, %w: tensor<1x8x16xbf16>, %r: tensor<1x16x16xbf16>) -> tensor<1x16x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty() : tensor<1x16x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x16x16xbf16>) -> tensor<1x16x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x16x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x16x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x16x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #turned, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %r : tensor<1x16x16xbf16>, tensor<1x16x16xbf16>) outs(%e : tensor<1x16x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x16x16xbf16>
  return %y : tensor<1x16x16xbf16>
}

// CHECK-LABEL: @turned_product
// CHECK-NOT: megactx.product
func.func @turned_product(%x: tensor<1x16x8xbf16>, %w: tensor<1x8x16xbf16>, %r: tensor<1x16x16xbf16>) -> tensor<1x16x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty() : tensor<1x16x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x16x16xbf16>) -> tensor<1x16x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x16x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x16x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x16x16xbf16>
  %y = linalg.generic {indexing_maps = [#turned, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %r : tensor<1x16x16xbf16>, tensor<1x16x16xbf16>) outs(%e : tensor<1x16x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x16x16xbf16>
  return %y : tensor<1x16x16xbf16>
}

// CHECK-LABEL: @not_from_zero
// CHECK-NOT: megactx.product
func.func @not_from_zero(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>) -> tensor<1x?x16xbf16> {
  %zero = arith.constant 1.0 : bf16
  %e = tensor.empty(%m) : tensor<1x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// There may be none.
// CHECK-LABEL: @any_number_of_terms
// CHECK-NOT: megactx.product
func.func @any_number_of_terms(%x: tensor<1x?x?xbf16>, %w: tensor<1x?x16xbf16>, %m: index, %v: tensor<16xbf16>) -> tensor<1x?x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty(%m) : tensor<1x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x?xbf16>, tensor<1x?x16xbf16>) outs(%z : tensor<1x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// CHECK-LABEL: @into_a_loop
// CHECK-NOT: megactx.product
func.func @into_a_loop(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %n: index) -> tensor<1x?x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty(%m) : tensor<1x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x?x8xbf16>, tensor<1x8x16xbf16>) outs(%z : tensor<1x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<1x?x16xbf16>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%s0 = %e) -> tensor<1x?x16xbf16> {
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%s0 : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
    scf.yield %h : tensor<1x?x16xbf16>
  }
  return %y : tensor<1x?x16xbf16>
}
