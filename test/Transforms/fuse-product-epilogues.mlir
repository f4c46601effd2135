// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-product-epilogues))' | FileCheck %s
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-fuse-product-epilogues,megactx-fuse-elementwise,megactx-fuse-product-epilogues))' | FileCheck %s --check-prefix=AGAIN

#a = affine_map<(b, m, n, k) -> (b, m, k)>
#b = affine_map<(b, m, n, k) -> (b, k, n)>
#c = affine_map<(b, m, n, k) -> (b, m, n)>
#id = affine_map<(b, m, n) -> (b, m, n)>
#row = affine_map<(b, m, n) -> (n)>

// The rows of a batch are those of one matrix; the residual's are, too.
// CHECK-LABEL: @bias_and_residual_behind_reshapes
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x?x8xbf16>, %[[W:[a-z0-9]+]]: tensor<1x8x16xbf16>, %{{.+}}: index, %[[V:[a-z0-9]+]]: tensor<16xbf16>, %[[R:[a-z0-9]+]]: tensor<?x?x16xbf16>
// CHECK: %[[E:.+]] = tensor.empty(%{{.+}}) : tensor<1x?x16xbf16>
// CHECK: %[[F:.+]] = tensor.collapse_shape %[[R]] {{\[\[}}0, 1], [2]]
// CHECK: %[[M:.+]] = tensor.expand_shape %[[F]] {{\[\[}}0, 1], [2]] {{.*}} into tensor<1x?x16xbf16>
// CHECK: %[[P:.+]] = megactx.product %[[X]], %[[W]] bias(%[[V]]) residual(%[[M]]) outs(%[[E]])
// CHECK: tensor.collapse_shape %[[P]]
// CHECK: %[[Y:.+]] = tensor.expand_shape
// CHECK-NOT: linalg.generic
// CHECK: return %[[Y]]
func.func @bias_and_residual_behind_reshapes(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %r: tensor<?x?x16xbf16>, %d0: index, %d1: index) -> tensor<?x?x16xbf16> {
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
  %f = tensor.collapse_shape %p [[0, 1], [2]] : tensor<1x?x16xbf16> into tensor<?x16xbf16>
  %g = tensor.expand_shape %f [[0, 1], [2]] output_shape [%d0, %d1, 16] : tensor<?x16xbf16> into tensor<?x?x16xbf16>
  %q = tensor.empty(%d0, %d1) : tensor<?x?x16xbf16>
  %h = linalg.generic {indexing_maps = [#row, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%v, %g : tensor<16xbf16>, tensor<?x?x16xbf16>) outs(%q : tensor<?x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<?x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%r, %h : tensor<?x?x16xbf16>, tensor<?x?x16xbf16>) outs(%q : tensor<?x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<?x?x16xbf16>
  return %y : tensor<?x?x16xbf16>
}

// Casts before and behind sums are what the product does.
// CHECK-LABEL: @sums_in_f32
// CHECK: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) residual(%{{.+}}) outs(%{{.+}}) : (tensor<1x?x8xbf16>, tensor<1x8x16xbf16>, tensor<16xbf16>, tensor<1x?x16xbf16>, tensor<1x?x16xbf16>)
// CHECK-NEXT: return %[[P]]
func.func @sums_in_f32(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %r: tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16> {
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
  %we = tensor.empty(%m) : tensor<1x?x16xf32>
  %vw = tensor.empty() : tensor<16xf32>
  %pw = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<1x?x16xbf16>) outs(%we : tensor<1x?x16xf32>) {
  ^bb0(%a0: bf16, %o: f32):
    %1 = arith.extf %a0 : bf16 to f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %rw = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%r : tensor<1x?x16xbf16>) outs(%we : tensor<1x?x16xf32>) {
  ^bb0(%a0: bf16, %o: f32):
    %1 = arith.extf %a0 : bf16 to f32
    linalg.yield %1 : f32
  } -> tensor<1x?x16xf32>
  %bw = linalg.generic {indexing_maps = [affine_map<(n) -> (n)>, affine_map<(n) -> (n)>], iterator_types = ["parallel"]} ins(%v : tensor<16xbf16>) outs(%vw : tensor<16xf32>) {
  ^bb0(%a0: bf16, %o: f32):
    %1 = arith.extf %a0 : bf16 to f32
    linalg.yield %1 : f32
  } -> tensor<16xf32>
  %s3 = linalg.generic {indexing_maps = [#id, #row, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%rw, %bw, %pw : tensor<1x?x16xf32>, tensor<16xf32>, tensor<1x?x16xf32>) outs(%we : tensor<1x?x16xf32>) {
  ^bb0(%a0: f32, %a1: f32, %a2: f32, %o: f32):
    %1 = arith.addf %a0, %a1 : f32
    %2 = arith.addf %1, %a2 : f32
    linalg.yield %2 : f32
  } -> tensor<1x?x16xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%s3 : tensor<1x?x16xf32>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: f32, %o: bf16):
    %1 = arith.truncf %a0 : f32 to bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// What is added to an activation is no epilogue.
// CHECK-LABEL: @relu_ends_it
// CHECK: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) activation(relu) outs
// CHECK: linalg.generic {{.*}} ins(%[[P]], %{{.+}} :
// CHECK: arith.addf
func.func @relu_ends_it(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %r: tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16> {
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
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 0.0 : bf16
    %1 = arith.maximumf %a0, %c : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%g, %r : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// As Hugging Face's gelu_new is exported; constants are rounded. One op after fusion.
// CHECK-LABEL: @gelu_in_many_ops
// CHECK: megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) outs
// CHECK: math.tanh
// AGAIN-LABEL: @gelu_in_many_ops
// AGAIN: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) activation(gelu_tanh) outs
// AGAIN-NEXT: return %[[P]]
func.func @gelu_in_many_ops(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>) -> tensor<1x?x16xbf16> {
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
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %x3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 3.0 : bf16
    %1 = math.powf %a0, %c : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %x3c = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x3 : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 4.467773e-02 : bf16
    %1 = arith.mulf %c, %a0 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %in1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %x3c : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %in2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%in1 : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 7.968750e-01 : bf16
    %1 = arith.mulf %a0, %c : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %t = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%in2 : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %1 = math.tanh %a0 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %t1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%t : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 1.0 : bf16
    %1 = arith.addf %a0, %c : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %half = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h : tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %o: bf16):
    %c = arith.constant 0.5 : bf16
    %1 = arith.mulf %a0, %c : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%half, %t1 : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.mulf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// As ONNX's Gelu is lowered.
// CHECK-LABEL: @gelu_in_one_op
// CHECK: megactx.product %{{.+}}, %{{.+}} activation(gelu_tanh) outs
func.func @gelu_in_one_op(%x: tensor<1x?x8xf16>, %w: tensor<1x8x16xf16>, %m: index) -> tensor<1x?x16xf16> {
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
    %c1 = arith.constant 4.471500e-02 : f16
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

// CHECK-LABEL: @gelu_with_erf_keeps_its_map
// CHECK: megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) outs
// CHECK: math.erf
func.func @gelu_with_erf_keeps_its_map(%x: tensor<1x?x8xf16>, %w: tensor<1x8x16xf16>, %m: index, %v: tensor<16xf16>) -> tensor<1x?x16xf16> {
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
  %q = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xf16>, tensor<16xf16>) outs(%e : tensor<1x?x16xf16>) {
  ^bb0(%a0: f16, %a1: f16, %o: f16):
    %1 = arith.addf %a0, %a1 : f16
    linalg.yield %1 : f16
  } -> tensor<1x?x16xf16>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q : tensor<1x?x16xf16>) outs(%e : tensor<1x?x16xf16>) {
  ^bb0(%a0: f16, %o: f16):
    %c = arith.constant 1.414 : f16
    %1 = arith.divf %a0, %c : f16
    %2 = math.erf %1 : f16
    %3 = arith.mulf %2, %a0 : f16
    linalg.yield %3 : f16
  } -> tensor<1x?x16xf16>
  return %y : tensor<1x?x16xf16>
}

// CHECK-LABEL: @second_bias_stays
// CHECK-SAME: %[[V:[a-z0-9]+]]: tensor<16xbf16>, %[[U:[a-z0-9]+]]: tensor<16xbf16>)
// CHECK: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} bias(%[[V]]) outs
// CHECK: linalg.generic {{.*}} ins(%[[P]], %[[U]] :
func.func @second_bias_stays(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %u: tensor<16xbf16>) -> tensor<1x?x16xbf16> {
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
  %h = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %u : tensor<1x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// CHECK-LABEL: @second_residual_stays
// CHECK-SAME: %[[V:[a-z0-9]+]]: tensor<1x?x16xbf16>, %[[U:[a-z0-9]+]]: tensor<1x?x16xbf16>)
// CHECK: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} residual(%[[V]]) outs
// CHECK: linalg.generic {{.*}} ins(%[[P]], %[[U]] :
func.func @second_residual_stays(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<1x?x16xbf16>, %u: tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16> {
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
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%v, %p : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %u : tensor<1x?x16xbf16>, tensor<1x?x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}

// Matrices of a batch have a residual, no bias.
// CHECK-LABEL: @batches
// CHECK: %[[P:.+]] = megactx.product %{{.+}}, %{{.+}} residual(%{{.+}}) outs
// CHECK: linalg.generic {{.*}} ins(%[[P]], %{{.+}} :
func.func @batches(%x: tensor<3x?x8xbf16>, %w: tensor<3x8x16xbf16>, %m: index, %v: tensor<16xbf16>, %r: tensor<3x?x16xbf16>) -> tensor<3x?x16xbf16> {
  %zero = arith.constant 0.0 : bf16
  %e = tensor.empty(%m) : tensor<3x?x16xbf16>
  %z = linalg.fill ins(%zero : bf16) outs(%e : tensor<3x?x16xbf16>) -> tensor<3x?x16xbf16>
  %p = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x?x8xbf16>, tensor<3x8x16xbf16>) outs(%z : tensor<3x?x16xbf16>) {
  ^bb0(%p0: bf16, %p1: bf16, %acc: bf16):
    %term = arith.mulf %p0, %p1 : bf16
    %sum = arith.addf %acc, %term : bf16
    linalg.yield %sum : bf16
  } -> tensor<3x?x16xbf16>
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%r, %p : tensor<3x?x16xbf16>, tensor<3x?x16xbf16>) outs(%e : tensor<3x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<3x?x16xbf16>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %v : tensor<3x?x16xbf16>, tensor<16xbf16>) outs(%e : tensor<3x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<3x?x16xbf16>
  return %y : tensor<3x?x16xbf16>
}

// CHECK-LABEL: @bias_of_unit_dims
// CHECK: %[[V:.+]] = tensor.collapse_shape %{{.+}} {{\[\[}}0, 1, 2]] : tensor<1x1x16xbf16> into tensor<16xbf16>
// CHECK: megactx.product %{{.+}}, %{{.+}} bias(%[[V]]) outs
func.func @bias_of_unit_dims(%x: tensor<1x?x8xbf16>, %w: tensor<1x8x16xbf16>, %m: index, %v: tensor<1x1x16xbf16>) -> tensor<1x?x16xbf16> {
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
  %y = linalg.generic {indexing_maps = [#id, affine_map<(b, m, n) -> (0, 0, n)>, #id], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p, %v : tensor<1x?x16xbf16>, tensor<1x1x16xbf16>) outs(%e : tensor<1x?x16xbf16>) {
  ^bb0(%a0: bf16, %a1: bf16, %o: bf16):
    %1 = arith.addf %a0, %a1 : bf16
    linalg.yield %1 : bf16
  } -> tensor<1x?x16xbf16>
  return %y : tensor<1x?x16xbf16>
}
