// RUN: megactx-opt %s --megactx-define-launches --split-input-file --verify-diagnostics

// expected-error @below {{expected 'megactx.launches' to name a function of the same type}}
llvm.func @no_such_body(i64) attributes {megactx.launches = @nowhere}

// -----

llvm.func @body(%i: i64, %v: f32) {
  llvm.return
}
// expected-error @below {{expected 'megactx.launches' to name a function of the same type}}
llvm.func @another_type(i64) attributes {megactx.launches = @body}
