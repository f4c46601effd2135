//===- KeyParts.cpp - keys that are no tokens' ----------------------------===//

#include "KeyParts.h"
#include "Heads.h"
#include "Nodes.h"
#include "Operands.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include <array>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

using Pair = std::array<Value, 2>;

/// Rows of zeros before those of [B, H, N, D], whose batch and heads are
/// repeated where they are needed.
static std::optional<Pair> paddedRows(ImplicitLocOpBuilder &b,
                                      Operands &operands, Operation *op) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  auto pads = operands.integers(op->getOperand(1), 8);
  bool isZero = !hasOperand(op, 2) || constantNumber(op->getOperand(2)) == 0.0;
  auto mode = op->getAttrOfType<StringAttr>("mode");
  if (!type || !pads || pads->size() != 8 || hasOperand(op, 3) || !isZero ||
      (mode && mode.getValue() != "constant") || type.isDynamicDim(3) ||
      (*pads)[2] <= 0 || llvm::count(*pads, 0) != 7)
    return std::nullopt;
  auto front = type.clone({1, 1, (*pads)[2], type.getDimSize(3)});
  return Pair{onnx::InitializerOp::create(
                  b, front, cast<ElementsAttr>(b.getZeroAttr(front))),
              op->getOperand(0)};
}

/// The two parts along the rows of [B, H, N, D], in their order.
static std::optional<Pair> joinedRows(ImplicitLocOpBuilder &b,
                                      Operands &operands, Value value) {
  Operation *op = value.getDefiningOp();
  if (rankOf(value) != 4 || !op)
    return std::nullopt;
  if (typeOf(op) == "Pad")
    return paddedRows(b, operands, op);
  int64_t axis = integerAttr(op, "axis", 0);
  if (typeOf(op) != "Concat" || op->getNumOperands() != 2 ||
      (axis != 2 && axis != -2))
    return std::nullopt;
  return Pair{op->getOperand(0), op->getOperand(1)};
}

/// Which of the parts is of weights alone, in both, or stands behind all of the
/// queries' own tokens and is of others.
static std::optional<unsigned> partElsewhere(Operands &operands, Value query,
                                             const Pair &keys,
                                             const Pair &values) {
  for (unsigned i : {0, 1})
    if (isOfWeights(keys[i]) && isOfWeights(values[i]))
      return isOfWeights(keys[1 - i]) ? std::nullopt : std::optional(i);
  if (operands.areOfSameRows(query, keys[0]) &&
      !operands.areOfSameRows(query, keys[1]))
    return 1;
  return std::nullopt;
}

/// The term of the keys in front, as many as these, or of those behind them.
static Value cut(ImplicitLocOpBuilder &b, Operands &operands, Value term,
                 Value front, Value part) {
  auto type = cast<RankedTensorType>(term.getType());
  int64_t last = type.getRank() - 1;
  if (last < 0 || operands.isOne(term, last))
    return term;
  SmallVector<int64_t> shape(type.getShape());
  shape[last] = cast<RankedTensorType>(part.getType()).getDimSize(2);
  Value count = sizesOf(b, front, 2, 3);
  bool isFront = part == front;
  Value start = isFront ? integerList(b, 0) : count;
  Value end =
      isFront ? count : integerList(b, std::numeric_limits<int64_t>::max());
  return createNode(b, "Slice", {term, start, end, integerList(b, last)},
                    type.clone(shape));
}

SmallVector<KeyPart, 2>
mlir::megactx::raise::partsOfKeys(ImplicitLocOpBuilder &b, Operands &operands,
                                  Value query, Value key, Value values,
                                  const Scores &scores) {
  SmallVector<KeyPart, 2> parts(1);
  parts[0] = {key, values, scores.terms, false};
  bool canCut = llvm::all_of(scores.terms, [&](const Term &term) {
    return rankOf(scores.product) == 4 && term.reshapes.empty() &&
           !term.placement && !term.isFolded && rankOf(term.value) >= 0;
  });
  auto keys = joinedRows(b, operands, key),
       rows = joinedRows(b, operands, values);
  auto elsewhere = keys && rows ? partElsewhere(operands, query, *keys, *rows)
                                : std::nullopt;
  if (!elsewhere || !canCut)
    return parts;
  for (unsigned i : {0, 1})
    if (!operands.haveOneSize((*keys)[i], (*rows)[i], 2))
      return parts;
  parts.resize(2);
  for (unsigned i : {0, 1}) {
    KeyPart &part = parts[i == *elsewhere ? 0 : 1];
    part = {(*keys)[i], (*rows)[i], scores.terms, i == *elsewhere};
    for (Term &term : part.terms)
      term.value = cut(b, operands, term.value, (*keys)[0], part.key);
  }
  return parts;
}
