//===- TurnedScores.cpp - scores whose axes are in another order ----------===//
//
// Owns how transposes between the products of an attention are moved out of it,
// so that scores are [.., query, key] wherever a Softmax has its keys: Einsum
// gives and takes them in any order, as Transformer-XL's "ijbn".
//
//===----------------------------------------------------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

using Permutation = SmallVector<int64_t>;

/// How many nodes there may be between a Softmax and its product.
static constexpr int kMaxNodes = 12;

static bool isElementwise(Operation *op) {
  static const llvm::StringSet<> types = {"Add",  "Cast", "Div", "Identity",
                                          "Max",  "Mul",  "Neg", "Sub",
                                          "Tanh", "Where"};
  return types.contains(typeOf(op));
}

/// The result's axis i is the operand's axis perm[i]; empty for other nodes.
static Permutation permutationOf(Operation *op) {
  auto perm = typeOf(op) == "Transpose"
                  ? op->getAttrOfType<DenseI64ArrayAttr>("perm")
                  : DenseI64ArrayAttr();
  return perm && isPermutationVector(perm.asArrayRef())
             ? Permutation(perm.asArrayRef())
             : Permutation();
}

/// That of transposing by `first` and then by `second`.
static Permutation composed(ArrayRef<int64_t> first, ArrayRef<int64_t> second) {
  return applyPermutation(first, second);
}

static Permutation swap(int64_t rank) {
  Permutation perm = llvm::to_vector(llvm::seq(rank));
  std::swap(perm[rank - 1], perm[rank - 2]);
  return perm;
}

/// Whether the value is a product of queries and keys but for transposes and
/// elementwise nodes; the first of the transposes, from the value on.
static bool isOfProduct(Value value, Permutation &first, int depth = 0) {
  Operation *op = value.getDefiningOp();
  if (!op || depth > kMaxNodes)
    return false;
  if (typeOf(op) == "MatMul")
    return !channelAxis(op);
  if (Permutation perm = permutationOf(op); !perm.empty()) {
    Permutation inner;
    if (!isOfProduct(op->getOperand(0), inner, depth + 1))
      return false;
    first = perm;
    return true;
  }
  return isElementwise(op) && llvm::any_of(op->getOperands(), [&](Value next) {
           return rankOf(next) == rankOf(value) &&
                  isOfProduct(next, first, depth + 1);
         });
}

/// The value, transposed: as scores are computed of transposed operands.
static Value turned(ImplicitLocOpBuilder &b, Value value, Permutation perm) {
  int64_t rank = perm.size(), own = rankOf(value);
  Permutation inside;
  bool hasTranspose = isOfProduct(value, inside) && !inside.empty();
  if (own == 0 || (llvm::is_sorted(perm) && !hasTranspose))
    return value;
  if (own < rank)
    value = unsqueezed(b, value,
                       llvm::to_vector(llvm::seq<int64_t>(0, rank - own)));
  Operation *op = value.getDefiningOp();
  if (Permutation inner = op ? permutationOf(op) : Permutation();
      !inner.empty())
    return turned(b, op->getOperand(0), composed(inner, perm));
  auto type = cast<RankedTensorType>(value.getType());
  auto result = type.clone(applyPermutation(type.getShape(), perm));
  if (op && typeOf(op) == "MatMul" && perm == swap(rank) &&
      llvm::all_of(op->getOperands(), [](Value v) { return rankOf(v) > 1; })) {
    auto swapped = [&](Value v) { return transposed(b, v, swap(rankOf(v))); };
    return createNode(b, "MatMul",
                      {swapped(op->getOperand(1)), swapped(op->getOperand(0))},
                      result);
  }
  if (!op || !isElementwise(op) || !isOfProduct(value, inside))
    return transposed(b, value, perm);
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(turned(b, operand, perm));
  SmallVector<NamedAttribute> attrs;
  for (NamedAttribute attr : op->getAttrs())
    if (!attr.getName().getValue().starts_with("onnx."))
      attrs.push_back(attr);
  return createNode(b, typeOf(op), operands, result, attrs);
}

/// Softmax(x) = Transpose(Softmax(Transpose(x))) along another axis.
void mlir::megactx::raise::turnScores(Operation *softmax) {
  Value scores = softmax->getOperand(0);
  int64_t rank = rankOf(scores), axis = axisAttr(softmax, rank, -1);
  Permutation perm;
  if (rank < 3 || axis < 0 || axis >= rank || !isOfProduct(scores, perm))
    return;
  bool isTransposed = !perm.empty();
  if (!isTransposed)
    perm = llvm::to_vector(llvm::seq(rank));
  if (perm[axis] == rank - 2)
    perm = composed(swap(rank), perm);
  if (perm[axis] != rank - 1 || (llvm::is_sorted(perm) && !isTransposed))
    return;
  auto hasKeysLast = [&](Operation *user) {
    Permutation next = permutationOf(user);
    return (next.empty() ? perm : composed(perm, next)).back() == rank - 1;
  };
  if (!llvm::all_of(softmax->getResult(0).getUsers(), hasKeysLast))
    return;
  ImplicitLocOpBuilder b(softmax->getLoc(), softmax);
  Value before = turned(b, scores, invertPermutationVector(perm));
  Value after =
      createNode(b, "Softmax", before, before.getType(),
                 {b.getNamedAttr("axis", b.getI64IntegerAttr(rank - 1))});
  // Others may transpose it back.
  for (Operation *user :
       llvm::make_early_inc_range(softmax->getResult(0).getUsers()))
    if (Permutation next = permutationOf(user); !next.empty()) {
      user->getResult(0).replaceAllUsesWith(
          transposed(b, after, composed(perm, next)));
      user->erase();
    }
  if (!softmax->use_empty())
    softmax->getResult(0).replaceAllUsesWith(transposed(b, after, perm));
  softmax->erase();
}

/// Transpose(p) v = Transpose(p v') where keys stay last, and v has one matrix
/// for what is no batch in both.
void mlir::megactx::raise::turnProbabilities(Operation *product) {
  Operation *transpose = product->getOperand(0).getDefiningOp();
  Permutation perm = transpose ? permutationOf(transpose) : Permutation();
  Value values = product->getOperand(1);
  auto type = dyn_cast<RankedTensorType>(values.getType());
  int64_t rank = perm.size(), row = rank - 2;
  if (rank < 3 || perm[rank - 1] != rank - 1 || !type ||
      type.getRank() != rank || typeOf(transpose->getOperand(0)) != "Softmax" ||
      llvm::is_sorted(perm))
    return;
  int64_t from = llvm::find(perm, row) - perm.begin();
  if (from != row && type.getDimSize(from) != 1)
    return;
  Permutation own = llvm::to_vector(llvm::seq(rank));
  for (int64_t i = 0; i < row; ++i)
    own[i == from ? perm[row] : perm[i]] = i;
  ImplicitLocOpBuilder b(product->getLoc(), product);
  Value weights = transpose->getOperand(0);
  SmallVector<int64_t> shape(
      cast<RankedTensorType>(weights.getType()).getShape());
  shape.back() = type.getShape().back();
  Value out = createNode(b, "MatMul", {weights, transposed(b, values, own)},
                         type.clone(shape));
  product->getResult(0).replaceAllUsesWith(transposed(b, out, perm));
  product->erase();
  if (transpose->use_empty())
    transpose->erase();
}
