//===- LodPooling.cpp - gists of rows as linalg ---------------------------===//

#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::megactx;

using Sizes = SmallVector<OpFoldResult>;

/// The rows of whole blocks: [B, n, D] -> [B, floor(n / r) r, D].
static Value emitWholeBlocks(Emitter &b, Value rows, const Sizes &gists,
                             int64_t ratio) {
  SmallVector<OpFoldResult> zeros(3, b.getIndexAttr(0)),
      ones(3, b.getIndexAttr(1)), sizes = gists;
  AffineExpr count = b.getAffineSymbolExpr(0);
  sizes[1] = affine::makeComposedFoldedAffineApply(b, b.getLoc(), count * ratio,
                                                   {gists[1]});
  return tensor::ExtractSliceOp::create(b, rows, zeros, sizes, ones);
}

/// Whole blocks of rows: [B, n, D] -> [B, floor(n / r), r, D].
static Value emitBlocks(Emitter &b, Value rows, const Sizes &gists,
                        int64_t ratio) {
  auto type = cast<RankedTensorType>(rows.getType());
  Value whole = emitWholeBlocks(b, rows, gists, ratio);
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
  // Columns are innermost: rows are added up as they lie in memory.
  SmallVector<SmallVector<int64_t>> maps = {{0, 1, 2, 3}, {0, 1, 3}};
  if (weights) {
    inputs.push_back(weights);
    maps.insert(maps.begin() + 1, {0, 1, 2});
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
        return in.addProduct(x[2], in.toF32(x[0]), in.toF32(x[1]));
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

/// Ends the run where the body's gists are not of these sizes.
static void emitCheckGists(Emitter &b, Value gists, const Sizes &sizes) {
  Value ok = b.truth(true);
  for (auto [i, size] : llvm::enumerate(sizes)) {
    Value wanted = getValueOrCreateConstantIndexOp(b, b.getLoc(), size);
    ok = b.both(ok, b.eq(b.dim(gists, i), wanted));
  }
  createCheck(b, ok,
              "megactx.gist_pyramid: the body's gists are not one for "
              "each block of rows");
}

static Value castTo(Emitter &b, Value tensor, Type type) {
  if (tensor.getType() == type)
    return tensor;
  return tensor::CastOp::create(b, type, tensor);
}

FailureOr<SmallVector<Value>>
GistPyramidOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  Block &block = getBody().front();
  Value rows = getInput();
  SmallVector<Value> levels;
  for (auto [index, sizes] : llvm::enumerate(shapes)) {
    IRMapping mapping;
    Value whole = emitWholeBlocks(b, rows, sizes, getRatio());
    mapping.map(block.getArgument(0),
                castTo(b, whole, block.getArgument(0).getType()));
    mapping.map(block.getArgument(1), b.index(index + 1));
    for (Operation &op : block.without_terminator())
      b.clone(op, mapping);
    Value gists = mapping.lookupOrDefault(
        cast<YieldOp>(block.getTerminator()).getGists());
    emitCheckGists(b, gists, sizes);
    rows = castTo(b, gists, getGists()[index].getType());
    levels.push_back(rows);
  }
  return levels;
}
