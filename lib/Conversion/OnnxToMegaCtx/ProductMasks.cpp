//===- ProductMasks.cpp - masks of zeros and ones that multiply -----------===//
//
// Owns how scores that are multiplied with a mask, and have a large number
// added where it is 0, become a choice: s b + c (1 - b) = b ? s : c, as GPT and
// early GPT-2 have it.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "RaiseAttention.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// Whether all elements are 0 or 1.
static bool isBinary(Value value, int depth = 0) {
  static const llvm::StringSet<> moves = {
      "Expand",  "Gather",    "Identity", "Reshape",   "Slice",
      "Squeeze", "Transpose", "Trilu",    "Unsqueeze", "Cast"};
  constexpr int kMost = 16;
  if (ElementsAttr elements = constantOf(value)) {
    Numbers numbers(elements);
    int64_t count = isUniform(elements) ? 1 : elements.getNumElements();
    return llvm::all_of(llvm::seq(count), [&](int64_t i) {
      auto number = numbers[i];
      return number && (*number == 0 || *number == 1);
    });
  }
  if (getElementTypeOrSelf(value.getType()).isInteger(1))
    return true;
  Operation *op = value.getDefiningOp();
  return op && depth < kMost && moves.contains(typeOf(op)) &&
         isBinary(op->getOperand(0), depth + 1);
}

/// The operand of a product or sum beside one that fits.
template <typename Fits>
static Value besideOne(Value value, StringRef type, Fits fits) {
  Operation *op = value.getDefiningOp();
  for (unsigned i : {0, 1})
    if (typeOf(value) == type && fits(op->getOperand(i)))
      return op->getOperand(1 - i);
  return {};
}

/// c of c (1 - b), or nothing.
static std::optional<double> factorOfComplement(Value value, Value b) {
  Value factor = besideOne(value, "Mul", [&](Value rest) {
    return typeOf(rest) == "Sub" && rest.getDefiningOp()->getOperand(1) == b &&
           constantNumber(rest.getDefiningOp()->getOperand(0)) == 1.0;
  });
  return factor ? constantNumber(factor) : std::nullopt;
}

static Value chosen(ImplicitLocOpBuilder &b, Value scores, Value mask,
                    double fill, RankedTensorType type) {
  auto scalar = RankedTensorType::get({}, type.getElementType());
  FloatAttr number = b.getFloatAttr(type.getElementType(), fill);
  Value other = onnx::InitializerOp::create(
      b, scalar, DenseElementsAttr::get(scalar, number));
  auto flags = cast<RankedTensorType>(mask.getType()).clone(b.getI1Type());
  constexpr int64_t kBool = 9;
  Value where = createNode(b, "Cast", mask, flags,
                           {b.getNamedAttr("to", b.getI64IntegerAttr(kBool))});
  return createNode(b, "Where", {where, scores, other}, type);
}

void mlir::megactx::raise::chooseByMask(Operation *sum) {
  auto type = dyn_cast<RankedTensorType>(sum->getResult(0).getType());
  bool subtracts = typeOf(sum) == "Sub";
  if (!type || !isa<FloatType>(type.getElementType()))
    return;
  for (unsigned i : {0, 1}) {
    if (subtracts && i == 1)
      return;
    std::optional<double> factor;
    Value mask, product = sum->getOperand(i);
    Value scores = besideOne(product, "Mul", [&](Value operand) {
      mask = operand;
      factor = factorOfComplement(sum->getOperand(1 - i), operand);
      return factor.has_value();
    });
    if (!scores || !isBinary(mask) || rankOf(mask) < 0)
      continue;
    ImplicitLocOpBuilder b(sum->getLoc(), sum);
    sum->getResult(0).replaceAllUsesWith(
        chosen(b, scores, mask, subtracts ? -*factor : *factor, type));
    sum->erase();
    return;
  }
}
