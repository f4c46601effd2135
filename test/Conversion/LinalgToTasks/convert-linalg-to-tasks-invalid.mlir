// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{grain=0}))' --verify-diagnostics

// expected-error @below {{expected a grain of at least 1, but got 0}}
func.func @f() {
  return
}
