//===- ExpandDotPairs.cpp - products of pairs as LLVM knows them ----------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_EXPANDDOTPAIRSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// The halves of both, next to one another, multiplied; products next to one
/// another are added.
Value ofVectors(ImplicitLocOpBuilder &b, DotPairsOp op, VectorType type) {
  SmallVector<int64_t> halves(type.getShape());
  halves.back() *= 2;
  auto narrow = VectorType::get(halves, b.getI16Type()),
       wide = VectorType::get(halves, b.getI32Type());
  auto widened = [&](Value words) {
    return arith::ExtSIOp::create(b, wide,
                                  vector::BitCastOp::create(b, narrow, words));
  };
  Value products =
      arith::MulIOp::create(b, widened(op.getLhs()), widened(op.getRhs()));
  auto apart = vector::DeinterleaveOp::create(b, products);
  return arith::AddIOp::create(b, apart.getRes1(), apart.getRes2());
}

Value ofWords(ImplicitLocOpBuilder &b, DotPairsOp op) {
  auto product = [&](bool isHigh) {
    Value half = arith::ConstantIntOp::create(b, 16, 32);
    Value factors[] = {op.getLhs(), op.getRhs()};
    for (Value &word : factors) {
      if (!isHigh)
        word = arith::ShLIOp::create(b, word, half);
      word = arith::ShRSIOp::create(b, word, half);
    }
    return arith::MulIOp::create(b, factors[0], factors[1]);
  };
  return arith::AddIOp::create(b, product(false), product(true));
}

struct ExpandDotPairs : impl::ExpandDotPairsPassBase<ExpandDotPairs> {
  void runOnOperation() override {
    SmallVector<DotPairsOp> ops;
    getOperation()->walk([&](DotPairsOp op) { ops.push_back(op); });
    for (DotPairsOp op : ops) {
      ImplicitLocOpBuilder b(op.getLoc(), op);
      auto vector = dyn_cast<VectorType>(op.getType());
      Value terms = vector ? ofVectors(b, op, vector) : ofWords(b, op);
      op.replaceAllUsesWith(
          arith::AddIOp::create(b, terms, op.getSum()).getResult());
      op.erase();
    }
  }
};
} // namespace
} // namespace mlir::megactx
