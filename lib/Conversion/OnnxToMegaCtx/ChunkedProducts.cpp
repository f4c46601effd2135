//===- ChunkedProducts.cpp - products around a Softmax of chunks ----------===//

#include "ChunkedProducts.h"
#include "Heads.h"
#include "Nodes.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx::raise;

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

llvm::SetVector<Value> mlir::megactx::raise::addedUpTo(Value value) {
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

static bool movesProbabilities(Operation *user) {
  return isMove(user) || llvm::is_contained({"Where", "Dropout"}, typeOf(user));
}

/// What probabilities are moved to, themselves first.
static llvm::SetVector<Value> movedFrom(Value value) {
  llvm::SetVector<Value> after;
  after.insert(value);
  for (size_t i = 0; i < after.size(); ++i)
    for (Operation *user : after[i].getUsers())
      if (movesProbabilities(user))
        after.insert(user->getResult(0));
  return after;
}

bool ChunkedProducts::hasScores(Value value) const {
  llvm::SetVector<Value> before = addedUpTo(value);
  return llvm::any_of(scores, [&](Operation *product) {
    return before.contains(product->getResult(0));
  });
}

/// The sum that values are the terms of, wherever nodes move them: all of them,
/// and no others. Null where there is none.
static Value sumOf(ArrayRef<Operation *> terms) {
  if (terms.size() == 1)
    return terms[0]->getResult(0);
  auto isSumOfThem = [&](Operation *add) {
    llvm::SetVector<Value> before = addedUpTo(add->getResult(0));
    unsigned count = llvm::count_if(before, [](Value value) {
      Operation *op = value.getDefiningOp();
      return !isMove(op) && typeOf(op) != "Add";
    });
    return count == terms.size() && llvm::all_of(terms, [&](Operation *term) {
             return before.contains(term->getResult(0));
           });
  };
  llvm::SetVector<Operation *> after;
  after.insert(terms[0]);
  constexpr size_t kMostNodes = 16;
  for (size_t i = 0; i < after.size() && i < kMostNodes; ++i)
    for (Operation *user : after[i]->getUsers()) {
      if (typeOf(user) == "Add" && isSumOfThem(user))
        return user->getResult(0);
      if (isMove(user) || typeOf(user) == "Add")
        after.insert(user);
    }
  return {};
}

std::optional<ChunkedProducts> mlir::megactx::raise::chunkedProductsOf(
    Operation *softmax, ElementValues &values, Positions &positions) {
  int64_t last = rankOf(softmax->getResult(0)) - 1;
  int64_t axis = integerAttr(softmax, "axis", -1);
  if (last < 1 || (axis != -1 && axis != last))
    return std::nullopt;
  auto isOfChunks = [](Operation *op) {
    int64_t rank = rankOf(op->getResult(0));
    return rank >= 3 && rank <= 5 &&
           llvm::all_of(op->getOperands(),
                        [&](Value value) { return rankOf(value) == rank; });
  };
  ChunkedProducts products;
  for (Value value : movedFrom(softmax->getResult(0)))
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (movesProbabilities(user) || typeOf(user) == "Shape")
        continue;
      // Nothing else reads probabilities, which would be computed once more.
      if (typeOf(user) != "MatMul" || use.getOperandNumber() != 0 ||
          !isOfChunks(user))
        return std::nullopt;
      if (!llvm::is_contained(products.contexts, user))
        products.contexts.push_back(user);
    }
  if (products.contexts.empty() || !(products.sum = sumOf(products.contexts)))
    return std::nullopt;
  for (Value value : addedUpTo(softmax->getOperand(0))) {
    Operation *op = value.getDefiningOp();
    if (typeOf(op) != "MatMul")
      continue;
    // Products of one factor are masks, not scores.
    if (isOfChunks(op) &&
        values.shape(op->getOperand(0)).back() == positions.constant(1))
      continue;
    if (!isOfChunks(op))
      return std::nullopt;
    products.scores.push_back(op);
  }
  if (products.scores.size() != products.contexts.size())
    return std::nullopt;
  return products;
}

/// The list of a tensor's sizes where `asker` is, or null where they are not
/// known there.
static Value sizesAt(Operation *asker, Value tensor, ElementValues &values,
                     Positions &positions) {
  ImplicitLocOpBuilder b(asker->getLoc(), asker);
  auto isBefore = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return !op ||
           (op->getBlock() == asker->getBlock() && op->isBeforeInBlock(asker));
  };
  const Place shape = values.shape(tensor);
  SmallVector<Value> symbols, sizes;
  for (auto [d, symbol] : llvm::enumerate(positions.sizes())) {
    bool isUsed = llvm::any_of(
        shape, [d = d](AffineExpr size) { return size.isFunctionOfSymbol(d); });
    if (isUsed && !isBefore(symbol.first))
      return {};
    symbols.push_back(
        isUsed ? b.createOrFold<tensor::DimOp>(symbol.first, symbol.second)
               : Value());
  }
  for (AffineExpr size : shape)
    sizes.push_back(arith::IndexCastOp::create(
        b, b.getI64Type(),
        affine::expandAffineExpr(b, b.getLoc(), size, {}, symbols)));
  return tensor::FromElementsOp::create(b, sizes);
}

void mlir::megactx::raise::giveSizes(const ChunkedProducts &products,
                                     Operation *softmax, ElementValues &values,
                                     Positions &positions) {
  llvm::SetVector<Value> asked = movedFrom(softmax->getResult(0));
  for (Value value : addedUpTo(softmax->getOperand(0)))
    if (products.hasScores(value))
      asked.insert(value);
  for (Value value : asked)
    for (Operation *user : llvm::make_early_inc_range(value.getUsers())) {
      if (typeOf(user) != "Shape" || user->hasAttr("start") ||
          user->hasAttr("end"))
        continue;
      Value sizes = sizesAt(user, value, values, positions);
      if (sizes && sizes.getType() == user->getResult(0).getType())
        user->getResult(0).replaceAllUsesWith(sizes);
    }
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

Place Rows::sizes(ElementValues &values, Positions &positions) const {
  Place own = values.shape(tensor), sizes;
  for (size_t i = 0; i < own.size(); ++i)
    sizes.push_back(own[dim(i)]);
  if (own.size() == 3)
    sizes.insert(sizes.begin() + 1, positions.constant(1));
  return sizes;
}

Place Rows::at(ArrayRef<AffineExpr> place) const {
  Place order(place);
  if (rankOf(tensor) == 3)
    order.erase(order.begin() + 1);
  Place own(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    own[dim(i)] = order[i];
  return own;
}

Value Rows::emit(ImplicitLocOpBuilder &b) const {
  Value rows = perm.empty() ? tensor : transposed(b, tensor, perm);
  return rankOf(rows) == 3 ? unsqueezed(b, rows, 1) : rows;
}

/// Whether the operand's element, at its place, is that of a source in whose
/// order from one row to the next the row alone changes, by one.
static bool areRowsOf(Value source, AffineExpr rows, const Leaf &leaf,
                      Positions &positions) {
  AffineExpr row = positions.variable(kKey), depth = positions.variable(kPlace);
  ArrayRef<AffineExpr> indices = leaf.element.indices();
  auto moves = [&](AffineExpr index, unsigned by) {
    AffineExpr first = index.replace(row, positions.constant(0));
    return !first.isFunctionOfDim(kPlace) &&
           positions.holds(Condition::zero(index - first - row * by));
  };
  // The one row of a tensor, not of another dim.
  AffineExpr at = indices[indices.size() - 2];
  if (!at.isFunctionOfDim(kKey) && rows != positions.constant(1))
    return false;
  return leaf.element.tensor() == source && indices.back() == depth &&
         moves(at, 1) &&
         llvm::all_of(indices.drop_back(2),
                      [&](AffineExpr index) { return moves(index, 0); });
}

std::optional<Rows> mlir::megactx::raise::rowsOf(Value operand,
                                                 bool isTransposed,
                                                 ElementValues &values,
                                                 Positions &positions) {
  const Place all = values.shape(operand);
  size_t rank = all.size();
  if (rank < 3 || rank > 5 || !isFloat(operand))
    return std::nullopt;
  SmallVector<Value> sources;
  for (Value at = operand; isMove(at.getDefiningOp()); at = sources.back())
    sources.push_back(at.getDefiningOp()->getOperand(0));
  Place place;
  for (unsigned v = 0; v + 2 < rank; ++v)
    place.push_back(positions.variable(Variable(v)));
  place.append({positions.variable(kKey), positions.variable(kPlace)});
  if (isTransposed)
    std::swap(place[rank - 2], place[rank - 1]);
  for (Value source : llvm::reverse(sources)) {
    int64_t own = rankOf(source);
    if ((own != 3 && own != 4) || getElementTypeOrSelf(source.getType()) !=
                                      getElementTypeOrSelf(operand.getType()))
      continue;
    positions.forget();
    values.stopAt(source);
    for (auto [index, size] : llvm::zip(place, all))
      positions.assume(Condition::within(index, size));
    SmallVector<Leaf> leaves = leavesOf(values.at(operand, place));
    llvm::erase_if(leaves,
                   [](const Leaf &leaf) { return leaf.element.number(); });
    if (leaves.size() != 1 || leaves[0].element.kind() != Element::Kind::Read)
      continue;
    positions.assume(staticPartOf(leaves[0].path).first);
    if (areRowsOf(source, values.shape(source)[own - 2], leaves[0], positions))
      return Rows{source, {}};
  }
  if (rank == 5)
    return std::nullopt;
  Rows rows = {operand, {}};
  if (isTransposed) {
    rows.perm = llvm::to_vector(llvm::seq<int64_t>(rank));
    std::swap(rows.perm[rank - 2], rows.perm[rank - 1]);
  }
  return rows;
}
