// RUN: megactx-opt %s --megactx-drop-updated-results --split-input-file --verify-diagnostics

// expected-error @below {{result 0 updates argument 7, expected one that is a memref like it}}
func.func @main(%a: memref<4xf32>) -> (memref<4xf32> {megactx.updates = 7 : i64}) {
  return %a : memref<4xf32>
}

// -----

// expected-error @below {{result 0 updates argument -1, expected one that is a memref like it}}
func.func @main(%a: memref<4xf32>) -> (memref<4xf32> {megactx.updates = -1 : i64}) {
  return %a : memref<4xf32>
}

// -----

// expected-error @below {{result 0 updates argument 0, expected one that is a memref like it}}
func.func @main(%n: index, %a: memref<4xf32>) -> (memref<4xf32> {megactx.updates = 0 : i64}) {
  return %a : memref<4xf32>
}
