//===- Guards.cpp - between a Softmax and its values ----------------------===//

#include "Nodes.h"
#include "Scores.h"
#include "Sinks.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// The guard that exporters write against rows without keys,
/// Where(IsNaN(p), 0, p), or null.
static Operation *nanGuardOf(Value p, ArrayRef<Operation *> users) {
  if (users.size() != 2)
    return nullptr;
  Operation *check = typeOf(users[0]) == "IsNaN" ? users[0] : users[1];
  Operation *where = check == users[0] ? users[1] : users[0];
  if (typeOf(check) != "IsNaN" || typeOf(where) != "Where" ||
      where->getOperand(0) != check->getResult(0) ||
      where->getOperand(2) != p || !isScalar(where->getOperand(1)) ||
      constantNumber(where->getOperand(1)) != 0.0)
    return nullptr;
  return where;
}

/// A condition before changes of its type that change nothing.
static Value bareCondition(Value value) {
  while (typeOf(value) == "Cast" &&
         value.getDefiningOp()->getOperand(0).getType() == value.getType())
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

/// Probabilities that are set to zero where a mask hides their scores: rows
/// that are hidden altogether have no weights, as if the mask were infinite.
/// Not so where another finite mask hides part of such a row, which then shares
/// the weights with what is hidden again.
static bool isHiddenAgain(ImplicitLocOpBuilder &b, Operation *where, Value p,
                          Scores &scores) {
  if (typeOf(where) != "Where")
    return false;
  bool whereTrue = where->getOperand(2) == p;
  if (constantNumber(where->getOperand(whereTrue ? 1 : 2)) != 0.0)
    return false;
  for (Term &term : scores.terms) {
    auto fill = term.fill ? constantNumber(term.fill) : std::nullopt;
    if (!fill || *fill > kMasked || term.whereTrue != whereTrue ||
        bareCondition(term.value) != bareCondition(where->getOperand(0)))
      continue;
    for (Term &other : scores.terms) {
      bool isFinite = other.fill
                          ? !std::isinf(constantNumber(other.fill).value_or(0))
                          : mayMaskFinitely(other.value);
      if (&other != &term && isFinite)
        return false;
    }
    auto type = cast<RankedTensorType>(term.fill.getType());
    auto element = cast<FloatType>(type.getElementType());
    APFloat infinity =
        APFloat::getInf(element.getFloatSemantics(), /*Negative=*/true);
    b.setInsertionPoint(term.node);
    term.fill = onnx::InitializerOp::create(
        b, type, DenseElementsAttr::get(type, infinity));
    return true;
  }
  return false;
}

/// Whoever only asks for sizes of `p` asks `alike`, which has the same; gives
/// the other users.
static SmallVector<Operation *> usersBeyondSizes(Value p, Value alike) {
  SmallVector<Operation *> users;
  for (Operation *user : llvm::make_early_inc_range(p.getUsers())) {
    if (typeOf(user) == "Shape")
      user->setOperand(0, alike);
    else if (!llvm::is_contained(users, user))
      users.push_back(user);
  }
  return users;
}

Value mlir::megactx::raise::skipGuards(ImplicitLocOpBuilder &b, Value p,
                                       Scores &scores, Value &lastReshape) {
  bool hasSink = bool(scores.sink);
  // What makes probabilities keeps the sizes of its first operand.
  Value alike = p.getDefiningOp()->getOperand(0);
  while (true) {
    SmallVector<Operation *> users = usersBeyondSizes(p, alike);
    Operation *next = nanGuardOf(p, users);
    if (!next && users.size() != 1)
      return hasSink ? Value() : p;
    bool isCut =
        !next && hasSink && cutsSinkOff(users[0], p, scores.isSinkFirst);
    bool isReshaped =
        !next && typeOf(users[0]) == "Reshape" && users[0]->getOperand(0) == p;
    bool isSkipped = next || isCut || isReshaped || isCopy(users[0]) ||
                     isHiddenAgain(b, users[0], p, scores);
    hasSink &= !isCut;
    if (isReshaped)
      lastReshape = users[0]->getResult(0);
    if (!isSkipped)
      return hasSink ? Value() : p;
    if (isCut || isReshaped) {
      b.setInsertionPoint(users[0]);
      Operation *same = b.clone(*users[0]);
      same->setOperand(0, alike);
      alike = same->getResult(0);
    }
    p = (next ? next : users[0])->getResult(0);
  }
}
