//===- LodOps.cpp - level-of-detail ops: verifiers, results ---------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;

static RankedTensorType tensorTypeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// lods and positions [B, W] of one integer type, lengths [B] or none.
static LogicalResult checkEntries(Operation *op, Value lods, Value positions,
                                  Value lengths) {
  RankedTensorType type = tensorTypeOf(lods), other = tensorTypeOf(positions);
  if (type.getElementType() != other.getElementType())
    return op->emitOpError("expected positions of element type ")
           << type.getElementType() << ", as lods, but got " << other;
  for (unsigned i : {0, 1})
    if (failed(checkDim(op, "positions", other, i, type, i, "lods")))
      return failure();
  return lengths ? checkDim(op, "lengths", tensorTypeOf(lengths), 0, type, 0,
                            "lods")
                 : success();
}

/// Levels [B, N_l, D] of one element type, for lods [B, W].
static LogicalResult checkLevels(Operation *op, ValueRange levels, Value lods) {
  RankedTensorType first = tensorTypeOf(levels[0]);
  for (Value level : levels) {
    RankedTensorType type = tensorTypeOf(level);
    if (type.getElementType() != first.getElementType())
      return op->emitOpError("expected levels of one element type, but got ")
             << first.getElementType() << " and " << type.getElementType();
    if (failed(checkDim(op, "level", type, 0, tensorTypeOf(lods), 0, "lods")) ||
        failed(checkDim(op, "level", type, 2, first, 2, "level 0")))
      return failure();
  }
  return success();
}

/// The spans of `levels` levels, and of one above, are numbers of tokens.
static LogicalResult checkSpans(Operation *op, int64_t ratio, int64_t levels) {
  int64_t span = 1;
  for (int64_t level = 0; level < levels; ++level, span *= ratio)
    if (span >= (int64_t(1) << 62) / ratio)
      return op->emitOpError("expected ratio to the number of levels to be "
                             "less than 2^62, but got ")
             << ratio << " to " << levels;
  return success();
}

/// A tensor's size, with the ratio: floor(size / ratio).
static OpFoldResult sizeOver(OpBuilder &builder, Location loc, Value tensor,
                             int64_t dim, int64_t ratio) {
  Emitter b(loc, builder);
  int64_t size = tensorTypeOf(tensor).getDimSize(dim);
  if (!ShapedType::isDynamic(size))
    return b.getIndexAttr(size / ratio);
  return b.floorDiv(b.dim(tensor, dim), b.index(ratio));
}

/// Tokens [B, n, D] to the gists of them, [B, n / ratio, D].
static RankedTensorType gistsOf(RankedTensorType tokens, int64_t ratio) {
  SmallVector<int64_t> shape(tokens.getShape());
  if (!tokens.isDynamicDim(1))
    shape[1] /= std::max<int64_t>(1, ratio);
  return RankedTensorType::get(shape, tokens.getElementType());
}

//===----------------------------------------------------------------------===//
// gist_pool
//===----------------------------------------------------------------------===//

LogicalResult GistPoolOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> loc,
                                           Adaptor op,
                                           SmallVectorImpl<Type> &results) {
  RankedTensorType type = ranked(loc, "input", op.getInput(), 3);
  if (!type)
    return failure();
  results.push_back(gistsOf(type, op.getRatio()));
  return success();
}

LogicalResult GistPoolOp::verify() {
  RankedTensorType input = tensorTypeOf(getInput());
  if ((getKind() == PoolKind::Query) != bool(getWeight()))
    return emitOpError("expected weight for query and only there, but got ")
           << stringifyPoolKind(getKind())
           << (getWeight() ? " with weight" : " without weight");
  if (!getWeight())
    return success();
  RankedTensorType weight = tensorTypeOf(getWeight());
  if (weight.getElementType() != input.getElementType())
    return emitOpError("expected weight of element type ")
           << input.getElementType() << ", as input, but got " << weight;
  return checkDim(*this, "weight", weight, 0, input, 2, "input");
}

LogicalResult GistPoolOp::reifyResultShapes(OpBuilder &b,
                                            ReifiedRankedShapedTypeDims &out) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getInput());
  sizes[1] = sizeOver(b, getLoc(), getInput(), 1, getRatio());
  out.push_back(sizes);
  return success();
}

//===----------------------------------------------------------------------===//
// gist_pyramid
//===----------------------------------------------------------------------===//

LogicalResult GistPyramidOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location> loc,
                                              Adaptor op,
                                              SmallVectorImpl<Type> &results) {
  RankedTensorType type = ranked(loc, "input", op.getInput(), 3);
  if (!type)
    return failure();
  // A level of no rows stays one; beyond 62 levels the verifier refuses.
  for (uint64_t level = 0; level < std::min<uint64_t>(op.getLevels(), 62);
       ++level) {
    type = gistsOf(type, op.getRatio());
    results.push_back(type);
  }
  return success();
}

LogicalResult GistPyramidOp::verify() {
  return checkSpans(*this, getRatio(), getLevels());
}

/// Rows of the body, of input's element type, with its batch and columns.
static LogicalResult checkBodyRows(GistPyramidOp op, StringRef what,
                                   Value rows) {
  RankedTensorType input = tensorTypeOf(op.getInput());
  auto type = dyn_cast<RankedTensorType>(rows.getType());
  if (!type || type.getRank() != 3 ||
      type.getElementType() != input.getElementType())
    return op.emitOpError("expected ")
           << what << " of rank 3 and element type " << input.getElementType()
           << ", as input, but got " << rows.getType();
  for (unsigned i : {0, 2})
    if (failed(checkDim(op, what, type, i, input, i, "input")))
      return failure();
  return success();
}

LogicalResult GistPyramidOp::verifyRegions() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 2 || !block.getArgument(1).getType().isIndex())
    return emitOpError("expected a body with two arguments, rows and the "
                       "level's number (index)");
  Value rows = block.getArgument(0);
  if (failed(checkBodyRows(*this, "rows of the body", rows)))
    return failure();
  if (!tensorTypeOf(rows).isDynamicDim(1))
    return emitOpError("expected rows of the body with a dynamic dim 1, as it "
                       "differs from level to level, but got ")
           << rows.getType();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield)
    return emitOpError("expected a body that ends in megactx.yield");
  return checkBodyRows(*this, "gists of the body", yield.getGists());
}

LogicalResult
GistPyramidOp::reifyResultShapes(OpBuilder &builder,
                                 ReifiedRankedShapedTypeDims &out) {
  Emitter b(getLoc(), builder);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getInput());
  for (Value result : getGists()) {
    int64_t count = tensorTypeOf(result).getDimSize(1);
    if (!ShapedType::isDynamic(count))
      sizes[1] = b.getIndexAttr(count);
    else
      sizes[1] =
          b.floorDiv(getValueOrCreateConstantIndexOp(b, getLoc(), sizes[1]),
                     b.index(getRatio()));
    out.push_back(sizes);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// gaussian_rope
//===----------------------------------------------------------------------===//

LogicalResult GaussianRopeOp::inferReturnTypes(MLIRContext *context,
                                               std::optional<Location> loc,
                                               Adaptor op,
                                               SmallVectorImpl<Type> &results) {
  RankedTensorType type = ranked(loc, "positions", op.getPositions(), 2);
  if (!type)
    return failure();
  SmallVector<int64_t> shape(type.getShape());
  shape.push_back(op.getDim() / 2);
  results.append(2, RankedTensorType::get(shape, Float32Type::get(context)));
  return success();
}

LogicalResult GaussianRopeOp::verify() {
  for (unsigned i : {0, 1})
    if (failed(checkDim(*this, "lods", tensorTypeOf(getLods()), i,
                        tensorTypeOf(getPositions()), i, "positions")))
      return failure();
  float base = getBase().convertToFloat();
  if (!std::isfinite(base) || !(base > 1))
    return emitOpError("expected a finite base of more than 1");
  return success();
}

LogicalResult
GaussianRopeOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &out) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getPositions());
  sizes.push_back(b.getIndexAttr(getDim() / 2));
  out.assign(2, sizes);
  return success();
}

//===----------------------------------------------------------------------===//
// lod_gather
//===----------------------------------------------------------------------===//

LogicalResult LodGatherOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &results) {
  RankedTensorType lods = ranked(loc, "lods", op.getLods(), 2);
  RankedTensorType level = ranked(loc, "tokens", op.getTokens(), 3);
  if (!lods || !level)
    return failure();
  results.push_back(RankedTensorType::get(
      {lods.getDimSize(0), lods.getDimSize(1), level.getDimSize(2)},
      level.getElementType()));
  return success();
}

SmallVector<Value> LodGatherOp::getLevels() {
  SmallVector<Value> levels(getGists());
  levels.insert(levels.begin(), getTokens());
  return levels;
}

LogicalResult LodGatherOp::verify() {
  return failure(
      failed(checkEntries(*this, getLods(), getPositions(), getLengths())) ||
      failed(checkLevels(*this, getLevels(), getLods())) ||
      failed(checkSpans(*this, getRatio(), getLevels().size())));
}

LogicalResult LodGatherOp::reifyResultShapes(OpBuilder &b,
                                             ReifiedRankedShapedTypeDims &out) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getLods());
  sizes.push_back(tensor::getMixedSize(b, getLoc(), getTokens(), 2));
  out.push_back(sizes);
  return success();
}

//===----------------------------------------------------------------------===//
// lens_score
//===----------------------------------------------------------------------===//

LogicalResult LensScoreOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location> loc,
                                            Adaptor op,
                                            SmallVectorImpl<Type> &results) {
  RankedTensorType type = ranked(loc, "features", op.getFeatures(), 3);
  if (!type)
    return failure();
  results.push_back(RankedTensorType::get(type.getShape().drop_back(),
                                          Float32Type::get(context)));
  return success();
}

LogicalResult LensScoreOp::verify() {
  RankedTensorType features = tensorTypeOf(getFeatures());
  for (Value value : {Value(getWeight()), Value(getBias())})
    if (value &&
        tensorTypeOf(value).getElementType() != features.getElementType())
      return emitOpError("expected features, weight and bias of one element "
                         "type, but got ")
             << features.getElementType() << " and "
             << tensorTypeOf(value).getElementType();
  if (failed(checkDim(*this, "weight", tensorTypeOf(getWeight()), 0, features,
                      2, "features")))
    return failure();
  for (unsigned i : {0, 1})
    if (failed(checkDim(*this, "lods", tensorTypeOf(getLods()), i, features, i,
                        "features")))
      return failure();
  return success();
}

LogicalResult LensScoreOp::reifyResultShapes(OpBuilder &b,
                                             ReifiedRankedShapedTypeDims &out) {
  out.push_back(tensor::getMixedSizes(b, getLoc(), getFeatures()));
  out.back().pop_back();
  return success();
}

//===----------------------------------------------------------------------===//
// focus_allocate
//===----------------------------------------------------------------------===//

LogicalResult
FocusAllocateOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                  Adaptor op, SmallVectorImpl<Type> &results) {
  results.push_back(op.getLods().getType());
  return success();
}

LogicalResult FocusAllocateOp::verify() {
  if (failed(checkEntries(*this, getLods(), getPositions(), getLengths())) ||
      failed(checkSpans(*this, getRatio(), getTop() + 1)))
    return failure();
  for (unsigned i : {0, 1})
    if (failed(checkDim(*this, "scores", tensorTypeOf(getScores()), i,
                        tensorTypeOf(getLods()), i, "lods")))
      return failure();
  for (APFloat threshold : {getExpandThreshold(), getCollapseThreshold()})
    if (!threshold.isFinite() || !(threshold.convertToFloat() > 0))
      return emitOpError("expected finite, positive thresholds");
  return success();
}

LogicalResult
FocusAllocateOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &out) {
  out.push_back(tensor::getMixedSizes(b, getLoc(), getLods()));
  return success();
}

//===----------------------------------------------------------------------===//
// focus_apply
//===----------------------------------------------------------------------===//

SmallVector<Value> FocusApplyOp::getLevels() {
  SmallVector<Value> levels(getGists());
  levels.insert(levels.begin(), getTokens());
  return levels;
}

LogicalResult FocusApplyOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location> loc,
                                             Adaptor op,
                                             SmallVectorImpl<Type> &results) {
  RankedTensorType rows = ranked(loc, "rows", op.getRows(), 3);
  RankedTensorType lods = ranked(loc, "lods", op.getLods(), 2);
  if (!rows || !lods)
    return failure();
  int64_t batch = lods.getDimSize(0), budget = op.getBudget();
  auto entries = RankedTensorType::get({batch, budget}, lods.getElementType());
  results.append({RankedTensorType::get({batch, budget, rows.getDimSize(2)},
                                        rows.getElementType()),
                  entries, entries,
                  RankedTensorType::get({batch}, IndexType::get(context))});
  return success();
}

LogicalResult FocusApplyOp::verify() {
  SmallVector<Value> levels = getLevels();
  if (failed(checkEntries(*this, getLods(), getPositions(), getLengths())) ||
      failed(checkLevels(*this, levels, getLods())) ||
      failed(checkSpans(*this, getRatio(), levels.size())))
    return failure();
  RankedTensorType lods = tensorTypeOf(getLods()),
                   edits = tensorTypeOf(getEdits()),
                   rows = tensorTypeOf(getRows()),
                   tokens = tensorTypeOf(levels[0]);
  if (edits.getElementType() != lods.getElementType())
    return emitOpError("expected edits of element type ")
           << lods.getElementType() << ", as lods, but got " << edits;
  if (rows.getElementType() != tokens.getElementType())
    return emitOpError("expected levels of the rows' element type ")
           << rows.getElementType() << ", but got " << tokens.getElementType();
  for (unsigned i : {0, 1})
    if (failed(checkDim(*this, "edits", edits, i, lods, i, "lods")) ||
        failed(checkDim(*this, "rows", rows, i, lods, i, "lods")))
      return failure();
  return checkDim(*this, "rows", rows, 2, tokens, 2, "level 0");
}

LogicalResult
FocusApplyOp::reifyResultShapes(OpBuilder &b,
                                ReifiedRankedShapedTypeDims &out) {
  OpFoldResult batch = tensor::getMixedSize(b, getLoc(), getLods(), 0),
               budget = b.getIndexAttr(getBudget()),
               width = tensor::getMixedSize(b, getLoc(), getRows(), 2);
  out = {{batch, budget, width}, {batch, budget}, {batch, budget}, {batch}};
  return success();
}
