//===- Masks.cpp - masks as patterns and biases ---------------------------===//

#include "Masks.h"
#include "Nodes.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

bool mlir::megactx::raise::mayMaskFinitely(Value tensor) {
  llvm::SetVector<Value> seen;
  seen.insert(tensor);
  for (size_t i = 0; i < seen.size(); ++i) {
    Value value = seen[i];
    if (ElementsAttr elements = constantOf(value)) {
      Numbers numbers(elements);
      for (int64_t at = 0, n = elements.getNumElements(); at < n; ++at)
        if (std::abs(numbers[at].value_or(0)) >= -kMasked)
          return true;
      continue;
    }
    Operation *op = value.getDefiningOp();
    if (!op)
      return true;
    if (llvm::is_contained({"MatMul", "Gemm", "Einsum"}, typeOf(op)))
      continue;
    // Integers and conditions say where, not how much.
    for (Value operand : op->getOperands())
      if (isa<FloatType>(getElementTypeOrSelf(operand.getType())))
        seen.insert(operand);
  }
  return false;
}

void Masks::setOperands(Value q, Value k, bool self, Value scores) {
  query = q;
  key = k;
  isSelf = self;
  product = scores;
}

bool Masks::isPlain(const Term &term) const {
  return !term.placement &&
         (term.isFolded ||
          (term.reshapes.empty() && (!product || rankOf(product) == 4)));
}

/// The place, where the term is added, of the score [b, h, row, k].
std::optional<Place> Masks::placeOf(const Term &term, AffineExpr row) {
  AffineExpr variable = positions.variable(kQuery);
  if (term.placement) {
    Place place;
    for (AffineExpr index : term.placement->place)
      place.push_back(index.replace(variable, row));
    return place;
  }
  Place place = {positions.variable(kBatch), positions.variable(kHead), row,
                 positions.variable(kKey)};
  if (product && rankOf(product) != 4 && !term.isFolded) {
    const Place sizes = values.shape(query), all = values.shape(product);
    if (!isa<AffineConstantExpr>(sizes[1]))
      return std::nullopt;
    auto outer = values.renumbered(Place(ArrayRef(all).drop_back(2)),
                                   Place(ArrayRef(sizes).take_front(2)),
                                   ArrayRef(place).take_front(2));
    if (!outer)
      return std::nullopt;
    place = *outer;
    place.append({row, positions.variable(kKey)});
  }
  for (Operation *reshape : term.reshapes) {
    auto next = values.renumbered(values.shape(reshape->getResult(0)),
                                  values.shape(reshape->getOperand(0)), place);
    if (!next)
      return std::nullopt;
    place = *next;
  }
  return place;
}

/// What takes the place of scores where it masks, and nothing elsewhere.
static Element withoutScores(const Element &element, Value scores) {
  return *element.map([&](const Element &leaf) {
    bool isScore =
        leaf.kind() == Element::Kind::Read && leaf.tensor() == scores;
    if (isScore)
      return std::optional(Element::real(0));
    auto number = leaf.number();
    bool isFill = scores && number && *number <= kMasked;
    return std::optional(
        isFill && !std::isinf(*number) ? Element::real(kLeastMasked) : leaf);
  });
}

/// The term's value at [b, h, row, k]; nothing where its place is not known.
std::optional<Element> Masks::elementOf(const Term &term, AffineExpr row) {
  auto place = placeOf(term, row);
  if (!place || rankOf(term.value) > int64_t(place->size()))
    return std::nullopt;
  if (term.placement)
    values.stopAt(term.placement->product);
  Element element = values.at(term.value, values.broadcast(term.value, *place));
  if (term.placement)
    element = values.settled(withoutScores(element, term.placement->product));
  if (!term.fill)
    return element;
  Element fill =
      values.at(term.fill, Place(rankOf(term.fill), positions.constant(0)));
  Condition condition = positions.simplify(element.isNonZero());
  return Element::choice(term.whereTrue ? condition : !condition, fill,
                         Element::real(0));
}

/// Where the element is a number that masks, and all such numbers.
static Condition maskedPlaces(const Element &element, const Condition &path,
                              SmallVectorImpl<double> &fills) {
  if (element.kind() == Element::Kind::Choice)
    return maskedPlaces(element.first(), path && element.condition(), fills) ||
           maskedPlaces(element.second(), path && !element.condition(), fills);
  auto number = element.number();
  if (!number || *number > kMasked)
    return Condition::constant(false);
  fills.push_back(*number);
  return path;
}

static bool isMasking(const Element &element) {
  auto number = element.number();
  return number && *number <= kMasked;
}

/// The element where it does not mask; anything elsewhere.
static Element withoutMask(const Element &element) {
  if (isMasking(element))
    return Element::real(0);
  if (element.kind() != Element::Kind::Choice)
    return element;
  if (isMasking(element.first()))
    return withoutMask(element.second());
  if (isMasking(element.second()))
    return withoutMask(element.first());
  return Element::choice(element.condition(), withoutMask(element.first()),
                         withoutMask(element.second()));
}

/// Whether some of the numbers that mask are infinite, and some are not: rows
/// that finite ones mask have equal weights, others none.
static bool areMixed(ArrayRef<double> fills) {
  auto isInfinite = [](double fill) { return std::isinf(fill); };
  return llvm::any_of(fills, isInfinite) && !llvm::all_of(fills, isInfinite);
}

/// The element, of which each number that masks is in the kernels' range.
static Element maskInRange(const Element &element) {
  return *element.map([](const Element &leaf) {
    return std::optional(isMasking(leaf) ? Element::real(inRange(leaf.number()))
                                         : leaf);
  });
}

/// "A", "A and B", "A, B and 2 more".
static std::string listed(ArrayRef<Value> values) {
  std::string text = describe(values[0]);
  if (values.size() > 1)
    text += (values.size() == 2 ? " and " : ", ") + describe(values[1]);
  if (values.size() > 2)
    text += " and " + std::to_string(values.size() - 2) + " more";
  return text;
}

/// Why a term is more than patterns: `rest` is what they do not say of where
/// it masks, `bias` what it adds elsewhere.
static std::string whyBias(const Condition &rest, const Element &bias) {
  llvm::SetVector<Value> masking, adding;
  rest.walkReads([&](Value tensor) { masking.insert(tensor); });
  if (!masking.empty())
    return "data dependent: where it masks depends on " +
           listed(masking.getArrayRef());
  if (!rest.isTrue())
    return "no pattern says where it masks";
  bias.walkReads([&](Value tensor) { adding.insert(tensor); });
  if (adding.empty())
    return "it adds numbers that do not mask";
  if (llvm::all_of(adding, isConstant))
    return "it adds the numbers of " + listed(adding.getArrayRef()) +
           ", which are no bands, diagonals or blocks of masked places";
  return "no mask: it adds values of " + listed(adding.getArrayRef());
}

/// Conjoins what patterns say of the condition to those of the mask, and the
/// other factors to `rest`. Whether a pattern says anything.
bool Masks::splitPatterns(const Condition &allowed, Mask &mask,
                          Condition &rest) {
  bool found = false;
  auto isNamed = [&](const Condition &factor) {
    auto own = patternOf(factor, positions);
    if (!own)
      return false;
    found = true;
    mask.allowed = mask.allowed && factor;
    mask.pattern = mask.pattern.isDense()
                       ? *own
                       : pattern::Pattern::conjunction(mask.pattern, *own);
    return true;
  };
  if (isNamed(allowed))
    return true;
  if (allowed.kind() != Condition::Kind::And) {
    rest = allowed;
    return false;
  }
  // Static factors together may have a name that none has alone.
  Condition known = Condition::constant(true);
  for (const Condition &factor : allowed.args())
    if (factor.isStatic())
      known = known && factor;
  bool isKnown = !known.isTrue() && isNamed(known);
  for (const Condition &factor : allowed.args())
    if (!(isKnown && factor.isStatic()) && !isNamed(factor))
      rest = rest && factor;
  return found;
}

/// Whether patterns leave a key to every row, as far as there is one. A row
/// that finite numbers mask altogether has equal weights, and none where
/// patterns stand for the numbers. The keys that are tried are that at the
/// row's own position, the first and the last.
bool Masks::leavesEveryRowAKey(ArrayRef<Mask> masks) {
  const Place q = values.shape(query), k = values.shape(key);
  AffineExpr row = positions.variable(kQuery), own = positions.variable(kKey);
  assumeSizes(row);
  Condition allowed = Condition::constant(true), any = !allowed;
  for (const Mask &mask : masks) {
    positions.assume(mask.facts);
    allowed = allowed && mask.allowed;
  }
  for (AffineExpr at :
       {isSelf ? row + k[2] - q[2] : row, positions.constant(0), k[2] - 1})
    any = any ||
          (Condition::nonNegative(at) &&
           Condition::nonNegative(k[2] - at - 1) && allowed.replace(own, at));
  return positions.holds(any);
}

double mlir::megactx::raise::inRange(std::optional<double> fill) {
  if (!fill || std::isinf(*fill))
    return fill.value_or(0);
  return std::max<double>(*fill, kLeastMasked);
}

void Masks::assumeSizes(AffineExpr row,
                        const std::optional<Placement> &placement) {
  const Place q = values.shape(query), k = values.shape(key);
  positions.forget();
  values.forget();
  positions.assume(
      Condition::nonNegative(row) && Condition::nonNegative(q[2] - row - 1) &&
      Condition::nonNegative(k[2] - positions.variable(kKey) - 1) &&
      Condition::nonNegative(q[1] - positions.variable(kHead) - 1) &&
      Condition::nonNegative(q[0] - positions.variable(kBatch) - 1));
  if (placement)
    positions.assume(placement->facts.replace(positions.variable(kQuery), row));
}

bool Masks::isPlaced(const Term &term) {
  int64_t rank = rankOf(term.value);
  if (isPlain(term))
    return rank >= 0 && rank <= 4;
  AffineExpr row = positions.variable(kQuery);
  assumeSizes(row, term.placement);
  auto place = placeOf(term, row);
  return place && rank >= 0 && rank <= int64_t(place->size());
}

Mask Masks::classifyAt(const Term &term, AffineExpr at) {
  Mask mask;
  mask.keepsTerm = true;
  mask.offset = offset = at;
  AffineExpr row = positions.variable(kQuery) - offset;
  if (term.placement)
    mask.allowed =
        term.placement->facts.replace(positions.variable(kQuery), row);
  assumeSizes(row, term.placement);
  const Place q = values.shape(query), k = values.shape(key);
  // The term has the scores' sizes, where it is not broadcast.
  const Place sizes = values.shape(term.value);
  for (auto [i, own] : llvm::enumerate(llvm::reverse(sizes)))
    if (i < 2 && own != positions.constant(1) && isPlain(term))
      positions.assume(Condition::zero(own - (i == 0 ? k[2] : q[2])));
  auto everywhere = positions.places(Condition::constant(true));
  if (!everywhere || everywhere->isIntegerEmpty()) {
    mask.reason = "its sizes and those of queries and keys contradict";
    return mask;
  }
  auto placed = elementOf(term, row);
  if (!placed) {
    mask.reason = "it is not known for which scores its elements are";
    return mask;
  }
  const Element &element = *placed;
  SmallVector<double> fills;
  Condition masked = maskedPlaces(element, Condition::constant(true), fills);
  Condition allowed = positions.simplify(!masked);
  if (fills.empty() && element.number() != 0.0) {
    mask.reason = whyBias(Condition::constant(true), element);
    mask.keepsTerm = isPlain(term);
    mask.bias = element;
    return mask;
  }
  std::optional<double> fill;
  if (!fills.empty())
    fill = *llvm::min_element(fills);
  mask.isFinite =
      llvm::any_of(fills, [](double number) { return !std::isinf(number); });
  Condition rest = Condition::constant(true);
  bool isNamed = !(keepsFinite && mask.isFinite);
  bool found = isNamed && splitPatterns(allowed, mask, rest);
  if (!isNamed)
    rest = allowed;
  Condition facts = positions.facts();
  Element bias = withoutMask(element);
  if (!rest.isTrue() && areMixed(fills)) {
    positions.assume(mask.allowed);
    bias = values.settled(maskInRange(element));
    positions.forget();
    positions.assume(facts);
  } else if (!rest.isTrue()) {
    bias = Element::choice(rest, bias, Element::real(inRange(fill)));
  }
  AffineExpr variable = positions.variable(kQuery);
  mask.allowed = mask.allowed.replace(variable, variable + offset);
  mask.facts = facts.replace(variable, variable + offset);
  if (bias.number() != 0.0)
    mask.reason = isNamed || !rest.isStatic()
                      ? whyBias(rest, bias)
                      : "it masks by a finite number, and may mask a row "
                        "altogether, which has equal weights then";
  // Nothing is gained where no pattern was found and the bias is as large.
  bool isNarrow = !bias.uses(kQuery) && sizes.size() >= 2 &&
                  sizes[sizes.size() - 2] != positions.constant(1);
  bool isOutOfRange = fill && inRange(fill) != *fill;
  mask.keepsTerm = !found && !isNarrow && !isOutOfRange && isPlain(term);
  if (bias.number() != 0.0)
    mask.bias = bias;
  return mask;
}

Mask Masks::classify(const Term &term) {
  if (rankOf(term.value) < 0 || (isPlain(term) && rankOf(term.value) > 4)) {
    Mask mask;
    mask.keepsTerm = true;
    mask.reason = "its rank is unknown or above 4";
    return mask;
  }
  AffineExpr zero = positions.constant(0);
  const Place q = values.shape(query), k = values.shape(key);
  if (!isSelf)
    return classifyAt(term, zero);
  // One number, by the operands or by the term's own sizes: what follows from
  // one may not follow from the other. Equal sizes that are products of others
  // do not cancel.
  Mask mask = classifyAt(term, k[2] == q[2] ? zero : k[2] - q[2]);
  const Place sizes = values.shape(term.value);
  size_t rank = sizes.size();
  AffineExpr one = positions.constant(1);
  if (!mask.keepsTerm || !isPlain(term) || rank < 2 || sizes[rank - 1] == one ||
      sizes[rank - 2] == one)
    return mask;
  return classifyAt(term, sizes[rank - 1] - sizes[rank - 2]);
}

bool Masks::placeLastTogether(ArrayRef<Term> terms) {
  const bool before = std::exchange(isSelf, true);
  bool found = llvm::any_of(terms, [&](const Term &term) {
    pattern::Pattern pattern = classify(term).pattern;
    return !pattern.isDense() && pattern.formula().holds({});
  });
  isSelf = found || before;
  return found;
}
