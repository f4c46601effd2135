//===- RaiseAttentionOp.cpp - ONNX's own Attention ------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
/// The node's operands by number.
enum { kMask = 3, kPastKey = 4, kPastValue = 5, kLengths = 6 };

class OperatorRaiser {
public:
  OperatorRaiser(Operation *op, MaskCounts &counts)
      : op(op), b(op->getLoc(), op), counts(counts), masks(op->getContext()) {}

  std::string run();

private:
  std::string check();
  Value headsOf(unsigned i, StringRef attr) {
    return typeAt(i).getRank() == 4
               ? op->getOperand(i)
               : splitHeads(b, op->getOperand(i), integerAttr(op, attr, 0));
  }
  Value withPast(unsigned past, Value own);
  Value widened(Value mask);
  Term readMask();
  Value readLengths();
  pattern::Pattern readPattern();
  Value offsetOf();
  void build();

  RankedTensorType typeAt(unsigned i) const {
    return cast<RankedTensorType>(op->getOperand(i).getType());
  }

  Operation *op;
  ImplicitLocOpBuilder b;
  MaskCounts &counts;
  Masks masks;
  Value query, key, value;
  float scale = 0;
};
} // namespace

std::string OperatorRaiser::check() {
  if (op->getNumResults() > 3 && !op->getResult(3).use_empty())
    return "its scores are an output";
  int64_t rank = rankOf(op->getOperand(0));
  for (unsigned i : {0, 1, 2})
    if (rankOf(op->getOperand(i)) != rank || (rank != 3 && rank != 4))
      return "its operands have no known rank 3 or 4";
  Type element = typeAt(0).getElementType();
  for (unsigned i : {0, 1, 2})
    if (typeAt(i).getElementType() != element ||
        (!element.isF32() && !element.isF16() && !element.isBF16()))
      return "its element types are not all f32, f16 or bf16";
  if (rank == 3)
    for (StringRef attr : {"q_num_heads", "kv_num_heads"})
      if (integerAttr(op, attr, 0) <= 0)
        return "it has heads folded into the last dim and no " + attr.str();
  for (unsigned i : {kPastKey, kPastValue})
    if (hasOperand(op, kPastKey) != hasOperand(op, i) ||
        (hasOperand(op, i) && rankOf(op->getOperand(i)) != 4))
      return "its cache has no known rank 4";
  int64_t maskRank = hasOperand(op, kMask) ? rankOf(op->getOperand(kMask)) : 2;
  if (maskRank < 1 || maskRank > 4)
    return "its mask has no known rank from 1 to 4";
  for (StringRef attr : {"left_window_size", "right_window_size"})
    if (integerAttr(op, attr, -1) < -1)
      return "its " + attr.str() + " is below -1";
  if (hasOperand(op, kLengths) && hasOperand(op, kPastKey))
    return "it has lengths beside a cache of its own";
  if (hasOperand(op, kLengths) &&
      (rankOf(op->getOperand(kLengths)) != 1 ||
       !typeAt(kLengths).getElementType().isInteger(64)))
    return "its lengths are no list of i64";
  return "";
}

Value OperatorRaiser::withPast(unsigned past, Value own) {
  if (!hasOperand(op, past))
    return own;
  auto type = cast<RankedTensorType>(own.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[2] = type.isDynamicDim(2) || typeAt(past).isDynamicDim(2)
                 ? ShapedType::kDynamic
                 : shape[2] + typeAt(past).getDimSize(2);
  return createNode(b, "Concat", {op->getOperand(past), own}, type.clone(shape),
                    {b.getNamedAttr("axis", b.getI64IntegerAttr(2))});
}

/// A mask for the first keys only hides the others.
Value OperatorRaiser::widened(Value mask) {
  auto type = cast<RankedTensorType>(mask.getType());
  int64_t last = type.getRank() - 1,
          keys = cast<RankedTensorType>(key.getType()).getDimSize(2);
  int64_t width = type.getDimSize(last);
  if (ShapedType::isDynamic(keys) || !type.hasStaticShape() || width >= keys ||
      width == 1)
    return mask;
  Type element = type.getElementType();
  SmallVector<int64_t> shape(type.getShape());
  shape[last] = keys - width;
  RankedTensorType rest = type.clone(shape);
  Attribute hidden = b.getZeroAttr(element);
  if (auto real = dyn_cast<FloatType>(element))
    hidden = b.getFloatAttr(
        real, APFloat::getInf(real.getFloatSemantics(), /*Negative=*/true));
  Value fill = onnx::InitializerOp::create(
      b, rest, DenseElementsAttr::get(rest, hidden));
  shape[last] = keys;
  return createNode(b, "Concat", {mask, fill}, type.clone(shape),
                    {b.getNamedAttr("axis", b.getI64IntegerAttr(last))});
}

Term OperatorRaiser::readMask() {
  Value mask = widened(op->getOperand(kMask));
  if (!typeAt(kMask).getElementType().isInteger(1))
    return {mask, Value(), false, op};
  auto scalar = RankedTensorType::get({}, b.getF32Type());
  Value hidden = onnx::InitializerOp::create(
      b, scalar,
      DenseElementsAttr::get(scalar, -std::numeric_limits<float>::infinity()));
  return {mask, hidden, false, op};
}

Value OperatorRaiser::readLengths() {
  if (!hasOperand(op, kLengths))
    return {};
  auto type =
      RankedTensorType::get(typeAt(kLengths).getShape(), b.getIndexType());
  return arith::IndexCastOp::create(b, type, op->getOperand(kLengths));
}

/// What the operator itself says of positions.
pattern::Pattern OperatorRaiser::readPattern() {
  // Windows as wide as that have all keys.
  constexpr int64_t kOpen = int64_t(1) << 32;
  auto sizeOf = [&](StringRef name) {
    int64_t size = integerAttr(op, name, -1);
    return size < kOpen ? size : -1;
  };
  int64_t left = sizeOf("left_window_size"),
          right = sizeOf("right_window_size");
  if (integerAttr(op, "is_causal", 0))
    right = 0;
  if (left < 0 && right < 0)
    return pattern::Pattern();
  std::string text = left < 0 && right == 0
                         ? "causal"
                         : "window<left = " + std::to_string(left) +
                               ", right = " + std::to_string(right) + ">";
  return *pattern::Pattern::parse(text, [](size_t, const Twine &) {});
}

/// Where the operator has positions, queries stand behind a cache: one of its
/// own, or keys of a length per batch entry, of which the last ones are theirs.
Value OperatorRaiser::offsetOf() {
  if (hasOperand(op, kPastKey))
    return tensor::DimOp::create(b, op->getOperand(kPastKey), 2);
  if (!hasOperand(op, kLengths))
    return {};
  Value rows =
      createNode(b, "Shape", query, RankedTensorType::get(1, b.getI64Type()),
                 {b.getNamedAttr("start", b.getI64IntegerAttr(2)),
                  b.getNamedAttr("end", b.getI64IntegerAttr(3))});
  Value before =
      createNode(b, "Sub", {op->getOperand(kLengths), rows}, typeAt(kLengths));
  return arith::IndexCastOp::create(b, typeAt(kLengths).clone(b.getIndexType()),
                                    before);
}

void OperatorRaiser::build() {
  query = headsOf(0, "q_num_heads");
  key = withPast(kPastKey, headsOf(1, "kv_num_heads"));
  value = withPast(kPastValue, headsOf(2, "kv_num_heads"));
  pattern::Pattern own = readPattern(), pattern;
  SmallVector<Term> terms;
  if (hasOperand(op, kMask))
    terms.push_back(readMask());
  StringRef kind = kindOf(query, key, value);
  masks.setOperands(query, key, /*isSelf=*/false);
  Standing standing = own.isDense()              ? Standing::LastKnown
                      : hasOperand(op, kPastKey) ? Standing::LastSaid
                                                 : Standing::FirstSaid;
  const bool isPlaced =
      kind == "cross" && own.isDense() && masks.placeLastTogether(terms);
  if (isPlaced || !own.isDense())
    kind = "self";
  // Of lengths a run says where the queries stand.
  if (!isPlaced && !hasOperand(op, kLengths))
    kind = kindByRows(op, kind, query, key, standing);
  // Without positions, the last query and the last key have one.
  bool isLast = kind == "self" && own.isDense();
  Value offset;
  if (isLast)
    offset = arith::SubIOp::create(b, tensor::DimOp::create(b, key, 2),
                                   tensor::DimOp::create(b, query, 2));
  else if (!own.isDense())
    offset = offsetOf();
  SmallVector<Value> biases;
  masks.setOperands(query, key, isLast);
  bool hasPatterns = isLast || !offset;
  if (!terms.empty())
    biases = masks.biasesOf(b, terms, pattern, counts, hasPatterns);
  if (pattern.isDense())
    pattern = own;
  else if (!own.isDense())
    pattern = pattern::Pattern::conjunction(own, pattern);
  auto queryType = cast<RankedTensorType>(query.getType());
  auto valueType = cast<RankedTensorType>(value.getType());
  Value source = SourceOp::create(
      b,
      SourceType::get(b.getContext(), cast<RankedTensorType>(key.getType()),
                      valueType),
      key, value, biases, readLengths(), /*segments=*/Value(),
      /*offset=*/Value(),
      /*positions=*/Value(), PatternAttr::get(b.getContext(), pattern),
      b.getI64IntegerAttr(1));
  SmallVector<int64_t> shape(queryType.getShape());
  shape[3] = valueType.getDimSize(3);
  FloatAttr softcap;
  if (auto attr = op->getAttrOfType<FloatAttr>("softcap");
      attr && attr.getValueAsDouble() != 0.0)
    softcap = attr;
  auto attention = AttentionOp::create(
      b, queryType.clone(shape), Type(), query, source, offset,
      /*positions=*/Value(), b.getF32FloatAttr(scale), softcap,
      b.getI64IntegerAttr(1), b.getStringAttr(kind));
  passed(op, kAttentionRaised) << remark::add("{0}", pattern.str());
  Value out = attention.getOut();
  Value results[] = {typeAt(0).getRank() == 4 ? out : joinHeads(b, out), key,
                     value};
  for (auto [old, made] : llvm::zip(op->getResults(), results))
    old.replaceAllUsesWith(withKnownType(b, made, old.getType()));
}

std::string OperatorRaiser::run() {
  if (std::string reason = check(); !reason.empty())
    return reason;
  RankedTensorType type = typeAt(0);
  int64_t depth = type.getDimSize(type.getRank() - 1);
  if (!ShapedType::isDynamic(depth) && type.getRank() == 3)
    depth /= integerAttr(op, "q_num_heads", 1);
  if (auto attr = op->getAttrOfType<FloatAttr>("scale"))
    scale = attr.getValueAsDouble();
  else if (ShapedType::isDynamic(depth))
    return "its scale follows from an unknown head dim";
  else
    scale = 1.0 / std::sqrt(double(depth));
  build();
  return "";
}

std::string mlir::megactx::raise::raiseAttentionOp(Operation *op,
                                                   MaskCounts &counts) {
  return OperatorRaiser(op, counts).run();
}
