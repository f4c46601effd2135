//===- DecomposeBackward.cpp - gradients from patterns to pieces ----------===//
//
// Each piece of each source's pattern becomes a link of gradients; links add up
// in f32, whatever the operands' element type.
//
//===----------------------------------------------------------------------===//

#include "DecomposePatterns.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace mlir::megactx;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();

namespace {
class Backward {
public:
  Backward(AttentionBackwardOp op, RewriterBase &rewriter)
      : op(op), rewriter(rewriter), b(op.getLoc(), rewriter) {}

  FailureOr<unsigned> run();

private:
  SmallVector<OpFoldResult> sizesOf(Value tensor) {
    return tensor::getMixedSizes(b, b.getLoc(), tensor);
  }
  Value zeros(ArrayRef<OpFoldResult> sizes) {
    return b.filled(sizes, number(b, 0.0f));
  }
  static Value number(Emitter &in, float value) {
    return arith::ConstantOp::create(in, in.getF32FloatAttr(value));
  }
  /// Of a row, by its log-sum-exp.
  static Value isWithoutKeys(Emitter &in, Value lse) {
    return arith::CmpFOp::create(in, arith::CmpFPredicate::OEQ, lse,
                                 number(in, -kInfinity));
  }
  Value delta();
  Value knownLse();
  unsigned links(const SourcePieces &source);
  Value finished(Value sum, Type type);

  AttentionBackwardOp op;
  RewriterBase &rewriter;
  Emitter b;
  Value query, lse, rowDelta;
  Value dq;
  SmallVector<Value> dkv, dbiases; ///< of all sources so far
};
} // namespace

/// <dout, out> - dlse of each row; of one without keys, whose weights are 0,
/// not what dlse may be there.
Value Backward::delta() {
  Value out = withoutCasts(op.getOut()), dout = withoutCasts(op.getDout());
  Value init = zeros(ArrayRef(sizesOf(query)).take_front(3));
  Value sum =
      emitGeneric(b, {out, dout}, init, {{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2}},
                  [](Emitter &in, ValueRange x) -> Value {
                    Value product = arith::MulFOp::create(in, in.toF32(x[0]),
                                                          in.toF32(x[1]));
                    return arith::AddFOp::create(in, x[2], product);
                  });
  if (!op.getDlse())
    return sum;
  return emitGeneric(b, {withoutCasts(op.getDlse()), withoutCasts(op.getLse())},
                     sum, {{0, 1, 2}, {0, 1, 2}, {0, 1, 2}},
                     [](Emitter &in, ValueRange x) -> Value {
                       Value less = arith::SubFOp::create(in, x[2], x[0]);
                       return in.select(isWithoutKeys(in, x[1]), x[2], less);
                     });
}

/// Plus infinity for rows without keys, whose weights are then 0.
Value Backward::knownLse() {
  Value given = withoutCasts(op.getLse());
  Value init = tensor::EmptyOp::create(b, sizesOf(given), b.getF32Type());
  return emitGeneric(
      b, given, init, {{0, 1, 2}, {0, 1, 2}}, [](Emitter &in, ValueRange x) {
        return in.select(isWithoutKeys(in, x[0]), number(in, kInfinity), x[0]);
      });
}

/// The links of one source; their sums are added to those of all sources.
unsigned Backward::links(const SourcePieces &of) {
  SourceOp source = of.source;
  Value key = withoutCasts(source.getKey()),
        value = withoutCasts(source.getValue());
  SmallVector<Value> sums = {dq, zeros(sizesOf(key)), zeros(sizesOf(value))};
  if (op.getBiasGradients())
    for (Value bias : source.getBiases())
      sums.push_back(zeros(sizesOf(bias)));
  for (const pattern::Piece &piece : of.pieces) {
    auto link = OnlineAttentionBackwardOp::create(
        b, TypeRange(ValueRange(sums)), query, key, value, source.getBiases(),
        source.getLengths(), of.segmentBounds, op.getOffset(),
        source.getOffset(), op.getPositions(), source.getPositions(), lse,
        rowDelta, withoutCasts(op.getDout()), sums[0], sums[1], sums[2],
        ValueRange(sums).drop_front(3), PieceAttr::get(op.getContext(), piece),
        op.getScaleAttr(), op.getSoftcapAttr(), op.getQueryStepAttr(),
        source.getKeyStepAttr());
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
    Value init =
        tensor::EmptyOp::create(b, sizesOf(sum), wanted.getElementType());
    sum = emitGeneric(b, sum, init, {{0, 1, 2, 3}, {0, 1, 2, 3}},
                      [](Emitter &in, ValueRange x) {
                        return in.fromF32(x[0], x[1].getType());
                      });
  }
  if (sum.getType() == wanted)
    return sum;
  return tensor::CastOp::create(b, wanted, sum);
}

FailureOr<unsigned> Backward::run() {
  rewriter.setInsertionPoint(op);
  b.setInsertionPoint(op);
  FailureOr<SmallVector<SourcePieces>> sources = decomposeSources(op, rewriter);
  if (failed(sources))
    return failure();
  query = withoutCasts(op.getQuery());
  lse = knownLse();
  rowDelta = delta();
  dq = zeros(sizesOf(query));
  unsigned count = 0;
  for (const SourcePieces &source : *sources)
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
