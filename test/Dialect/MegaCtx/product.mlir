// RUN: megactx-opt %s | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --mlir-print-op-generic | megactx-opt | FileCheck %s
// RUN: megactx-opt %s --megactx-convert-attention-to-linalg --split-input-file | FileCheck %s --check-prefix=LINALG --implicit-check-not=megactx.
// RUN: megactx-opt %s --megactx-bufferize-pipeline | FileCheck %s --check-prefix=MEMREF

!x = tensor<1x?x8xbf16>
!w = tensor<1x8x16xbf16>
!y = tensor<1x?x16xbf16>

// CHECK-LABEL: @alone
// CHECK: megactx.product %{{.+}}, %{{.+}} outs(%{{.+}}) : (tensor<1x?x8xbf16>, tensor<1x8x16xbf16>, tensor<1x?x16xbf16>) -> tensor<1x?x16xbf16>
// LINALG-LABEL: @alone
// LINALG: %[[Z:.+]] = linalg.fill
// LINALG: %[[P:.+]] = linalg.generic {{.*}}"reduction"]} {{.*}}outs(%[[Z]]
func.func @alone(%x: !x, %w: !w, %e: !y) -> !y {
  %0 = megactx.product %x, %w outs(%e) : (!x, !w, !y) -> !y
  return %0 : !y
}

// CHECK-LABEL: @all
// CHECK: megactx.product %{{.+}}, %{{.+}} bias(%{{.+}}) residual(%{{.+}}) activation(gelu_tanh) outs(%{{.+}}) : (tensor<1x?x8xbf16>, tensor<1x8x16xbf16>, tensor<16xbf16>, tensor<1x?x16xbf16>, tensor<1x?x16xbf16>)
// LINALG-LABEL: @all
// LINALG-SAME: %[[X:.+]]: tensor<1x?x8xbf16>, %[[W:.+]]: tensor<1x8x16xbf16>, %[[B:.+]]: tensor<16xbf16>, %[[R:.+]]: tensor<1x?x16xbf16>, %[[E:.+]]: tensor
// LINALG: %[[Z:.+]] = linalg.fill ins(%{{.+}}) outs(%[[E]]
// LINALG: %[[P:.+]] = linalg.generic {{.*}} ins(%[[X]], %[[W]] {{.*}} outs(%[[Z]]
// LINALG: linalg.generic {{.*}} ins(%[[B]], %[[R]] {{.*}} outs(%[[P]]
// LINALG: ^bb0(%[[BIAS:.+]]: bf16, %[[RESIDUAL:.+]]: bf16, %[[PRODUCT:.+]]: bf16):
// LINALG: %[[S:.+]] = arith.addf %[[PRODUCT]], %[[BIAS]]
// LINALG: arith.addf %[[S]], %[[RESIDUAL]]
// LINALG: math.tanh
// MEMREF-LABEL: @all
// MEMREF-SAME: %[[X:.+]]: memref<1x?x8xbf16>, %[[W:.+]]: memref<1x8x16xbf16>, %[[B:.+]]: memref<16xbf16>, %[[R:.+]]: memref<1x?x16xbf16>, %[[E:.+]]: memref
// MEMREF: megactx.product %[[X]], %[[W]] bias(%[[B]]) residual(%[[R]]) activation(gelu_tanh) outs(%[[E]]) : {{.*}} -> ()
func.func @all(%x: !x, %w: !w, %b: tensor<16xbf16>, %r: !y, %e: !y) -> !y {
  %0 = megactx.product %x, %w bias(%b) residual(%r) activation(gelu_tanh) outs(%e) : (!x, !w, tensor<16xbf16>, !y, !y) -> !y
  return %0 : !y
}

// CHECK-LABEL: @memrefs
// CHECK: megactx.product %{{.+}}, %{{.+}} residual(%{{.+}}) activation(relu) outs(%{{.+}}) : (memref<2x4x8xf32>, memref<2x8x16xf32>, memref<2x4x16xf32>, memref<2x4x16xf32>) -> ()
// LINALG-LABEL: @memrefs
// LINALG: linalg.fill
// LINALG: linalg.generic
// LINALG: linalg.generic
// LINALG: arith.maximumf
func.func @memrefs(%x: memref<2x4x8xf32>, %w: memref<2x8x16xf32>, %r: memref<2x4x16xf32>, %o: memref<2x4x16xf32>) {
  megactx.product %x, %w residual(%r) activation(relu) outs(%o) : (memref<2x4x8xf32>, memref<2x8x16xf32>, memref<2x4x16xf32>, memref<2x4x16xf32>) -> ()
  return
}

// The destination overlaps no operand: where a program has one memory for both it
// gets another.
// MEMREF-LABEL: @residual_is_destination
// MEMREF-SAME: %[[E:[a-z0-9]+]]: memref<1x?x16xbf16>) ->
// MEMREF: megactx.product %{{.+}}, %{{.+}} outs(%[[E]])
// MEMREF: %[[O:.+]] = memref.alloc
// MEMREF: megactx.product %{{.+}}, %{{.+}} residual(%[[E]]) outs(%[[O]])
func.func @residual_is_destination(%x: !x, %w: !w, %e: !y) -> !y {
  %r = megactx.product %x, %w outs(%e) : (!x, !w, !y) -> !y
  %0 = megactx.product %x, %w residual(%r) outs(%r) : (!x, !w, !y, !y) -> !y
  return %0 : !y
}
