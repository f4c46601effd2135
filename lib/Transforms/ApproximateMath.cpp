//===- ApproximateMath.cpp - transcendental functions as polynomials ------===//

#include "Trigonometry.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_APPROXIMATEMATHPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// The exponential rounds the power of two that it scales by to an integer; of
/// no number, and so of one that folds, that is no value at all. A bound that
/// the power keeps anyway makes it one; the other factor is no number still.
void bound(arith::FPToSIOp power) {
  constexpr double kLeast = -127;
  OpBuilder b(power);
  Location loc = power.getLoc();
  Value x = power.getIn();
  auto element = cast<FloatType>(getElementTypeOrSelf(x.getType()));
  TypedAttr number = b.getFloatAttr(element, kLeast);
  if (auto vector = dyn_cast<VectorType>(x.getType()))
    number = SplatElementsAttr::get(vector, Attribute(number));
  Value least = arith::ConstantOp::create(b, loc, number);
  Value isAbove =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, least);
  power.getInMutable().assign(
      arith::SelectOp::create(b, loc, isAbove, x, least));
}

struct ApproximateMath : impl::ApproximateMathPassBase<ApproximateMath> {
  void runOnOperation() override {
    RewritePatternSet trigonometry(&getContext());
    populateTrigonometryPatterns(trigonometry);
    if (failed(rewrite(std::move(trigonometry))))
      return signalPassFailure();
    llvm::SmallPtrSet<Operation *, 8> given;
    getOperation()->walk([&](arith::FPToSIOp op) { given.insert(op); });
    RewritePatternSet patterns(&getContext());
    populateMathAlgebraicSimplificationPatterns(patterns);
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return llvm::is_contained({"math.exp", "math.expm1", "math.log",
                                 "math.log1p", "math.tanh", "math.erf",
                                 "math.asin", "math.acos"},
                                name);
    });
    if (failed(rewrite(std::move(patterns))))
      return signalPassFailure();
    getOperation()->walk([&](arith::FPToSIOp op) {
      if (!given.contains(op))
        bound(op);
    });
  }

  /// Functions, and what becomes of them; few ops are any.
  LogicalResult rewrite(RewritePatternSet patterns) {
    SmallVector<Operation *> functions;
    getOperation()->walk([&](Operation *op) {
      if (isa<math::MathDialect>(op->getDialect()))
        functions.push_back(op);
    });
    return applyOpPatternsGreedily(
        functions, std::move(patterns),
        GreedyRewriteConfig().setStrictness(
            GreedyRewriteStrictness::ExistingAndNewOps));
  }
};
} // namespace
} // namespace mlir::megactx
