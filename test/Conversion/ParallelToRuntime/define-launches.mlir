// RUN: megactx-opt %s --megactx-define-launches | FileCheck %s

// CHECK: llvm.func @mctx_rt_parallel_for(!llvm.ptr, !llvm.ptr, i64)
// CHECK: llvm.func internal @loop_task(%[[P:.*]]: !llvm.ptr, %[[I:.*]]: i64)
// CHECK: %[[S:.*]] = llvm.load %[[P]] : !llvm.ptr -> !llvm.struct<(ptr, f32)>
// CHECK-DAG: %[[A:.*]] = llvm.extractvalue %[[S]][0]
// CHECK-DAG: %[[V:.*]] = llvm.extractvalue %[[S]][1]
// CHECK: llvm.call @body(%[[I]], %[[A]], %[[V]])
// CHECK: llvm.func internal @loop(%[[N:.*]]: i64, %[[A:.*]]: !llvm.ptr, %[[V:.*]]: f32)
// CHECK-NOT: megactx.launches
// CHECK: %[[CONTEXT:.*]] = llvm.alloca
// CHECK: llvm.store %{{.*}}, %[[CONTEXT]]
// CHECK: %[[F:.*]] = llvm.mlir.addressof @loop_task
// CHECK: llvm.call @mctx_rt_parallel_for(%[[F]], %[[CONTEXT]], %[[N]])
llvm.func @body(%i: i64, %a: !llvm.ptr, %v: f32) {
  llvm.return
}
llvm.func @loop(i64, !llvm.ptr, f32) attributes {megactx.launches = @body}
