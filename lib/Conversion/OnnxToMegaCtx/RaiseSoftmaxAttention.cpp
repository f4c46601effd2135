//===- RaiseSoftmaxAttention.cpp - attention around a Softmax -------------===//
//
// What feeds the Softmax must be a product of queries and keys with scales and
// masks on the way, what it feeds a product with values. Masks.h says what
// masks come to.
//
//===----------------------------------------------------------------------===//

#include "Heads.h"
#include "KeyParts.h"
#include "Masks.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "ScoreScale.h"
#include "Scores.h"
#include "Sinks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
class Raiser {
public:
  Raiser(Operation *softmax, MaskCounts &counts)
      : softmax(softmax), b(softmax->getLoc(), softmax), counts(counts),
        masks(softmax->getContext()), operands(softmax->getContext()) {}

  /// Empty on success, else the reason why this Softmax is no attention.
  std::string run();

private:
  std::string findProducts(Scores &scores);
  std::string foldOuterDims(Value &query, Value &key);
  void unifyTypes(Value &query, Value &key);
  std::string findOperands(Scores &scores, Value &query, Value &key);
  Value foldedTerm(Value term);
  bool foldTerm(const Term &term, SmallVectorImpl<Term> &folded);
  std::string placeTerms(SmallVectorImpl<Term> &terms);
  Value sourceOf(KeyPart &part, Value &query, pattern::Pattern &pattern);
  Value attend(const Scores &scores, Value query, Value key,
               ArrayRef<Value> sources, StringRef kind,
               const ScoreScale &scale);
  std::string build(Scores &scores);
  void replaceProduct(Value out);
  Value peelScales(Value value, Scores &scores);
  void alignSizes(Value &query, Value &key, Value &value);

  /// Of probabilities and values, or of both transposed, in the other order.
  struct Product {
    Operation *op = nullptr;
    bool isTransposed = false;
  };
  bool findProduct(Operation *user);

  Operation *softmax;
  ImplicitLocOpBuilder b;
  SmallVector<Product> products;
  Product product;       ///< the one that is raised now
  Value weights, values; ///< its operands
  Value unfolded; ///< queries before their outer dims were folded, or null
  int64_t heads;  ///< the dim of theirs
  MaskCounts &counts;
  Masks masks;
  Operands operands;
};
} // namespace

/// The permutation that swaps the last two dims.
static SmallVector<int64_t> swappedDims(int64_t rank) {
  auto perm = llvm::to_vector(llvm::seq(rank));
  std::swap(perm[rank - 1], perm[rank - 2]);
  return perm;
}

/// Adds what multiplies the probabilities; false where something else uses
/// them.
bool Raiser::findProduct(Operation *user) {
  auto add = [&](Operation *op, bool isTransposed) {
    if (llvm::none_of(products, [&](Product &p) { return p.op == op; }))
      products.push_back({op, isTransposed});
  };
  if (typeOf(user) == "MatMul" && user->getOperand(0) == weights) {
    add(user, false);
    return true;
  }
  auto perm = user->getAttrOfType<DenseI64ArrayAttr>("perm");
  int64_t rank = rankOf(weights);
  if (typeOf(user) != "Transpose" || !perm || rank < 2 ||
      perm.asArrayRef() != ArrayRef(swappedDims(rank)))
    return false;
  for (Operation *next : user->getResult(0).getUsers()) {
    if (typeOf(next) != "MatMul" ||
        next->getOperand(0) == next->getOperand(1) ||
        next->getOperand(1) != user->getResult(0) ||
        rankOf(next->getOperand(0)) < 2)
      return false;
    add(next, true);
  }
  return true;
}

std::string Raiser::findProducts(Scores &scores) {
  Value lastReshape;
  weights = skipGuards(b, softmax->getResult(0), scores, lastReshape);
  if (!weights)
    return "the scores beside its own are not cut off alone";
  for (Operation *user : weights.getUsers()) {
    if (typeOf(user) == "QuantizeLinear")
      return "its probabilities are rounded, which --float-scores leaves out";
    if (!findProduct(user))
      return weights.hasOneUse() ? "its probabilities multiply no values"
                                 : "its probabilities have other uses";
  }
  // Reshapes on the way keep keys last and come back to the scores' sizes.
  Value before = scores.product;
  if (!scores.reshapes.empty())
    before = scores.reshapes.back()->getResult(0);
  Value after = lastReshape ? lastReshape : before;
  if (before != after || before != scores.product)
    if (rankOf(before) < 1 || !operands.isLastSize(before, scores.product) ||
        !operands.haveOneShape(after, scores.product))
      return "its scores are reshaped in an unknown way";
  return products.empty() ? "its probabilities multiply no values" : "";
}

/// A scale of queries or keys is one of the scores.
Value Raiser::peelScales(Value value, Scores &scores) {
  while (true) {
    StringRef type = typeOf(value);
    if (type != "Mul" && type != "Div")
      return value;
    Operation *op = value.getDefiningOp();
    unsigned i = isScalar(op->getOperand(1)) ? 1 : 0;
    if (!isScalar(op->getOperand(i)) || (type == "Div" && i == 0) ||
        rankOf(op->getOperand(1 - i)) != rankOf(value))
      return value;
    scores.scales.push_back({op->getOperand(i), type == "Div"});
    value = op->getOperand(1 - i);
  }
}

/// Products of matrices broadcast batch and heads, attention does not.
void Raiser::alignSizes(Value &query, Value &key, Value &value) {
  Value *all[] = {&query, &key, &value};
  Value most[2]; // by dim, whichever is not 1
  for (unsigned dim : {0, 1})
    for (Value *operand : all)
      if (!most[dim] && !operands.isOne(*operand, dim))
        most[dim] = *operand;
  // Fewer heads of keys and values than of queries are groups.
  bool isGrouped = operands.isOne(key, 1) && operands.isOne(value, 1);
  for (Value *operand : all) {
    Value like[2];
    for (unsigned dim : {0, 1})
      if (operands.isOne(*operand, dim) &&
          !(dim == 1 && isGrouped && operand != &query))
        like[dim] = most[dim];
    if (like[0] || like[1])
      *operand = repeated(b, *operand, like[0], like[1]);
  }
}

/// Operands of a rank above 4: the last outer dim that is not 1 is the heads,
/// those before it are one batch.
std::string Raiser::foldOuterDims(Value &query, Value &key) {
  int64_t rank = rankOf(query);
  for (Value operand : {key, values})
    if (rankOf(operand) != rank)
      return "its operands have several ranks";
  for (int64_t dim = 0; dim + 2 < rank; ++dim)
    if (!operands.haveOneSize(query, key, dim) ||
        !operands.haveOneSize(query, values, dim))
      return "its operands differ in the size of dim " + std::to_string(dim);
  unfolded = query;
  heads = rank - 3;
  while (heads > 1 && operands.isOne(query, heads))
    --heads;
  for (Value *operand : {&query, &key, &values})
    *operand = foldedOuterDims(b, *operand, heads);
  return "";
}

/// Scores may be of narrower floats than what their weights multiply, or of
/// wider ones: all get the one type that holds the numbers of each.
void Raiser::unifyTypes(Value &query, Value &key) {
  Value *operands[] = {&query, &key, &values};
  Type type = getElementTypeOrSelf(query.getType());
  for (Value *operand : operands)
    if (getElementTypeOrSelf(operand->getType()) != type)
      type = b.getF32Type();
  for (Value *operand : operands)
    *operand = withElementType(b, *operand, type);
}

/// Whether two sizes are known to be neither equal nor broadcast.
static bool contradict(Value a, Value b, int64_t dim, bool broadcasts) {
  int64_t x = cast<RankedTensorType>(a.getType()).getDimSize(dim);
  int64_t y = cast<RankedTensorType>(b.getType()).getDimSize(dim);
  if (ShapedType::isDynamic(x) || ShapedType::isDynamic(y) || x == y)
    return false;
  return !broadcasts || (x != 1 && y != 1);
}

/// Of products that no run can compute: their own lowering says so.
static bool contradict(Value query, Value key, Value values) {
  return contradict(query, key, 0, true) || contradict(query, key, 3, false) ||
         contradict(key, values, 0, true) || contradict(key, values, 1, true) ||
         contradict(key, values, 2, false);
}

/// The tensors [B, H, N, D] that are multiplied, in place of the operands.
std::string Raiser::findOperands(Scores &scores, Value &query, Value &key) {
  // A product with a vector has a dim less than one with a matrix.
  if (rankOf(scores.query) == 1 || rankOf(scores.key) == 1 ||
      rankOf(values) == 1)
    return "an operand of its products is a vector";
  // Heads may be folded into the batch for one of the products alone.
  bool isFolded = rankOf(scores.product) == 3;
  bool hasFoldedValues = rankOf(weights) == 3;
  if ((isFolded && (rankOf(scores.query) != 3 || rankOf(scores.key) != 3)) ||
      (hasFoldedValues && rankOf(values) != 3))
    return "its operands have no known rank 4";
  if (operands.isOfChannels(scores.query, /*hasRowsLast=*/false) &&
      operands.isOfChannels(scores.key, /*hasRowsLast=*/true))
    return kOfChannels.str();
  key = transposed(b, peelScales(scores.key, scores),
                   swappedDims(rankOf(scores.key)));
  query = peelScales(scores.query, scores);
  unfolded = nullptr;
  if (rankOf(scores.product) > 4)
    if (std::string reason = foldOuterDims(query, key); !reason.empty())
      return reason;
  if (!isFolded) {
    key = withRank4(b, key);
    query = withRank4(b, query);
  }
  if (!hasFoldedValues)
    values = withRank4(b, values);
  auto queries = operands.sourcesOf(query);
  llvm::erase_if(queries, [](const Operand &o) { return o.group != 1; });
  auto shared =
      sharedSources(operands.sourcesOf(key), operands.sourcesOf(values));
  bool isFound = !queries.empty() && shared;
  if (!isFound && !(isFolded && hasFoldedValues))
    return "its heads are folded in an unknown way";
  if (isFound) {
    query = queries.back().tensor;
    key = shared->first.tensor;
    values = shared->second.tensor;
  } else {
    // Nothing has heads of their own: there is one, or each is an entry of the
    // batch.
    for (Value *operand : {&query, &key, &values})
      *operand = unsqueezed(b, *operand, 1);
  }
  for (Value v : {query, key, values}) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || type.getRank() != 4)
      return "its operands have no known rank 4";
    Type e = type.getElementType();
    if (!e.isF32() && !e.isF16() && !e.isBF16())
      return "its element type is not f32, f16 or bf16";
  }
  if (contradict(query, key, values))
    return "the sizes of its operands contradict";
  unifyTypes(query, key);
  // A batch and heads that are folded say nothing of either: as many in all may
  // be other heads of other batches.
  bool isRepeated = !isFound || shared->first.group != 1;
  if (((isFolded && !isRepeated) || isFolded != hasFoldedValues) &&
      !(operands.haveOneSize(query, values, 1) &&
        (isRepeated || operands.haveOneSize(query, key, 1))))
    return "its heads are folded in an unknown way";
  return "";
}

/// With outer dims folded as those of the operands: into 1 where all are, else
/// all of them are repeated.
Value Raiser::foldedTerm(Value term) {
  // Remarks name where it comes from.
  ImplicitLocOpBuilder b(term.getLoc(), this->b);
  int64_t rank = rankOf(unfolded);
  if (int64_t missing = rank - rankOf(term))
    term = unsqueezed(b, term, llvm::to_vector(llvm::seq<int64_t>(0, missing)));
  auto all = cast<RankedTensorType>(unfolded.getType());
  auto type = cast<RankedTensorType>(term.getType());
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<Value> target;
  for (auto [first, last] : {std::pair(int64_t(0), heads), {heads, rank - 2}}) {
    auto isOne = [&](int64_t dim) { return operands.isOne(term, dim); };
    bool areOne = llvm::all_of(llvm::seq(first, last), isOne);
    target.push_back(areOne
                         ? integerList(b, SmallVector<int64_t>(last - first, 1))
                         : sizesOf(b, unfolded, first, last));
    for (int64_t dim = first; dim < last && !areOne; ++dim)
      shape[dim] = all.getDimSize(dim);
  }
  target.push_back(integerList(b, {1, 1}));
  term = createNode(b, "Expand", {term, joinedLists(b, target)},
                    type.clone(shape));
  return foldedOuterDims(b, term, heads);
}

/// Sums are taken apart: what is the same for a whole batch stays so.
bool Raiser::foldTerm(const Term &term, SmallVectorImpl<Term> &folded) {
  int64_t rank = rankOf(term.value);
  if (!unfolded || !term.reshapes.empty() || rank < 0 ||
      rank > rankOf(unfolded))
    return false;
  if (!term.fill && typeOf(term.value) == "Add" &&
      isa<FloatType>(getElementTypeOrSelf(term.value.getType())))
    return llvm::all_of(term.value.getDefiningOp()->getOperands(),
                        [&](Value operand) {
                          Term part = term;
                          part.value = operand;
                          return foldTerm(part, folded);
                        });
  folded.push_back(term);
  folded.back().value = foldedTerm(term.value);
  folded.back().isFolded = true;
  return true;
}

/// Where sizes do not tell which scores a term is added to, it gets the form of
/// the operands.
std::string Raiser::placeTerms(SmallVectorImpl<Term> &terms) {
  SmallVector<Term> placed;
  for (const Term &term : terms) {
    if (masks.isPlaced(term))
      placed.push_back(term);
    else if (!foldTerm(term, placed))
      return "it is not known which scores " + describe(term.value) +
             " is added to";
  }
  terms = placed;
  return "";
}

/// Patterns are of keys that have positions. Masks mostly leave the others.
Value Raiser::sourceOf(KeyPart &part, Value &query, pattern::Pattern &pattern) {
  pattern::Pattern own;
  if (part.isEverywhere)
    llvm::erase_if(part.terms, [&](const Term &term) {
      Mask mask = masks.classify(term);
      return mask.pattern.isDense() && !mask.keepsTerm && !mask.bias;
    });
  SmallVector<Value> biases =
      masks.biasesOf(b, part.terms, own, counts, !part.isEverywhere);
  alignSizes(query, part.key, part.values);
  if (!part.isEverywhere)
    pattern = own;
  auto type = SourceType::get(b.getContext(),
                              cast<RankedTensorType>(part.key.getType()),
                              cast<RankedTensorType>(part.values.getType()));
  return SourceOp::create(
      b, type, part.key, part.values, biases,
      /*lengths=*/Value(), /*segments=*/Value(), /*offset=*/Value(),
      /*positions=*/Value(), PatternAttr::get(b.getContext(), own),
      b.getI64IntegerAttr(1), part.isEverywhere ? b.getUnitAttr() : UnitAttr());
}

std::string Raiser::build(Scores &scores) {
  b.setInsertionPoint(product.op);
  values = product.op->getOperand(product.isTransposed ? 0 : 1);
  if (product.isTransposed)
    values = transposed(b, values, swappedDims(rankOf(values)));
  Value query, key;
  ScoreScale scale;
  if (std::string reason = findOperands(scores, query, key); !reason.empty())
    return reason;
  if (std::string reason = applyScales(b, operands, scores, query, scale);
      !reason.empty())
    return reason;
  for (Term &term : scores.terms)
    if (!changeTerm(b, term))
      return describe(term.value) + " is changed by a number of another type";
  if (scores.sink &&
      !(rankOf(scores.sink) == 4 && rankOf(scores.product) == 4 &&
        operands.isOne(scores.sink, 3)))
    return describe(scores.sink) + " is no score of one more key per row";
  auto parts = partsOfKeys(b, operands, query, key, values, scores);
  key = parts.back().key;
  values = parts.back().values;
  StringRef kind = kindOf(query, key, values);
  const bool isElsewhere = kind == "cross";
  std::string apart = isElsewhere ? "" : operands.whyApart(query, key);
  const bool isKnown = !isElsewhere && apart.empty();
  // Which scores of one part terms are added to is known.
  Value whole = parts.size() == 1 ? scores.product : Value();
  masks.setOperands(query, key, isKnown, whole);
  if (std::string reason = placeTerms(parts.back().terms); !reason.empty())
    return reason;
  if (!isKnown && masks.placeLastTogether(parts.back().terms)) {
    kind = "self";
    if (!isElsewhere)
      apart = operands.whyApart(query, key, Standing::LastSaid);
  }
  kind = kindByRows(softmax, kind, apart);
  pattern::Pattern pattern;
  SmallVector<Value> sources;
  for (KeyPart &part : parts) {
    masks.setOperands(query, part.key, kind == "self" && !part.isEverywhere,
                      whole);
    sources.push_back(sourceOf(part, query, pattern));
  }
  replaceProduct(attend(scores, query, key, sources, kind, scale));
  passed(softmax, kAttentionRaised) << remark::add("{0}", pattern.str());
  return "";
}

/// The result [B, H, N, Dv].
Value Raiser::attend(const Scores &scores, Value query, Value key,
                     ArrayRef<Value> sources, StringRef kind,
                     const ScoreScale &scale) {
  auto valueType = cast<RankedTensorType>(values.getType());
  auto queryType = cast<RankedTensorType>(query.getType());
  SmallVector<int64_t> shape(queryType.getShape());
  shape[3] = valueType.getDimSize(3);
  auto outType = RankedTensorType::get(shape, queryType.getElementType());
  // Keys of a cache stand before the queries' own: the last query and the last
  // key have one position.
  Value offset;
  if (kind == "self") {
    Value queries = tensor::DimOp::create(b, query, 2);
    Value keys = tensor::DimOp::create(b, key, 2);
    offset = arith::SubIOp::create(b, keys, queries);
  }
  auto lseType =
      RankedTensorType::get(ArrayRef(shape).take_front(3), b.getF32Type());
  auto attention = AttentionOp::create(
      b, outType, scores.sink ? Type(lseType) : Type(), query, sources, offset,
      /*positions=*/Value(), b.getF32FloatAttr(scale.factor),
      scale.cap ? b.getF32FloatAttr(*scale.cap) : FloatAttr(),
      b.getI64IntegerAttr(1), b.getStringAttr(kind));
  return scores.sink ? withSink(b, attention, scores.sink) : attention.getOut();
}

/// Brings [B, H, N, D] to the form of the product with values.
void Raiser::replaceProduct(Value out) {
  if (unfolded)
    out = withOuterDims(b, out, unfolded, heads);
  if (rankOf(weights) == 3) {
    SmallVector<ReassociationIndices> groups = {{0, 1}, {2}, {3}};
    out = tensor::CollapseShapeOp::create(b, out, groups);
  }
  if (product.isTransposed)
    out = transposed(b, out, swappedDims(rankOf(out)));
  Value old = product.op->getResult(0);
  out = withElementType(b, out, getElementTypeOrSelf(old.getType()));
  old.replaceAllUsesWith(withKnownType(b, out, old.getType()));
}

std::string Raiser::run() {
  auto axis = softmax->getAttrOfType<IntegerAttr>("axis");
  int64_t last = rankOf(softmax->getResult(0)) - 1;
  Scores scores;
  std::string reason = matchScores(softmax->getOperand(0), operands, scores);
  if (reason.empty() && axis && axis.getInt() != -1 && axis.getInt() != last)
    return isProjection(softmax->getOperand(0))
               ? "no product of queries and keys feeds it: " +
                     describeProjection(softmax->getOperand(0))
               : "it is not over the last axis";
  if (reason.empty())
    reason = findProducts(scores);
  if (!reason.empty())
    return reason;
  // Products with other values are attentions of their own.
  for (Product next : products) {
    product = next;
    Scores own = scores;
    std::string here = build(own);
    if (reason.empty())
      reason = here;
  }
  return reason;
}

std::string mlir::megactx::raise::raiseSoftmaxAttention(Operation *softmax,
                                                        MaskCounts &counts) {
  return Raiser(softmax, counts).run();
}
