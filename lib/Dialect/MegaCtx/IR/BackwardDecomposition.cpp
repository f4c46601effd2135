//===- BackwardDecomposition.cpp - links of gradients as linalg
//-------------===//
//
// The compiled reference of gradients: scores, weights and their gradients are
// matrices of all pairs. Slow, right, for every target.
//
//===----------------------------------------------------------------------===//

#include "Scores.h"
#include "Softmax.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
class BackwardDecomposer {
public:
  BackwardDecomposer(OnlineAttentionBackwardOp op, Emitter &b)
      : op(op), b(b), scores(op, ValueRange(), b) {}

  SmallVector<Value> run();

private:
  Value product(Value x, Value rows, Value sum);
  Value perGroup(Value x);
  Value sumOfGroup(Value weights, Value rows, Value sum);
  Value ofBias(Value ds, Value bias, Value sum);

  OnlineAttentionBackwardOp op;
  Emitter &b;
  LinkScores scores;
};
} // namespace

/// [B, Hq, ...] as [B, Hkv, Hq / Hkv, ...].
Value BackwardDecomposer::perGroup(Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), x);
  OpFoldResult heads = sizes[1],
               keyHeads = tensor::getMixedSize(b, b.getLoc(), op.getKey(), 1);
  std::optional<int64_t> all = getConstantIntValue(heads),
                         some = getConstantIntValue(keyHeads);
  OpFoldResult group;
  if (all && some && *some > 0)
    group = b.getIndexAttr(*all / *some);
  else
    group = b.floorDiv(
        getValueOrCreateConstantIndexOp(b, b.getLoc(), heads),
        b.max(getValueOrCreateConstantIndexOp(b, b.getLoc(), keyHeads),
              b.index(1)));
  sizes[1] = keyHeads;
  sizes.insert(sizes.begin() + 2, group);
  auto known = [](OpFoldResult size) {
    return getConstantIntValue(size).value_or(ShapedType::kDynamic);
  };
  SmallVector<int64_t> shape = llvm::map_to_vector(sizes, known);
  SmallVector<ReassociationIndices> dims = {{0}, {1, 2}, {3}, {4}};
  return tensor::ExpandShapeOp::create(
      b, RankedTensorType::get(shape, type.getElementType()), x, dims, sizes);
}

/// sum[b, h, i, d] += sum over j of x[b, h, i, j] * rows[b, h, j, d], of those
/// rows whose x is not 0.
Value BackwardDecomposer::product(Value x, Value rows, Value sum) {
  return emitGeneric(b, {x, rows}, sum,
                     {{0, 1, 2, 4}, {0, 1, 4, 3}, {0, 1, 2, 3}},
                     [](Emitter &in, ValueRange x) {
                       return in.addWeighted(x[2], x[0], in.toF32(x[1]));
                     });
}

/// sum[b, g, j, d] += sum over i and the heads h of group g of
/// weights[b, h, i, j] * rows[b, h, i, d].
Value BackwardDecomposer::sumOfGroup(Value weights, Value rows, Value sum) {
  return emitGeneric(b, {perGroup(weights), perGroup(rows)}, sum,
                     {{0, 1, 4, 5, 2}, {0, 1, 4, 5, 3}, {0, 1, 2, 3}},
                     [](Emitter &in, ValueRange x) {
                       return in.addProduct(x[2], x[0], in.toF32(x[1]));
                     });
}

/// The scores' gradients summed over the dims in which the bias is 1.
Value BackwardDecomposer::ofBias(Value ds, Value bias, Value sum) {
  auto type = cast<RankedTensorType>(bias.getType());
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(4)};
  SmallVector<AffineExpr> places;
  SmallVector<utils::IteratorType> kinds;
  for (int64_t i = 0; i < 4; ++i) {
    bool isOne = type.getDimSize(i) == 1;
    places.push_back(isOne ? b.getAffineConstantExpr(0)
                           : b.getAffineDimExpr(i));
    kinds.push_back(isOne ? utils::IteratorType::reduction
                          : utils::IteratorType::parallel);
    if (isOne)
      continue;
    Value whole = b.eq(b.dim(bias, i), b.dim(ds, i));
    createCheck(b, whole,
                "a bias that has a gradient has a dim of 1 that was not "
                "known to be 1 when the program was compiled");
  }
  maps.push_back(AffineMap::get(4, 0, places, b.getContext()));
  return linalg::GenericOp::create(
             b, sum.getType(), ds, sum, maps, kinds,
             [](OpBuilder &builder, Location loc, ValueRange x) {
               Value total = arith::AddFOp::create(builder, loc, x[1], x[0]);
               linalg::YieldOp::create(builder, loc, total);
             })
      .getResult(0);
}

SmallVector<Value> BackwardDecomposer::run() {
  const SmallVector<int64_t> all = {0, 1, 2, 3}, row = {0, 1, 2};
  Value products = scores.products();
  Value p = emitGeneric(
      b, op.getLse(), scores.masked(products), {row, all},
      [](Emitter &in, ValueRange x) { return emitWeight(in, x[1], x[0]); });
  Value zero =
      b.filled(tensor::getMixedSizes(b, b.getLoc(), p), emitFloat(b, 0.0f));
  Value dp = emitGeneric(
      b, {op.getDout(), scores.headPerQuery(op.getValue())}, zero,
      {{0, 1, 2, 4}, {0, 1, 3, 4}, all}, [](Emitter &in, ValueRange x) {
        return in.addProduct(x[2], in.toF32(x[0]), in.toF32(x[1]));
      });
  Value ds = emitGeneric(b, {p, op.getDelta()}, dp, {all, row, all},
                         [](Emitter &in, ValueRange x) -> Value {
                           Value difference =
                               arith::SubFOp::create(in, x[2], x[1]);
                           return in.weighted(x[0], difference);
                         });
  Value dx = emitGeneric(b, products, ds, {all, all},
                         [&](Emitter &in, ValueRange x) -> Value {
                           return in.weighted(x[1], scores.slope(in, x[0]));
                         });
  SmallVector<Value> sums = {
      product(dx, scores.headPerQuery(op.getKey()), op.getDq()),
      sumOfGroup(dx, op.getQuery(), op.getDk()),
      sumOfGroup(p, op.getDout(), op.getDv())};
  for (auto [bias, sum] : llvm::zip(op.getBiases(), op.getDbiases()))
    sums.push_back(ofBias(ds, bias, sum));
  return sums;
}

FailureOr<SmallVector<Value>>
OnlineAttentionBackwardOp::decomposeOperation(OpBuilder &builder) {
  if (!hasPureTensorSemantics())
    return failure();
  Emitter b(getLoc(), builder);
  return BackwardDecomposer(*this, b).run();
}
