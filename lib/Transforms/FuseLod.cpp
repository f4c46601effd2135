//===- FuseLod.cpp - gists and rotary embedding with their attention ------===//

#include "Rotations.h"
#include "RowBlocks.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSELODPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
remark::RemarkOpts remarkOf(Operation *op, StringRef name) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function)
    function = op->getParentOfType<FunctionOpInterface>();
  return remark::RemarkOpts::name(name)
      .category("fuse-lod")
      .function(function ? function.getName() : StringRef());
}

std::string text(Type type) {
  std::string result;
  llvm::raw_string_ostream(result) << type;
  return result;
}

/// Gists of a block: those of so many rows, of all heads and batch rows of the
/// attention, but at least one.
OpFoldResult gistsOfBlock(ImplicitLocOpBuilder &b, RowBlocks &blocks,
                          int64_t rows, int64_t ratio) {
  Value query = blocks.getQuery();
  AffineExpr batch, heads;
  bindSymbols(b.getContext(), batch, heads);
  AffineMap counts = AffineMap::get(
      0, 2, {batch * heads, b.getAffineConstantExpr(1)}, b.getContext());
  OpFoldResult count = affine::makeComposedFoldedAffineMax(
      b, b.getLoc(), counts,
      {blocks.sizeOf(b, query, 0), blocks.sizeOf(b, query, 1)});
  if (auto known = getConstantIntValue(count))
    return b.getIndexAttr(
        std::max<int64_t>(1, rows / std::max<int64_t>(1, *known) / ratio));
  Value gists = arith::DivUIOp::create(
      b, arith::ConstantIndexOp::create(b, rows / ratio), cast<Value>(count));
  return arith::MaxUIOp::create(b, gists, arith::ConstantIndexOp::create(b, 1))
      .getResult();
}

/// The pooling as a loop over blocks of gists, its input's rows computed block
/// by block.
Value emitBlocks(GistPoolOp pool, RowBlocks &rows, OpFoldResult gists,
                 RewriterBase &rewriter) {
  ImplicitLocOpBuilder b(pool.getLoc(), rewriter);
  auto index = [&](OpFoldResult value) {
    return getValueOrCreateConstantIndexOp(b, b.getLoc(), value);
  };
  Value ratio = arith::ConstantIndexOp::create(b, pool.getRatio());
  SmallVector<OpFoldResult> sizes;
  for (int64_t i = 0; i < 3; ++i)
    sizes.push_back(rows.sizeOf(b, pool.getInput(), i));
  Value all = arith::DivUIOp::create(b, index(sizes[1]), ratio);
  Value zero = arith::ConstantIndexOp::create(b, 0), step = index(gists);
  int64_t known = pool.getResult().getType().getDimSize(1);
  sizes[1] = ShapedType::isDynamic(known) ? OpFoldResult(all)
                                          : OpFoldResult(b.getIndexAttr(known));
  Value empty = tensor::EmptyOp::create(
      b, sizes, pool.getResult().getType().getElementType());
  auto loop = scf::ForOp::create(
      b, zero, all, step, empty,
      [&](OpBuilder &nested, Location loc, Value first, ValueRange made) {
        ImplicitLocOpBuilder in(loc, nested);
        Value left = arith::SubIOp::create(in, all, first);
        Value count = arith::MinSIOp::create(in, left, step);
        Value input = rows.emit(in, arith::MulIOp::create(in, first, ratio),
                                arith::MulIOp::create(in, count, ratio));
        Value pooled =
            GistPoolOp::create(in, pool.getKindAttr(), input, pool.getWeight(),
                               pool.getRatioAttr());
        SmallVector<OpFoldResult> offsets(3, in.getIndexAttr(0)),
            strides(3, in.getIndexAttr(1)), part(sizes);
        offsets[1] = first;
        part[1] = tensor::getMixedSize(in, loc, pooled, 1);
        Value next = tensor::InsertSliceOp::create(in, pooled, made[0], offsets,
                                                   part, strides);
        scf::YieldOp::create(in, next);
      });
  Value result = loop.getResult(0);
  if (result.getType() != pool.getResult().getType())
    result = tensor::CastOp::create(b, pool.getResult().getType(), result);
  return result;
}

struct FuseLod : impl::FuseLodPassBase<FuseLod> {
  using FuseLodPassBase::FuseLodPassBase;

  void runOnOperation() override {
    if (rows < 0) {
      getOperation()->emitError("expected rows of at least 0, but got ")
          << rows.getValue();
      return signalPassFailure();
    }
    IRRewriter rewriter(&getContext());
    SmallVector<Block *> blocks;
    getOperation()->walk([&](Block *block) { blocks.push_back(block); });
    for (Block *block : blocks)
      rotations(*block, rewriter);
    if (rows == 0)
      return;
    SmallVector<GistPoolOp> pools;
    getOperation()->walk([&](GistPoolOp op) { pools.push_back(op); });
    for (GistPoolOp pool : pools)
      fuse(pool, rewriter);
  }

  void rotations(Block &block, IRRewriter &rewriter) {
    Operation *parent = block.getParentOp();
    auto fused = [&](Location loc, RankedTensorType type, int64_t ops) {
      remark::passed(loc, remarkOf(parent, "rotation-fused")) << remark::add(
          "{0} in one pass, which were {1} operations", text(type), ops);
      ++numRotations;
    };
    auto missed = [&](Location loc, StringRef why) {
      remark::missed(loc, remarkOf(parent, "rotation-not-fused"))
          << remark::reason("{0}", why);
      ++numRotationsLeft;
    };
    fuseRotations(block, rewriter, {fused, missed});
  }

  void missed(GistPoolOp pool, StringRef why) {
    remark::missed(pool.getLoc(), remarkOf(pool, "pooling-not-fused"))
        << remark::reason("{0}", why);
    ++numPoolingsLeft;
  }

  void fuse(GistPoolOp pool, IRRewriter &rewriter) {
    RowBlocks blocks(pool.getInputMutable(), 1);
    if (!blocks.hasAttention()) {
      if (!blocks.whyNot().empty())
        missed(pool, blocks.whyNot());
      return;
    }
    rewriter.setInsertionPoint(pool);
    ImplicitLocOpBuilder b(pool.getLoc(), rewriter);
    RankedTensorType input = pool.getInput().getType();
    OpFoldResult gists = gistsOfBlock(b, blocks, rows, pool.getRatio());
    std::optional<int64_t> most = getConstantIntValue(gists);
    if (most && !input.isDynamicDim(1) &&
        input.getDimSize(1) / int64_t(pool.getRatio()) <= *most)
      return missed(pool, "its rows are one block");
    remark::passed(pool.getLoc(), remarkOf(pool, "pooling-fused"))
        << remark::add("{0} is never whole: from attention to gists, {1} rows "
                       "of all heads at a time",
                       text(input), rows.getValue());
    rewriter.replaceOp(pool, emitBlocks(pool, blocks, gists, rewriter));
    blocks.erase(rewriter);
    ++numPoolings;
  }
};
} // namespace
} // namespace mlir::megactx
