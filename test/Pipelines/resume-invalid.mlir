// Code whose interface is not what the tool wrote.
// RUN: split-file %s %t && cd %t
// RUN: not megactx-compile text.mlir -o m.mctx 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not megactx-compile list.mlir -o m.mctx 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: not megactx-compile weights.mlir -o m.mctx 2>&1 | FileCheck %s --check-prefix=WEIGHTS
// RUN: not megactx-compile none.mlir -o m.mctx 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not ls m.mctx

//--- text.mlir
// TEXT: error: expected 'megactx.interface' to be JSON, as written by this tool
module attributes {megactx.interface = "{", megactx.contents = []} {
  llvm.func @mctx_main(%a: !llvm.ptr) { llvm.return }
}

//--- list.mlir
// LIST: error: expected 'megactx.interface' to hold a list 'outputs'
module attributes {megactx.interface = "{\"inputs\": []}", megactx.contents = []} {
  llvm.func @mctx_main(%a: !llvm.ptr) { llvm.return }
}

//--- weights.mlir
// WEIGHTS: error: expected 'megactx.contents' to hold the contents of 1 weights
module attributes {megactx.interface = "{\"inputs\": [], \"outputs\": [], \"weights\": [{}]}", megactx.contents = []} {
  llvm.func @mctx_main(%a: !llvm.ptr) { llvm.return }
}

//--- none.mlir
// NONE: error: expected a function 'main', the model's graph
llvm.func @mctx_main(%a: !llvm.ptr) { llvm.return }
