// RUN: megactx-opt %s --megactx-convert-assert-to-runtime | FileCheck %s

// CHECK-DAG: memref.global "private" constant @[[A:.+]] : memref<4xi8> = dense<[78, 32, 62, 32]>
// CHECK-DAG: memref.global "private" constant @[[B:.+]] : memref<1xi8> = dense<66>
// CHECK-DAG: memref.global "private" constant @[[T:.+]] : memref<4xi8> = dense<[65, 0, 66, 0]>
// CHECK-DAG: func.func private @mctx_rt_report_checks(memref<i32>, memref<?xi8>) attributes {llvm.emit_c_interface, megactx.on_device}
// CHECK-DAG: func.func private @mctx_rt_fail(memref<?xi8>) attributes {llvm.emit_c_interface}

// CHECK-LABEL: @two_checks
// CHECK: %[[BAD:.+]] = arith.xori %arg0, %true
// CHECK: scf.if %[[BAD]] {
// CHECK: %[[TEXT:.+]] = memref.get_global @[[A]]
// CHECK: %[[ANY:.+]] = memref.cast %[[TEXT]] : memref<4xi8> to memref<?xi8>
// CHECK: call @mctx_rt_fail(%[[ANY]])
// CHECK: memref.get_global @[[B]]
// CHECK-NOT: cf.assert
func.func @two_checks(%x: i1, %y: i1) {
  cf.assert %x, "N > "
  cf.assert %y, "B"
  return
}

// One text for all who say the same.
// CHECK-LABEL: @same_text
// CHECK: memref.get_global @[[A]]
// CHECK: memref.get_global @[[B]]
// CHECK: memref.get_global @[[A]]
func.func @same_text(%x: i1, %y: i1, %z: i1) {
  cf.assert %x, "N > "
  cf.assert %y, "B"
  cf.assert %z, "N > "
  return
}

// CHECK-LABEL: @checks_of_a_device
// CHECK: %[[ALL:.+]] = memref.get_global @[[T]]
// CHECK: %[[TEXTS:.+]] = memref.cast %[[ALL]] : memref<4xi8> to memref<?xi8>
// CHECK: call @mctx_rt_report_checks(%arg0, %[[TEXTS]])
// CHECK-NOT: nvx.report_checks
func.func @checks_of_a_device(%number: memref<i32>) {
  nvx.report_checks %number ["A", "B"] : memref<i32>
  return
}
