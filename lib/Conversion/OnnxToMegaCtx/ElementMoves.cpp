//===- ElementMoves.cpp - elements that nodes only move -------------------===//

#include "ElementValues.h"
#include "Nodes.h"

using namespace mlir;
using namespace mlir::megactx::raise;

ElementValues::Result ElementValues::moved(Operation *op,
                                           ArrayRef<AffineExpr> place) {
  StringRef type = typeOf(op);
  if (type == "Reshape" || type == "Flatten" || type == "Unsqueeze" ||
      type == "Squeeze")
    return reshaped(op, place);
  if (type == "Slice")
    return sliced(op, place);
  if (type == "Concat")
    return joined(op, place);
  if (type == "Pad")
    return padded(op, place);
  if (type == "Gather" || type == "GatherND" || type == "GatherElements")
    return gathered(op, place);
  if (type == "Expand")
    return at(op->getOperand(0), broadcast(op->getOperand(0), place));
  if (type == "Tile")
    return tiled(op, place);
  if (type == "Transpose") {
    auto perm = op->getAttrOfType<DenseI64ArrayAttr>("perm");
    Place from(place.size());
    for (size_t i = 0; i < place.size(); ++i)
      from[perm ? perm[i] : int64_t(place.size() - 1 - i)] = place[i];
    return at(op->getOperand(0), from);
  }
  return std::nullopt;
}

/// Terms of a sum.
static void termsOf(AffineExpr expr, SmallVectorImpl<AffineExpr> &terms) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary || binary.getKind() != AffineExprKind::Add) {
    terms.push_back(expr);
    return;
  }
  termsOf(binary.getLHS(), terms);
  termsOf(binary.getRHS(), terms);
}

/// expr / factor where the factor is one of the product's, or null.
static AffineExpr withoutFactor(AffineExpr expr, AffineExpr factor) {
  auto divisor = dyn_cast<AffineConstantExpr>(factor);
  auto number = dyn_cast<AffineConstantExpr>(expr);
  if (divisor && number)
    return number.getValue() % divisor.getValue() == 0
               ? getAffineConstantExpr(number.getValue() / divisor.getValue(),
                                       expr.getContext())
               : AffineExpr();
  if (expr == factor)
    return getAffineConstantExpr(1, expr.getContext());
  auto product = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!product || product.getKind() != AffineExprKind::Mul)
    return {};
  // A size that is itself a product is divided factor by factor.
  AffineExpr a = product.getLHS(), c = product.getRHS();
  if (AffineExpr rest = withoutFactor(c, factor))
    return rest.isSymbolicOrConstant() ? a * rest : rest * a;
  if (AffineExpr rest = withoutFactor(a, factor))
    return c.isSymbolicOrConstant() ? rest * c : c * rest;
  return {};
}

/// expr = quotient * size + remainder with 0 <= remainder < size, or nothing.
static std::optional<std::pair<AffineExpr, AffineExpr>>
divide(Positions &positions, AffineExpr expr, AffineExpr size) {
  AffineExpr quotient = positions.constant(0), remainder = quotient;
  auto constant = dyn_cast<AffineConstantExpr>(size);
  if (constant && constant.getValue() <= 0)
    return std::nullopt;
  SmallVector<AffineExpr> terms;
  // Factors are distributed.
  termsOf(expr.isPureAffine() ? positions.simplify(expr) : expr, terms);
  for (AffineExpr term : terms) {
    if (AffineExpr factor = withoutFactor(term, size))
      quotient = quotient + factor;
    else
      remainder = remainder + term;
  }
  if (positions.holds(Condition::nonNegative(remainder) &&
                      Condition::nonNegative(size - remainder - 1)))
    return std::pair(quotient, remainder);
  if (!constant)
    return std::nullopt;
  return std::pair(quotient + remainder.floorDiv(constant.getValue()),
                   remainder % constant.getValue());
}

std::optional<Place> ElementValues::renumbered(const Place &from,
                                               const Place &to,
                                               ArrayRef<AffineExpr> place) {
  if (place.size() != to.size())
    return std::nullopt;
  auto isUnit = [&](AffineExpr size) { return size == positions.constant(1); };
  // Dimensions of size 1 come and go without any arithmetic.
  SmallVector<unsigned> sources, targets;
  for (auto [i, size] : llvm::enumerate(from))
    if (!isUnit(size))
      sources.push_back(i);
  for (auto [i, size] : llvm::enumerate(to))
    if (!isUnit(size))
      targets.push_back(i);
  Place inner(from.size(), positions.constant(0));
  // So do the last dimensions of equal sizes.
  while (!sources.empty() && !targets.empty() &&
         from[sources.back()] == to[targets.back()]) {
    inner[sources.pop_back_val()] = place[targets.pop_back_val()];
  }
  AffineExpr linear = positions.constant(0);
  for (unsigned i : targets) {
    if (!to[i].isSymbolicOrConstant())
      return std::nullopt;
    linear = linear * to[i] + place[i];
  }
  for (unsigned i : llvm::reverse(sources)) {
    if (i == sources.front()) {
      inner[i] = linear;
      break;
    }
    auto parts = divide(positions, linear, from[i]);
    if (!parts)
      return std::nullopt;
    std::tie(linear, inner[i]) = *parts;
  }
  return inner;
}

bool ElementValues::splitLast(Value from, Value to, Place &place) {
  const Place source = shape(from), target = shape(to);
  auto numberOf = [](AffineExpr size) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    return constant ? constant.getValue() : ShapedType::kDynamic;
  };
  size_t i = source.size(), j = target.size();
  int64_t x = 1, y = 1;
  while (x != y || x == 1) {
    bool takesSource = x <= y;
    if ((takesSource ? i : j) == 0)
      return false;
    int64_t size = numberOf(takesSource ? source[--i] : target[--j]);
    if (size < 1 ||
        std::max({size, x, y}) > std::numeric_limits<int32_t>::max())
      return false;
    (takesSource ? x : y) *= size;
  }
  while (i > j && numberOf(source[i - 1]) == 1)
    --i;
  while (j > i && numberOf(target[j - 1]) == 1)
    --j;
  auto last = i == j ? renumbered(Place(ArrayRef(source).drop_front(i)),
                                  Place(ArrayRef(target).drop_front(j)),
                                  ArrayRef(place).drop_front(j))
                     : std::nullopt;
  if (!last)
    return false;
  place.truncate(j);
  llvm::append_range(place, *last);
  return true;
}

/// By the row-major number of the element.
ElementValues::Result ElementValues::reshaped(Operation *op,
                                              ArrayRef<AffineExpr> place) {
  Value data = op->getOperand(0);
  const Place from = shape(data), to = shape(op->getResult(0));
  // Unknown sizes in one order: these operators keep it.
  if (typeOf(op) == "Unsqueeze" || typeOf(op) == "Squeeze") {
    SmallVector<AffineExpr> moving;
    for (auto [size, index] : llvm::zip(to, place))
      if (size != positions.constant(1))
        moving.push_back(index);
    Place inner(from.size(), positions.constant(0));
    size_t next = 0;
    for (auto [size, index] : llvm::zip(from, inner))
      if (size != positions.constant(1) && next++ < moving.size())
        index = moving[next - 1];
    if (next == moving.size())
      return at(data, inner);
  }
  auto inner = renumbered(from, to, place);
  return inner ? Result(at(data, *inner)) : std::nullopt;
}

ElementValues::Result ElementValues::tiled(Operation *op,
                                           ArrayRef<AffineExpr> place) {
  Place inner(place);
  for (auto [i, size] : llvm::enumerate(shape(op->getOperand(0)))) {
    auto repeats = integerAt(op->getOperand(1), i);
    auto constant = dyn_cast<AffineConstantExpr>(size);
    if (repeats == positions.constant(1))
      continue;
    if (!constant || constant.getValue() < 1)
      return std::nullopt;
    inner[i] = place[i] % constant.getValue();
  }
  return at(op->getOperand(0), inner);
}

/// Ends of slices from here on are those of the data.
constexpr int64_t kWholeSlice = std::numeric_limits<int32_t>::max();

ElementValues::Result ElementValues::sliced(Operation *op,
                                            ArrayRef<AffineExpr> place) {
  Value data = op->getOperand(0);
  Place inner(place);
  int64_t rank = rankOf(data),
          count = rankOf(op->getOperand(1)) == 1
                      ? cast<RankedTensorType>(op->getOperand(1).getType())
                            .getDimSize(0)
                      : ShapedType::kDynamic;
  if (count < 0)
    return std::nullopt;
  for (int64_t i = 0; i < count; ++i) {
    auto axis = hasOperand(op, 3) ? integerAt(op->getOperand(3), i)
                                  : positions.constant(i);
    auto step = hasOperand(op, 4) ? integerAt(op->getOperand(4), i)
                                  : positions.constant(1);
    auto start = integerAt(op->getOperand(1), i);
    auto along =
        axis ? dyn_cast<AffineConstantExpr>(*axis) : AffineConstantExpr();
    auto by = step ? dyn_cast<AffineConstantExpr>(*step) : AffineConstantExpr();
    if (!start || !along || !by || by.getValue() == 0)
      return std::nullopt;
    int64_t d = along.getValue() + (along.getValue() < 0 ? rank : 0);
    if (d < 0 || d >= rank)
      return std::nullopt;
    AffineExpr size = shape(data)[d];
    // The last ones are, however many there are.
    if (auto end = constantIntegers(op->getOperand(2));
        end && i < int64_t(end->size()) && (*end)[i] >= kWholeSlice &&
        by.getValue() == 1 && !positions.isNonNegative(*start)) {
      inner[d] = place[d] + size - shape(op->getResult(0))[d];
      continue;
    }
    if (positions.isNonNegative(-*start - 1))
      start = size + *start;
    // Backwards a start past the end is the last element.
    if (!positions.isNonNegative(*start) ||
        (by.getValue() < 0 && !positions.isNonNegative(size - *start - 1)))
      return std::nullopt;
    inner[d] = *start + place[d] * by.getValue();
  }
  return at(data, inner);
}

ElementValues::Result ElementValues::split(OpResult part,
                                           ArrayRef<AffineExpr> place) {
  Operation *op = part.getOwner();
  int64_t rank = place.size(), axis = axisAttr(op, rank);
  auto hasRank = [&](Value value) { return rankOf(value) == rank; };
  if (axis < 0 || axis >= rank || !hasRank(op->getOperand(0)) ||
      !llvm::all_of(op->getResults(), hasRank))
    return std::nullopt;
  Place inner(place);
  for (OpResult before : op->getResults().take_front(part.getResultNumber()))
    inner[axis] = inner[axis] + shape(before)[axis];
  return at(op->getOperand(0), inner);
}

/// What is before and after the tensor's own elements is one number.
ElementValues::Result ElementValues::padded(Operation *op,
                                            ArrayRef<AffineExpr> place) {
  Value data = op->getOperand(0);
  auto mode = op->getAttrOfType<StringAttr>("mode");
  if ((mode && mode.getValue() != "constant") || hasOperand(op, 3))
    return std::nullopt;
  Element fill = Element::real(0);
  if (hasOperand(op, 2))
    fill = at(op->getOperand(2),
              Place(rankOf(op->getOperand(2)), positions.constant(0)));
  Place inner(place);
  Condition isInside = Condition::constant(true);
  for (auto [i, size] : llvm::enumerate(shape(data))) {
    auto before = integerAt(op->getOperand(1), i);
    if (!before)
      return std::nullopt;
    inner[i] = place[i] - *before;
    isInside = isInside && Condition::nonNegative(inner[i]) &&
               Condition::nonNegative(size - inner[i] - 1);
  }
  isInside = positions.simplify(isInside);
  if (isInside.isFalse())
    return fill;
  return Element::choice(isInside, at(data, inner), fill);
}

/// The tensor that the elements of both are moved from.
static Value commonSource(Value a, Value b) {
  SmallVector<Value> sources;
  auto next = [](Value value) {
    Operation *op = value.getDefiningOp();
    bool isMove = llvm::is_contained(
        {"Slice", "Reshape", "Unsqueeze", "Squeeze", "Transpose"}, typeOf(op));
    return isMove ? op->getOperand(0) : Value();
  };
  for (; a; a = next(a))
    sources.push_back(a);
  while (b && !llvm::is_contained(sources, b))
    b = next(b);
  return b;
}

/// Where each operand has one place along the axis, and its elements are those
/// of one tensor, a step after those of the operand before: parts of a sequence
/// that may overlap.
ElementValues::Result ElementValues::stepped(Operation *op,
                                             ArrayRef<AffineExpr> place,
                                             int64_t axis) {
  Value source = commonSource(op->getOperand(0), op->getOperand(1));
  if (!source)
    return std::nullopt;
  Place inner(place);
  inner[axis] = positions.constant(0);
  SmallVector<Place> places;
  auto found = std::exchange(elements, {});
  stops.push_back(source);
  for (Value operand : op->getOperands()) {
    Element own = shape(operand)[axis] == positions.constant(1)
                      ? at(operand, inner)
                      : Element::real(0);
    if (own.kind() != Element::Kind::Read || own.tensor() != source)
      break;
    places.push_back(Place(own.indices()));
  }
  stops.pop_back();
  elements = std::move(found);
  if (places.size() != op->getNumOperands())
    return std::nullopt;
  Place at = places[0];
  for (size_t d = 0; d < at.size(); ++d) {
    auto stepTo = [&](size_t i) {
      return positions.simplify(places[i][d] - places[i - 1][d]);
    };
    AffineExpr step = stepTo(1);
    for (size_t i = 1; i < places.size(); ++i)
      if (!isa<AffineConstantExpr>(step) || stepTo(i) != step)
        return std::nullopt;
    at[d] = at[d] + place[axis] * step;
  }
  return this->at(source, at);
}

ElementValues::Result ElementValues::joined(Operation *op,
                                            ArrayRef<AffineExpr> place) {
  int64_t axis = axisAttr(op, place.size());
  if (op->getNumOperands() > 1 && !isa<AffineConstantExpr>(place[axis]))
    if (auto result = stepped(op, place, axis))
      return result;
  std::optional<Element> result;
  // From the last operand on: each earlier one takes the places before its end.
  SmallVector<AffineExpr> starts = {positions.constant(0)};
  for (Value operand : op->getOperands())
    starts.push_back(starts.back() + shape(operand)[axis]);
  for (size_t i = op->getNumOperands(); i-- > 0;) {
    Condition isHere = positions.simplify(
        Condition::nonNegative(starts[i + 1] - place[axis] - 1));
    if (result && isHere.isFalse())
      continue;
    // Places before this operand belong to the ones that follow in this loop.
    if (positions.holds(Condition::nonNegative(starts[i] - place[axis] - 1)))
      continue;
    Place inner(place);
    inner[axis] = place[axis] - starts[i];
    Element own = at(op->getOperand(i), inner);
    result = result ? Element::choice(isHere, own, *result) : own;
  }
  return result;
}

/// data[.., index, ..] where `place` has the other indices.
ElementValues::Result ElementValues::gatheredAt(Value data,
                                                const Element &index,
                                                Place place, int64_t axis) {
  return index.map([&](const Element &leaf) -> Result {
    std::optional<AffineExpr> expr = leaf.integer();
    if (auto number = leaf.number())
      expr = positions.constant(int64_t(*number));
    if (!expr)
      return std::nullopt;
    auto constant = dyn_cast<AffineConstantExpr>(*expr);
    if (constant && constant.getValue() < 0)
      expr = shape(data)[axis] + constant.getValue();
    else if (!positions.isNonNegative(*expr))
      return std::nullopt;
    Place inner(place);
    inner[axis] = *expr;
    return at(data, inner);
  });
}

ElementValues::Result ElementValues::gathered(Operation *op,
                                              ArrayRef<AffineExpr> place) {
  Value data = op->getOperand(0), indices = op->getOperand(1);
  StringRef type = typeOf(op);
  int64_t rank = rankOf(data), axis = axisAttr(op, rank);
  if (type == "GatherElements") {
    return gatheredAt(data, at(indices, place), Place(place), axis);
  }
  if (type == "Gather") {
    ArrayRef<AffineExpr> own = place.slice(axis, rankOf(indices));
    Place inner(place.take_front(axis));
    inner.push_back(positions.constant(0));
    llvm::append_range(inner, place.drop_front(axis + rankOf(indices)));
    return gatheredAt(data, at(indices, own), inner, axis);
  }
  // GatherND: the last axis of the indices holds one index per axis of data.
  int64_t length =
      cast<RankedTensorType>(indices.getType()).getDimSize(rankOf(indices) - 1);
  if (integerAttr(op, "batch_dims", 0) || length < 0 || length > rank)
    return std::nullopt;
  ArrayRef<AffineExpr> outer = place.take_front(rankOf(indices) - 1);
  Place inner;
  for (int64_t i = 0; i < length; ++i) {
    Place entry(outer);
    entry.push_back(positions.constant(i));
    auto expr = at(indices, entry).integer();
    if (!expr || !positions.isNonNegative(*expr))
      return std::nullopt;
    inner.push_back(*expr);
  }
  llvm::append_range(inner, place.drop_front(rankOf(indices) - 1));
  return at(data, inner);
}
