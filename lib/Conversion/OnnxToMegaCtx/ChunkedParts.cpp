//===- ChunkedParts.cpp - scores of chunks, part by part ------------------===//

#include "ChunkedParts.h"
#include "Nodes.h"
#include "Scores.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx::raise;

void ChunkedParts::know(const Condition &facts) {
  positions.forget();
  values.forget();
  positions.assume(Condition::within(var(kBatch), sizes[0]) &&
                   Condition::within(var(kHead), sizes[1]) &&
                   Condition::within(var(kQuery), sizes[2]) && facts);
}

/// The leaves of an element that are somewhere.
SmallVector<Leaf> ChunkedParts::leavesAt(Value tensor,
                                         ArrayRef<AffineExpr> place) {
  SmallVector<Leaf> leaves = leavesOf(values.settled(values.at(tensor, place)));
  llvm::erase_if(leaves, [&](const Leaf &leaf) {
    return positions.holds(!staticPartOf(leaf.path).first);
  });
  return leaves;
}

/// The number that an expression without kPlace is all along a path.
std::optional<AffineExpr> ChunkedParts::numberOf(AffineExpr expr,
                                                 const Condition &path) {
  constexpr int64_t offset = int64_t(1) << 31; // kPlace is not negative
  Condition names = Condition::zero(var(kPlace) - expr - offset);
  auto place = positions.sample(path && names);
  if (!place)
    return std::nullopt;
  AffineExpr number = positions.constant((*place)[kPlace] - offset);
  if (!positions.holds(!path || Condition::zero(expr - number)))
    return std::nullopt;
  return number;
}

bool ChunkedParts::findSources() {
  for (Operation *scores : products.scores) {
    auto queries = rowsOf(scores->getOperand(0), false, values, positions),
         own = rowsOf(scores->getOperand(1), true, values, positions);
    if (!queries || !own)
      return false;
    if (!query.tensor)
      query = *queries;
    keys.push_back(*own);
  }
  const Place q = query.sizes(values, positions);
  Type type = getElementTypeOrSelf(query.tensor.getType());
  if (!(type.isF32() || type.isF16() || type.isBF16()))
    return false;
  auto fits = [&](const Rows &rows, bool isKey) {
    const Place own = rows.sizes(values, positions);
    return getElementTypeOrSelf(rows.tensor.getType()) == type &&
           own[0] == q[0] && own[1] == q[1] && (!isKey || own[3] == q[3]);
  };
  for (const Rows &own : keys)
    if (!fits(own, true))
      return false;
  for (Operation *context : products.contexts) {
    auto own = rowsOf(context->getOperand(1), false, values, positions);
    if (!own || !fits(*own, false))
      return false;
    parts.push_back({context, *own, own->sizes(values, positions)[2]});
  }
  sizes.assign(q.begin(), q.begin() + 3);
  return true;
}

/// Where the parts of the Softmax's row that are joined begin and end.
void ChunkedParts::findBounds() {
  Value row = softmax->getOperand(0);
  while (Operation *op = row.getDefiningOp()) {
    if (typeOf(op) == "Add")
      row = op->getOperand(!products.hasScores(op->getOperand(0)));
    else if (isCopy(op))
      row = op->getOperand(0);
    else
      break;
  }
  bounds = {positions.constant(0)};
  int64_t rank = rankOf(row);
  if (typeOf(row) == "Concat") {
    int64_t axis = integerAttr(row.getDefiningOp(), "axis", 0);
    if (axis == -1 || axis == rank - 1) {
      for (Value operand : row.getDefiningOp()->getOperands())
        bounds.push_back(bounds.back() + values.shape(operand).back());
      return;
    }
  }
  bounds.push_back(values.shape(softmax->getResult(0)).back());
}

/// Whether a row of an operand is that of its source, with the batch and head
/// of the query.
bool ChunkedParts::isRowOf(const Rows &rows, Value operand, const Place &place,
                           AffineExpr row) {
  Place own = rows.at({var(kBatch), var(kHead), row, var(kPlace)});
  Value tensor = rows.tensor;
  const Place at = values.broadcast(operand, place);
  values.stopAt(tensor);
  SmallVector<Leaf> leaves = leavesAt(operand, at);
  // Other nodes may have moved the same elements to both.
  Value other = leaves.empty() ? Value() : leaves[0].element.tensor();
  if (other && other != tensor) {
    values.stopAt(other);
    Element same = values.settled(values.at(tensor, own));
    if (same.kind() != Element::Kind::Read || same.tensor() != other)
      return false;
    tensor = other;
    own = Place(same.indices());
    leaves = leavesAt(operand, at);
  }
  return llvm::all_of(leaves, [&](const Leaf &leaf) {
    if (leaf.element.kind() != Element::Kind::Read ||
        leaf.element.tensor() != tensor || !leaf.path.isStatic())
      return false;
    return llvm::all_of(llvm::zip(leaf.element.indices(), own), [&](auto pair) {
      auto [index, wanted] = pair;
      return positions.holds(!leaf.path || Condition::zero(index - wanted));
    });
  });
}

/// Follows the row [b, h, p] of the sum back to its terms.
std::string ChunkedParts::placeContext(Value value, const Place &place) {
  std::string reason = "the rows of its result are no rows of queries";
  Operation *op = value.getDefiningOp();
  for (Part &part : parts)
    if (op == part.context) {
      if (place.back() != var(kPlace))
        return reason;
      part.outer = Place(ArrayRef(place).drop_back());
      return "";
    }
  if (typeOf(op) == "Add") {
    for (Value operand : op->getOperands())
      if (std::string why =
              placeContext(operand, values.broadcast(operand, place));
          !why.empty())
        return why;
    return "";
  }
  SmallVector<Value> stops;
  for (Value before : addedUpTo(value))
    if (typeOf(before) == "Add" || typeOf(before) == "MatMul")
      stops.push_back(before);
  values.stopAt(stops);
  SmallVector<Leaf> leaves = leavesAt(value, place);
  if (leaves.size() != 1 || !leaves[0].path.isStatic() ||
      !llvm::is_contained(stops, leaves[0].element.tensor()))
    return reason;
  return placeContext(leaves[0].element.tensor(),
                      Place(leaves[0].element.indices()));
}

/// Which rows of queries those of the sum are, where they are in this order.
std::string ChunkedParts::placeContexts(ArrayRef<Variable> by) {
  order.assign(by.begin(), by.end());
  Place rows = values.shape(products.sum), to, place;
  AffineExpr depth = rows.pop_back_val();
  for (Variable v : order) {
    to.push_back(sizes[v]);
    place.push_back(var(v));
  }
  AffineExpr count = positions.constant(1), all = count;
  for (AffineExpr size : rows)
    count = count * size;
  for (AffineExpr size : sizes)
    all = all * size;
  know(Condition::within(var(kPlace), depth));
  auto at = values.renumbered(rows, to, place);
  auto isUnknown = [](AffineExpr size) {
    return !isa<AffineConstantExpr>(size);
  };
  if (!at || positions.simplify(count - all) != positions.constant(0) ||
      llvm::count_if(rows, isUnknown) > 1)
    return "the rows of its result are no rows of queries";
  at->push_back(var(kPlace));
  return placeContext(products.sum, *at);
}

/// How far rows of values are from their places in chunks.
std::string ChunkedParts::traceValues(Part &part) {
  Value chunks = part.context->getOperand(1);
  const Place shape = values.shape(chunks);
  know(Condition::within(var(kKey), shape[shape.size() - 2]) &&
       Condition::within(var(kPlace), shape.back()));
  Place at = part.outer;
  at.back() = var(kKey);
  at.push_back(var(kPlace));
  at = values.broadcast(chunks, at);
  values.stopAt(part.value.tensor);
  int64_t rowDim = part.value.dim(rankOf(part.value.tensor) - 2);
  for (const Leaf &leaf : leavesAt(chunks, at)) {
    if (leaf.element.kind() != Element::Kind::Read ||
        leaf.element.tensor() != part.value.tensor)
      continue;
    AffineExpr index = leaf.element.indices()[rowDim];
    bool isOnly = !index.isFunctionOfDim(kKey);
    part.keyShift = positions.simplify(isOnly ? index : index - var(kKey));
    if (part.keyShift.isFunctionOfDim(kKey) ||
        part.keyShift.isFunctionOfDim(kPlace))
      return "its chunks of values are no consecutive rows";
    AffineExpr row = var(kKey) + part.keyShift;
    positions.assume(Condition::within(row, part.keys));
    return isRowOf(part.value, chunks, at, row)
               ? ""
               : "its chunks of values are no consecutive rows";
  }
  return "its chunks of values are no rows of values";
}

/// The rows of queries that those of the sum are, in whichever order, and the
/// rows of values that each of its terms adds up.
std::string ChunkedParts::traceRows() {
  static constexpr Variable orders[][3] = {{kBatch, kHead, kQuery},
                                           {kBatch, kQuery, kHead},
                                           {kQuery, kBatch, kHead}};
  std::string reason;
  for (ArrayRef<Variable> by : orders) {
    std::string own = placeContexts(by);
    for (Part &part : parts)
      if (own.empty())
        own = traceValues(part);
    if (own.empty())
      return "";
    if (reason.empty())
      reason = own;
  }
  return reason;
}

/// Along a Softmax there are keys in their order: the place x is a number more
/// than the distance from query to key, or than the place in a chunk, from
/// where one of the row's parts begins.
bool ChunkedParts::placeRow(Part &part, AffineExpr x, const Condition &here) {
  AffineExpr y = var(kKey), distance = y + part.keyShift - var(kQuery);
  Place starts = {positions.constant(0)};
  llvm::copy_if(
      ArrayRef(bounds).drop_back(), std::back_inserter(starts),
      [](AffineExpr bound) { return !isa<AffineConstantExpr>(bound); });
  for (AffineExpr start : starts) {
    if (auto number = numberOf(x - start - distance, here))
      part.shift = *number + start - var(kQuery);
    else if (auto number = numberOf(x - start - y, here))
      part.shift = *number + start - part.keyShift;
    else
      continue;
    return true;
  }
  return false;
}

std::string ChunkedParts::placeKeys(Part &part, const Leaf &leaf) {
  auto [here, atRuntime] = staticPartOf(leaf.path);
  AffineExpr y = var(kKey);
  part.row = Place(leaf.element.indices());
  AffineExpr x = part.row.pop_back_val();
  if (!placeRow(part, x, here))
    return "its scores are in no order of keys";
  for (size_t i = bounds.size() - 1; i-- > 0 && !part.end;)
    for (size_t j = bounds.size() - 1; j > i; --j) {
      Condition isIn = Condition::within(x - bounds[i], bounds[j] - bounds[i]);
      if (!positions.holds(!here || isIn))
        break;
      part.first = bounds[i];
      part.end = bounds[j];
    }
  if (!part.end)
    return "its probabilities are read outside of them";
  for (AffineExpr index : part.row)
    if (index.isFunctionOfDim(kKey))
      return "a row of its probabilities is made of several rows";
  if (Element::truth(atRuntime).uses(kKey))
    return "its probabilities are masked key by key";
  part.hasWeights = atRuntime;
  // All of a row's probabilities have a place in the chunk.
  AffineExpr place = y - part.keyShift - part.shift;
  know(part.isInside(y));
  AffineExpr size = values.shape(part.context->getOperand(0)).back();
  return positions.holds(Condition::within(place, size) &&
                         here.replace(y, place))
             ? ""
             : "some of its probabilities have no values";
}

/// Which probability stands where in a chunk.
std::string ChunkedParts::traceProbabilities(Part &part) {
  Value chunks = part.context->getOperand(0);
  values.stopAt(softmax->getResult(0));
  know(Condition::within(var(kKey), values.shape(chunks).back()));
  Place at = part.outer;
  at.push_back(var(kKey));
  values.prefer(part.outer);
  SmallVector<Leaf> leaves = leavesAt(chunks, values.broadcast(chunks, at));
  values.prefer({});
  llvm::erase_if(leaves,
                 [](const Leaf &leaf) { return leaf.element.number() == 0.0; });
  if (leaves.size() != 1 || leaves[0].element.kind() != Element::Kind::Read ||
      leaves[0].element.tensor() != softmax->getResult(0))
    return "its probabilities change on the way to values";
  return placeKeys(part, leaves[0]);
}

/// Each score is of the query and key that its probability is of.
std::string ChunkedParts::traceProducts(Part &part, ArrayRef<Leaf> leaves) {
  part.key =
      keys[llvm::find(products.scores, part.scores) - products.scores.begin()];
  if (part.key.sizes(values, positions)[2] != part.keys)
    return "its keys and values are not as many";
  Condition facts = positions.facts();
  AffineExpr depth = query.sizes(values, positions)[3];
  for (const Leaf &leaf : leaves) {
    if (leaf.element.kind() != Element::Kind::Read)
      continue;
    know(facts && staticPartOf(leaf.path).first &&
         Condition::within(var(kPlace), depth));
    Place left(leaf.element.indices()), right = left;
    left.back() = right[right.size() - 2] = var(kPlace);
    if (!isRowOf(query, part.scores->getOperand(0), left, var(kQuery)) ||
        !isRowOf(part.key, part.scores->getOperand(1), right, var(kKey)))
      return "some of its scores are of other queries and keys";
  }
  return "";
}

/// A term of the scores where these are now.
void ChunkedParts::addTerm(Part &part, Value value, Operation *node,
                           const Condition &facts, Value scores) {
  Term term = {value, Value(), false, node};
  term.placement = {
      part.scored, {part.scoredAt.begin(), part.scoredAt.end()}, facts, scores};
  part.terms.push_back(term);
}

static bool isMinusInfinity(const Leaf &leaf) {
  auto number = leaf.element.number();
  return number && std::isinf(*number) && *number < 0;
}

/// Goes on from what scores are moved to, to a sum in between, or to the
/// product that they are of; numbers that mask take the place of others.
std::string ChunkedParts::followScores(Part &part, ArrayRef<Leaf> leaves) {
  const char *unknown = "its scores are more than products that are moved";
  Value next;
  bool isMasked = false;
  for (const Leaf &leaf : leaves) {
    auto number = leaf.element.number();
    Value tensor = leaf.element.tensor();
    if (number ? *number > kMasked : !tensor || (next && next != tensor))
      return unknown;
    isMasked |= number.has_value();
    next = number ? next : tensor;
  }
  Operation *op = next ? next.getDefiningOp() : nullptr;
  if (isMasked)
    addTerm(part, part.scored, part.scored.getDefiningOp(), positions.facts(),
            next);
  if (llvm::is_contained(products.scores, op)) {
    part.scores = op;
    return traceProducts(part, leaves);
  }
  if (typeOf(op) != "Add" || leaves.size() != 1)
    return unknown;
  part.scored = next;
  part.scoredAt = Place(leaves[0].element.indices());
  return "";
}

std::string ChunkedParts::traceScores(Part &part) {
  AffineExpr k = var(kKey);
  part.scored = softmax->getOperand(0);
  part.scoredAt = part.row;
  part.scoredAt.push_back(k + part.shift);
  Condition facts = part.isInside(k + part.shift);
  while (!part.scores) {
    Operation *op = part.scored.getDefiningOp();
    if (isCopy(op)) {
      part.scored = op->getOperand(0);
      continue;
    }
    if (typeOf(op) == "Add") {
      unsigned own = !products.hasScores(op->getOperand(0));
      addTerm(part, op->getOperand(1 - own), op, facts, Value());
      part.scored = op->getOperand(own);
      part.scoredAt = values.broadcast(part.scored, part.scoredAt);
      continue;
    }
    SmallVector<Value> stops;
    for (Value before : addedUpTo(part.scored))
      if (llvm::is_contained(products.scores, before.getDefiningOp()) ||
          (typeOf(before) == "Add" && products.hasScores(before)))
        stops.push_back(before);
    know(Condition::within(k, part.keys) && facts);
    values.stopAt(stops);
    if (std::string reason =
            followScores(part, leavesAt(part.scored, part.scoredAt));
        !reason.empty())
      return reason;
  }
  return isMaskedOutside(part) ? "" : "it has scores of no keys";
}

/// Whether places along the Softmax of keys that there are not are masked.
bool ChunkedParts::isMaskedOutside(const Part &part) {
  AffineExpr x = var(kKey) + part.first, k = x - part.shift;
  Place at;
  for (AffineExpr index : part.scoredAt)
    at.push_back(index.replace(var(kKey), k));
  values.stopAt(part.scores->getResult(0));
  return llvm::all_of(ArrayRef{Condition::nonNegative(-k - 1),
                               Condition::nonNegative(k - part.keys)},
                      [&](const Condition &isOutside) {
                        know(part.isInside(x));
                        if (positions.holds(!isOutside))
                          return true;
                        know(part.isInside(x) && isOutside);
                        return llvm::all_of(leavesAt(part.scored, at),
                                            isMinusInfinity);
                      });
}

/// Whether the parts are all of the row, once, whose rows have weights where
/// those of all have; in the order of the row.
bool ChunkedParts::coverRow() {
  llvm::sort(parts, [&](const Part &a, const Part &c) {
    return llvm::find(bounds, a.first) < llvm::find(bounds, c.first);
  });
  AffineExpr end = bounds.front();
  for (const Part &part : parts) {
    if (part.first != end || part.hasWeights != parts[0].hasWeights)
      return false;
    end = part.end;
  }
  return end == bounds.back();
}

std::optional<std::string> ChunkedParts::trace() {
  auto found = chunkedProductsOf(softmax, values, positions);
  if (!found)
    return std::nullopt;
  products = *found;
  if (!findSources())
    return std::nullopt;
  findBounds();
  if (std::string reason = traceRows(); !reason.empty())
    return reason;
  for (Part &part : parts)
    for (auto step :
         {&ChunkedParts::traceProbabilities, &ChunkedParts::traceScores})
      if (std::string reason = (this->*step)(part); !reason.empty())
        return reason;
  return coverRow() ? "" : "its probabilities are not all used once";
}
