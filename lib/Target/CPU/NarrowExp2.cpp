//===- NarrowExp2.cpp - powers of two for bf16 ----------------------------===//
//
// Owns exponentials of no more accuracy than bf16 can hold, in the fewest
// instructions of AVX-512, of which a kernel's time mostly is.
//
//===----------------------------------------------------------------------===//

#include "Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;

Value mlir::megactx::cpu::emitNarrowExp2(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  Arith a{b};
  auto intrinsic = [&](StringRef name, ValueRange operands) -> Value {
    return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  };
  auto i32 = [&](int64_t value) -> Value {
    return arith::ConstantIntOp::create(b, value, 32);
  };
  Value zero = a.splat(0.0f, type);
  Value all = arith::ConstantIntOp::create(b, -1, 16);
  Value rounding = i32(4); // as it is
  // x less the integer below it; 8: exceptions are none.
  Value fraction = intrinsic("llvm.x86.avx512.mask.reduce.ps.512",
                             {x, i32(8 | 1), zero, all, rounding});
  // 2^f on [0, 1].
  const float terms[] = {0.99992522f, 0.69583352f, 0.22606717f, 0.07802453f};
  Value value = a.splat(terms[3], type);
  for (int k = 2; k >= 0; --k)
    value = vector::FMAOp::create(b, value, fraction, a.splat(terms[k], type));
  // 0 where the power would be a denormal number, which takes hundreds of
  // cycles; NaN stays.
  Value keep = arith::CmpFOp::create(b, arith::CmpFPredicate::UGE, x,
                                     a.splat(-126.0f, type));
  keep = vector::BitCastOp::create(
      b, VectorType::get({1}, b.getIntegerType(16)), keep);
  keep = vector::ExtractOp::create(b, keep, 0);
  return intrinsic("llvm.x86.avx512.mask.scalef.ps.512",
                   {value, x, zero, keep, rounding});
}
