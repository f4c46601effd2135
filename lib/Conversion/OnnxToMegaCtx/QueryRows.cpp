//===- QueryRows.cpp - where queries stand among keys ---------------------===//
//
// Queries of one sequence with their keys mostly are all of its rows, or the
// last ones, behind a cache. Others, such as a class token alone or every
// second row, and keys that were pooled, have other positions.
//
//===----------------------------------------------------------------------===//

#include "Nodes.h"
#include "Operands.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::megactx::raise;

/// Whether a node appends learned rows to those that are computed.
static bool appendsWeights(Operation *op) {
  return typeOf(op) == "Concat" && op->getNumOperands() > 1 &&
         isOfWeights(op->getOperands().back()) &&
         !isOfWeights(op->getOperand(0));
}

/// Whether a node gives other rows than its operand has: it has windows of
/// these, and moves by more than one, or appends some.
bool Operands::changesRows(Operation *op) {
  if (appendsWeights(op))
    return true;
  if (!llvm::is_contained({"AveragePool", "Conv", "ConvTranspose", "LpPool",
                           "MaxPool", "Resize"},
                          typeOf(op)))
    return false;
  const Place before = values.shape(op->getOperand(0)),
              after = values.shape(op->getResult(0));
  return before.size() < 2 || before.size() != after.size() ||
         ArrayRef(before).drop_front(2) != ArrayRef(after).drop_front(2);
}

/// Whether rows are changed between a projection and what is multiplied.
bool Operands::hasChangedRows(Value operand) {
  constexpr size_t kMost = 400;
  llvm::SetVector<Value> seen;
  seen.insert(operand);
  for (size_t i = 0; i < seen.size() && i < kMost; ++i) {
    Operation *op = seen[i].getDefiningOp();
    if (!op || isConstant(seen[i]))
      continue;
    if (changesRows(op))
      return true;
    if (channelAxis(op))
      continue;
    seen.insert_range(floatOperands(op));
  }
  return false;
}

/// The tensors that the rows of an operand are of, with their places in each:
/// nodes keep places, or move elements, or project them, which leaves all but
/// the channel.
std::vector<std::pair<Value, Place>> Operands::placesOf(Value operand,
                                                        AffineExpr row) {
  constexpr size_t kMost = 40;
  Place start = {positions.variable(kBatch), positions.variable(kHead), row,
                 positions.variable(kPlace)};
  for (auto [index, size] : llvm::zip(start, values.shape(operand)))
    positions.assume(Condition::within(index, size));
  std::vector<std::pair<Value, Place>> found = {{operand, start}};
  for (size_t i = 0; i < found.size() && found.size() < kMost; ++i) {
    auto [value, place] = found[i];
    auto add = [&, &place = place](Value next) {
      auto isNext = [&](auto &other) { return other.first == next; };
      if (next && rankOf(next) == int64_t(place.size()) &&
          llvm::none_of(found, isNext))
        found.push_back({next, place});
    };
    Operation *op = value.getDefiningOp();
    auto axis = op ? channelAxis(op) : std::nullopt;
    if (axis && typeOf(op) != "Conv") {
      place[*axis] = positions.variable(kPlace);
      add(op->getOperand(*axis == rankOf(value) - 1 ? 0 : 1));
    } else if (op && keepsPlaces(op)) {
      for (Value next : op->getOperands())
        if (rankOf(next) == rankOf(value) &&
            values.shape(next) == values.shape(value))
          add(next);
    } else {
      add(followed(value, place));
    }
  }
  return found;
}

/// Whether the queries are projected of the same rows as the keys that begin
/// `ahead` of the first one; nothing where that is not known.
std::optional<bool> Operands::areRowsAt(Value query, Value key,
                                        AffineExpr ahead) {
  positions.forget();
  values.forget();
  AffineExpr row = positions.variable(kQuery);
  auto queries = placesOf(query, row), keys = placesOf(key, row + ahead);
  for (auto &[tensor, place] : queries)
    for (auto &[other, where] : keys)
      if (tensor == other)
        return llvm::all_of(llvm::zip(place, where), [&](auto indices) {
          auto [own, index] = indices;
          return own.isFunctionOfDim(kPlace) || index.isFunctionOfDim(kPlace) ||
                 positions.holds(Condition::zero(own - index));
        });
  return std::nullopt;
}

bool Operands::endTogether(Value query, Value key) {
  if (haveOneSize(query, key, 2))
    return true;
  AffineExpr ahead = values.shape(key)[2] - values.shape(query)[2];
  positions.forget();
  if (positions.holds(Condition::nonNegative(-ahead - 1)))
    return false;
  auto isLast = areRowsAt(query, key, ahead);
  bool isFirst =
      !isLast && areRowsAt(query, key, positions.constant(0)) == true;
  positions.forget();
  return isLast.value_or(!isFirst && !hasChangedRows(query) &&
                         !hasChangedRows(key));
}
