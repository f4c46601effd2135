//===- LodPooling.cpp - gists of rows as linalg ---------------------------===//

#include "Emit.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"

using namespace mlir;
using namespace mlir::megactx;

using Sizes = SmallVector<OpFoldResult>;

/// Whole blocks of rows: [B, n, D] -> [B, floor(n / r), r, D].
static Value emitBlocks(Emitter &b, Value rows, const Sizes &gists,
                        int64_t ratio) {
  auto type = cast<RankedTensorType>(rows.getType());
  SmallVector<OpFoldResult> zeros(3, b.getIndexAttr(0)),
      ones(3, b.getIndexAttr(1)), sizes = gists;
  AffineExpr count = b.getAffineSymbolExpr(0);
  sizes[1] = affine::makeComposedFoldedAffineApply(b, b.getLoc(), count * ratio,
                                                   {gists[1]});
  Value whole =
      tensor::ExtractSliceOp::create(b, rows, zeros, sizes, ones).getResult();
  Sizes split = {gists[0], gists[1], b.getIndexAttr(ratio), gists[2]};
  auto [shape, dynamic] = decomposeMixedValues(split);
  return tensor::ExpandShapeOp::create(
      b, RankedTensorType::get(shape, type.getElementType()), whole,
      SmallVector<ReassociationIndices>{{0}, {1, 2}, {3}}, split);
}

/// Sum over each block's rows t of weight(t) * x, f32 [B, m, D]; `weights`
/// [B, m, r] or none for 1.
static Value emitBlockSum(Emitter &b, Value blocks, Value weights,
                          const Sizes &gists) {
  SmallVector<Value> inputs = {blocks};
  SmallVector<SmallVector<int64_t>> maps = {{0, 1, 3, 2}, {0, 1, 2}};
  if (weights) {
    inputs.push_back(weights);
    maps.insert(maps.begin() + 1, {0, 1, 3});
  }
  return emitGeneric(b, inputs, b.filled(gists, emitFloat(b, 0)), maps,
                     [&](Emitter &in, ValueRange x) -> Value {
                       Value term = in.toF32(x[0]);
                       if (weights)
                         term = arith::MulFOp::create(in, term, x[1]);
                       return arith::AddFOp::create(in, x.back(), term);
                     });
}

/// sums [B, m, D] over divisors [B, m], of the result's element type.
static Value emitQuotient(Emitter &b, Value sums, Value divisors, Type element,
                          const Sizes &gists) {
  Value empty = tensor::EmptyOp::create(b, gists, element);
  return emitGeneric(b, {sums, divisors}, empty, {{0, 1, 2}, {0, 1}, {0, 1, 2}},
                     [&](Emitter &in, ValueRange x) -> Value {
                       Value mean = arith::DivFOp::create(in, x[0], x[1]);
                       return in.fromF32(mean, element);
                     });
}

/// exp(<x_t, w> - max over the block) [B, m, r], and its sums [B, m].
static std::pair<Value, Value> emitWeights(Emitter &b, Value blocks,
                                           Value weight, const Sizes &gists,
                                           int64_t ratio) {
  const SmallVector<int64_t> row = {0, 1, 2}, gist = {0, 1};
  Sizes perGist = {gists[0], gists[1]};
  Sizes perRow = {gists[0], gists[1], b.getIndexAttr(ratio)};
  Value scores = emitGeneric(
      b, {blocks, weight}, b.filled(perRow, emitFloat(b, 0)),
      {{0, 1, 2, 3}, {3}, row}, [](Emitter &in, ValueRange x) -> Value {
        Value term = arith::MulFOp::create(in, in.toF32(x[0]), in.toF32(x[1]));
        return arith::AddFOp::create(in, x[2], term);
      });
  Value max =
      emitGeneric(b, scores, b.filled(perGist, emitFloat(b, -kInfinity)),
                  {row, gist}, [](Emitter &in, ValueRange x) -> Value {
                    return arith::MaximumFOp::create(in, x[0], x[1]);
                  });
  Value weights =
      emitGeneric(b, max, scores, {gist, row}, [](Emitter &in, ValueRange x) {
        return emitWeight(in, x[1], x[0]);
      });
  Value sums = emitGeneric(b, weights, b.filled(perGist, emitFloat(b, 0)),
                           {row, gist}, [](Emitter &in, ValueRange x) -> Value {
                             return arith::AddFOp::create(in, x[0], x[1]);
                           });
  return {weights, sums};
}

FailureOr<SmallVector<Value>>
GistPoolOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  const Sizes &gists = shapes[0];
  int64_t ratio = getRatio();
  if (getKind() == PoolKind::Cls) {
    Sizes zeros(3, b.getIndexAttr(0)), steps(3, b.getIndexAttr(1));
    steps[1] = b.getIndexAttr(ratio);
    Value rows =
        tensor::ExtractSliceOp::create(b, getInput(), zeros, gists, steps);
    return SmallVector<Value>{rows};
  }
  Value blocks = emitBlocks(b, getInput(), gists, ratio);
  Value weights, divisors;
  if (getKind() == PoolKind::Query)
    std::tie(weights, divisors) =
        emitWeights(b, blocks, getWeight(), gists, ratio);
  else
    divisors = b.filled({gists[0], gists[1]}, emitFloat(b, ratio));
  Value sums = emitBlockSum(b, blocks, weights, gists);
  return SmallVector<Value>{emitQuotient(
      b, sums, divisors, getResult().getType().getElementType(), gists)};
}
