//===- WidenIntegerProducts.cpp - products of bytes in f32 ----------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

namespace mlir::megactx {
#define GEN_PASS_DEF_WIDENINTEGERPRODUCTSPASS
#include "megactx/Transforms/Passes.h.inc"
} // namespace mlir::megactx

/// Products of 8 bits, at most 255 * 128, are exact in the 24 bits of f32 up to
/// twice so many.
static constexpr int64_t kExactTerms = 256;

namespace {
/// One product, [B, M, K] x [B, K, N].
class Widening {
public:
  explicit Widening(linalg::GenericOp op) : op(op), b(op.getLoc(), op) {}
  Value run();

private:
  Value part(Value all, unsigned dim, Value first, OpFoldResult count,
             bool isUnsigned);
  Value terms(Value first, OpFoldResult count);
  Value added(Value sums, Value terms);

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
};
} // namespace

/// Some of an operand's terms, as f32.
Value Widening::part(Value all, unsigned dim, Value first, OpFoldResult count,
                     bool isUnsigned) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), all),
                            offsets(sizes.size(), b.getIndexAttr(0)),
                            strides(sizes.size(), b.getIndexAttr(1));
  sizes[dim] = count;
  offsets[dim] = first;
  Value some = tensor::ExtractSliceOp::create(b, all, offsets, sizes, strides);
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  AffineMap map = b.getMultiDimIdentityMap(sizes.size());
  SmallVector<utils::IteratorType> loops(sizes.size(),
                                         utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, empty.getType(), some, empty, ArrayRef{map, map}, loops,
             [&](OpBuilder &inner, Location loc, ValueRange args) {
               Type real = inner.getF32Type(), byte = inner.getI8Type();
               Value x = args[0];
               if (x.getType() != byte)
                 x = UnrealizedConversionCastOp::create(inner, loc, byte, x)
                         .getResult(0);
               x = isUnsigned ? arith::UIToFPOp::create(inner, loc, real, x)
                                    .getResult()
                              : arith::SIToFPOp::create(inner, loc, real, x);
               linalg::YieldOp::create(inner, loc, x);
             })
      .getResult(0);
}

Value Widening::terms(Value first, OpFoldResult count) {
  Value lhs = part(op.getDpsInputs()[0], 2, first, count, /*isUnsigned=*/true),
        rhs = part(op.getDpsInputs()[1], 1, first, count, /*isUnsigned=*/false);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, b.getLoc(), op.getDpsInits()[0]);
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  Value none = linalg::FillOp::create(b, zero, empty).getResult(0);
  return linalg::GenericOp::create(
             b, none.getType(), ValueRange{lhs, rhs}, none,
             op.getIndexingMapsArray(), op.getIteratorTypesArray(),
             [](OpBuilder &inner, Location loc, ValueRange args) {
               Value product =
                   arith::MulFOp::create(inner, loc, args[0], args[1]);
               Value sum = arith::AddFOp::create(inner, loc, args[2], product);
               linalg::YieldOp::create(inner, loc, sum);
             })
      .getResult(0);
}

/// f32 added to i32, in its place.
Value Widening::added(Value sums, Value terms) {
  int64_t rank = cast<RankedTensorType>(sums.getType()).getRank();
  AffineMap map = b.getMultiDimIdentityMap(rank);
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, sums.getType(), terms, sums, ArrayRef{map, map}, loops,
             [](OpBuilder &inner, Location loc, ValueRange args) {
               Value x = arith::FPToSIOp::create(inner, loc, args[1].getType(),
                                                 args[0]);
               Value sum = arith::AddIOp::create(inner, loc, args[1], x);
               linalg::YieldOp::create(inner, loc, sum);
             })
      .getResult(0);
}

Value Widening::run() {
  Value init = op.getDpsInits()[0];
  OpFoldResult size =
      tensor::getMixedSize(b, b.getLoc(), op.getDpsInputs()[0], 2);
  auto index = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, value).getResult();
  };
  std::optional<int64_t> known = getConstantIntValue(size);
  if (known && *known <= kExactTerms)
    return added(init, terms(index(0), size));
  Value end = getValueOrCreateConstantIndexOp(b, b.getLoc(), size);
  Value step = index(kExactTerms);
  auto loop = scf::ForOp::create(b, index(0), end, step, init);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value first = loop.getInductionVar();
  OpFoldResult count = b.getIndexAttr(kExactTerms);
  if (!known || *known % kExactTerms != 0)
    count =
        arith::MinSIOp::create(b, arith::SubIOp::create(b, end, first), step)
            .getResult();
  scf::YieldOp::create(b, added(loop.getRegionIterArg(0), terms(first, count)));
  return loop.getResult(0);
}

namespace {
struct WidenIntegerProducts
    : megactx::impl::WidenIntegerProductsPassBase<WidenIntegerProducts> {
  void runOnOperation() override {
    SmallVector<linalg::GenericOp> products;
    getOperation().walk([&](linalg::GenericOp op) {
      if (op.hasPureTensorSemantics() && ProductOp::isIntegerProduct(op))
        products.push_back(op);
    });
    for (linalg::GenericOp op : products) {
      op.getResult(0).replaceAllUsesWith(Widening(op).run());
      op.erase();
      ++numWidened;
    }
  }
};
} // namespace
