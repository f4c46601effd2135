//===- ConvertMathToNVVM.cpp - math without libdevice ---------------------===//
//
// convert-gpu-to-nvvm turns math into calls of NVIDIA's libdevice, which needs
// a CUDA toolkit, and whose square root and quotients it takes in their fast
// versions. Here functions are what NVPTX has instructions for, correctly
// rounded, or arithmetic.
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTMATHTONVVMPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
bool isSingleOrDouble(Type type) { return type.isF32() || type.isF64(); }

/// An intrinsic of LLVM that NVPTX has an instruction for, or a few.
template <typename Op> struct LowerToIntrinsic : OpRewritePattern<Op> {
  LowerToIntrinsic(MLIRContext *context, StringRef name)
      : OpRewritePattern<Op>(context), name(name) {}
  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    if (!isSingleOrDouble(op.getType()))
      return rewriter.notifyMatchFailure(op, "not a f32 or f64");
    auto suffix = op.getType().isF32() ? ".f32" : ".f64";
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, op.getType(), rewriter.getStringAttr("llvm." + name + suffix),
        op->getOperands());
    return success();
  }
  StringRef name;
};

struct LowerRsqrt : OpRewritePattern<math::RsqrtOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::RsqrtOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    if (!isSingleOrDouble(op.getType()))
      return rewriter.notifyMatchFailure(op, "not a f32 or f64");
    Value one = arith::ConstantOp::create(b, b.getFloatAttr(op.getType(), 1.0));
    Value root = math::SqrtOp::create(b, op.getOperand());
    rewriter.replaceOpWithNewOp<arith::DivFOp>(op, one, root);
    return success();
  }
};

struct LowerLeadingZeros : OpRewritePattern<math::CountLeadingZerosOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::CountLeadingZerosOp op,
                                PatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::CountLeadingZerosOp>(
        op, op.getType(), op.getOperand(), /*is_zero_poison=*/false);
    return success();
  }
};

struct LowerAbsI : OpRewritePattern<math::AbsIOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::AbsIOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(op.getType()));
    Value negative = arith::SubIOp::create(b, zero, op.getOperand());
    rewriter.replaceOpWithNewOp<arith::MaxSIOp>(op, op.getOperand(), negative);
    return success();
  }
};

/// sin and cos of f32, to a few units in the last place for |x| up to 2^31: the
/// argument is reduced in f64, x = k pi/2 + r, |r| <= pi/4. Polynomials: Cephes
/// (sinf.c).
template <typename Op, bool isCos> struct LowerSinCos : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return rewriter.notifyMatchFailure(op, "not a f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto wide = [&](double x) -> Value {
      return arith::ConstantOp::create(b, b.getF64FloatAttr(x));
    };
    auto c = [&](float x) -> Value {
      return arith::ConstantOp::create(b, b.getF32FloatAttr(x));
    };
    auto bits = [&](int64_t x) -> Value {
      return arith::ConstantIntOp::create(b, x, 64);
    };
    auto mul = [&](Value x, Value y) -> Value {
      return arith::MulFOp::create(b, x, y);
    };
    auto fma = [&](Value x, Value y, Value z) -> Value {
      return math::FmaOp::create(b, x, y, z);
    };
    Value x = arith::ExtFOp::create(b, b.getF64Type(), op.getOperand());
    Value k = math::RoundEvenOp::create(b, mul(x, wide(0x1.45f306dc9c883p-1)));
    Value minus = arith::NegFOp::create(b, k);
    // pi/2 as the sum of two f64.
    Value reduced = fma(minus, wide(0x1.921fb54442d18p+0), x);
    reduced = fma(minus, wide(0x1.1a62633145c07p-54), reduced);
    Value r = arith::TruncFOp::create(b, b.getF32Type(), reduced);
    Value z = mul(r, r);
    Value sine = fma(c(-1.9515295891e-4f), z, c(8.3321608736e-3f));
    sine = fma(sine, z, c(-1.6666654611e-1f));
    sine = fma(mul(sine, z), r, r);
    Value cosine = fma(c(2.443315711809948e-5f), z, c(-1.388731625493765e-3f));
    cosine = fma(cosine, z, c(4.166664568298827e-2f));
    cosine = fma(mul(cosine, z), z, fma(c(-0.5f), z, c(1.0f)));
    // Quarter turns: cos x = sin(x + pi/2).
    Value quarter = arith::FPToSIOp::create(b, b.getI64Type(), k);
    if (isCos)
      quarter = arith::AddIOp::create(b, quarter, bits(1));
    auto isSet = [&](int64_t bit) -> Value {
      Value masked = arith::AndIOp::create(b, quarter, bits(bit));
      return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, masked,
                                   bits(0));
    };
    Value result = arith::SelectOp::create(b, isSet(1), cosine, sine);
    Value opposite = arith::NegFOp::create(b, result);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, isSet(2), opposite,
                                                 result);
    return success();
  }
};

struct ConvertMathToNVVM : impl::ConvertMathToNVVMPassBase<ConvertMathToNVVM> {
  void runOnOperation() override {
    // First to functions that the next patterns know.
    RewritePatternSet expand(&getContext());
    math::populateExpansionPatterns(expand, {"sinh", "cosh", "tan", "asinh",
                                             "acosh", "atanh", "powf", "exp2"});
    RewritePatternSet functions(&getContext());
    functions
        .add<LowerSinCos<math::SinOp, false>, LowerSinCos<math::CosOp, true>,
             LowerRsqrt, LowerAbsI, LowerLeadingZeros>(&getContext());
    populateMathAlgebraicSimplificationPatterns(functions);
    populateMathPolynomialApproximationPatterns(functions, [](StringRef name) {
      return name != "math.sin" && name != "math.cos";
    });
    RewritePatternSet intrinsics(&getContext());
    auto lower = [&](auto op, StringRef name) {
      intrinsics.add<LowerToIntrinsic<decltype(op)>>(&getContext(), name);
    };
    lower(math::SqrtOp(), "sqrt");
    lower(math::AbsFOp(), "fabs");
    lower(math::CeilOp(), "ceil");
    lower(math::FloorOp(), "floor");
    lower(math::TruncOp(), "trunc");
    lower(math::RoundEvenOp(), "rint");
    lower(math::RoundOp(), "round");
    lower(math::FmaOp(), "fma");
    lower(math::CopySignOp(), "copysign");
    for (RewritePatternSet *patterns : {&expand, &functions, &intrinsics})
      if (failed(applyPatternsGreedily(getOperation(), std::move(*patterns))))
        return signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
