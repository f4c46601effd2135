//===- MatMulTest.cpp - products on the CPU -------------------------------===//

#include "ProductForms.h"
#include "megactx/Runtime/Runtime.h"

using namespace megactx::test;

namespace {
using Function = void (*)(mctx_memref3 *, mctx_memref3 *, mctx_memref3 *);

/// The runtime's product on matrices.
template <typename T> auto on(Function product) {
  return [product](Matrices<T> &a, Matrices<T> &b, Matrices<T> &c) {
    product(&a.memref, &b.memref, &c.memref);
  };
}

TEST(MatMul, Float) {
  for (int threads : {1, 4}) {
    mctx_set_threads(threads);
    for (const Form &form : kForms)
      check<float>(on<float>(_mlir_ciface_mctx_rt_matmul_f32), form, 1e-6);
  }
  mctx_set_threads(0);
}

TEST(MatMul, Half) {
  for (const Form &form : kForms)
    check<_Float16>(on<_Float16>(_mlir_ciface_mctx_rt_matmul_f16), form, 2e-3);
}

TEST(MatMul, BFloat) {
  for (const Form &form : kForms)
    check<BFloat>(on<BFloat>(_mlir_ciface_mctx_rt_matmul_bf16), form, 1e-2);
}

TEST(MatMul, EmptyOperandsWriteNothing) {
  for (Form form : {Form{1, 1, 0, 4, 4}, Form{1, 1, 4, 0, 4},
                    Form{0, 1, 4, 4, 4}, Form{1, 1, 0, 0, 0}}) {
    form.pad = 1;
    int64_t batch = std::min(form.batchA, form.batchB);
    Matrices<float> a(form.batchA, form.m, form.k, false, 1);
    Matrices<float> b(form.batchB, form.k, form.n, false, 1);
    Matrices<float> c(batch, form.m, form.n, false, 1);
    _mlir_ciface_mctx_rt_matmul_f32(&a.memref, &b.memref, &c.memref);
    for (float value : c.data)
      EXPECT_TRUE(std::isnan(value));
  }
}
} // namespace
