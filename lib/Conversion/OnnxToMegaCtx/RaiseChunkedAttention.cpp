//===- RaiseChunkedAttention.cpp - attention spelled out in chunks --------===//
//
// Scores that are cut out of products of overlapping chunks and moved to where
// a Softmax wants them, beside others maybe: of keys that all queries see. Each
// part of the Softmax's row is a source of one attention.
//
//===----------------------------------------------------------------------===//

#include "ChunkedParts.h"
#include "Heads.h"
#include "Masks.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
class ChunkedRaiser {
public:
  ChunkedRaiser(Operation *softmax, MaskCounts &counts)
      : softmax(softmax), b(softmax->getLoc(), softmax), counts(counts),
        masks(softmax->getContext()), positions(masks.getPositions()),
        values(masks.getValues()), traced(softmax, positions, values) {}

  /// Empty on success, else the reason why this Softmax is no such attention;
  /// nothing where it is between other things than products of chunks.
  std::optional<std::string> run();

private:
  Value sourceOf(Part &part, Value rows, std::string &reason);
  void replaceSum(AttentionOp attention);
  std::string build();

  Operation *softmax;
  ImplicitLocOpBuilder b;
  MaskCounts &counts;
  Masks masks;
  Positions &positions;
  ElementValues &values;
  ChunkedParts traced;
  std::string patterns; ///< for users
};
} // namespace

Value ChunkedRaiser::sourceOf(Part &part, Value rows, std::string &reason) {
  AffineExpr at = positions.variable(kKey), place = at + part.shift;
  traced.know(Condition::within(at, part.keys));
  auto pattern = patternOf(positions.simplify(part.isInside(place)), positions);
  if (!pattern) {
    reason = "no pattern says which keys its queries see";
    return {};
  }
  Value key = part.key.emit(b), value = part.value.emit(b);
  StringRef kind = kindOf(rows, key, value);
  part.isSelf = part.keys == traced.sizes[2] &&
                kindByRows(softmax, kind, rows, key) == "self";
  masks.setOperands(rows, key, part.isSelf);
  for (const Term &term : part.terms)
    if (!masks.isPlaced(term)) {
      reason = "it is not known which scores " + describe(term.value) +
               " is added to";
      return {};
    }
  SmallVector<Value> biases = masks.biasesOf(b, part.terms, *pattern, counts);
  counts.patterns += !pattern->isDense();
  bool isEverywhere =
      traced.parts.size() > 1 && !part.isSelf && pattern->isDense();
  patterns += (patterns.empty() ? "" : ", ") + pattern->str();
  return SourceOp::create(
      b,
      SourceType::get(b.getContext(), cast<RankedTensorType>(key.getType()),
                      cast<RankedTensorType>(value.getType())),
      key, value, biases, /*lengths=*/Value(), /*segments=*/Value(),
      /*offset=*/Value(), /*positions=*/Value(),
      PatternAttr::get(b.getContext(), *pattern), b.getI64IntegerAttr(1),
      isEverywhere ? b.getUnitAttr() : UnitAttr());
}

/// Brings [B, H, N, D] to the form of the sum.
void ChunkedRaiser::replaceSum(AttentionOp attention) {
  Value out = attention.getOut(), old = traced.products.sum;
  if (!traced.parts[0].hasWeights.isTrue())
    out = masks.withRowsWhere(b, out, traced.parts[0].hasWeights);
  SmallVector<int64_t> perm(traced.order.begin(), traced.order.end()), shape;
  perm.push_back(3);
  out = transposed(b, out, perm);
  for (AffineExpr size : values.shape(old)) {
    auto number = dyn_cast<AffineConstantExpr>(size);
    shape.push_back(number ? number.getValue() : -1);
  }
  out = withElementType(b, out, getElementTypeOrSelf(old.getType()));
  out = createNode(b, "Reshape", {out, integerList(b, shape)}, old.getType());
  old.replaceAllUsesWith(out);
}

std::string ChunkedRaiser::build() {
  b.setInsertionPoint(traced.products.sum.getDefiningOp());
  Value rows = traced.query.emit(b);
  SmallVector<Value> sources;
  std::string reason;
  for (Part &part : traced.parts) {
    Value source = sourceOf(part, rows, reason);
    if (!source)
      return reason;
    sources.push_back(source);
  }
  auto type = cast<RankedTensorType>(rows.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[3] = cast<SourceType>(sources[0].getType()).getValue().getDimSize(3);
  bool isSelf =
      llvm::any_of(traced.parts, [](const Part &p) { return p.isSelf; });
  auto attention = AttentionOp::create(
      b, type.clone(shape), Type(), rows, sources, /*offset=*/Value(),
      /*positions=*/Value(), b.getF32FloatAttr(1.0), FloatAttr(),
      b.getI64IntegerAttr(1), b.getStringAttr(isSelf ? "self" : "cross"));
  replaceSum(attention);
  giveSizes(traced.products, softmax, values, positions);
  passed(softmax, kAttentionRaised) << remark::add("{0}", patterns);
  return "";
}

std::optional<std::string> ChunkedRaiser::run() {
  auto reason = traced.trace();
  return reason && reason->empty() ? build() : reason;
}

std::optional<std::string>
mlir::megactx::raise::raiseChunkedAttention(Operation *softmax,
                                            MaskCounts &counts) {
  return ChunkedRaiser(softmax, counts).run();
}
