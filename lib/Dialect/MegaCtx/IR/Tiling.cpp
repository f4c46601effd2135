//===- Tiling.cpp - tiles of online attention, keys split and merged ------===//
//
// The iteration space is (batch, query head, query row, key row); the last one
// is a reduction. A tile keeps the whole op's offsets and lengths and says
// where it begins (`origin`), so every position stays what it was.
//
//===----------------------------------------------------------------------===//

#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::megactx;

using Sizes = SmallVector<OpFoldResult>;
using Body = function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

static constexpr unsigned kKeys = 3; ///< the reduction among the loops

SmallVector<utils::IteratorType> OnlineAttentionOp::getLoopIteratorTypes() {
  SmallVector<utils::IteratorType> types(4, utils::IteratorType::parallel);
  types[kKeys] = utils::IteratorType::reduction;
  return types;
}

SmallVector<Range> OnlineAttentionOp::getIterationDomain(OpBuilder &b) {
  auto range = [&](Value of, int64_t dim) {
    OpFoldResult size = linalg::createFoldedDimOp(b, getLoc(), of, dim);
    return Range{b.getIndexAttr(0), size, b.getIndexAttr(1)};
  };
  return {range(getQuery(), 0), range(getQuery(), 1), range(getQuery(), 2),
          range(getKey(), 2)};
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

static Value slice(OpBuilder &b, Location loc, Value of, const Sizes &offsets,
                   const Sizes &sizes, SmallVectorImpl<Operation *> &slices) {
  Sizes strides(offsets.size(), b.getIndexAttr(1));
  Operation *op;
  if (isa<TensorType>(of.getType()))
    op = tensor::ExtractSliceOp::create(b, loc, of, offsets, sizes, strides);
  else
    op = memref::SubViewOp::create(b, loc, of, offsets, sizes, strides);
  slices.push_back(op);
  return op->getResult(0);
}

namespace {
/// Builds one tile of an op.
class Tile {
public:
  Tile(OnlineAttentionOp op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
       ArrayRef<OpFoldResult> sizes)
      : op(op), b(op.getLoc(), builder), offsets(offsets), sizes(sizes) {}

  /// The tile on these slices of the state; fails where a tile of heads would
  /// need a part of a key head's group.
  FailureOr<TilingResult> run(ValueRange state);

  /// The slices of the op's own state.
  SmallVector<Value> state();

  SmallVector<Operation *> slices;

private:
  LogicalResult keyHeads();
  Value rows(Value of, OpFoldResult offset, OpFoldResult size);
  Value slicedBias(Value bias);
  SmallVector<Value> origin();
  int64_t heads(Value of) {
    return cast<ShapedType>(of.getType()).getDimSize(1);
  }

  OnlineAttentionOp op;
  ImplicitLocOpBuilder b;
  Sizes offsets, sizes;
  OpFoldResult headOffset, headSize; ///< of keys and values
};
} // namespace

LogicalResult Tile::keyHeads() {
  int64_t all = heads(op.getQuery()), keys = heads(op.getKey());
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  bool isWhole =
      isZeroInteger(offsets[1]) &&
      isEqualConstantIntOrValue(
          sizes[1], linalg::createFoldedDimOp(b, b.getLoc(), op.getQuery(), 1));
  OpFoldResult keyHeads =
      linalg::createFoldedDimOp(b, b.getLoc(), op.getKey(), 1);
  if (isWhole || keys == 1) {
    headOffset = zero;
    headSize = keyHeads;
    return success();
  }
  if (!ShapedType::isDynamic(all) && all == keys) {
    headOffset = offsets[1];
    headSize = sizes[1];
    return success();
  }
  if (!isConstantIntValue(sizes[1], 1))
    return failure();
  OpFoldResult queryHeads =
      linalg::createFoldedDimOp(b, b.getLoc(), op.getQuery(), 1);
  AffineExpr h, q, k;
  bindSymbols(b.getContext(), h, q, k);
  headOffset = affine::makeComposedFoldedAffineApply(
      b, b.getLoc(), AffineMap::get(0, 3, h.floorDiv(q.floorDiv(k))),
      {offsets[1], queryHeads, keyHeads});
  headSize = one;
  return success();
}

Value Tile::rows(Value of, OpFoldResult offset, OpFoldResult size) {
  OpFoldResult columns = linalg::createFoldedDimOp(b, b.getLoc(), of, 3);
  return slice(b, b.getLoc(), of,
               {offsets[0], headOffset, offset, b.getIndexAttr(0)},
               {sizes[0], headSize, size, columns}, slices);
}

/// Dims of 1 are broadcast and stay; whether one is may be known at run time.
Value Tile::slicedBias(Value bias) {
  auto type = cast<ShapedType>(bias.getType());
  Sizes from(4, b.getIndexAttr(0)), many(4, b.getIndexAttr(1));
  for (int64_t i = 0; i < 4; ++i) {
    if (type.getDimSize(i) == 1)
      continue;
    from[i] = offsets[i];
    many[i] = sizes[i];
    if (!type.isDynamicDim(i))
      continue;
    Value size = getValueOrCreateConstantIndexOp(
        b, b.getLoc(), linalg::createFoldedDimOp(b, b.getLoc(), bias, i));
    Value one = arith::ConstantIndexOp::create(b, 1);
    Value zero = arith::ConstantIndexOp::create(b, 0);
    Value isOne = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, size, one);
    auto choose = [&](Value whole, OpFoldResult part) -> Value {
      return arith::SelectOp::create(
          b, isOne, whole,
          getValueOrCreateConstantIndexOp(b, b.getLoc(), part));
    };
    from[i] = choose(zero, offsets[i]);
    many[i] = choose(one, sizes[i]);
  }
  return slice(b, b.getLoc(), bias, from, many, slices);
}

SmallVector<Value> Tile::origin() {
  SmallVector<Value> origin;
  for (unsigned i = 0; i < 4; ++i) {
    Value offset = getValueOrCreateConstantIndexOp(b, b.getLoc(), offsets[i]);
    if (!op.getOrigin().empty())
      offset = arith::AddIOp::create(b, op.getOrigin()[i], offset);
    origin.push_back(offset);
  }
  origin.push_back(
      op.getOrigin().empty()
          ? getValueOrCreateConstantIndexOp(
                b, b.getLoc(),
                linalg::createFoldedDimOp(b, b.getLoc(), op.getKey(), 2))
          : op.getOrigin()[4]);
  return origin;
}

SmallVector<Value> Tile::state() {
  Sizes from(ArrayRef(offsets).take_front(3)),
      many(ArrayRef(sizes).take_front(3));
  SmallVector<Value> state = {
      Value(), slice(b, b.getLoc(), op.getMax(), from, many, slices),
      slice(b, b.getLoc(), op.getSum(), from, many, slices)};
  from.push_back(b.getIndexAttr(0));
  many.push_back(linalg::createFoldedDimOp(b, b.getLoc(), op.getValue(), 3));
  state[0] = slice(b, b.getLoc(), op.getAcc(), from, many, slices);
  return state;
}

FailureOr<TilingResult> Tile::run(ValueRange state) {
  if (failed(keyHeads()))
    return failure();
  OpFoldResult zero = b.getIndexAttr(0);
  OpFoldResult width =
      linalg::createFoldedDimOp(b, b.getLoc(), op.getQuery(), 3);
  Value query = slice(b, b.getLoc(), op.getQuery(),
                      {offsets[0], offsets[1], offsets[2], zero},
                      {sizes[0], sizes[1], sizes[2], width}, slices);
  Value key = rows(op.getKey(), offsets[kKeys], sizes[kKeys]);
  Value value = rows(op.getValue(), offsets[kKeys], sizes[kKeys]);
  Value lengths;
  SmallVector<Value> biases;
  for (Value bias : op.getBiases())
    biases.push_back(slicedBias(bias));
  if (op.getLengths())
    lengths =
        slice(b, b.getLoc(), op.getLengths(), {offsets[0]}, {sizes[0]}, slices);
  SmallVector<Type> results;
  if (op.hasPureTensorSemantics())
    results = llvm::to_vector(state.getTypes());
  auto tile = OnlineAttentionOp::create(
      b, results, query, key, value, biases, lengths, op.getSegmentBounds(),
      op.getQueryOffset(), op.getKeyOffset(), op.getQueryPositions(),
      op.getKeyPositions(), origin(), state[0], state[1], state[2],
      op.getPieceAttr(), op.getScaleAttr(), op.getSoftcapAttr(),
      op.getQueryStepAttr(), op.getKeyStepAttr());
  return TilingResult{{tile}, SmallVector<Value>(tile->getResults()), slices};
}

FailureOr<TilingResult>
OnlineAttentionOp::getTiledImplementation(OpBuilder &b,
                                          ArrayRef<OpFoldResult> offsets,
                                          ArrayRef<OpFoldResult> sizes) {
  Tile tile(*this, b, offsets, sizes);
  return tile.run(tile.state());
}

LogicalResult OnlineAttentionOp::getResultTilePosition(
    OpBuilder &b, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  resultOffsets.assign(offsets.begin(), offsets.begin() + 3);
  resultSizes.assign(sizes.begin(), sizes.begin() + 3);
  if (resultNumber == 0) {
    resultOffsets.push_back(b.getIndexAttr(0));
    resultSizes.push_back(
        linalg::createFoldedDimOp(b, getLoc(), getValue(), 3));
  }
  return success();
}

/// A tile of a result takes all keys, and all columns of values.
LogicalResult OnlineAttentionOp::getIterationDomainTileFromResultTile(
    OpBuilder &b, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVectorImpl<OpFoldResult> &domainOffsets,
    SmallVectorImpl<OpFoldResult> &domainSizes) {
  if (resultNumber == 0) {
    std::optional<int64_t> width = getConstantIntValue(sizes[3]);
    if (!isZeroInteger(offsets[3]) || !width ||
        *width != cast<ShapedType>(getValue().getType()).getDimSize(3))
      return failure();
  }
  domainOffsets.assign(offsets.begin(), offsets.begin() + 3);
  domainSizes.assign(sizes.begin(), sizes.begin() + 3);
  Range keys = getIterationDomain(b)[kKeys];
  domainOffsets.push_back(keys.offset);
  domainSizes.push_back(keys.size);
  return success();
}

FailureOr<TilingResult>
OnlineAttentionOp::generateResultTileValue(OpBuilder &b, unsigned resultNumber,
                                           ArrayRef<OpFoldResult> offsets,
                                           ArrayRef<OpFoldResult> sizes) {
  Sizes domainOffsets, domainSizes;
  if (failed(getIterationDomainTileFromResultTile(
          b, resultNumber, offsets, sizes, domainOffsets, domainSizes)))
    return failure();
  FailureOr<TilingResult> tile =
      getTiledImplementation(b, domainOffsets, domainSizes);
  if (failed(tile))
    return failure();
  Value value = tile->tiledValues[resultNumber];
  return TilingResult{tile->tiledOps, {value}, tile->generatedSlices};
}

//===----------------------------------------------------------------------===//
// Keys split: a state per part, parts first, merged by log-sum-exp
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Value>>
OnlineAttentionOp::generateInitialTensorForPartialReduction(
    OpBuilder &builder, Location loc, ArrayRef<OpFoldResult> sizes,
    const SetVector<unsigned> &reductionDims) {
  if (!hasPureTensorSemantics() || reductionDims.size() != 1 ||
      reductionDims.front() != kKeys)
    return failure();
  ImplicitLocOpBuilder b(loc, builder);
  Sizes rows = {sizes[kKeys], sizes[0], sizes[1], sizes[2]};
  Sizes columns = rows;
  columns.push_back(linalg::createFoldedDimOp(b, loc, getValue(), 3));
  auto filled = [&](const Sizes &shape, float value) -> Value {
    Value empty = tensor::EmptyOp::create(b, shape, b.getF32Type());
    return linalg::FillOp::create(b, emitFloat(b, value), empty).getResult(0);
  };
  return SmallVector<Value>{filled(columns, 0.0f), filled(rows, -kInfinity),
                            filled(rows, 0.0f)};
}

LogicalResult OnlineAttentionOp::getPartialResultTilePosition(
    OpBuilder &b, unsigned resultNumber, ReductionTilingStrategy strategy,
    ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
    const SetVector<unsigned> &reductionDims,
    ArrayRef<OpFoldResult> splitReductionIvs,
    SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  if (strategy != ReductionTilingStrategy::PartialReductionOuterParallel ||
      splitReductionIvs.size() != 1)
    return failure();
  if (failed(getResultTilePosition(b, resultNumber, offsets, sizes,
                                   resultOffsets, resultSizes)))
    return failure();
  resultOffsets.insert(resultOffsets.begin(), splitReductionIvs[0]);
  resultSizes.insert(resultSizes.begin(), b.getIndexAttr(1));
  return success();
}

FailureOr<TilingResult> OnlineAttentionOp::tileToPartialReduction(
    OpBuilder &b, Location loc, ReductionTilingStrategy strategy,
    ValueRange init, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, const SetVector<unsigned> &reductionDims,
    ArrayRef<OpFoldResult> splitReductionIvs) {
  Tile tile(*this, b, offsets, sizes);
  SmallVector<Value> state;
  for (auto [i, partial] : llvm::enumerate(init)) {
    SmallVector<OpFoldResult> from, many;
    if (failed(getPartialResultTilePosition(b, i, strategy, offsets, sizes,
                                            reductionDims, splitReductionIvs,
                                            from, many)))
      return failure();
    SmallVector<int64_t> shape;
    SmallVector<Value> dynamic;
    dispatchIndexOpFoldResults(ArrayRef(many).drop_front(), dynamic, shape);
    auto type = cast<RankedTensorType>(partial.getType());
    auto part = tensor::ExtractSliceOp::create(
        b, loc, RankedTensorType::get(shape, type.getElementType()), partial,
        from, many, SmallVector<OpFoldResult>(from.size(), b.getIndexAttr(1)));
    tile.slices.push_back(part);
    state.push_back(part);
  }
  return tile.run(state);
}

namespace {
/// Merges the states of parts [S, B, H, N(, Dv)] into the op's own.
class Merge {
public:
  Merge(OpBuilder &builder, Location loc, OnlineAttentionOp op)
      : b(loc, builder), op(op) {}

  MergeResult run(Value accs, Value maxes, Value sums);

private:
  /// Dims: 0 the part, 1 to 3 the row, 4 the column of values.
  Value reduce(ValueRange inputs, ArrayRef<unsigned> ranks, Value init,
               bool parts, Body body);

  ImplicitLocOpBuilder b;
  OnlineAttentionOp op;
  SmallVector<Operation *> made;
};
} // namespace

/// `ranks` of an input: 4 or 5 has parts, 3 is a row. Without `parts` the op is
/// elementwise over `init`.
Value Merge::reduce(ValueRange inputs, ArrayRef<unsigned> ranks, Value init,
                    bool parts, Body body) {
  unsigned rank = cast<ShapedType>(init.getType()).getRank();
  unsigned lead = parts ? 1 : 0, dims = rank + lead;
  SmallVector<AffineMap> maps;
  auto addMap = [&](unsigned first, unsigned count) {
    SmallVector<AffineExpr> exprs;
    for (unsigned i = 0; i < count; ++i)
      exprs.push_back(b.getAffineDimExpr(first + i));
    maps.push_back(AffineMap::get(dims, 0, exprs, b.getContext()));
  };
  for (unsigned r : ranks)
    r == 3 ? addMap(lead, 3) : addMap(0, r);
  addMap(lead, rank);
  SmallVector<utils::IteratorType> kinds(dims, utils::IteratorType::parallel);
  if (parts)
    kinds[0] = utils::IteratorType::reduction;
  auto generic = linalg::GenericOp::create(
      b, init.getType(), inputs, init, maps, kinds,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder inside(loc, nested);
        linalg::YieldOp::create(inside, body(inside, args));
      });
  made.push_back(generic);
  return generic.getResult(0);
}

MergeResult Merge::run(Value accs, Value maxes, Value sums) {
  Value max = reduce(maxes, {4}, op.getMax(), true,
                     [](ImplicitLocOpBuilder &in, ValueRange x) -> Value {
                       return arith::MaximumFOp::create(in, x[0], x[1]);
                     });
  auto decayed = [&](Value state) {
    return reduce({op.getMax(), max}, {3, 3}, state, false,
                  [](ImplicitLocOpBuilder &in, ValueRange x) -> Value {
                    return arith::MulFOp::create(in, x[2],
                                                 emitWeight(in, x[0], x[1]));
                  });
  };
  auto merged = [&](Value parts, unsigned rank, Value state) {
    return reduce({parts, maxes, max}, {rank, 4, 3}, decayed(state), true,
                  [](ImplicitLocOpBuilder &in, ValueRange x) -> Value {
                    Value part = arith::MulFOp::create(
                        in, x[0], emitWeight(in, x[1], x[2]));
                    return arith::AddFOp::create(in, x[3], part);
                  });
  };
  Value sum = merged(sums, 4, op.getSum());
  Value acc = merged(accs, 5, op.getAcc());
  return MergeResult{made, {acc, max, sum}};
}

FailureOr<MergeResult>
OnlineAttentionOp::mergeReductions(OpBuilder &b, Location loc,
                                   ValueRange partialReduce,
                                   const SetVector<unsigned> &reductionDims) {
  return Merge(b, loc, *this)
      .run(partialReduce[0], partialReduce[1], partialReduce[2]);
}
