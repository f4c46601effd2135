//===- DecomposePatterns.cpp - from patterns to pieces --------------------===//
//
// Each source's pattern becomes disjoint pieces; pieces whose rows are seen
// alike go into one fused op, further ones accumulate onto its result.
//
//===----------------------------------------------------------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_DECOMPOSEPATTERNSPASS
#include "megactx/Transforms/Passes.h.inc"

using pattern::Digits;
using pattern::Expr;
using pattern::Piece;

namespace {
/// Whether the rows of two pieces fall into the same classes.
bool sameQueryView(const Piece &a, const Piece &b) {
  if (a.digits.hasOneView() || b.digits.hasOneView())
    return a.digits.hasOneView() && b.digits.hasOneView();
  if (a.digits.period != b.digits.period ||
      a.digits.classes.size() != b.digits.classes.size())
    return false;
  for (auto [x, y] : llvm::zip(a.digits.classes, b.digits.classes))
    if (x.queries != y.queries)
      return false;
  return true;
}

/// The tensor with what is known of its shape: casts only forget.
Value withoutCasts(Value value) {
  while (auto cast = value.getDefiningOp<tensor::CastOp>()) {
    auto from = dyn_cast<RankedTensorType>(cast.getSource().getType());
    auto to = cast.getType();
    if (!from || !tensor::preservesStaticInformation(to, from))
      break;
    value = cast.getSource();
  }
  return value;
}

/// Residues as a condition per element, for steps whose rows have no view.
void digitsToTest(Piece &piece) {
  if (piece.digits.isIdentity())
    return;
  Expr p = Expr::position().mod(piece.digits.period);
  Expr k = Expr::key().mod(piece.digits.period);
  Expr test = Expr::constant(0);
  for (const Digits::Class &c : piece.digits.classes)
    test = test || (Expr::in(p, c.queries) && Expr::in(k, c.keys));
  piece.test = piece.test && test;
  piece.digits = Digits();
}

struct DecomposePatterns : impl::DecomposePatternsPassBase<DecomposePatterns> {
  void runOnOperation() override {
    SmallVector<AttentionOp> attentions;
    getOperation()->walk([&](AttentionOp op) { attentions.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (AttentionOp op : attentions)
      if (failed(decompose(op, rewriter)))
        return signalPassFailure();
  }

  using Group = SmallVector<Piece>;

  FailureOr<SmallVector<Group>> groupsOf(AttentionOp op, SourceOp source) {
    std::string error;
    auto pieces = expand(
        source.getPattern().getPattern().formula(source.getKeyStep()), error);
    if (!pieces)
      return source.emitOpError(error), failure();
    // A pattern that selects nothing still writes its rows.
    if (pieces->empty()) {
      Piece nothing;
      nothing.rowBegin = nothing.rowEnd = 0;
      pieces->push_back(nothing);
    }
    SmallVector<Group> groups;
    for (Piece &piece : *pieces) {
      if (op.getQueryStep() != 1 || source.getKeyStep() != 1)
        digitsToTest(piece);
      if (usesOperand(piece))
        return source.emitOpError("'segments' needs segment ids, which "
                                  "this source does not have"),
               failure();
      ++numPieces;
      auto *group = llvm::find_if(groups, [&](const Group &g) {
        return sameQueryView(g.front(), piece);
      });
      // All rows first: what follows accumulates on rows that are written.
      if (group != groups.end())
        group->push_back(piece);
      else if (piece.digits.hasOneView())
        groups.insert(groups.begin(), {piece});
      else
        groups.push_back({piece});
    }
    return groups;
  }

  static bool usesOperand(const Piece &piece) {
    return piece.test && piece.test.uses(Expr::Kind::Operand);
  }

  LogicalResult decompose(AttentionOp op, IRRewriter &rewriter) {
    rewriter.setInsertionPoint(op);
    Location loc = op.getLoc();
    Value query = withoutCasts(op.getQuery());
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(rewriter, loc, query);
    auto first = op.getSources().front().getDefiningOp<SourceOp>();
    if (!first)
      return op.emitOpError("expected sources made by megactx.source");
    SmallVector<OpFoldResult> lseSizes(ArrayRef(sizes).take_front(3));
    sizes[3] =
        tensor::getMixedSize(rewriter, loc, withoutCasts(first.getValue()), 3);
    Type element = op.getOut().getType().getElementType();
    Value out = tensor::EmptyOp::create(rewriter, loc, sizes, element);
    Value lse =
        tensor::EmptyOp::create(rewriter, loc, lseSizes, rewriter.getF32Type());
    bool accumulate = false;
    for (Value operand : op.getSources()) {
      auto source = operand.getDefiningOp<SourceOp>();
      if (!source)
        return op.emitOpError("expected sources made by megactx.source");
      FailureOr<SmallVector<Group>> groups = groupsOf(op, source);
      if (failed(groups))
        return failure();
      for (const Group &group : *groups) {
        SmallVector<Attribute> pieces;
        for (const Piece &piece : group)
          pieces.push_back(PieceAttr::get(&getContext(), piece));
        auto fused = FusedAttentionOp::create(
            rewriter, loc, TypeRange{out.getType(), lse.getType()}, query,
            withoutCasts(source.getKey()), withoutCasts(source.getValue()),
            source.getBias(), source.getLengths(), op.getOffset(),
            source.getOffset(), out, lse, rewriter.getArrayAttr(pieces),
            op.getScaleAttr(), op.getSoftcapAttr(), op.getQueryStepAttr(),
            source.getKeyStepAttr(),
            accumulate ? rewriter.getUnitAttr() : UnitAttr());
        out = fused.getResult(0);
        lse = fused.getResult(1);
        accumulate = true;
        ++numFused;
      }
    }
    if (out.getType() != op.getOut().getType())
      out = tensor::CastOp::create(rewriter, loc, op.getOut().getType(), out);
    SmallVector<Value> results = {out};
    if (op.getLse()) {
      if (lse.getType() != op.getLse().getType())
        lse = tensor::CastOp::create(rewriter, loc, op.getLse().getType(), lse);
      results.push_back(lse);
    }
    SmallVector<Value> sources(op.getSources());
    rewriter.replaceOp(op, results);
    for (Value source : sources)
      if (source.use_empty() && source.getDefiningOp())
        rewriter.eraseOp(source.getDefiningOp());
    return success();
  }
};
} // namespace
} // namespace mlir::megactx
