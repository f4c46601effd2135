//===- SummedProbabilities.cpp - values of several softmaxes --------------===//
//
// Owns how a product of values with probabilities that are summed, and scaled
// row by row, becomes a sum of products, each with the probabilities of one
// Softmax: (a p + c q) v = a (p v) + c (q v).
//
//===----------------------------------------------------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "RaiseAttention.h"
#include "Scores.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/Traits.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
class Distributor {
public:
  explicit Distributor(Operation *product)
      : product(product), b(product->getLoc(), product),
        values(product->getOperand(1)) {}

  void run();

private:
  /// What is summed.
  struct Leaves {
    unsigned softmaxes = 0, others = 0;
  };
  bool isLinear(Value weights, unsigned uses);
  void count(Value weights, unsigned uses, Leaves &leaves);
  Value sumOf(Value weights);
  Value combined(StringRef type, Value x, Value y);
  Value timesValues(Value weights, unsigned uses = 1);

  Operation *product;
  ImplicitLocOpBuilder b;
  Value values;
};
} // namespace

static bool isOverLastAxis(Operation *softmax) {
  int64_t rank = rankOf(softmax->getResult(0));
  int64_t axis = integerAttr(softmax, "axis", -1);
  return rank > 0 && (axis == -1 || axis == rank - 1);
}

/// A factor of one number per row at most.
static bool isPerRow(Value factor, Value rows) {
  auto type = dyn_cast<RankedTensorType>(factor.getType());
  return type && type.getRank() <= rankOf(rows) &&
         (type.getRank() == 0 || type.getShape().back() == 1);
}

/// Whether the rows of an operand are those of the sum; that dynamic ones are
/// broadcast is not considered.
static bool hasRowsOf(Value operand, Value sum) {
  auto own = dyn_cast<RankedTensorType>(operand.getType());
  auto all = dyn_cast<RankedTensorType>(sum.getType());
  if (!own || !all || own.getRank() != all.getRank() || own.getRank() < 2)
    return false;
  return llvm::all_of(
      llvm::zip(own.getShape().take_back(2), all.getShape().take_back(2)),
      [](auto sizes) {
        auto [x, y] = sizes;
        return x == y || x == ShapedType::kDynamic ||
               (x != 1 && y == ShapedType::kDynamic);
      });
}

/// The operand of a Mul or Div that is scaled, and its factor's number.
static std::optional<std::pair<Value, Value>> scaled(Operation *op) {
  StringRef type = typeOf(op);
  if (type != "Mul" && type != "Div")
    return std::nullopt;
  Value result = op->getResult(0);
  for (unsigned i : {0, 1})
    if (hasRowsOf(op->getOperand(i), result) &&
        isPerRow(op->getOperand(1 - i), result) && (type == "Mul" || i == 0))
      return std::pair(op->getOperand(i), op->getOperand(1 - i));
  return std::nullopt;
}

/// What a Div by sums of its own rows divides, or null.
static Value normalized(Operation *div) {
  if (typeOf(div) != "Div")
    return {};
  Value rows = div->getOperand(0), sums = div->getOperand(1);
  int64_t rank = rankOf(rows);
  auto isLast = [&](Operation *op, unsigned i) {
    auto axes =
        hasOperand(op, i) ? constantIntegers(op->getOperand(i)) : std::nullopt;
    return axes && axes->size() == 1 &&
           ((*axes)[0] == -1 || (*axes)[0] == rank - 1);
  };
  bool isKept = true;
  if (typeOf(sums) == "Unsqueeze" && isLast(sums.getDefiningOp(), 1)) {
    sums = sums.getDefiningOp()->getOperand(0);
    isKept = false;
  }
  Operation *sum = sums.getDefiningOp();
  if (typeOf(sum) != "ReduceSum" || sum->getOperand(0) != rows ||
      !isLast(sum, 1) || bool(integerAttr(sum, "keepdims", 1)) != isKept)
    return {};
  return rows;
}

/// Whether the node sums or scales rows and has no other uses than those of one
/// product.
bool Distributor::isLinear(Value weights, unsigned uses) {
  Operation *op = weights.getDefiningOp();
  llvm::SmallPtrSet<Operation *, 2> users(weights.user_begin(),
                                          weights.user_end());
  if (!op || users.size() != uses)
    return false;
  StringRef type = typeOf(op);
  if (type == "Add" || type == "Sub")
    return llvm::all_of(op->getOperands(), [&](Value operand) {
      return hasRowsOf(operand, weights);
    });
  if (Value rows = normalized(op)) {
    Leaves leaves;
    count(rows, 2, leaves);
    return leaves.others == 0;
  }
  return isCopy(op) || scaled(op);
}

void Distributor::count(Value weights, unsigned uses, Leaves &leaves) {
  Operation *op = weights.getDefiningOp();
  if (typeOf(op) == "Softmax" && isOverLastAxis(op) && weights.hasOneUse())
    ++leaves.softmaxes;
  else if (!isLinear(weights, uses))
    ++leaves.others;
  else if (Value rows = normalized(op))
    count(rows, 2, leaves);
  else if (auto parts = scaled(op))
    count(parts->first, 1, leaves);
  else
    for (Value operand : op->getOperands())
      count(operand, 1, leaves);
}

Value Distributor::combined(StringRef type, Value x, Value y) {
  auto of = [](Value v) { return cast<RankedTensorType>(v.getType()); };
  SmallVector<int64_t> shape;
  OpTrait::util::getBroadcastedShape(of(x).getShape(), of(y).getShape(), shape);
  return createNode(b, type, {x, y}, of(x).clone(shape));
}

/// The sums of rows, in a form that broadcasts to them: those of a Softmax, and
/// of what is divided by them, are one.
Value Distributor::sumOf(Value weights) {
  Operation *op = weights.getDefiningOp();
  StringRef type = typeOf(op);
  if (type == "Softmax" || normalized(op)) {
    auto one = RankedTensorType::get({}, getElementTypeOrSelf(weights));
    return onnx::InitializerOp::create(
        b, one,
        DenseElementsAttr::get(one, b.getFloatAttr(one.getElementType(), 1)));
  }
  if (auto parts = scaled(op))
    return combined(type, sumOf(parts->first), parts->second);
  if (isCopy(op))
    return sumOf(op->getOperand(0));
  Value x = sumOf(op->getOperand(0));
  return combined(type, x, sumOf(op->getOperand(1)));
}

Value Distributor::timesValues(Value weights, unsigned uses) {
  Operation *op = weights.getDefiningOp();
  if (typeOf(op) == "Softmax" || !isLinear(weights, uses)) {
    auto own = cast<RankedTensorType>(weights.getType()),
         other = cast<RankedTensorType>(values.getType());
    SmallVector<int64_t> shape;
    OpTrait::util::getBroadcastedShape(own.getShape().drop_back(2),
                                       other.getShape().drop_back(2), shape);
    shape.append({own.getShape()[own.getRank() - 2], other.getShape().back()});
    return createNode(b, "MatMul", {weights, values}, own.clone(shape));
  }
  if (Value rows = normalized(op))
    return combined("Div", timesValues(rows, 2), sumOf(rows));
  if (auto parts = scaled(op))
    return combined(typeOf(op), timesValues(parts->first), parts->second);
  if (isCopy(op))
    return timesValues(op->getOperand(0));
  Value x = timesValues(op->getOperand(0));
  return combined(typeOf(op), x, timesValues(op->getOperand(1)));
}

void Distributor::run() {
  Value weights = product->getOperand(0);
  Leaves leaves;
  count(weights, 1, leaves);
  // The probabilities of one Softmax alone are what attention is found of.
  Operation *op = weights.getDefiningOp();
  if (leaves.softmaxes == 0 || typeOf(op) == "Softmax" || isCopy(op))
    return;
  Value sum = timesValues(weights);
  Value old = product->getResult(0);
  if (sum.getType() != old.getType())
    sum = withKnownType(b, sum, old.getType());
  old.replaceAllUsesWith(sum);
  // Softmaxes have no other uses than their products.
  SmallVector<Operation *> dead = {product};
  while (!dead.empty()) {
    Operation *next = dead.pop_back_val();
    SmallVector<Value> operands(next->getOperands());
    next->erase();
    for (Value operand : operands)
      if (Operation *before = operand.getDefiningOp();
          before && isOpTriviallyDead(before) &&
          !llvm::is_contained(dead, before))
        dead.push_back(before);
  }
}

void mlir::megactx::raise::distributeProduct(Operation *product) {
  auto rank = [&](unsigned i) { return rankOf(product->getOperand(i)); };
  if (rank(0) >= 2 && rank(1) >= 2 &&
      isa<FloatType>(getElementTypeOrSelf(product->getResult(0).getType())))
    Distributor(product).run();
}
