//===- ElementScatters.cpp - elements of ScatterND ------------------------===//
//
// Of updates whose places are an assignment to a slice, to the places that
// NonZero lists of a mask, or to both along different dims.
//
//===----------------------------------------------------------------------===//

#include "ElementValues.h"
#include "Nodes.h"

using namespace mlir;
using namespace mlir::megactx::raise;

/// The index of one dim of the data, as a function of an update's place
/// [u0, .., uk-1].
struct ElementValues::IndexColumn {
  std::optional<unsigned> by; ///< u
  AffineExpr offset;          ///< it is u + offset, or the offset
  /// Or the result of a NonZero, of which it is [axis, u].
  Value list = {};
  int64_t axis = 0;
};

std::optional<ElementValues::IndexColumn>
ElementValues::columnOf(const Element &index, const Place &sizes) {
  if (index.kind() == Element::Kind::Read &&
      typeOf(index.tensor()) == "NonZero" && index.indices().size() == 2 &&
      rankOf(index.tensor().getDefiningOp()->getOperand(0)) > 0) {
    auto axis = dyn_cast<AffineConstantExpr>(index.indices()[0]);
    auto place = dyn_cast<AffineDimExpr>(index.indices()[1]);
    if (!axis || !place)
      return std::nullopt;
    return IndexColumn{
        place.getPosition(), {}, index.tensor(), axis.getValue()};
  }
  auto expr = index.integer();
  if (auto number = index.number())
    expr = positions.constant(int64_t(*number));
  if (!expr)
    return std::nullopt;
  for (unsigned i = 0; i < sizes.size(); ++i) {
    AffineExpr offset = *expr - positions.variable(Variable(i));
    if (expr->isFunctionOfDim(i) && offset.isSymbolicOrConstant())
      return IndexColumn{i, offset};
  }
  if (!expr->isSymbolicOrConstant())
    return std::nullopt;
  return IndexColumn{std::nullopt, *expr};
}

/// The columns of indices [sizes, dims]; nothing for others than those above.
std::optional<std::vector<ElementValues::IndexColumn>>
ElementValues::columnsOf(Value indices, const Place &sizes) {
  constexpr unsigned most = kKey + 1;
  auto count = dyn_cast<AffineConstantExpr>(shape(indices).back());
  if (sizes.empty() || sizes.size() > most || !count)
    return std::nullopt;
  // The variables stand for any index here, not for what is known of them.
  Condition facts = positions.facts();
  auto found = std::exchange(elements, {});
  positions.forget();
  Place place;
  for (size_t i = 0; i < sizes.size(); ++i) {
    place.push_back(positions.variable(Variable(i)));
    positions.assume(Condition::nonNegative(sizes[i] - place[i] - 1));
  }
  place.push_back({});
  std::vector<IndexColumn> columns;
  for (int64_t i = 0; i < count.getValue(); ++i) {
    place.back() = positions.constant(i);
    if (auto column = columnOf(at(indices, place), sizes))
      columns.push_back(*column);
  }
  positions.forget();
  positions.assume(facts);
  elements = std::move(found);
  if (int64_t(columns.size()) != count.getValue())
    return std::nullopt;
  return columns;
}

/// The index along u of the update of a place, and where there is one.
struct ElementValues::Update {
  AffineExpr index; ///< null where updates do not depend on it
  Condition exists;
};

/// Of places that are listed: all dims of the list's mask have a column.
std::optional<ElementValues::Update>
ElementValues::listedUpdate(ArrayRef<IndexColumn> columns, unsigned by,
                            ArrayRef<AffineExpr> place) {
  Value list;
  Place listed;
  for (auto [column, index] : llvm::zip(columns, place)) {
    if (column.by != by)
      continue;
    if (!column.list || (list && column.list != list))
      return std::nullopt;
    list = column.list;
    listed.resize(rankOf(list.getDefiningOp()->getOperand(0)));
    if (column.axis < 0 || column.axis >= int64_t(listed.size()) ||
        listed[column.axis])
      return std::nullopt;
    listed[column.axis] = index;
  }
  if (llvm::is_contained(listed, AffineExpr()))
    return std::nullopt;
  return Update{{},
                at(list.getDefiningOp()->getOperand(0), listed).isNonZero()};
}

std::optional<ElementValues::Update>
ElementValues::updateAlong(ArrayRef<IndexColumn> columns, unsigned by,
                           AffineExpr size, ArrayRef<AffineExpr> place,
                           const Place &dims) {
  unsigned count =
      llvm::count_if(columns, [&](const auto &c) { return c.by == by; });
  if (count == 0 && size == positions.constant(1))
    return Update{positions.constant(0), Condition::constant(true)};
  const auto *first =
      llvm::find_if(columns, [&](const auto &c) { return c.by == by; });
  if (count == 0 || first->list)
    return count == 0 ? std::nullopt : listedUpdate(columns, by, place);
  AffineExpr offset = first->offset;
  size_t d = std::distance(columns.begin(), first);
  // Negative indices count from the end, none or all of them.
  if (positions.isNonNegative(-offset - size))
    offset = dims[d] + offset;
  else if (!positions.isNonNegative(offset))
    return std::nullopt;
  if (count > 1)
    return std::nullopt;
  AffineExpr index = place[d] - offset;
  return Update{index, Condition::within(index, size)};
}

/// Whether nothing is said of kPlace, which then stands for any index.
static bool isFree(const Condition &facts, ArrayRef<AffineExpr> place) {
  bool isUsed = llvm::any_of(
      place, [](AffineExpr index) { return index.isFunctionOfDim(kPlace); });
  facts.walk([&](const Condition &fact) {
    isUsed |= fact.expr() && fact.expr().isFunctionOfDim(kPlace);
  });
  return !isUsed;
}

ElementValues::Result ElementValues::scattered(Operation *op,
                                               ArrayRef<AffineExpr> place) {
  Value data = op->getOperand(0), indices = op->getOperand(1),
        updates = op->getOperand(2);
  auto reduction = op->getAttrOfType<StringAttr>("reduction");
  int64_t rank = rankOf(data), outer = rankOf(indices) - 1;
  if (rank != int64_t(place.size()) || outer < 1 || outer > rankOf(updates) ||
      (reduction && reduction.getValue() != "none"))
    return std::nullopt;
  // The updates have the indices' outer sizes, by numbers more often.
  Place sizes(ArrayRef(shape(updates)).take_front(outer));
  auto columns = columnsOf(indices, sizes);
  if (!columns || int64_t(columns->size()) > rank ||
      rankOf(updates) != outer + rank - int64_t(columns->size()))
    return std::nullopt;
  const Place dims = shape(data);
  Place inner;
  Condition isUpdated = Condition::constant(true);
  bool isAny = false;
  for (int64_t u = 0; u < outer; ++u) {
    auto update = updateAlong(*columns, u, sizes[u], place, dims);
    if (!update)
      return std::nullopt;
    isUpdated = isUpdated && update->exists;
    isAny |= !update->index;
    inner.push_back(update->index ? update->index : positions.variable(kPlace));
  }
  for (auto [column, index, size] : llvm::zip(*columns, place, dims)) {
    if (column.by)
      continue;
    bool isFromEnd = positions.isNonNegative(-column.offset - 1);
    if (!isFromEnd && !positions.isNonNegative(column.offset))
      return std::nullopt;
    isUpdated =
        isUpdated && Condition::zero(index - column.offset - size * isFromEnd);
  }
  llvm::append_range(inner, place.drop_front(columns->size()));
  isUpdated = positions.simplify(isUpdated);
  if (isUpdated.isFalse())
    return at(data, place);
  if (isAny && !isFree(positions.facts(), place))
    return std::nullopt;
  Element update = at(updates, inner);
  if (isAny && update.uses(kPlace))
    return std::nullopt;
  return isUpdated.isTrue()
             ? update
             : Element::choice(isUpdated, update, at(data, place));
}
