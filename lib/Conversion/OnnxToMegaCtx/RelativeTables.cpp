//===- RelativeTables.cpp - elements by distance --------------------------===//

#include "RelativeTables.h"
#include "EmitElement.h"
#include "Nodes.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx::raise;

/// The expression of a distance in the place of kKey, where it is one.
std::optional<AffineExpr> RelativeTables::byDistance(AffineExpr expr) {
  AffineExpr row = positions.variable(kQuery), key = positions.variable(kKey);
  expr = positions.simplify(expr.replace(key, key + row));
  return expr.isFunctionOfDim(kQuery) ? std::nullopt : std::optional(expr);
}

std::optional<Condition> RelativeTables::of(const Condition &condition) {
  switch (condition.kind()) {
  case Condition::Kind::False:
  case Condition::Kind::True:
    return condition;
  case Condition::Kind::NonNegative:
  case Condition::Kind::Zero: {
    auto expr = byDistance(condition.expr());
    if (!expr)
      return std::nullopt;
    return condition.kind() == Condition::Kind::Zero
               ? Condition::zero(*expr)
               : Condition::nonNegative(*expr);
  }
  case Condition::Kind::Runtime: {
    auto element = of(condition.element());
    return element ? std::optional(Condition::runtime(*element)) : std::nullopt;
  }
  case Condition::Kind::Not: {
    auto inner = of(condition.args()[0]);
    return inner ? std::optional(!*inner) : std::nullopt;
  }
  case Condition::Kind::And:
  case Condition::Kind::Or: {
    bool isAnd = condition.kind() == Condition::Kind::And;
    Condition all = Condition::constant(isAnd);
    for (const Condition &arg : condition.args()) {
      auto inner = of(arg);
      if (!inner)
        return std::nullopt;
      all = isAnd ? all && *inner : all || *inner;
    }
    return all;
  }
  }
  llvm_unreachable("every kind is handled above");
}

std::optional<Element> RelativeTables::of(const Element &element) {
  switch (element.kind()) {
  case Element::Kind::Real:
    return element;
  case Element::Kind::Integer: {
    auto expr = byDistance(element.expr());
    return expr ? std::optional(Element::integer(*expr)) : std::nullopt;
  }
  case Element::Kind::Truth: {
    auto condition = of(element.condition());
    return condition ? std::optional(Element::truth(*condition)) : std::nullopt;
  }
  case Element::Kind::Choice: {
    auto condition = of(element.condition());
    auto first = condition ? of(element.first()) : std::nullopt;
    auto second = first ? of(element.second()) : std::nullopt;
    if (!second)
      return std::nullopt;
    return Element::choice(*condition, *first, *second);
  }
  case Element::Kind::Read:
    return ofRead(element);
  }
  llvm_unreachable("every kind is handled above");
}

std::optional<Element> RelativeTables::ofRead(const Element &read) {
  Place place;
  int64_t row = -1, column = -1;
  for (auto [i, index] : llvm::enumerate(read.indices())) {
    bool usesRow = index.isFunctionOfDim(kQuery),
         usesKey = index.isFunctionOfDim(kKey);
    auto distance = byDistance(index);
    place.push_back(distance.value_or(index));
    if (distance && usesRow == usesKey)
      continue;
    // Beside its one variable an index of rows or of keys has sizes alone.
    int64_t &dim = usesRow ? row : column;
    place[i] =
        positions.simplify(index - positions.variable(usesRow ? kQuery : kKey));
    if (usesRow == usesKey || dim >= 0 || !place[i].isSymbolicOrConstant())
      return std::nullopt;
    dim = i;
  }
  if (row < 0 && column < 0)
    return Element::read(read.tensor(), place);
  if (row < 0 || column < 0)
    return std::nullopt;
  AffineExpr rows = values.shape(read.tensor())[row];
  Value entries = table(read.tensor(), {row, column});
  if (!entries)
    return std::nullopt;
  place[column] =
      positions.variable(kKey) + place[column] - place[row] + rows - 1;
  place[row] = positions.constant(0);
  return Element::read(entries, place);
}

Value RelativeTables::table(Value matrix, Dims dims) {
  std::tuple<void *, int64_t, int64_t> key = {matrix.getAsOpaquePointer(),
                                              dims.row, dims.column};
  if (auto it = tables.find(key); it != tables.end())
    return it->second;
  // Graphs that are deeper are no relative positions.
  constexpr unsigned most = 64;
  if (depth == most || rankOf(matrix) > int64_t(kVariables))
    return {};
  ++depth;
  // The variables stand for other places here.
  Condition facts = positions.facts();
  Value result = computed(matrix, dims);
  positions.forget();
  positions.assume(facts);
  values.forget();
  --depth;
  tables.insert({key, result});
  return result;
}

Value RelativeTables::computed(Value matrix, Dims dims) {
  const Place sizes = values.shape(matrix);
  Place place;
  SmallVector<unsigned> others = {kBatch, kHead, kPlace};
  positions.forget();
  values.forget();
  for (int64_t i = 0, rank = sizes.size(); i < rank; ++i) {
    unsigned variable = i == dims.row      ? unsigned(kQuery)
                        : i == dims.column ? unsigned(kKey)
                                           : others.pop_back_val();
    place.push_back(positions.variable(Variable(variable)));
    positions.assume(Condition::nonNegative(place[i]) &&
                     Condition::nonNegative(sizes[i] - place[i] - 1));
  }
  Element element = values.at(matrix, place);
  // What is not understood, if only at some places, is the node's own.
  bool isOwn = false;
  element.walkReads([&](Value tensor) { isOwn |= tensor == matrix; });
  if (isOwn)
    return nodeOfTables(matrix.getDefiningOp(), dims);
  if (getElementTypeOrSelf(matrix.getType()).isUnsignedInteger())
    return {};
  auto relative = of(element);
  return relative ? emitted(*relative, matrix, dims) : Value();
}

/// A tensor with the matrix's dims, but for one row and all distances.
Value RelativeTables::emitted(const Element &element, Value matrix, Dims dims) {
  Place shape = values.shape(matrix);
  AffineExpr rows = shape[dims.row];
  shape[dims.row] = positions.constant(1);
  shape[dims.column] = shape[dims.column] + rows - 1;
  SmallVector<AffineExpr> variables(kVariables, positions.constant(0));
  SmallVector<unsigned> others = {kBatch, kHead, kPlace};
  for (int64_t i = 0, rank = shape.size(); i < rank; ++i) {
    AffineExpr at = getAffineDimExpr(i, b.getContext());
    if (i == dims.column)
      variables[kKey] = at - (rows - 1);
    else if (i != dims.row)
      variables[others.pop_back_val()] = at;
  }
  return emitTensor(b, positions, element,
                    getElementTypeOrSelf(matrix.getType()), shape, variables);
}

/// Operators whose results have at a place what the operands have there.
static bool isElementwise(StringRef type) {
  static const llvm::StringSet<> names = {"Abs",
                                          "Add",
                                          "And",
                                          "Cast",
                                          "Ceil",
                                          "Cos",
                                          "Div",
                                          "Equal",
                                          "Erf",
                                          "Exp",
                                          "Floor",
                                          "Greater",
                                          "GreaterOrEqual",
                                          "Less",
                                          "LessOrEqual",
                                          "Log",
                                          "Max",
                                          "Min",
                                          "Mod",
                                          "Mul",
                                          "Neg",
                                          "Not",
                                          "Or",
                                          "Pow",
                                          "Reciprocal",
                                          "Relu",
                                          "Round",
                                          "Sigmoid",
                                          "Sign",
                                          "Sin",
                                          "Sqrt",
                                          "Sub",
                                          "Tanh",
                                          "Where",
                                          "Xor"};
  return names.contains(type);
}

/// In place of an operand that broadcasts to a matrix of these sizes, one that
/// broadcasts to its table. Sizes that only a run knows may be 1 in it.
bool RelativeTables::tableOfOperand(Value &operand, const Place &whole,
                                    Dims dims) {
  AffineExpr rows = whole[dims.row], columns = whole[dims.column];
  int64_t missing = int64_t(whole.size()) - rankOf(operand);
  dims.row -= missing;
  dims.column -= missing;
  const Place sizes = values.shape(operand);
  auto isOne = [&](int64_t dim) {
    return dim < 0 || sizes[dim] == positions.constant(1);
  };
  if (isOne(dims.row) && isOne(dims.column))
    return true;
  if (isOne(dims.row) || isOne(dims.column) || sizes[dims.row] != rows ||
      sizes[dims.column] != columns)
    return false;
  operand = table(operand, dims);
  return bool(operand);
}

/// The node on tables instead of matrices.
Value RelativeTables::nodeOfTables(Operation *op, Dims dims) {
  StringRef type = typeOf(op);
  if (type.empty() || op->getNumResults() != 1)
    return {};
  const Place sizes = values.shape(op->getResult(0));
  SmallVector<Value> operands(op->getOperands());
  for (Value operand : operands)
    if (rankOf(operand) < 0)
      return {};
  if (type == "Gather") {
    // What is gathered is the same at all places.
    int64_t axis = axisAttr(op, rankOf(operands[0]));
    int64_t end = axis + rankOf(operands[1]);
    if (std::min(dims.row, dims.column) < axis ||
        std::max(dims.row, dims.column) >= end ||
        !tableOfOperand(operands[1], values.shape(operands[1]),
                        {dims.row - axis, dims.column - axis}))
      return {};
  } else if (isElementwise(type)) {
    for (Value &operand : operands)
      if (!tableOfOperand(operand, sizes, dims))
        return {};
  } else {
    return {};
  }
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  SmallVector<int64_t> shape(result.getShape());
  auto distances =
      dyn_cast<AffineConstantExpr>(sizes[dims.row] + sizes[dims.column] - 1);
  shape[dims.row] = 1;
  shape[dims.column] = distances ? distances.getValue() : ShapedType::kDynamic;
  Location loc = b.getLoc();
  b.setLoc(op->getLoc());
  Value node = createNode(b, type, operands, result.clone(shape),
                          llvm::to_vector(op->getAttrs()));
  b.setLoc(loc);
  return node;
}
