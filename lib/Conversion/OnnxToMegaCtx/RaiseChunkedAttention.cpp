//===- RaiseChunkedAttention.cpp - attention spelled out in chunks --------===//
//
// Scores that are cut out of products of overlapping chunks and moved to where
// a Softmax wants them. Nothing is matched but a Softmax between two products:
// which query and key an element of its operand is of follows from tracing that
// element, which key a probability weighs from tracing the rows of values that
// it multiplies. What is left are positions, and conditions on them.
//
//===----------------------------------------------------------------------===//

#include "Heads.h"
#include "Masks.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "Scores.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
/// An element that is no choice, and where it is the element.
struct Leaf {
  Condition path;
  Element element;
};

class ChunkedRaiser {
public:
  ChunkedRaiser(Operation *softmax, MaskCounts &counts)
      : softmax(softmax), b(softmax->getLoc(), softmax), counts(counts),
        masks(softmax->getContext()), positions(masks.getPositions()),
        values(masks.getValues()) {}

  /// Empty on success, else the reason why this Softmax is no such attention;
  /// nothing where it is between other things than products of chunks.
  std::optional<std::string> run();

private:
  AffineExpr var(Variable v) const { return positions.variable(v); }
  static Condition below(AffineExpr index, AffineExpr size) {
    return Condition::nonNegative(index) &&
           Condition::nonNegative(size - index - 1);
  }
  void know(const Condition &facts);
  SmallVector<Leaf> leavesAt(Value tensor, ArrayRef<AffineExpr> place);
  std::optional<AffineExpr> numberOf(AffineExpr expr, const Condition &path);
  llvm::SetVector<Value> addedUpTo(Value value);
  bool findProducts();
  Value sourceOf(Value operand, bool isTransposed);
  bool findSources();
  std::string traceValues();
  std::string traceProbabilities();
  std::string placeKeys(const Leaf &leaf);
  std::string traceScores();
  std::string traceProducts(ArrayRef<Leaf> leaves);
  bool isRowOf(Value source, Value operand, const Place &place, AffineExpr row);
  bool isMaskedOutside();
  std::string build();

  Operation *softmax;
  ImplicitLocOpBuilder b;
  MaskCounts &counts;
  Masks masks;
  Positions &positions;
  ElementValues &values;

  Operation *scores = nullptr;  ///< queries x keys, chunk by chunk
  Operation *context = nullptr; ///< probabilities x values
  Value query, key, value;      ///< [B, H, N, D], or [B, N, D]
  Place sizes;                  ///< B, H, Nq, Nk
  Place outer;                  ///< the context's row (b, h, p)
  AffineExpr keyShift;          ///< key row less the place in a chunk
  Placement placement;          ///< of the score (b, h, p, k)
  Condition hasWeights = Condition::constant(true); ///< of rows, at run time
  Value scored;            ///< what the scores are moved to
  SmallVector<Term> terms; ///< that are added to it
  Condition allowed = Condition::constant(false);
};
} // namespace

static void addLeaves(const Element &element, const Condition &path,
                      SmallVectorImpl<Leaf> &leaves) {
  if (element.kind() == Element::Kind::Truth) {
    addLeaves(Element::choice(element.condition(), Element::real(1),
                              Element::real(0)),
              path, leaves);
  } else if (element.kind() == Element::Kind::Choice) {
    addLeaves(element.first(), path && element.condition(), leaves);
    addLeaves(element.second(), path && !element.condition(), leaves);
  } else {
    leaves.push_back({path, element});
  }
}

/// The factors in which no run-time value, and those in which some take part.
static std::pair<Condition, Condition> partsOf(const Condition &path) {
  std::pair<Condition, Condition> parts = {Condition::constant(true),
                                           Condition::constant(true)};
  ArrayRef<Condition> factors = ArrayRef(path);
  if (path.kind() == Condition::Kind::And)
    factors = path.args();
  for (const Condition &factor : factors) {
    Condition &part = factor.isStatic() ? parts.first : parts.second;
    part = part && factor;
  }
  return parts;
}

/// Nodes whose elements are those of their first operand.
static bool isMove(Operation *op) {
  return op && op->getNumOperands() > 0 &&
         llvm::is_contained({"Cast", "Concat", "Expand", "Flatten", "Gather",
                             "Identity", "Pad", "Reshape", "Slice", "Squeeze",
                             "Transpose", "Unsqueeze"},
                            typeOf(op));
}

static bool isFloat(Value value) {
  return isa<FloatType>(getElementTypeOrSelf(value.getType()));
}

void ChunkedRaiser::know(const Condition &facts) {
  positions.forget();
  values.forget();
  positions.assume(below(var(kBatch), sizes[0]) &&
                   below(var(kHead), sizes[1]) &&
                   below(var(kQuery), sizes[2]) && facts);
}

/// The leaves of an element that are somewhere.
SmallVector<Leaf> ChunkedRaiser::leavesAt(Value tensor,
                                          ArrayRef<AffineExpr> place) {
  SmallVector<Leaf> leaves;
  addLeaves(values.settled(values.at(tensor, place)), Condition::constant(true),
            leaves);
  llvm::erase_if(leaves, [&](const Leaf &leaf) {
    return positions.holds(!partsOf(leaf.path).first);
  });
  return leaves;
}

/// The number that an expression without kPlace is all along a path.
std::optional<AffineExpr> ChunkedRaiser::numberOf(AffineExpr expr,
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

/// What a value is moved and added up of, back to sums of products.
llvm::SetVector<Value> ChunkedRaiser::addedUpTo(Value value) {
  llvm::SetVector<Value> before;
  before.insert(value);
  for (size_t i = 0; i < before.size(); ++i) {
    Operation *op = before[i].getDefiningOp();
    bool isAdded = isMove(op) || llvm::is_contained(
                                     {"Add", "Where", "ScatterND"}, typeOf(op));
    for (Value operand : isAdded ? op->getOperands() : ValueRange())
      if (isFloat(operand))
        before.insert(operand);
  }
  return before;
}

/// The products before and after the Softmax.
bool ChunkedRaiser::findProducts() {
  int64_t last = rankOf(softmax->getResult(0)) - 1;
  int64_t axis = integerAttr(softmax, "axis", -1);
  if (last < 1 || (axis != -1 && axis != last))
    return false;
  auto isOfChunks = [](Operation *op) {
    return op && rankOf(op->getResult(0)) == 4 &&
           rankOf(op->getOperand(0)) == 4 && rankOf(op->getOperand(1)) == 4;
  };
  llvm::SetVector<Value> after;
  after.insert(softmax->getResult(0));
  for (size_t i = 0; i < after.size(); ++i)
    for (OpOperand &use : after[i].getUses()) {
      Operation *user = use.getOwner();
      if (typeOf(user) == "MatMul" && use.getOperandNumber() == 0) {
        if (context && context != user)
          return false;
        context = user;
      } else if (isMove(user) || typeOf(user) == "Where" ||
                 typeOf(user) == "Dropout") {
        after.insert(user->getResult(0));
      }
    }
  if (!isOfChunks(context))
    return false;
  for (Value value : addedUpTo(softmax->getOperand(0))) {
    // Products of one factor are masks, not scores.
    Operation *op = value.getDefiningOp();
    if (typeOf(op) != "MatMul" ||
        (isOfChunks(op) &&
         values.shape(op->getOperand(0))[3] == positions.constant(1)))
      continue;
    if (scores)
      return false;
    scores = op;
  }
  return isOfChunks(scores);
}

/// The tensor [B, H, N, D] or [B, N, D] of whose rows those of an operand
/// [.., rows, D], or [.., D, rows], are made; the farthest one.
Value ChunkedRaiser::sourceOf(Value operand, bool isTransposed) {
  if (rankOf(operand) != 4 || !isFloat(operand))
    return {};
  SmallVector<Value> sources;
  for (Value at = operand; isMove(at.getDefiningOp()); at = sources.back())
    sources.push_back(at.getDefiningOp()->getOperand(0));
  Place place = {var(kBatch), var(kHead), var(kKey), var(kPlace)};
  if (isTransposed)
    std::swap(place[2], place[3]);
  const Place all = values.shape(operand);
  for (Value source : llvm::reverse(sources)) {
    int64_t rank = rankOf(source);
    if ((rank != 3 && rank != 4) || getElementTypeOrSelf(source.getType()) !=
                                        getElementTypeOrSelf(operand.getType()))
      continue;
    positions.forget();
    values.stopAt(source);
    for (auto [index, size] : llvm::zip(place, all))
      positions.assume(below(index, size));
    SmallVector<Leaf> leaves;
    addLeaves(values.at(operand, place), Condition::constant(true), leaves);
    llvm::erase_if(leaves,
                   [](const Leaf &leaf) { return leaf.element.number(); });
    if (leaves.size() != 1 || leaves[0].element.tensor() != source)
      continue;
    positions.assume(partsOf(leaves[0].path).first);
    ArrayRef<AffineExpr> indices = leaves[0].element.indices();
    // From one row to the next, the row alone changes, by one.
    auto moves = [&](AffineExpr index, unsigned by) {
      AffineExpr first = index.replace(var(kKey), positions.constant(0));
      return !first.isFunctionOfDim(kPlace) &&
             positions.holds(Condition::zero(index - first - var(kKey) * by));
    };
    if (indices.back() == var(kPlace) && moves(indices[rank - 2], 1) &&
        llvm::all_of(indices.drop_back(2),
                     [&](AffineExpr index) { return moves(index, 0); }))
      return source;
  }
  return {};
}

bool ChunkedRaiser::findSources() {
  query = sourceOf(scores->getOperand(0), false);
  key = sourceOf(scores->getOperand(1), true);
  value = sourceOf(context->getOperand(1), false);
  if (!query || !key || !value)
    return false;
  const Place q = values.shape(query), k = values.shape(key),
              v = values.shape(value);
  Type type = getElementTypeOrSelf(query.getType());
  if (!(type.isF32() || type.isF16() || type.isBF16()) ||
      getElementTypeOrSelf(key.getType()) != type ||
      getElementTypeOrSelf(value.getType()) != type)
    return false;
  // Without caches: the row of a query is its position.
  if (q != k || ArrayRef(v).drop_back() != ArrayRef(k).drop_back())
    return false;
  sizes = {q[0], q.size() == 4 ? q[1] : positions.constant(1), q[q.size() - 2],
           k[k.size() - 2]};
  return true;
}

/// Whether a row of an operand is that of its source, with the batch and head
/// of the query.
bool ChunkedRaiser::isRowOf(Value source, Value operand, const Place &place,
                            AffineExpr row) {
  Place want = {var(kBatch), var(kHead), row, var(kPlace)};
  if (rankOf(source) == 3)
    want.erase(want.begin() + 1);
  values.stopAt(source);
  SmallVector<Leaf> leaves =
      leavesAt(operand, values.broadcast(operand, place));
  return llvm::all_of(leaves, [&](const Leaf &leaf) {
    if (leaf.element.kind() != Element::Kind::Read ||
        leaf.element.tensor() != source || !leaf.path.isStatic())
      return false;
    return llvm::all_of(
        llvm::zip(leaf.element.indices(), want), [&](auto pair) {
          auto [index, wanted] = pair;
          return positions.holds(!leaf.path || Condition::zero(index - wanted));
        });
  });
}

/// Which rows of queries those of the result are, and how far rows of values
/// are from their places in chunks.
std::string ChunkedRaiser::traceValues() {
  Place rows = values.shape(context->getResult(0));
  rows.pop_back();
  AffineExpr count = positions.constant(1), all = count;
  for (AffineExpr size : rows)
    count = count * size;
  for (AffineExpr size : ArrayRef(sizes).take_front(3))
    all = all * size;
  know(Condition::constant(true));
  auto place = values.renumbered(rows, Place(ArrayRef(sizes).take_front(3)),
                                 {var(kBatch), var(kHead), var(kQuery)});
  auto isUnknown = [](AffineExpr size) {
    return !isa<AffineConstantExpr>(size);
  };
  if (!place || positions.simplify(count - all) != positions.constant(0) ||
      llvm::count_if(rows, isUnknown) > 1)
    return "the rows of its result are no rows of queries";
  outer = *place;
  Value chunks = context->getOperand(1);
  know(below(var(kKey), values.shape(chunks)[2]) &&
       below(var(kPlace), values.shape(chunks)[3]));
  Place at = outer;
  at[2] = var(kKey);
  at.push_back(var(kPlace));
  at = values.broadcast(chunks, at);
  values.stopAt(value);
  for (const Leaf &leaf : leavesAt(chunks, at)) {
    if (leaf.element.kind() != Element::Kind::Read ||
        leaf.element.tensor() != value)
      continue;
    keyShift = positions.simplify(leaf.element.indices()[rankOf(value) - 2] -
                                  var(kKey));
    if (keyShift.isFunctionOfDim(kKey) || keyShift.isFunctionOfDim(kPlace))
      return "its chunks of values are no consecutive rows";
    positions.assume(below(var(kKey) + keyShift, sizes[3]));
    return isRowOf(value, chunks, at, var(kKey) + keyShift)
               ? ""
               : "its chunks of values are no consecutive rows";
  }
  return "its chunks of values are no rows of values";
}

/// Along a Softmax there are keys in their order: the place is a number more
/// than the distance from query to key, or than the place in a chunk.
std::string ChunkedRaiser::placeKeys(const Leaf &leaf) {
  auto [here, atRuntime] = partsOf(leaf.path);
  AffineExpr y = var(kKey), distance = y + keyShift - var(kQuery);
  AffineExpr width = values.shape(softmax->getResult(0)).back();
  placement.row = Place(leaf.element.indices());
  AffineExpr x = placement.row.pop_back_val();
  if (auto number = numberOf(x - distance, here))
    placement.shift = *number - var(kQuery);
  else if (auto number = numberOf(x - y, here))
    placement.shift = *number - keyShift;
  else
    return "its scores are in no order of keys";
  placement.width = width;
  placement.scores = softmax->getResult(0);
  if (!positions.holds(!here || below(x, width)))
    return "its probabilities are read outside of them";
  for (AffineExpr index : placement.row)
    if (index.isFunctionOfDim(kKey))
      return "a row of its probabilities is made of several rows";
  if (Element::truth(atRuntime).uses(kKey))
    return "its probabilities are masked key by key";
  hasWeights = atRuntime;
  // All of a row's probabilities have a place in the chunk.
  AffineExpr place = y - keyShift - placement.shift;
  know(below(y, width));
  AffineExpr size = values.shape(context->getOperand(0)).back();
  return positions.holds(below(place, size) && here.replace(y, place))
             ? ""
             : "some of its probabilities have no values";
}

/// Which probability stands where in a chunk.
std::string ChunkedRaiser::traceProbabilities() {
  Value chunks = context->getOperand(0);
  values.stopAt(softmax->getResult(0));
  know(below(var(kKey), values.shape(chunks).back()));
  Place at = outer;
  at.push_back(var(kKey));
  values.prefer(outer);
  SmallVector<Leaf> leaves = leavesAt(chunks, values.broadcast(chunks, at));
  values.prefer({});
  llvm::erase_if(leaves,
                 [](const Leaf &leaf) { return leaf.element.number() == 0.0; });
  if (leaves.size() != 1 || leaves[0].element.kind() != Element::Kind::Read ||
      leaves[0].element.tensor() != softmax->getResult(0))
    return "its probabilities change on the way to values";
  return placeKeys(leaves[0]);
}

static bool isMinusInfinity(const Leaf &leaf) {
  auto number = leaf.element.number();
  return number && std::isinf(*number) && *number < 0;
}

/// Each score is of the query and key that its probability is of.
std::string ChunkedRaiser::traceProducts(ArrayRef<Leaf> leaves) {
  Condition facts = positions.facts();
  for (const Leaf &leaf : leaves) {
    if (isMinusInfinity(leaf))
      continue;
    if (leaf.element.kind() != Element::Kind::Read ||
        leaf.element.tensor() != scores->getResult(0) || !leaf.path.isStatic())
      return "its scores are more than products that are moved";
    know(facts && leaf.path && below(var(kPlace), values.shape(query).back()));
    Place left(leaf.element.indices()), right = left;
    left[3] = right[2] = var(kPlace);
    if (!isRowOf(query, scores->getOperand(0), left, var(kQuery)) ||
        !isRowOf(key, scores->getOperand(1), right, var(kKey)))
      return "some of its scores are of other queries and keys";
    allowed = allowed || leaf.path;
  }
  return "";
}

/// Whether places along the Softmax of keys that there are not are masked.
bool ChunkedRaiser::isMaskedOutside() {
  AffineExpr x = var(kKey), k = x - placement.shift;
  Place at = placement.row;
  at.push_back(x);
  values.stopAt({});
  return llvm::all_of(ArrayRef{Condition::nonNegative(-k - 1),
                               Condition::nonNegative(k - sizes[3])},
                      [&](const Condition &isOutside) {
                        know(below(x, placement.width) && isOutside);
                        return llvm::all_of(leavesAt(scored, at),
                                            isMinusInfinity);
                      });
}

std::string ChunkedRaiser::traceScores() {
  scored = softmax->getOperand(0);
  while (Operation *op = scored.getDefiningOp()) {
    bool isSum = typeOf(op) == "Add";
    if (!isSum && !isCopy(op))
      break;
    unsigned own = 0;
    if (isSum) {
      own = !addedUpTo(op->getOperand(0)).contains(scores->getResult(0));
      terms.push_back({op->getOperand(1 - own), Value(), false, op});
    }
    scored = op->getOperand(own);
  }
  AffineExpr k = var(kKey);
  know(below(k, sizes[3]) && below(k + placement.shift, placement.width));
  Place at = placement.row;
  at.push_back(k + placement.shift);
  values.stopAt({});
  if (std::string reason = traceProducts(leavesAt(scored, at)); !reason.empty())
    return reason;
  return isMaskedOutside() ? "" : "it has scores of no keys";
}

std::string ChunkedRaiser::build() {
  b.setInsertionPoint(context);
  AffineExpr k = var(kKey);
  know(below(k, sizes[3]));
  auto pattern =
      patternOf(positions.simplify(allowed &&
                                   below(k + placement.shift, placement.width)),
                positions);
  if (!pattern)
    return "no pattern says which keys its queries see";
  for (Value *operand : {&query, &key, &value})
    if (rankOf(*operand) == 3)
      *operand = unsqueezed(b, *operand, 1);
  values.stopAt({});
  masks.setOperands(query, key, /*isSelf=*/true);
  masks.setPlacement(placement);
  for (const Term &term : terms)
    if (!masks.isPlaced(term))
      return "it is not known which scores " + describe(term.value) +
             " is added to";
  SmallVector<Value> biases = masks.biasesOf(b, terms, *pattern, counts);
  ++counts.patterns;
  auto type = cast<RankedTensorType>(query.getType());
  auto valueType = cast<RankedTensorType>(value.getType());
  Value source = SourceOp::create(
      b,
      SourceType::get(b.getContext(), cast<RankedTensorType>(key.getType()),
                      valueType),
      key, value, biases, /*lengths=*/Value(), /*segments=*/Value(),
      /*offset=*/Value(), /*positions=*/Value(),
      PatternAttr::get(b.getContext(), *pattern), b.getI64IntegerAttr(1));
  auto outType =
      RankedTensorType::get({type.getDimSize(0), type.getDimSize(1),
                             type.getDimSize(2), valueType.getDimSize(3)},
                            type.getElementType());
  auto attention = AttentionOp::create(
      b, outType, Type(), query, source, /*offset=*/Value(),
      /*positions=*/Value(), b.getF32FloatAttr(1.0), FloatAttr(),
      b.getI64IntegerAttr(1), b.getStringAttr(kindOf(query, key, value)));
  Value out = attention.getOut();
  if (!hasWeights.isTrue())
    out = masks.withRowsWhere(b, out, hasWeights);
  Value old = context->getResult(0);
  SmallVector<int64_t> shape;
  for (AffineExpr size : values.shape(old)) {
    auto number = dyn_cast<AffineConstantExpr>(size);
    shape.push_back(number ? number.getValue() : -1);
  }
  out = withElementType(b, out, getElementTypeOrSelf(old.getType()));
  out = createNode(b, "Reshape", {out, integerList(b, shape)}, old.getType());
  old.replaceAllUsesWith(out);
  passed(softmax, kAttentionRaised) << remark::add("{0}", pattern->str());
  return "";
}

std::optional<std::string> ChunkedRaiser::run() {
  if (!findProducts() || !findSources())
    return std::nullopt;
  for (auto step :
       {&ChunkedRaiser::traceValues, &ChunkedRaiser::traceProbabilities,
        &ChunkedRaiser::traceScores, &ChunkedRaiser::build})
    if (std::string reason = (this->*step)(); !reason.empty())
      return reason;
  return "";
}

std::optional<std::string>
mlir::megactx::raise::raiseChunkedAttention(Operation *softmax,
                                            MaskCounts &counts) {
  return ChunkedRaiser(softmax, counts).run();
}
