//===- TileAttention.cpp - loops over the keys that a tile can see --------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_TILEATTENTIONPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
using LoopHeader = scf::SCFTilingOptions::CustomLoopHeaderInfo;

/// Builds the loops over batch, head, query rows and, in the bounds of the
/// piece for these rows, keys.
FailureOr<LoopHeader> emitLoops(OnlineAttentionOp op, RewriterBase &rewriter,
                                Location loc, ArrayRef<Range> ranges,
                                ArrayRef<OpFoldResult> steps,
                                ValueRange destinations) {
  LoopHeader header;
  SmallVector<Value> state(destinations);
  AffineExpr size, at, end;
  bindSymbols(rewriter.getContext(), size, at, end);
  AffineMap rest =
      AffineMap::get(0, 3, {size, end - at}, rewriter.getContext());
  SmallVector<Value> ends;
  for (const Range &range : ranges)
    ends.push_back(getValueOrCreateConstantIndexOp(rewriter, loc, range.size));
  Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
  for (unsigned i = 0; i < 4; ++i) {
    Value from = zero;
    if (i == 3) {
      Value first = cast<Value>(header.tileOffset[2]);
      Value rows =
          getValueOrCreateConstantIndexOp(rewriter, loc, header.tileSizes[2]);
      Value last = arith::AddIOp::create(rewriter, loc, first, rows);
      std::tie(from, ends[3]) =
          op.emitKeyRange(rewriter, loc, cast<Value>(header.tileOffset[0]),
                          cast<Value>(header.tileOffset[1]), first, last);
    }
    Value step = getValueOrCreateConstantIndexOp(rewriter, loc, steps[i]);
    auto loop = scf::ForOp::create(rewriter, loc, from, ends[i], step, state);
    rewriter.setInsertionPointToEnd(loop.getBody());
    state.assign(loop.getRegionIterArgs().begin(),
                 loop.getRegionIterArgs().end());
    Value iv = loop.getInductionVar();
    header.loops.push_back(cast<LoopLikeOpInterface>(loop.getOperation()));
    header.tileOffset.push_back(iv);
    header.tileSizes.push_back(
        isConstantIntValue(steps[i], 1)
            ? steps[i]
            : affine::makeComposedFoldedAffineMin(
                  rewriter, loc, rest,
                  {steps[i], OpFoldResult(iv), OpFoldResult(ends[i])}));
  }
  header.destinationTensors = state;
  return header;
}

/// Puts the innermost tile's state back and hands it outwards.
LogicalResult emitYields(RewriterBase &rewriter, Location loc,
                         ArrayRef<LoopLikeOpInterface> loops,
                         ValueRange results,
                         ArrayRef<SmallVector<OpFoldResult>> offsets,
                         ArrayRef<SmallVector<OpFoldResult>> sizes,
                         ValueRange destinations) {
  SmallVector<Value> state;
  for (auto [result, from, many, whole] :
       llvm::zip_equal(results, offsets, sizes, destinations)) {
    SmallVector<OpFoldResult> strides(from.size(), rewriter.getIndexAttr(1));
    state.push_back(tensor::InsertSliceOp::create(rewriter, loc, result, whole,
                                                  from, many, strides));
  }
  for (LoopLikeOpInterface loop : llvm::reverse(loops)) {
    rewriter.setInsertionPointToEnd(
        cast<scf::ForOp>(loop.getOperation()).getBody());
    scf::YieldOp::create(rewriter, loc, state);
    state.assign(loop->result_begin(), loop->result_end());
  }
  return success();
}

struct TileAttention : impl::TileAttentionPassBase<TileAttention> {
  using TileAttentionPassBase::TileAttentionPassBase;

  void runOnOperation() override {
    if (queryTile < 1 || keyTile < 1) {
      getOperation()->emitError("expected query-tile and key-tile of at least "
                                "1, but got ")
          << int64_t(queryTile) << " and " << int64_t(keyTile);
      return signalPassFailure();
    }
    SmallVector<OnlineAttentionOp> ops;
    getOperation()->walk([&](OnlineAttentionOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (OnlineAttentionOp op : ops) {
      if (!op.hasPureTensorSemantics()) {
        op.emitOpError("expected tensors; tile before bufferization");
        return signalPassFailure();
      }
      if (failed(tile(op, rewriter)))
        return signalPassFailure();
    }
  }

  LogicalResult tile(OnlineAttentionOp op, IRRewriter &rewriter) {
    rewriter.setInsertionPoint(op);
    scf::SCFTilingOptions options;
    OpFoldResult one = rewriter.getIndexAttr(1);
    options.setTileSizes({one, one, rewriter.getIndexAttr(queryTile),
                          rewriter.getIndexAttr(keyTile)});
    options.setLoopType(scf::SCFTilingOptions::LoopType::CustomOp);
    auto header = [op](RewriterBase &rewriter, Location loc,
                       ArrayRef<Range> ranges, ArrayRef<OpFoldResult> steps,
                       ValueRange destinations) {
      return emitLoops(op, rewriter, loc, ranges, steps, destinations);
    };
    options.setCustomLoopGenerationFns(header, emitYields);
    FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
        rewriter, cast<TilingInterface>(op.getOperation()), options);
    if (failed(tiled))
      return op.emitOpError("cannot be tiled");
    rewriter.replaceOp(op, tiled->replacements);
    ++numTiled;
    return success();
  }
};
} // namespace
} // namespace mlir::megactx
