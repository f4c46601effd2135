//===- RaiseOnnxAttention.cpp - attention out of ONNX graphs --------------===//
//
// Anchored on each Softmax: what feeds it must be a product of queries and keys
// with scales and masks on the way, what it feeds a product with values.
// Masks.h says what masks come to. What is like attention and stays gets a
// remark.
//
//===----------------------------------------------------------------------===//

#include "Masks.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttentionOp.h"
#include "Remarks.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
using namespace raise;

#define GEN_PASS_DEF_RAISEONNXATTENTIONPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Everything found between the product of queries and keys and the Softmax.
struct Scores {
  Value query, keyTransposed; ///< operands of the product; or
  Value key;                  ///< keys as they are, of an Einsum
  /// Scalars that multiply or divide the scores.
  SmallVector<std::pair<Value, bool>> scales; ///< {scalar, divides}
  /// What is added, and Where(condition, fill, scores).
  SmallVector<Term> terms;
};

class Raiser {
public:
  Raiser(Operation *softmax, MaskCounts &counts)
      : softmax(softmax), b(softmax->getLoc(), softmax), counts(counts),
        masks(softmax->getContext()), operands(softmax->getContext()) {}

  /// Empty on success, else the reason why this Softmax is no attention.
  std::string run();

private:
  bool matchScores(Value value, Scores &scores, int depth = 0);
  bool matchProduct(Operation *op, Scores &scores);
  bool matchAdd(Operation *op, Scores &scores, int depth);
  bool matchWhere(Operation *op, Scores &scores, int depth);
  /// False; of all reasons the one farthest from the Softmax is told.
  bool fail(int depth, const Twine &reason);
  std::string findValues();
  Value skipGuards(Value probabilities);
  std::string build(Scores &scores);
  Value peelScales(Value value, Scores &scores);
  Value swapLast(Value value);
  Value withRank4(Value value);
  Value integers(ArrayRef<int64_t> numbers);
  void repeat(Value &value, Value batchLike, Value headsLike);
  void alignSizes(Value &query, Value &key, Value &value);

  Operation *softmax;
  ImplicitLocOpBuilder b;
  Operation *product = nullptr; ///< probabilities x values
  std::string blocker; ///< why no product of queries and keys was reached
  int blockerDepth = -1;
  Value values;
  MaskCounts &counts;
  Masks masks;
  Operands operands;
};
} // namespace

bool Raiser::fail(int depth, const Twine &reason) {
  if (depth > blockerDepth) {
    blockerDepth = depth;
    blocker = reason.str();
  }
  return false;
}

bool Raiser::matchProduct(Operation *op, Scores &scores) {
  StringRef type = typeOf(op);
  if (type == "MatMul") {
    scores.query = op->getOperand(0);
    scores.keyTransposed = op->getOperand(1);
    int64_t rank = rankOf(op->getResult(0)), queryRank = rankOf(scores.query),
            keyRank = rankOf(scores.keyTransposed);
    return (rank == 4 || rank == 3) && queryRank >= 2 && keyRank >= 2;
  }
  if (type != "Einsum" || op->getNumOperands() != 2)
    return false;
  auto equation = op->getAttrOfType<StringAttr>("equation");
  std::string text;
  for (char c : equation ? equation.getValue() : "")
    if (c != ' ')
      text += c;
  // abcd,abed->abce
  if (text.size() != 15 || text[4] != ',' ||
      StringRef(text).substr(9, 2) != "->")
    return false;
  StringRef q = StringRef(text).substr(0, 4), k = StringRef(text).substr(5, 4);
  std::string want = {q[0], q[1], q[2], k[2]};
  if (q[0] != k[0] || q[1] != k[1] || q[3] != k[3] || q[2] == k[2] ||
      StringRef(text).substr(11) != want)
    return false;
  scores.query = op->getOperand(0);
  scores.key = op->getOperand(1);
  return true;
}

bool Raiser::matchAdd(Operation *op, Scores &scores, int depth) {
  for (unsigned i : {0, 1}) {
    Scores inner;
    if (!matchScores(op->getOperand(i), inner, depth))
      continue;
    inner.terms.push_back({op->getOperand(1 - i), Value(), false, op});
    scores = inner;
    return true;
  }
  return false;
}

bool Raiser::matchWhere(Operation *op, Scores &scores, int depth) {
  for (unsigned i : {1, 2}) {
    Value fill = op->getOperand(3 - i);
    if (!isScalar(fill) || !matchScores(op->getOperand(i), scores, depth))
      continue;
    // Other numbers than these would have to be kept from the terms below.
    auto number = constantNumber(fill);
    if (!scores.terms.empty() && !(number && *number <= kMasked))
      return fail(depth, describe(op->getResult(0)) +
                             " replaces scores with a mask by a number that "
                             "does not mask");
    scores.terms.push_back({op->getOperand(0), fill, i == 2, op});
    return true;
  }
  return fail(depth, describe(op->getResult(0)) +
                         " chooses between other things than scores and a "
                         "number");
}

bool Raiser::matchScores(Value value, Scores &scores, int depth) {
  Operation *op = value.getDefiningOp();
  StringRef type = typeOf(op);
  if (!op)
    return fail(depth, "it comes from " + describe(value));
  if (depth > 12)
    return fail(depth, "more than 12 nodes follow " + describe(value));
  if (type == "MatMul" || type == "Einsum")
    return matchProduct(op, scores) ||
           fail(depth, describe(value) +
                           " is no product of queries and keys of rank 3 or 4");
  if (type == "Identity" || type == "Dropout" ||
      (type == "Cast" && op->getOperand(0).getType() == value.getType()))
    return matchScores(op->getOperand(0), scores, depth + 1);
  if (type == "Add")
    return matchAdd(op, scores, depth + 1);
  if (type == "Where")
    return matchWhere(op, scores, depth + 1);
  if (type != "Mul" && type != "Div")
    return fail(depth, describe(value) + " is neither mask nor scale");
  unsigned scalar = isScalar(op->getOperand(1)) ? 1 : 0;
  if (!isScalar(op->getOperand(scalar)) || (type == "Div" && scalar == 0))
    return fail(depth, describe(value) + " scales by more than one number");
  if (!matchScores(op->getOperand(1 - scalar), scores, depth + 1))
    return false;
  // A scale above a mask would scale the mask too.
  if (!scores.terms.empty())
    return fail(13, describe(value) + " scales a mask too");
  scores.scales.push_back({op->getOperand(scalar), type == "Div"});
  return true;
}

/// Follows the one use through copies and the guard that exporters write
/// against rows without keys: Where(IsNaN(p), 0, p).
Value Raiser::skipGuards(Value p) {
  while (true) {
    SmallVector<Operation *> users;
    for (Operation *user : p.getUsers())
      if (!llvm::is_contained(users, user))
        users.push_back(user);
    if (users.size() == 2) {
      Operation *check = typeOf(users[0]) == "IsNaN" ? users[0] : users[1];
      Operation *where = check == users[0] ? users[1] : users[0];
      if (typeOf(check) != "IsNaN" || typeOf(where) != "Where" ||
          where->getOperand(0) != check->getResult(0) ||
          where->getOperand(2) != p || !isScalar(where->getOperand(1)))
        return {};
      p = where->getResult(0);
      continue;
    }
    if (users.size() != 1)
      return {};
    StringRef type = typeOf(users[0]);
    if (type == "Identity" || type == "Dropout" ||
        (type == "Cast" && users[0]->getResult(0).getType() == p.getType())) {
      p = users[0]->getResult(0);
      continue;
    }
    return p;
  }
}

std::string Raiser::findValues() {
  Value p = skipGuards(softmax->getResult(0));
  if (!p)
    return "its probabilities have other uses";
  product = *p.getUsers().begin();
  if (typeOf(product) == "MatMul" && product->getOperand(0) == p) {
    values = product->getOperand(1);
  } else if (typeOf(product) == "Einsum" && product->getNumOperands() == 2 &&
             product->getOperand(0) == p) {
    auto equation = product->getAttrOfType<StringAttr>("equation");
    std::string text;
    for (char c : equation ? equation.getValue() : "")
      if (c != ' ')
        text += c;
    // abce,abed->abcd
    StringRef s = text;
    if (s.size() != 15 || s[4] != ',' || s[5] != s[0] || s[6] != s[1] ||
        s[7] != s[3] || s.substr(9, 2) != "->" ||
        s.substr(11, 3) != s.substr(0, 3))
      return "its values are combined by '" + text + "'";
    values = product->getOperand(1);
  } else {
    return "its probabilities multiply no values";
  }
  return "";
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

/// The last two dims of a tensor of rank 4 exchanged.
Value Raiser::swapLast(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  std::swap(shape[2], shape[3]);
  return createNode(
      b, "Transpose", value, type.clone(shape),
      {b.getNamedAttr("perm", b.getDenseI64ArrayAttr({0, 1, 3, 2}))});
}

/// Dims of 1 in front, as products of matrices see an operand of lower rank.
Value Raiser::withRank4(Value value) {
  int64_t rank = rankOf(value), missing = 4 - rank;
  if (rank < 0 || missing <= 0)
    return value;
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(missing, 1), axes;
  llvm::append_range(shape, type.getShape());
  for (int64_t axis = 0; axis < missing; ++axis)
    axes.push_back(axis);
  return createNode(b, "Unsqueeze", {value, integers(axes)}, type.clone(shape));
}

/// A constant of rank 1.
Value Raiser::integers(ArrayRef<int64_t> numbers) {
  auto type = RankedTensorType::get(numbers.size(), b.getI64Type());
  return onnx::InitializerOp::create(b, type,
                                     DenseElementsAttr::get(type, numbers));
}

/// Repeats the value along its batch and its heads, which are 1, as often as
/// other tensors have; null for what stays.
void Raiser::repeat(Value &value, Value batchLike, Value headsLike) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<Value> sizes;
  Value likes[] = {batchLike, headsLike};
  for (auto [dim, like] : llvm::enumerate(likes)) {
    if (!like) {
      sizes.push_back(integers(1));
      continue;
    }
    shape[dim] = cast<RankedTensorType>(like.getType()).getDimSize(dim);
    sizes.push_back(
        createNode(b, "Shape", like, RankedTensorType::get(1, b.getI64Type()),
                   {b.getNamedAttr("start", b.getI64IntegerAttr(dim)),
                    b.getNamedAttr("end", b.getI64IntegerAttr(dim + 1))}));
  }
  sizes.push_back(integers({1, 1}));
  Value target =
      createNode(b, "Concat", sizes, RankedTensorType::get(4, b.getI64Type()),
                 {b.getNamedAttr("axis", b.getI64IntegerAttr(0))});
  value = createNode(b, "Expand", {value, target}, type.clone(shape));
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
      repeat(*operand, like[0], like[1]);
  }
}

std::string Raiser::build(Scores &scores) {
  b.setInsertionPoint(product);
  bool isFolded = rankOf(product->getResult(0)) == 3;
  bool isTransposed = !scores.key;
  Value given = isTransposed ? scores.keyTransposed : scores.key;
  if (isFolded && !llvm::all_of(ArrayRef<Value>{scores.query, given, values},
                                [](Value v) { return rankOf(v) == 3; }))
    return "its operands have no known rank 4";
  given = peelScales(given, scores);
  Value query = peelScales(scores.query, scores);
  if (!isFolded) {
    given = withRank4(given);
    query = withRank4(query);
    values = withRank4(values);
  }
  auto queries = operands.sourcesOf(query, false);
  llvm::erase_if(queries, [](const Operand &o) { return o.group != 1; });
  auto keys = operands.sourcesOf(given, isTransposed);
  if (keys.empty() && isTransposed && !isFolded)
    keys.push_back({swapLast(given)});
  auto shared = sharedSources(keys, operands.sourcesOf(values, false));
  if (queries.empty() || !shared)
    return "its heads are folded in an unknown way";
  query = queries.back().tensor;
  Value key = shared->first.tensor, value = shared->second.tensor;
  for (Value v : {query, key, value}) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || type.getRank() != 4)
      return "its operands have no known rank 4";
    Type e = type.getElementType();
    if (!e.isF32() && !e.isF16() && !e.isBF16())
      return "its element type is not f32, f16 or bf16";
  }
  for (const Term &term : scores.terms) {
    int64_t rank = rankOf(term.value);
    if (rank < 0 || rank > 4 || (isFolded && rank > 2))
      return "its mask has an unknown rank or folded heads";
  }
  double scale = 1.0;
  for (auto [scalar, divides] : scores.scales) {
    if (auto number = operands.scalar(scalar)) {
      scale = divides ? scale / *number : scale * *number;
      continue;
    }
    query = createNode(b, divides ? "Div" : "Mul", {query, scalar},
                       query.getType());
  }
  StringRef kind = kindOf(query, key, value);
  masks.setOperands(query, key, kind == "self");
  pattern::Pattern pattern;
  Value bias = masks.biasOf(b, scores.terms, pattern, counts);
  alignSizes(query, key, value);
  auto keyType = cast<RankedTensorType>(key.getType());
  auto valueType = cast<RankedTensorType>(value.getType());
  auto queryType = cast<RankedTensorType>(query.getType());
  Value source = SourceOp::create(
      b, SourceType::get(b.getContext(), keyType, valueType), key, value, bias,
      /*lengths=*/Value(), /*offset=*/Value(), /*positions=*/Value(),
      PatternAttr::get(b.getContext(), pattern), b.getI64IntegerAttr(1));
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
  auto attention = AttentionOp::create(
      b, outType, Type(), query, source, offset, /*positions=*/Value(),
      b.getF32FloatAttr(scale), FloatAttr(), b.getI64IntegerAttr(1),
      b.getStringAttr(kind));
  Value out = attention.getOut();
  if (isFolded) {
    SmallVector<ReassociationIndices> groups = {{0, 1}, {2}, {3}};
    out = tensor::CollapseShapeOp::create(b, out, groups);
  }
  // The graph may know less of the sizes.
  Type known = product->getResult(0).getType();
  if (out.getType() != known &&
      tensor::CastOp::areCastCompatible(out.getType(), known))
    out = tensor::CastOp::create(b, known, out);
  passed(softmax, kAttentionRaised) << remark::add("{0}", pattern.str());
  product->getResult(0).replaceAllUsesWith(out);
  return "";
}

std::string Raiser::run() {
  auto axis = softmax->getAttrOfType<IntegerAttr>("axis");
  int64_t last = rankOf(softmax->getResult(0)) - 1;
  if (axis && axis.getInt() != -1 && axis.getInt() != last)
    return "it is not over the last axis";
  Scores scores;
  if (!matchScores(softmax->getOperand(0), scores))
    return "no product of queries and keys feeds it: " + blocker;
  std::string reason = findValues();
  return reason.empty() ? build(scores) : reason;
}

/// A Softmax written as its parts: Div(Exp(x), ReduceSum(Exp(x))).
static bool isSpelledOut(Operation *op) {
  if (typeOf(op) != "Div" || typeOf(op->getOperand(0)) != "Exp")
    return false;
  Value sum = op->getOperand(1);
  return typeOf(sum) == "ReduceSum" &&
         sum.getDefiningOp()->getOperand(0) == op->getOperand(0);
}

/// Empty where the op, which is like attention, was raised, else why not;
/// nothing for all other ops.
static std::optional<std::string> tryRaise(Operation *op, MaskCounts &counts) {
  StringRef type = typeOf(op);
  if (type == "Softmax")
    return Raiser(op, counts).run();
  if (type == "Attention")
    return raiseAttentionOp(op, counts);
  if (type == "ai.megactx.CachedAttention")
    return raiseCachedAttention(op, counts);
  if (type.contains("Attention"))
    return "an operator, or a form of it, that is not known in ONNX's terms";
  if (isSpelledOut(op))
    return "it is a softmax in parts, from Exp to Div, not a Softmax";
  return std::nullopt;
}

namespace {
struct RaiseOnnxAttention
    : impl::RaiseOnnxAttentionPassBase<RaiseOnnxAttention> {
  void runOnOperation() override {
    // In the order of the graph; what is raised is not erased before the end.
    SmallVector<Operation *> nodes;
    getOperation().walk([&](Operation *op) { nodes.push_back(op); });
    MaskCounts counts;
    for (Operation *node : nodes) {
      std::optional<std::string> reason = tryRaise(node, counts);
      if (reason && reason->empty())
        ++numRaised;
      else if (reason)
        missed(node, kAttentionNotRaised) << remark::reason("{0}", *reason);
    }
    numPatterns += counts.patterns;
    numBiases += counts.biases;
    numTables += counts.tables;
    // What only the raised products read is dead now.
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Block &block : function.getBody())
        for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
          if (isOpTriviallyDead(&op))
            op.erase();
  }
};
} // namespace
} // namespace mlir::megactx
