// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s --check-prefix=MEMREF

!q = tensor<2x4x?x8xf16>
!k = tensor<2x2x?x8xf16>
!v = tensor<2x2x?x16xf16>
!acc = tensor<2x4x?x16xf32>
!row = tensor<2x4x?xf32>
!out = tensor<2x4x?x16xf16>

// CHECK-LABEL: @every_operand
// CHECK: %[[L:.+]]:3 = megactx.online_attention %{{.+}}, %{{.+}}, %{{.+}} bias(%{{.+}}) lengths(%{{.+}}) query_offset(%[[P:.+]]) key_offset(%[[P]]) origin(%[[P]], %[[P]], %[[P]], %[[P]], %[[P]]) outs(%{{.+}}, %{{.+}}, %{{.+}}) #megactx.piece<lo<p - 3>, hi<p + 1>> {key_step = 4 : i64, query_step = 2 : i64, scale = 1.250000e-01 : f32, softcap = 3.000000e+01 : f32}
// CHECK: megactx.finish_attention %[[L]]#0, %[[L]]#1, %[[L]]#2 outs(%{{.+}}, %{{.+}})
func.func @every_operand(%q: !q, %k: !k, %v: !v, %bias: tensor<1x4x?x?xf32>, %lengths: tensor<2xindex>, %p: index,
                         %acc: !acc, %max: !row, %sum: !row, %out: !out, %lse: !row) -> (!out, !row) {
  %l:3 = megactx.online_attention %q, %k, %v bias(%bias) lengths(%lengths) query_offset(%p) key_offset(%p)
      origin(%p, %p, %p, %p, %p) outs(%acc, %max, %sum) #megactx.piece<lo<p - 3>, hi<p + 1>>
      {scale = 0.125 : f32, softcap = 30.0 : f32, query_step = 2, key_step = 4}
      : (!q, !k, !v, tensor<1x4x?x?xf32>, tensor<2xindex>, index, index, index, index, index, index, index, !acc, !row, !row)
      -> (!acc, !row, !row)
  %o:2 = megactx.finish_attention %l#0, %l#1, %l#2 outs(%out, %lse) : (!acc, !row, !row, !out, !row) -> (!out, !row)
  return %o#0, %o#1 : !out, !row
}

// The state is updated in place: one buffer of each is enough for a chain.
// MEMREF-LABEL: @chain_in_place
// MEMREF: %[[ACC:.+]] = memref.alloc(%{{.+}}) {{.*}} : memref<2x4x?x16xf32>
// MEMREF-NOT: memref.copy
// MEMREF: megactx.online_attention {{.*}} outs(%[[ACC]], %[[MAX:.+]], %[[SUM:.+]]) #megactx.piece<hi<p + 1>> {{.*}} -> ()
// MEMREF: megactx.online_attention {{.*}} outs(%[[ACC]], %[[MAX]], %[[SUM]]) #megactx.piece<lo<p + 1>> {{.*}} -> ()
// MEMREF-NOT: memref.copy
// MEMREF: megactx.finish_attention %[[ACC]], %[[MAX]], %[[SUM]] {{.*}} -> ()
func.func @chain_in_place(%q: !q, %k: !k, %v: !v, %n: index) -> (!out, !row) {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e0 = tensor.empty(%n) : !acc
  %e1 = tensor.empty(%n) : !row
  %e2 = tensor.empty(%n) : !row
  %acc = linalg.fill ins(%zero : f32) outs(%e0 : !acc) -> !acc
  %max = linalg.fill ins(%least : f32) outs(%e1 : !row) -> !row
  %sum = linalg.fill ins(%zero : f32) outs(%e2 : !row) -> !row
  %a:3 = megactx.online_attention %q, %k, %v outs(%acc, %max, %sum) #megactx.piece<hi<p + 1>> {scale = 1.0 : f32}
      : (!q, !k, !v, !acc, !row, !row) -> (!acc, !row, !row)
  %b:3 = megactx.online_attention %q, %k, %v outs(%a#0, %a#1, %a#2) #megactx.piece<lo<p + 1>> {scale = 1.0 : f32}
      : (!q, !k, !v, !acc, !row, !row) -> (!acc, !row, !row)
  %out = tensor.empty(%n) : !out
  %lse = tensor.empty(%n) : !row
  %o:2 = megactx.finish_attention %b#0, %b#1, %b#2 outs(%out, %lse) : (!acc, !row, !row, !out, !row) -> (!out, !row)
  return %o#0, %o#1 : !out, !row
}
