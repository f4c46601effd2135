//===- Operands.cpp - queries, keys and values of products ----------------===//

#include "Operands.h"
#include "Nodes.h"
#include "Remarks.h"
#include "TokenRows.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx::raise;

std::optional<double> Operands::scalar(Value value) {
  if (!isScalar(value))
    return std::nullopt;
  return values.at(value, Place(rankOf(value), positions.constant(0))).number();
}

std::optional<SmallVector<int64_t>> Operands::integers(Value list,
                                                       int64_t count) {
  SmallVector<int64_t> numbers;
  for (int64_t i = 0; i < count && rankOf(list) == 1; ++i) {
    auto integer = values.at(list, {positions.constant(i)}).integer();
    auto constant = integer ? dyn_cast<AffineConstantExpr>(*integer) : nullptr;
    if (!constant)
      return std::nullopt;
    numbers.push_back(constant.getValue());
  }
  return numbers;
}

bool Operands::haveOneShape(Value a, Value b) {
  int64_t x = rankOf(a), y = rankOf(b);
  if (x == y) {
    // Of as many elements: where one size is not known, the others say it.
    unsigned others = 0;
    for (auto [s, t] : llvm::zip(values.shape(a), values.shape(b)))
      others += s != t;
    return x > 0 && others <= 1;
  }
  if (std::min(x, y) != 3 || std::max(x, y) != 4)
    return false;
  return ArrayRef(values.shape(a)).take_back(2) ==
         ArrayRef(values.shape(b)).take_back(2);
}

/// expr = of floordiv n: n.
static std::optional<int64_t> divisorOf(AffineExpr expr, AffineExpr of) {
  if (expr == of)
    return 1;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  auto number =
      binary ? dyn_cast<AffineConstantExpr>(binary.getRHS()) : nullptr;
  if (!number || binary.getKind() != AffineExprKind::FloorDiv ||
      binary.getLHS() != of || number.getValue() < 1)
    return std::nullopt;
  return number.getValue();
}

/// The tensor as a source where the operand's element [b, h, n, d], or
/// [b * H + h, n, d], is this one of its elements.
std::optional<Operand> Operands::sourceAt(Value tensor,
                                          ArrayRef<AffineExpr> place,
                                          std::optional<AffineExpr> heads) {
  AffineExpr batch = positions.variable(kBatch);
  if (place.size() != 4 || place[2] != positions.variable(kKey) ||
      place[3] != positions.variable(kPlace))
    return std::nullopt;
  if (heads) {
    auto group = divisorOf(place[1], positions.variable(kHead));
    // One head is that of all.
    auto count = dyn_cast<AffineConstantExpr>(*heads);
    if (count && place[1] == positions.constant(0) &&
        values.shape(tensor)[1] == positions.constant(1))
      group = count.getValue();
    if (!group || place[0] != batch)
      return std::nullopt;
    return Operand{tensor, *group};
  }
  auto count = dyn_cast<AffineConstantExpr>(values.shape(tensor)[1]);
  if (!count || place[0] != batch.floorDiv(count.getValue()) ||
      place[1] != batch % count.getValue())
    return std::nullopt;
  return Operand{tensor, 1};
}

SmallVector<Operand> Operands::sourcesOf(Value operand) {
  int64_t rank = rankOf(operand);
  if (rank != 3 && rank != 4)
    return {};
  Place place = {positions.variable(kBatch), positions.variable(kHead),
                 positions.variable(kKey), positions.variable(kPlace)};
  if (rank == 3)
    place.erase(place.begin() + 1);
  values.forget();
  const Place sizes = values.shape(operand);
  positions.forget();
  for (auto [index, size] : llvm::zip(place, sizes))
    positions.assume(Condition::nonNegative(size - index - 1));
  SmallVector<Operand> sources;
  for (auto &[tensor, where] : values.movesOf(operand, place))
    if (auto source = sourceAt(
            tensor, where, rank == 4 ? std::optional(sizes[1]) : std::nullopt))
      sources.push_back(*source);
  positions.forget();
  return sources;
}

/// A weight, or the part of one that stacks several, in any layout.
static bool isWeight(Value value) {
  while (!isConstant(value)) {
    Operation *op = value.getDefiningOp();
    if (!llvm::is_contained({"Slice", "Split", "Transpose", "Reshape",
                             "Squeeze", "Unsqueeze", "Identity", "Cast",
                             "DequantizeLinear"},
                            typeOf(op)))
      return false;
    value = op->getOperand(0);
  }
  return true;
}

bool mlir::megactx::raise::keepsPlaces(Operation *op) {
  return llvm::is_contained({"Add", "Sub", "Mul", "Div", "Cast", "Identity",
                             "LayerNormalization", "LpNormalization",
                             "RMSNormalization"},
                            typeOf(op));
}

std::optional<int64_t> mlir::megactx::raise::channelAxis(Operation *op) {
  StringRef type = typeOf(op);
  if (type == "Conv" && isWeight(op->getOperand(1)))
    return 1;
  if (type != "MatMul" && type != "Gemm")
    return std::nullopt;
  int64_t rank = rankOf(op->getResult(0));
  if (isWeight(op->getOperand(1)))
    return rank - 1;
  return isWeight(op->getOperand(0)) ? std::optional(rank - 2) : std::nullopt;
}

bool mlir::megactx::raise::isProjection(Value value) {
  constexpr int kMost = 16;
  for (int i = 0; i < kMost && value.getDefiningOp(); ++i) {
    Operation *op = value.getDefiningOp();
    if (channelAxis(op))
      return true;
    StringRef type = typeOf(op);
    bool isBiased = type == "Add" && isWeight(op->getOperand(0));
    if (!llvm::is_contained({"Add", "Mul", "Div", "Split", "Slice", "Gather",
                             "Transpose", "Reshape", "Squeeze", "Unsqueeze",
                             "Identity", "Cast"},
                            type) ||
        (type == "Add" && !isBiased && !isWeight(op->getOperand(1))))
      return false;
    value = op->getOperand(isBiased ? 1 : 0);
  }
  return false;
}

bool mlir::megactx::raise::isOfWeights(Value value) {
  constexpr size_t kMost = 400;
  llvm::SetVector<Value> seen;
  seen.insert(value);
  for (size_t i = 0; i < seen.size(); ++i) {
    Operation *op = seen[i].getDefiningOp();
    if (!op || i >= kMost || op->getNumRegions())
      return false;
    if (!isConstant(seen[i]) && typeOf(op) != "Shape" && typeOf(op) != "Size")
      seen.insert(op->operand_begin(), op->operand_end());
  }
  return true;
}

/// The operand of the value's node whose element is there unchanged, with the
/// place in it, or is what the node maps to the value's at the same place; null
/// for others.
Value Operands::followed(Value value, Place &place) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getNumOperands() == 0 || rankOf(op->getOperand(0)) < 0)
    return {};
  for (Value operand : op->getOperands())
    if (keepsPlaces(op) && rankOf(operand) == int64_t(place.size()) &&
        values.shape(operand) == values.shape(value))
      return operand;
  Value from = op->getOperand(0);
  values.stopAt({from});
  Element element = values.at(value, place);
  values.stopAt({});
  if (element.kind() == Element::Kind::Read && element.tensor() == from)
    place.assign(element.indices().begin(), element.indices().end());
  else if (typeOf(op) != "Reshape" || !values.splitLast(from, value, place))
    return {};
  return from;
}

bool Operands::isOfChannels(Value operand, bool hasRowsLast) {
  int64_t rank = rankOf(operand);
  if (rank < 2 || rank > kVariables)
    return false;
  Place place;
  for (Variable variable : {kBatch, kHead, kKey})
    if (int64_t(place.size()) < rank - 2)
      place.push_back(positions.variable(variable));
  place.push_back(positions.variable(hasRowsLast ? kPlace : kQuery));
  place.push_back(positions.variable(hasRowsLast ? kQuery : kPlace));
  positions.forget();
  for (auto [index, size] : llvm::zip(place, values.shape(operand)))
    positions.assume(Condition::within(index, size));
  constexpr int kMost = 40;
  bool isFound = false;
  for (int i = 0; i < kMost && operand; ++i) {
    Operation *op = operand.getDefiningOp();
    if (auto axis = op ? channelAxis(op) : std::nullopt) {
      AffineExpr channel = place[*axis];
      isFound =
          channel.isFunctionOfDim(kQuery) && !channel.isFunctionOfDim(kPlace);
      break;
    }
    operand = followed(operand, place);
  }
  positions.forget();
  return isFound;
}

std::string Operands::whyApart(Value query, Value key, Standing standing) {
  AffineExpr ahead = values.shape(key)[2] - values.shape(query)[2];
  if (standing == Standing::FirstSaid || haveOneSize(query, key, 2))
    ahead = positions.constant(0);
  return TokenRows(positions, values)
      .whyApart(query, key, ahead,
                standing == Standing::LastKnown ? Evidence::Inputs
                                                : Evidence::None);
}

bool Operands::areOfSameRows(Value query, Value key) {
  return haveOneSize(query, key, 2) &&
         TokenRows(positions, values)
             .whyApart(query, key, positions.constant(0), Evidence::Common)
             .empty();
}

StringRef mlir::megactx::raise::kindByRows(Operation *node, StringRef kind,
                                           StringRef reason) {
  if (kind != "self" || reason.empty())
    return kind;
  missed(node, kPositionsUnknown) << remark::reason("{0}", reason);
  return "cross";
}

StringRef mlir::megactx::raise::kindByRows(Operation *node, StringRef kind,
                                           Value query, Value key,
                                           Standing standing) {
  if (kind != "self")
    return kind;
  Operands operands(node->getContext());
  return kindByRows(node, kind, operands.whyApart(query, key, standing));
}

Value Operands::movedWhole(Value value) {
  Operation *op = value.getDefiningOp();
  int64_t rank = rankOf(value);
  if (!op || rank < 1 || rank > kVariables)
    return {};
  SmallVector<Value> whole;
  const Place sizes = values.shape(value);
  for (Value operand : op->getOperands())
    if (rankOf(operand) == rank && values.shape(operand) == sizes &&
        getElementTypeOrSelf(operand.getType()) ==
            getElementTypeOrSelf(value.getType()))
      whole.push_back(operand);
  if (whole.empty())
    return {};
  positions.forget();
  Place place;
  for (int64_t dim = 0; dim < rank; ++dim) {
    place.push_back(sizes[dim] == positions.constant(1)
                        ? positions.constant(0)
                        : positions.variable(Variable(dim)));
    positions.assume(Condition::within(place[dim], sizes[dim]));
  }
  values.stopAt(whole);
  Element element = values.at(value, place);
  values.stopAt({});
  positions.forget();
  bool isWhole = element.kind() == Element::Kind::Read &&
                 llvm::is_contained(whole, element.tensor()) &&
                 element.indices() == ArrayRef(place);
  return isWhole ? element.tensor() : Value();
}

std::optional<std::pair<Operand, Operand>>
mlir::megactx::raise::sharedSources(ArrayRef<Operand> keys,
                                    ArrayRef<Operand> values) {
  for (const Operand &key : llvm::reverse(keys))
    for (const Operand &value : llvm::reverse(values))
      if (key.group == value.group)
        return std::pair(key, value);
  return std::nullopt;
}

namespace {
/// What a tensor is computed of.
struct Roots {
  SmallPtrSet<Value, 8> activations; ///< that are projected
  bool isLearned = true;             ///< of constants alone
};
} // namespace

static Roots rootsOf(Value start) {
  llvm::SetVector<Value> seen;
  Roots roots;
  seen.insert(start);
  for (size_t i = 0; i < seen.size() && i < 400; ++i) {
    Operation *op = seen[i].getDefiningOp();
    StringRef type = typeOf(op);
    roots.isLearned &= op != nullptr;
    if (!op || isConstant(seen[i]))
      continue;
    bool projects =
        (type == "MatMul" || type == "Gemm") && isWeight(op->getOperand(1));
    if (projects) {
      roots.activations.insert(op->getOperand(0));
      roots.isLearned &= isConstant(op->getOperand(0));
      continue;
    }
    seen.insert_range(floatOperands(op));
  }
  return roots;
}

bool mlir::megactx::raise::isComputed(Value value) {
  return !rootsOf(value).activations.empty();
}

/// The roots, and what low-rank projections before them are of: an activation
/// that comes of a single other one, such as the norm of its projection, is of
/// the same sequence.
static Roots deepRootsOf(Value start) {
  Roots roots = rootsOf(start);
  SmallVector<Value> todo(roots.activations.begin(), roots.activations.end());
  while (!todo.empty()) {
    Roots next = rootsOf(todo.pop_back_val());
    if (next.activations.size() != 1)
      continue;
    if (Value one = *next.activations.begin();
        roots.activations.insert(one).second)
      todo.push_back(one);
  }
  return roots;
}

/// The activation before changes of its shape and type.
static Value bare(Value value) {
  while (llvm::is_contained({"Reshape", "Identity", "Cast"}, typeOf(value)))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

/// Whether a node's rows are each of its own operands' rows alone, as those of
/// attention, pooling and convolutions are not.
static bool keepsRows(Operation *op) {
  static const llvm::StringSet<> names = {"Abs",
                                          "Add",
                                          "Cast",
                                          "Clip",
                                          "Concat",
                                          "Div",
                                          "Erf",
                                          "Exp",
                                          "Expand",
                                          "Gelu",
                                          "Max",
                                          "Min",
                                          "Mul",
                                          "Neg",
                                          "Pow",
                                          "Relu",
                                          "Sub",
                                          "Reshape",
                                          "Identity",
                                          "LayerNormalization",
                                          "Sqrt",
                                          "Split",
                                          "Sigmoid",
                                          "Reciprocal",
                                          "RMSNormalization",
                                          "Swish",
                                          "Tanh",
                                          "Squeeze",
                                          "Softplus",
                                          "Transpose",
                                          "Where",
                                          "Dropout",
                                          "ScatterND",
                                          "Unsqueeze",
                                          "QuantizeLinear",
                                          "DequantizeLinear"};
  StringRef type = typeOf(op);
  if (type == "Gather")
    return isConstant(op->getOperand(1));
  if (type == "Slice") {
    auto axes =
        hasOperand(op, 3) ? constantIntegers(op->getOperand(3)) : std::nullopt;
    int64_t rank = rankOf(op->getResult(0));
    return axes && rank > 1 && llvm::all_of(*axes, [&](int64_t axis) {
             return axis != -2 && axis != rank - 2;
           });
  }
  if (type == "MatMul" || type == "Gemm")
    return llvm::any_of(op->getOperands(), [](Value v) { return isWeight(v); });
  return names.contains(type);
}

/// Whether the rows of one of the activations are computed of those of
/// `origin`, each of its own.
static bool hasRowsOf(const Roots &roots, Value origin) {
  constexpr size_t kMost = 20000;
  llvm::SetVector<Value> seen(roots.activations.begin(),
                              roots.activations.end());
  for (size_t i = 0; i < seen.size() && i < kMost; ++i) {
    if (bare(seen[i]) == origin)
      return true;
    Operation *op = seen[i].getDefiningOp();
    if (!op || !keepsRows(op))
      continue;
    seen.insert_range(floatOperands(op));
  }
  return false;
}

/// Whether the last of the keys' rows are of another sequence than the queries:
/// those have no positions among them.
static bool endsElsewhere(Value key, const Roots &queries) {
  Operation *concat = key.getDefiningOp();
  int64_t rank = rankOf(key);
  if (typeOf(concat) != "Concat" || rank < 2 || queries.activations.empty())
    return false;
  int64_t axis = integerAttr(concat, "axis", 0);
  Roots last = deepRootsOf(concat->getOperands().back());
  return (axis == -2 || axis == rank - 2) && !last.activations.empty() &&
         llvm::none_of(last.activations,
                       [&](Value k) { return hasRowsOf(queries, bare(k)); });
}

StringRef mlir::megactx::raise::kindOf(Value query, Value key, Value value) {
  Roots queries = deepRootsOf(query), keys = deepRootsOf(key);
  bool learnedScores = queries.isLearned && keys.isLearned;
  if (keys.isLearned)
    keys = deepRootsOf(value);
  if (queries.isLearned != keys.isLearned && !learnedScores)
    return "cross";
  if (endsElsewhere(key, queries))
    return "cross";
  // Projections may see the same activation through different reshapes.
  for (Value q : queries.activations)
    for (Value k : keys.activations)
      if (bare(q) == bare(k))
        return "self";
  // Layers may share the keys of one before them.
  for (Value k : keys.activations)
    if (hasRowsOf(queries, bare(k)))
      return "self";
  // Keys that are not projected here, of queries that are, are a cache of
  // another sequence's.
  return queries.activations.empty() ? "self" : "cross";
}
