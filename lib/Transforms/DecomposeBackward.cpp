//===- DecomposeBackward.cpp - gradients from patterns to pieces ----------===//
//
// Each piece of each source's pattern becomes a link of gradients; links add up
// in f32, whatever the operands' element type.
//
//===----------------------------------------------------------------------===//

#include "DecomposePatterns.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace mlir::megactx;

/// linalg.generic whose first `rank` dims are those of the init, others
/// reduced; each input has the dims that its own rank counts.
static Value
emitRows(RewriterBase &rewriter, Location loc, ValueRange inputs, Value init,
         function_ref<Value(OpBuilder &, Location, ValueRange)> body) {
  auto rankOf = [](Value x) { return cast<ShapedType>(x.getType()).getRank(); };
  int64_t dims = rankOf(init);
  for (Value input : inputs)
    dims = std::max(dims, rankOf(input));
  SmallVector<AffineMap> maps;
  for (Value input : inputs)
    maps.push_back(
        AffineMap::getMultiDimIdentityMap(dims, rewriter.getContext())
            .getMajorSubMap(rankOf(input)));
  maps.push_back(AffineMap::getMultiDimIdentityMap(dims, rewriter.getContext())
                     .getMajorSubMap(rankOf(init)));
  SmallVector<utils::IteratorType> kinds(dims, utils::IteratorType::reduction);
  std::fill_n(kinds.begin(), rankOf(init), utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             rewriter, loc, init.getType(), inputs, init, maps, kinds,
             [&](OpBuilder &b, Location loc, ValueRange x) {
               linalg::YieldOp::create(b, loc, body(b, loc, x));
             })
      .getResult(0);
}

namespace {
class Backward {
public:
  Backward(AttentionBackwardOp op, RewriterBase &rewriter)
      : op(op), rewriter(rewriter), loc(op.getLoc()) {}

  FailureOr<unsigned> run();

private:
  Value zerosLike(Value of) {
    return filled(rewriter, loc, tensor::getMixedSizes(rewriter, loc, of),
                  0.0f);
  }
  Value delta();
  Value knownLse();
  unsigned links(const SourcePieces &source);
  Value finished(Value sum, Type type);

  AttentionBackwardOp op;
  RewriterBase &rewriter;
  Location loc;
  Value query, lse, rowDelta;
  Value dq;
  SmallVector<Value> dkv, dbiases; ///< of all sources so far
};
} // namespace

/// <dout, out> - dlse of each row.
Value Backward::delta() {
  Value out = withoutCasts(op.getOut()), dout = withoutCasts(op.getDout());
  Value init = filled(
      rewriter, loc,
      ArrayRef(tensor::getMixedSizes(rewriter, loc, query)).take_front(3),
      0.0f);
  auto wide = [](OpBuilder &b, Location loc, Value x) -> Value {
    if (x.getType().isF32())
      return x;
    return arith::ExtFOp::create(b, loc, b.getF32Type(), x);
  };
  Value sum = emitRows(rewriter, loc, {out, dout}, init,
                       [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
                         Value product = arith::MulFOp::create(
                             b, loc, wide(b, loc, x[0]), wide(b, loc, x[1]));
                         return arith::AddFOp::create(b, loc, x[2], product);
                       });
  if (!op.getDlse())
    return sum;
  return emitRows(rewriter, loc, withoutCasts(op.getDlse()), sum,
                  [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                    return arith::SubFOp::create(b, loc, x[1], x[0]);
                  });
}

/// Plus infinity for rows without keys, whose weights are then 0.
Value Backward::knownLse() {
  Value given = withoutCasts(op.getLse());
  Value init = tensor::EmptyOp::create(
      rewriter, loc, tensor::getMixedSizes(rewriter, loc, given),
      rewriter.getF32Type());
  return emitRows(
      rewriter, loc, given, init,
      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        auto number = [&](float value) -> Value {
          return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
        };
        constexpr float infinity = std::numeric_limits<float>::infinity();
        Value none = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ,
                                           x[0], number(-infinity));
        return arith::SelectOp::create(b, loc, none, number(infinity), x[0]);
      });
}

/// The links of one source; their sums are added to those of all sources.
unsigned Backward::links(const SourcePieces &of) {
  SourceOp source = of.source;
  Value key = withoutCasts(source.getKey()),
        value = withoutCasts(source.getValue());
  SmallVector<Value> sums = {dq, zerosLike(key), zerosLike(value)};
  if (op.getBiasGradients())
    for (Value bias : source.getBiases())
      sums.push_back(zerosLike(bias));
  for (const pattern::Piece &piece : of.pieces) {
    auto link = OnlineAttentionBackwardOp::create(
        rewriter, loc, TypeRange(ValueRange(sums)), query, key, value,
        source.getBiases(), source.getLengths(), of.segmentBounds,
        op.getOffset(), source.getOffset(), op.getPositions(),
        source.getPositions(), lse, rowDelta, withoutCasts(op.getDout()),
        sums[0], sums[1], sums[2], ValueRange(sums).drop_front(3),
        PieceAttr::get(op.getContext(), piece), op.getScaleAttr(),
        op.getSoftcapAttr(), op.getQueryStepAttr(), source.getKeyStepAttr());
    sums.assign(link->result_begin(), link->result_end());
  }
  dq = sums[0];
  dkv.append({sums[1], sums[2]});
  dbiases.append(sums.begin() + 3, sums.end());
  return of.pieces.size();
}

/// A sum as the gradient's type.
Value Backward::finished(Value sum, Type type) {
  auto wanted = cast<RankedTensorType>(type);
  if (!wanted.getElementType().isF32()) {
    Value init = tensor::EmptyOp::create(
        rewriter, loc, tensor::getMixedSizes(rewriter, loc, sum),
        wanted.getElementType());
    sum =
        emitRows(rewriter, loc, sum, init,
                 [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                   return arith::TruncFOp::create(b, loc, x[1].getType(), x[0]);
                 });
  }
  if (sum.getType() == wanted)
    return sum;
  return tensor::CastOp::create(rewriter, loc, wanted, sum);
}

FailureOr<unsigned> Backward::run() {
  rewriter.setInsertionPoint(op);
  SmallVector<SourcePieces> sources;
  for (Value operand : op.getSources()) {
    FailureOr<SourcePieces> source = decomposeSource(op, operand, rewriter);
    if (failed(source))
      return failure();
    sources.push_back(*source);
  }
  emitCheckSizes(rewriter, op);
  query = withoutCasts(op.getQuery());
  lse = knownLse();
  rowDelta = delta();
  dq = zerosLike(query);
  unsigned count = 0;
  for (const SourcePieces &source : sources)
    count += links(source);
  SmallVector<Value> sums = {dq};
  sums.append(dkv);
  sums.append(dbiases);
  SmallVector<Value> results;
  for (auto [sum, type] : llvm::zip_equal(sums, op.getResultTypes()))
    results.push_back(finished(sum, type));
  SmallVector<Value> operands(op.getSources());
  rewriter.replaceOp(op, results);
  eraseUnused(operands, rewriter);
  return count;
}

FailureOr<unsigned> mlir::megactx::decomposeBackward(AttentionBackwardOp op,
                                                     RewriterBase &rewriter) {
  return Backward(op, rewriter).run();
}
