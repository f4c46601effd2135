//===- TokenOrder.cpp - rows in their sequence's order --------------------===//
//
// Queries and keys that are rows of one tensor stand where these do in the
// sequence, unless nodes before reversed, sorted, repeated or chose them.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "Operands.h"
#include "TokenRows.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::megactx::raise;

/// The one axis whose index is the row's alone; nothing where windows or grids
/// share rows among several.
std::optional<unsigned> TokenRows::axisOf(ArrayRef<AffineExpr> place) const {
  std::optional<unsigned> axis;
  for (auto [i, index] : llvm::enumerate(place)) {
    if (!index.isFunctionOfDim(kQuery))
      continue;
    if (axis || index.isFunctionOfDim(kBatch) || index.isFunctionOfDim(kHead))
      return std::nullopt;
    axis = i;
  }
  return axis;
}

/// Whether numbers, along any axis, do not ascend.
static bool mayDescend(Value list) {
  ElementsAttr elements = constantOf(list);
  if (!elements)
    return true;
  Numbers numbers(elements);
  double last = -1;
  for (int64_t i = 0, n = elements.getNumElements(); i < n; ++i) {
    auto number = numbers[i];
    if (!number || *number <= last)
      return true;
    last = *number;
  }
  return false;
}

/// Whether one row is behind another, or an earlier one, of one tensor.
bool TokenRows::ascends(ArrayRef<AffineExpr> from, ArrayRef<AffineExpr> to) {
  return llvm::all_of(llvm::zip(from, to), [&](auto indices) {
    auto [first, second] = indices;
    return first == second || positions.isNonNegative(second - first);
  });
}

/// Of tensors that were joined along rows: whether some are of one tensor, and
/// not one behind the other.
std::string TokenRows::whyJoinedUnordered(const Row &row, unsigned depth) {
  Operation *op = row.tensor.getDefiningOp();
  unsigned axis = *axisOf(row.place);
  std::vector<Rows> parts;
  Place starts = {positions.constant(0)};
  AffineExpr variable = positions.variable(kQuery);
  for (Value operand : op->getOperands()) {
    Place place = row.place;
    place[axis] = variable - starts.back();
    parts.push_back(isOfWeights(operand) ? Rows()
                                         : followPart(operand, place, axis));
    starts.push_back(starts.back() + values.shape(operand)[axis]);
  }
  auto atRow = [&](ArrayRef<AffineExpr> place, AffineExpr index) {
    return Place(llvm::map_range(
        place, [&](AffineExpr expr) { return expr.replace(variable, index); }));
  };
  constexpr unsigned kDeepest = 4;
  for (const Rows &part : parts)
    if (std::string reason = depth < kDeepest && !part.empty()
                                 ? whyUnordered(part, depth + 1)
                                 : "";
        !reason.empty())
      return reason;
  for (size_t i = 1; i < parts.size(); ++i)
    for (const Row &own : parts[i])
      for (const Row &other : parts[i - 1])
        if (own.tensor == other.tensor)
          return ascends(atRow(other.place, starts[i] - 1),
                         atRow(own.place, starts[i]))
                     ? ""
                     : "its rows are those of " + describe(own.tensor) +
                           " in another order, or several times";
  return "";
}

/// Whether a node may give rows in another order than it has them.
static bool mayReorder(Operation *op) {
  StringRef type = typeOf(op);
  auto mode = op->getAttrOfType<StringAttr>("mode");
  if (type == "Gather")
    return !isOfWeights(op->getOperand(0)) && rankOf(op->getOperand(1)) > 0 &&
           mayDescend(op->getOperand(1));
  if (type == "Pad")
    return mode && mode.getValue() != "constant";
  if (type == "Slice") {
    auto steps =
        hasOperand(op, 4) ? constantIntegers(op->getOperand(4)) : std::nullopt;
    return hasOperand(op, 4) &&
           (!steps || llvm::any_of(*steps, [](int64_t by) { return by < 0; }));
  }
  if (type == "Concat") {
    int64_t axis = integerAttr(op, "axis", 0), rank = rankOf(op->getResult(0));
    return rank > 1 && axis != -1 && axis != rank - 1;
  }
  return llvm::is_contained({"Compress", "GatherElements", "GatherND",
                             "ReverseSequence", "Tile", "TopK"},
                            type);
}

/// Why a node that rows are not followed through gives them in another order.
std::string TokenRows::whyReordered(const Row &row, unsigned depth) {
  Operation *op = row.tensor.getDefiningOp();
  auto axis = axisOf(row.place);
  if (!axis || !row.isEnd || !op || !mayReorder(op))
    return "";
  StringRef type = typeOf(op);
  int64_t along = axisAttr(op, row.place.size(), type == "TopK" ? -1 : 0);
  bool hasAxis = llvm::is_contained({"Concat", "GatherElements", "TopK"}, type);
  if (hasAxis && along != *axis)
    return "";
  if (type == "Concat")
    return whyJoinedUnordered(row, depth);
  return "which rows of its sequence " + describe(row.tensor) +
         " has, and in which order, is not known";
}

std::string TokenRows::whyUnordered(const Rows &rows, unsigned depth) {
  std::vector<bool> isOfRow(rows.size());
  AffineExpr row = positions.variable(kQuery);
  for (auto [i, own] : llvm::enumerate(rows)) {
    // Behind windows and grids rows are in the order of these.
    auto axis = axisOf(own.place);
    isOfRow[i] = axis && (i == 0 || isOfRow[own.parent]);
    if (!isOfRow[i])
      continue;
    AffineExpr index = own.place[*axis],
               step = positions.simplify(index.replace(row, row + 1) - index);
    auto number = dyn_cast<AffineConstantExpr>(step);
    if (number && number.getValue() < 0)
      return "its rows are those of " + describe(own.tensor) +
             " in reverse order";
    if (!number && !positions.isNonNegative(step))
      return "its rows are those of " + describe(own.tensor) +
             " in another order, or several times";
    if (std::string reason = whyReordered(own, depth); !reason.empty())
      return reason;
  }
  return "";
}

std::string TokenRows::whyUnordered(const Row &row) {
  constexpr size_t kMost = 20000, kFew = 40, kMany = 400;
  llvm::SetVector<Value> seen;
  seen.insert(row.tensor);
  bool mayBe = false;
  for (size_t i = 0; i < seen.size() && i < kMost && !mayBe; ++i) {
    Operation *op = seen[i].getDefiningOp();
    if (!op || isConstant(seen[i]))
      continue;
    mayBe = !typeOf(op).empty() && mayReorder(op);
    seen.insert(op->operand_begin(), op->operand_end());
  }
  return whyUnordered(follow(row.tensor, row.place, mayBe ? kMany : kFew,
                             /*isInOrder=*/true),
                      0);
}
