//===- ElementValues.cpp - what stands where in a tensor ------------------===//

#include "ElementValues.h"
#include "Nodes.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx::raise;

Place ElementValues::broadcast(Value operand, ArrayRef<AffineExpr> place) {
  const Place &sizes = shape(operand);
  Place own;
  for (auto [i, size] : llvm::enumerate(sizes)) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    own.push_back(constant && constant.getValue() == 1
                      ? positions.constant(0)
                      : place[place.size() - sizes.size() + i]);
  }
  return own;
}

/// Choices whose condition is decided are made.
Element ElementValues::simplified(Element element) {
  if (element.kind() == Element::Kind::Truth)
    return Element::truth(positions.simplify(element.condition()));
  if (element.kind() == Element::Kind::Choice)
    return Element::choice(positions.simplify(element.condition()),
                           element.first(), element.second());
  return element;
}

std::vector<std::pair<Value, Place>>
ElementValues::movesOf(Value tensor, ArrayRef<AffineExpr> place) {
  std::vector<std::pair<Value, Place>> collected;
  moves = &collected;
  at(tensor, place);
  moves = nullptr;
  return collected;
}

bool mlir::megactx::raise::hasRanks(Operation *op, int64_t rank) {
  StringRef type = typeOf(op);
  int64_t first = rankOf(op->getOperand(0)), axis = axisAttr(op, first);
  bool isAxis = axis >= 0 && axis < first;
  auto hasRank = [&](Value operand) { return rankOf(operand) == rank; };
  if (rankOf(op->getResult(0)) != rank)
    return false;
  if (llvm::is_contained(
          {"Reshape", "Flatten", "Unsqueeze", "Squeeze", "GatherND"}, type))
    return true;
  if (type == "Transpose") {
    auto perm = op->getAttrOfType<DenseI64ArrayAttr>("perm");
    return first == rank && (!perm || (int64_t(perm.size()) == rank &&
                                       isPermutationVector(perm.asArrayRef())));
  }
  if (type == "Concat")
    return isAxis && llvm::all_of(op->getOperands(), hasRank);
  if (type == "GatherElements")
    return isAxis && first == rank && hasRank(op->getOperand(1));
  if (type == "Gather")
    return isAxis && first + rankOf(op->getOperand(1)) - 1 == rank;
  if (llvm::is_contained({"Pad", "Slice", "Split", "Tile"}, type))
    return first == rank;
  if (type == "CastLike" || type == "Expand")
    return first <= rank;
  return llvm::all_of(op->getOperands(),
                      [&](Value operand) { return rankOf(operand) <= rank; });
}

Element ElementValues::at(Value tensor, ArrayRef<AffineExpr> place) {
  if (moves) {
    moves->push_back({tensor, Place(place)});
    Operation *op = tensor.getDefiningOp();
    // Without a known rank nothing says where elements go.
    StringRef type =
        op && op->getNumOperands() && rankOf(op->getOperand(0)) >= 0
            ? typeOf(op)
            : StringRef();
    bool isCopy =
        type == "Identity" ||
        (type == "Cast" && op->getOperand(0).getType() == tensor.getType());
    Result result;
    if (!type.empty() && !hasRanks(op, place.size()))
      result = std::nullopt;
    else if (isCopy)
      result = at(op->getOperand(0), place);
    else if (type == "Reshape" || type == "Flatten" || type == "Unsqueeze" ||
             type == "Squeeze" || type == "Expand" || type == "Transpose")
      result = moved(op, place);
    return result ? *result : Element::read(tensor, place);
  }
  if (llvm::is_contained(stops, tensor))
    return Element::read(tensor, place);
  std::pair<void *, std::vector<const void *>> key = {
      tensor.getAsOpaquePointer(), {}};
  for (AffineExpr index : place)
    key.second.push_back(index.getAsOpaquePointer());
  if (auto it = elements.find(key); it != elements.end())
    return it->second;
  Result result;
  if (depth < 200) {
    ++depth;
    result = compute(tensor, place);
    --depth;
  }
  // What says where it is masked in too many words is better read.
  constexpr unsigned kLargest = 128, kMost = 512;
  if (result && result->size(kLargest) > kLargest &&
      result->size(kMost) <= kMost)
    result = settled(*result);
  bool isKnown = result && result->size(kLargest) <= kLargest;
  Element element =
      isKnown ? simplified(*result) : Element::read(tensor, place);
  if (element.kind() == Element::Kind::Read)
    if (AffineExpr size = knownSize(element))
      element = Element::integer(size);
  elements.insert({key, element});
  return element;
}

ElementValues::Result ElementValues::compute(Value tensor,
                                             ArrayRef<AffineExpr> place) {
  Operation *op = tensor.getDefiningOp();
  StringRef type = typeOf(op);
  if (type.empty())
    return std::nullopt;
  if (ElementsAttr elements = constantOf(tensor))
    return constantElement(tensor, elements, place);
  for (Value operand : op->getOperands())
    if (!isa<NoneType>(operand.getType()) && rankOf(operand) < 0)
      return std::nullopt;
  if (auto result = generated(op, place))
    return result;
  if (type == "MatMul")
    return multiplied(op, place);
  if (op->getNumOperands() == 0 || op->getNumResults() == 0 ||
      !hasRanks(op, place.size()))
    return std::nullopt;
  if (type == "Split")
    return split(cast<OpResult>(tensor), place);
  if (auto result = moved(op, place))
    return result;
  return elementwise(op, place);
}

/// Whether an element that is an integer is one of the type, where all sizes
/// are below 2^31.
bool ElementValues::isInRange(const Element &leaf, Type target) {
  auto type = dyn_cast<IntegerType>(target);
  if (!type || type.getWidth() == 1 ||
      (type.getWidth() == 64 && !type.isUnsigned()))
    return true;
  unsigned bits = type.getWidth();
  int64_t least = type.isUnsigned() ? 0 : -(int64_t(1) << (bits - 1));
  int64_t most = (int64_t(1) << std::min(62u, bits - !type.isUnsigned())) - 1;
  if (auto number = leaf.number())
    return *number >= double(least) && *number <= double(most);
  if (leaf.integer()) {
    Condition facts = positions.facts();
    for (size_t i = 0; i < positions.sizes().size(); ++i)
      positions.assume(Condition::nonNegative(
          INT32_MAX - getAffineSymbolExpr(i, type.getContext())));
    bool isIn = positions.isNonNegative(leaf.expr() - least) &&
                (bits == 64 || positions.isNonNegative(-leaf.expr() + most));
    positions.forget();
    positions.assume(facts);
    return isIn;
  }
  return leaf.kind() == Element::Kind::Truth ||
         (leaf.kind() == Element::Kind::Read &&
          getElementTypeOrSelf(leaf.tensor().getType()) == target);
}

ElementValues::Result ElementValues::converted(Operation *op,
                                               ArrayRef<AffineExpr> place) {
  Element from = at(op->getOperand(0), place);
  Type source =
      cast<RankedTensorType>(op->getOperand(0).getType()).getElementType();
  Type target =
      cast<RankedTensorType>(op->getResult(0).getType()).getElementType();
  if (target.isInteger(1))
    return Element::truth(from.isNonZero());
  if (isa<FloatType>(target))
    return from;
  if (!isa<FloatType>(source))
    return from.map([&](const Element &leaf) -> Result {
      return isInRange(leaf, target) ? Result(leaf) : std::nullopt;
    });
  return from.map([&](const Element &leaf) -> Result {
    auto number = leaf.number();
    if (number && std::abs(*number) < 9.0e18)
      return Element::integer(positions.constant(int64_t(*number)));
    return leaf.integer() ? Result(leaf) : std::nullopt;
  });
}

/// The result of arithmetic as far as it does not wrap around; the node's own
/// elsewhere.
ElementValues::Result ElementValues::exact(Result result, const Element &own) {
  Type type = getElementTypeOrSelf(own.tensor().getType());
  if (!result || !isa<IntegerType>(type))
    return result;
  return result->map([&](const Element &leaf) -> Result {
    return isInRange(leaf, type) ? leaf : own;
  });
}

ElementValues::Result ElementValues::elementwise(Operation *op,
                                                 ArrayRef<AffineExpr> place) {
  StringRef type = typeOf(op);
  auto in = [&](unsigned i) {
    Value operand = op->getOperand(i);
    return at(operand, broadcast(operand, place));
  };
  Type result = getElementTypeOrSelf(op->getResult(0).getType());
  // Where only some of the values are known, the others are the node's own.
  Element own = Element::read(op->getResult(0), place);
  if (type == "Identity" || type == "Dropout")
    return in(0);
  if (type == "Cast" || type == "CastLike")
    return converted(op, place);
  if (type == "Not")
    return Element::truth(!in(0).isNonZero());
  if (type == "And")
    return Element::truth(in(0).isNonZero() && in(1).isNonZero());
  if (type == "Or")
    return Element::truth(in(0).isNonZero() || in(1).isNonZero());
  if (type == "Xor") {
    Condition a = in(0).isNonZero(), b = in(1).isNonZero();
    return Element::truth((a && !b) || (!a && b));
  }
  if (type == "Where")
    return Element::choice(positions.simplify(in(0).isNonZero()), in(1), in(2));
  if (type == "Sqrt" || type == "Reciprocal") {
    auto number = in(0).number();
    if (!number || *number <= 0)
      return std::nullopt;
    return Element::real(type == "Sqrt" ? std::sqrt(*number) : 1 / *number);
  }
  if (type == "Pow") {
    auto base = in(0).number(), exponent = in(1).number();
    if (!base || !exponent || *base <= 0)
      return std::nullopt;
    return Element::real(std::pow(*base, *exponent));
  }
  if (type == "Neg")
    return exact(combine(Arithmetic::Sub, Element::real(0), in(0), own), own);
  if (type == "Abs") {
    Element x = in(0);
    auto isNegative = compare(Comparison::Less, x, Element::real(0));
    auto negated = combine(Arithmetic::Sub, Element::real(0), x);
    if (!isNegative || !negated)
      return std::nullopt;
    return exact(Element::choice(*isNegative, *negated, x), own);
  }
  static const std::pair<StringRef, Comparison> comparisons[] = {
      {"Equal", Comparison::Equal},
      {"Less", Comparison::Less},
      {"LessOrEqual", Comparison::LessOrEqual},
      {"Greater", Comparison::Greater},
      {"GreaterOrEqual", Comparison::GreaterOrEqual}};
  for (auto [name, comparison] : comparisons)
    if (type == name) {
      auto condition = compare(comparison, in(0), in(1), own);
      return condition ? Result(Element::truth(*condition)) : std::nullopt;
    }
  static const std::pair<StringRef, Arithmetic> operations[] = {
      {"Add", Arithmetic::Add}, {"Sub", Arithmetic::Sub},
      {"Mul", Arithmetic::Mul}, {"Div", Arithmetic::Div},
      {"Mod", Arithmetic::Mod}, {"Min", Arithmetic::Min},
      {"Max", Arithmetic::Max}};
  for (auto [name, operation] : operations)
    if (type == name && op->getNumOperands() == 2 &&
        !integerAttr(op, "fmod", 0)) {
      Element divisor = in(1);
      // Quotients of reals are no integers, though their operands are.
      if (operation == Arithmetic::Div && isa<FloatType>(result))
        divisor = *divisor.map([](const Element &leaf) {
          auto number = leaf.number();
          return std::optional(number ? Element::real(*number) : leaf);
        });
      return exact(combine(operation, in(0), divisor, own), own);
    }
  return std::nullopt;
}

/// A sum of one product.
ElementValues::Result ElementValues::multiplied(Operation *op,
                                                ArrayRef<AffineExpr> place) {
  Value a = op->getOperand(0), b = op->getOperand(1);
  if (rankOf(a) < 2 || rankOf(b) < 2 ||
      shape(a).back() != positions.constant(1) ||
      std::max(rankOf(a), rankOf(b)) != int64_t(place.size()))
    return std::nullopt;
  Place left(place), right(place);
  left.back() = right[place.size() - 2] = positions.constant(0);
  return combine(Arithmetic::Mul, at(a, broadcast(a, left)),
                 at(b, broadcast(b, right)),
                 Element::read(op->getResult(0), place));
}

/// Operators whose elements follow from where they stand.
ElementValues::Result ElementValues::generated(Operation *op,
                                               ArrayRef<AffineExpr> place) {
  StringRef type = typeOf(op);
  if (type == "Shape") {
    auto index = dyn_cast<AffineConstantExpr>(place[0]);
    const Place &sizes = shape(op->getOperand(0));
    int64_t start = integerAttr(op, "start", 0);
    start =
        std::max<int64_t>(start < 0 ? start + int64_t(sizes.size()) : start, 0);
    if (!index || index.getValue() < 0 ||
        index.getValue() + start >= int64_t(sizes.size()))
      return std::nullopt;
    return Element::integer(sizes[index.getValue() + start]);
  }
  if (type == "Range") {
    Element start = at(op->getOperand(0), {}),
            delta = at(op->getOperand(2), {});
    auto steps = combine(Arithmetic::Mul, Element::integer(place[0]), delta);
    return steps ? combine(Arithmetic::Add, start, *steps) : std::nullopt;
  }
  if (type == "ConstantOfShape") {
    auto value = op->getAttrOfType<ElementsAttr>("value");
    auto number = value ? numberAt(value, 0) : std::optional(0.0);
    if (!number)
      return std::nullopt;
    if (value && isa<IntegerType>(value.getElementType()))
      return Element::integer(positions.constant(int64_t(*number)));
    return Element::real(*number);
  }
  if (type == "Trilu") {
    int64_t rank = place.size();
    AffineExpr diagonal = place[rank - 1] - place[rank - 2];
    if (hasOperand(op, 1)) {
      Value k = op->getOperand(1);
      auto number = integerAt(k, 0);
      if (!number)
        return std::nullopt;
      diagonal = diagonal - *number;
    }
    Condition keeps = integerAttr(op, "upper", 1)
                          ? Condition::nonNegative(diagonal)
                          : Condition::nonNegative(-diagonal);
    return Element::choice(positions.simplify(keeps),
                           at(op->getOperand(0), place), Element::real(0));
  }
  // Of a list without zeros.
  if (type == "NonZero" && rankOf(op->getOperand(0)) == 1 &&
      place.size() == 2) {
    auto number = at(op->getOperand(0), place.back()).number();
    return number && *number != 0 ? Result(Element::integer(place.back()))
                                  : std::nullopt;
  }
  if (type == "CumSum")
    return cumulative(op, place);
  if (type == "ScatterND")
    return scattered(op, place);
  return std::nullopt;
}

/// The sum of what does not depend on the place along the axis.
ElementValues::Result ElementValues::cumulative(Operation *op,
                                                ArrayRef<AffineExpr> place) {
  auto axis = integerAt(op->getOperand(1), 0);
  auto constant =
      axis ? dyn_cast<AffineConstantExpr>(*axis) : AffineConstantExpr();
  if (!constant || integerAttr(op, "reverse", 0))
    return std::nullopt;
  int64_t along = constant.getValue();
  along += along < 0 ? int64_t(place.size()) : 0;
  Place inner(place);
  inner[along] = positions.variable(kPlace);
  auto number = at(op->getOperand(0), inner).number();
  if (!number || *number != std::floor(*number))
    return std::nullopt;
  AffineExpr terms = place[along] + (integerAttr(op, "exclusive", 0) ? 0 : 1);
  return exact(Element::integer(terms * int64_t(*number)),
               Element::read(op->getResult(0), place));
}
