//===- TokenRows.cpp - which tokens rows are of ---------------------------===//

#include "TokenRows.h"
#include "Nodes.h"
#include "Operands.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// Whether each row of the result is computed of the operands' rows at its
/// place: also where others take part, as in sums of all rows up to it.
static bool mayMixInPlace(Operation *op) {
  static const llvm::StringSet<> names = {"Abs",
                                          "BatchNormalization",
                                          "CastLike",
                                          "Ceil",
                                          "Celu",
                                          "Clip",
                                          "CumSum",
                                          "DequantizeLinear",
                                          "Dropout",
                                          "DynamicQuantizeLinear",
                                          "Elu",
                                          "Erf",
                                          "Exp",
                                          "Floor",
                                          "Gelu",
                                          "GroupNormalization",
                                          "HardSigmoid",
                                          "HardSwish",
                                          "InstanceNormalization",
                                          "LeakyRelu",
                                          "Log",
                                          "LogSoftmax",
                                          "Max",
                                          "Min",
                                          "Mish",
                                          "Neg",
                                          "PRelu",
                                          "Pow",
                                          "QuantizeLinear",
                                          "Reciprocal",
                                          "Relu",
                                          "RotaryEmbedding",
                                          "Round",
                                          "ScatterElements",
                                          "ScatterND",
                                          "Selu",
                                          "Sigmoid",
                                          "Softmax",
                                          "Softplus",
                                          "Softsign",
                                          "Sqrt",
                                          "Swish",
                                          "Tanh",
                                          "ThresholdedRelu",
                                          "Where",
                                          "com.microsoft.MoE",
                                          "com.microsoft.QMoE"};
  return keepsPlaces(op) || names.contains(typeOf(op));
}

/// The axis of what a product with weights computes for each row.
static std::optional<int64_t> projectedAxis(Operation *op) {
  if (llvm::is_contained({"MatMulInteger", "com.microsoft.MatMulNBits"},
                         typeOf(op)))
    return rankOf(op->getResult(0)) - 1;
  return channelAxis(op);
}

/// The operands as large as the result, which rows of are one row each.
void TokenRows::addKept(const Row &row, SmallVectorImpl<Row> &next) {
  Operation *op = row.tensor.getDefiningOp();
  AffineExpr one = positions.constant(1);
  const Place sizes = values.shape(row.tensor);
  for (Value operand : op->getOperands()) {
    if (rankOf(operand) != int64_t(sizes.size()) || isConstant(operand))
      continue;
    bool isBroadcast =
        llvm::any_of(llvm::zip(sizes, values.shape(operand)), [&](auto both) {
          auto [size, own] = both;
          return size != one && own == one;
        });
    bool isMask = getElementTypeOrSelf(operand.getType()).isInteger(1);
    if (!isBroadcast && !isMask)
      next.push_back(row.of(operand, row.place));
    // Others are updates, scales, or what cosines and sines are.
    if (!llvm::is_contained({"Add", "Sub", "Mul", "Div", "Max", "Min", "Where"},
                            typeOf(op)))
      break;
  }
}

/// A row of the window of a convolution or a pool: any, or the one in the
/// middle.
std::optional<TokenRows::Row> TokenRows::windowed(const Row &row) {
  Operation *op = row.tensor.getDefiningOp();
  Value data = op->getOperand(0);
  int64_t spatial = int64_t(row.place.size()) - 2;
  auto pad = op->getAttrOfType<StringAttr>("auto_pad");
  auto kernel = op->getAttrOfType<DenseI64ArrayAttr>("kernel_shape");
  if (rankOf(data) != spatial + 2 || spatial < 1 || !kernel ||
      kernel.size() != spatial || (pad && pad.getValue() != "NOTSET") ||
      row.place[1].isFunctionOfDim(kQuery))
    return std::nullopt;
  auto listed = [&](StringRef name, int64_t at, int64_t otherwise) {
    auto list = op->getAttrOfType<DenseI64ArrayAttr>(name);
    return list && at < list.size() ? list[at] : otherwise;
  };
  Row next = row.of(data, row.place);
  if (typeOf(op) == "Conv")
    next.place[1] = positions.constant(0);
  for (int64_t d = 0; d < spatial; ++d) {
    int64_t stride = listed("strides", d, 1),
            last = (kernel[d] - 1) * listed("dilations", d, 1);
    AffineExpr &at = next.place[d + 2];
    at = at * stride - listed("pads", d, 0);
    if (stride == 1 && spatial == 1)
      next.reach += last;
    else
      at = at + last / 2;
  }
  return next;
}

/// The index of a row in a table of weights.
std::optional<TokenRows::Row> TokenRows::lookedUp(const Row &row) {
  Operation *op = row.tensor.getDefiningOp();
  if (!isOfWeights(op->getOperand(0)) || integerAttr(op, "axis", 0) != 0 ||
      isOfWeights(op->getOperand(1)))
    return std::nullopt;
  int64_t rank = rankOf(op->getOperand(1));
  if (rank < 1 || rank > int64_t(row.place.size()))
    return std::nullopt;
  return row.of(op->getOperand(1), Place(ArrayRef(row.place).take_front(rank)));
}

/// The operand's row where a node only moves it, or puts numbers around it.
std::optional<TokenRows::Row> TokenRows::moved(const Row &row) {
  Operation *op = row.tensor.getDefiningOp();
  Value from = op->getOperand(0);
  if (rankOf(from) < 0)
    return std::nullopt;
  values.stopAt({from});
  Element element = values.at(row.tensor, row.place);
  values.stopAt({});
  Row next = row.of(from, row.place);
  if (typeOf(op) == "Pad" && element.kind() == Element::Kind::Choice)
    element = Element(element.first());
  if (element.kind() == Element::Kind::Read && element.tensor() == from) {
    next.place.assign(element.indices().begin(), element.indices().end());
    auto axis = axisOf(row.place);
    if (typeOf(op) == "Pad" && axis && !isSameRow(next, row))
      next.before.push_back({row.tensor, {}});
  } else if (typeOf(op) != "Reshape" ||
             !values.splitLast(from, row.tensor, next.place)) {
    return std::nullopt;
  }
  return next;
}

/// The row of one of the tensors that were joined, which knows what is before
/// it along the axis of rows.
SmallVector<TokenRows::Row> TokenRows::joined(const Row &row) {
  Operation *op = row.tensor.getDefiningOp();
  int64_t rank = row.place.size(), axis = axisAttr(op, rank);
  for (Value operand : op->getOperands())
    if (rankOf(operand) != rank)
      return {};
  if (axis < 0 || axis >= rank)
    return {};
  AffineExpr start = positions.constant(0), at = row.place[axis];
  Row next = row.of({}, row.place);
  for (Value operand : op->getOperands()) {
    AffineExpr end = start + values.shape(operand)[axis];
    next.tensor = operand;
    next.place[axis] = positions.simplify(at - start);
    if (positions.holds(Condition::nonNegative(end - at - 1)))
      return positions.isNonNegative(next.place[axis]) ? SmallVector<Row>{next}
                                                       : SmallVector<Row>();
    if (at.isFunctionOfDim(kQuery))
      next.before.push_back(
          {operand, isOfWeights(operand) ? Place() : next.place});
    start = end;
  }
  return {};
}

/// What the row is computed of, or nothing.
SmallVector<TokenRows::Row> TokenRows::behind(const Row &row) {
  Operation *op = row.tensor.getDefiningOp();
  SmallVector<Row> next;
  auto add = [&](std::optional<Row> one) {
    if (one)
      next.push_back(*one);
  };
  if (!op)
    return next;
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    Row query = {attention.getQuery(), row.place, row.before};
    query.place.back() = positions.constant(0);
    add(query);
  } else if (auto cast = dyn_cast<tensor::CastOp>(op)) {
    add(row.of(cast.getSource(), row.place));
  } else if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op)) {
    Value from = op->getOperand(0);
    if (auto place = values.renumbered(values.shape(from),
                                       values.shape(row.tensor), row.place))
      add(row.of(from, *place));
  }
  StringRef type = typeOf(op);
  if (type.empty() || op->getNumOperands() == 0)
    return next;
  auto axis = projectedAxis(op);
  if (type == "Conv" || type == "MaxPool" || type == "AveragePool") {
    add(windowed(row));
  } else if (axis) {
    if (row.place[*axis].isFunctionOfDim(kQuery) ||
        integerAttr(op, "transA", 0))
      return next;
    unsigned i = *axis == rankOf(row.tensor) - 1 ? 0 : 1;
    if (rankOf(op->getOperand(i)) != int64_t(row.place.size()))
      return next;
    Row data = row.of(op->getOperand(i), row.place);
    data.place[*axis] = positions.constant(0);
    add(data);
  } else if (mayMixInPlace(op)) {
    addKept(row, next);
  } else if (type == "Concat") {
    next = joined(row);
  } else if (type == "Gather" && isOfWeights(op->getOperand(0))) {
    add(lookedUp(row));
  } else {
    add(moved(row));
  }
  return next;
}

/// A row with all that it is computed of, the nearest first.
TokenRows::Rows TokenRows::follow(Value tensor, Place place, size_t most,
                                  bool isInOrder) {
  Rows rows = {{tensor, place, {}}};
  for (size_t i = 0; i < rows.size() && rows.size() < most; ++i) {
    SmallVector<Row> next = behind(rows[i]);
    rows[i].isEnd = next.empty();
    for (Row &row : next) {
      auto isRow = [&](const Row &other) {
        return other.tensor == row.tensor && other.place == row.place;
      };
      row.parent = i;
      if (isInOrder && !axisOf(row.place))
        continue;
      if (rankOf(row.tensor) == int64_t(row.place.size()) &&
          !isConstant(row.tensor) && llvm::none_of(rows, isRow))
        rows.push_back(row);
    }
  }
  return rows;
}

/// The same of a part of the rows, with the place of one of them.
TokenRows::Rows TokenRows::followPart(Value part, Place place, unsigned axis) {
  constexpr size_t kMost = 40;
  Condition facts = positions.facts();
  positions.assume(Condition::within(place[axis], values.shape(part)[axis]));
  values.forget();
  Rows rows = follow(part, place, kMost);
  positions.forget();
  positions.assume(facts);
  values.forget();
  return rows;
}

static bool isOfRow(AffineExpr index) { return index.isFunctionOfDim(kQuery); }

/// Whether rows are one, whatever the head and the channel.
bool TokenRows::isSameRow(const Row &row, const Row &other) {
  return llvm::any_of(row.place, isOfRow) &&
         llvm::any_of(other.place, isOfRow) &&
         llvm::all_of(llvm::zip(row.place, other.place), [&](auto indices) {
           auto [own, index] = indices;
           bool isRow = isOfRow(own) || isOfRow(index);
           bool matters = isRow || own.isFunctionOfDim(kBatch) ||
                          index.isFunctionOfDim(kBatch);
           if (!matters || own == index)
             return true;
           int64_t more = isRow ? row.reach : 0, less = isRow ? other.reach : 0;
           return positions.holds(Condition::within(
               index - own + less, positions.constant(more + less + 1)));
         });
}

/// What stands before a key must be a cache, or the rows before it of the same
/// tensor.
std::string TokenRows::whyBefore(const Row &key) {
  constexpr size_t kMost = 40;
  for (auto &[tensor, place] : key.before) {
    if (place.empty())
      return "before the keys of tokens are others that stand nowhere, by " +
             describe(tensor);
    auto isNext = [&](const Row &row) {
      return row.tensor == key.tensor && isSameRow(row, key);
    };
    if (isComputed(tensor) &&
        llvm::none_of(follow(tensor, place, kMost), isNext))
      return "it is not known at which positions the keys of " +
             describe(tensor) + " are, which stand before the others";
  }
  return "";
}

/// Of rows that have nothing in common: inputs are in their sequence's order.
std::string TokenRows::whyApartInInputs(const Rows &queries, const Rows &keys) {
  auto ends = [&](const Rows &rows) {
    SmallVector<const Row *> found;
    for (const Row &row : rows)
      if (row.isEnd)
        found.push_back(&row);
    return found;
  };
  for (const Row *query : ends(queries))
    for (const Row *key : ends(keys)) {
      if (auto reason = whyJoinedApart(*query, *key))
        return *reason;
      if (areMadeAlike(*query, *key))
        return "";
      for (const Row *row : {query, key})
        if (!isa<BlockArgument>(row->tensor) && !isOfWeights(row->tensor))
          return "it is not known which rows of its sequence " +
                 describe(row->tensor) + " has";
      auto own = axisOf(query->place), other = axisOf(key->place);
      if (!own || !other)
        return "it is not known which rows its queries and keys are of";
      // From the first row or from the last one.
      AffineExpr apart = key->place[*other] - query->place[*own],
                 more = values.shape(key->tensor)[*other] -
                        values.shape(query->tensor)[*own];
      if (!positions.holds(Condition::zero(apart)) &&
          !positions.holds(Condition::zero(positions.simplify(more - apart))))
        return "its queries are other rows of " + describe(query->tensor) +
               " than its last keys are of " + describe(key->tensor);
    }
  return "";
}

/// Why tensors that were joined alike, along rows or another axis, are not of
/// the same rows, part by part; nothing of others.
std::optional<std::string> TokenRows::whyJoinedApart(const Row &query,
                                                     const Row &key) {
  Operation *own = query.tensor.getDefiningOp(),
            *other = key.tensor.getDefiningOp();
  int64_t rank = query.place.size();
  if (typeOf(own) != "Concat" || typeOf(other) != "Concat" ||
      int64_t(key.place.size()) != rank ||
      own->getNumOperands() != other->getNumOperands() ||
      axisAttr(own, rank) != axisAttr(other, rank))
    return std::nullopt;
  unsigned axis = axisAttr(own, rank);
  bool isOfRows = query.place[axis].isFunctionOfDim(kQuery);
  if (query.place[axis] != key.place[axis] ||
      (isOfRows && (query.place[axis] != positions.variable(kQuery) ||
                    !whyJoinedUnordered(query, 0).empty())))
    return std::nullopt;
  for (auto [a, b] : llvm::zip(own->getOperands(), other->getOperands())) {
    if (isOfWeights(a) && isOfWeights(b))
      continue;
    if (rankOf(a) != rank || rankOf(b) != rank ||
        values.shape(a)[axis] != values.shape(b)[axis])
      return std::nullopt;
    Place place = query.place, at = key.place;
    bool isOne = values.shape(a)[axis] == positions.constant(1);
    if (isOne && !isOfRows)
      place[axis] = at[axis] = positions.constant(0);
    Rows rows = followPart(a, place, axis), others = followPart(b, at, axis);
    // Of a single row only its tensor is known.
    if (isOne && isOfRows) {
      if (llvm::none_of(rows, [&](const Row &row) {
            return llvm::any_of(
                others, [&](const Row &r) { return r.tensor == row.tensor; });
          }))
        return std::nullopt;
    } else if (std::string reason = whyApart(rows, others); !reason.empty()) {
      return reason;
    }
  }
  return "";
}

/// Rows at one place of what two nodes make alike, of two tensors each row of
/// which is that of the other: whatever it is that they make.
bool TokenRows::areMadeAlike(const Row &query, const Row &key) {
  Operation *own = query.tensor.getDefiningOp(),
            *other = key.tensor.getDefiningOp();
  if (!own || !other || own->getName() != other->getName() ||
      own->getNumOperands() == 0 || !isSameRow(query, key) ||
      typeOf(own) != "Reshape" ||
      own->getOperands().drop_front() != other->getOperands().drop_front() ||
      integerAttr(own, "allowzero", 0) != integerAttr(other, "allowzero", 0))
    return false;
  Value from = own->getOperand(0), to = other->getOperand(0);
  if (rankOf(from) < 2 || rankOf(from) > 4 || rankOf(from) != rankOf(to) ||
      values.shape(from) != values.shape(to))
    return false;
  Place place(rankOf(from), positions.constant(0));
  place[0] = positions.variable(kBatch);
  place[place.size() - 2] = positions.variable(kQuery);
  Condition facts = positions.facts();
  positions.forget();
  values.forget();
  for (auto [index, size] : llvm::zip(place, values.shape(from)))
    positions.assume(Condition::within(index, size));
  constexpr size_t kMost = 40;
  bool areAlike =
      whyApart(follow(from, place, kMost), follow(to, place, kMost)).empty();
  positions.forget();
  positions.assume(facts);
  values.forget();
  return areAlike;
}

std::string TokenRows::whyApart(const Rows &queries, const Rows &keys) {
  for (const Row &query : queries) {
    const Row *found = nullptr;
    for (const Row &key : keys) {
      if (key.tensor != query.tensor)
        continue;
      for (const Row &other : queries)
        if (other.tensor == key.tensor && !isSameRow(other, key))
          return "its queries and its last keys are different rows of " +
                 describe(key.tensor);
      found = found ? found : &key;
    }
    if (!found)
      continue;
    // Others than those that are alike may be among what both are made of.
    std::string reason = whyBefore(*found);
    for (const Rows *rows : {&queries, &keys})
      if (reason.empty())
        reason = whyUnordered(*rows, 0);
    return reason.empty() ? whyUnordered(query) : reason;
  }
  std::string reason = whyUnordered(queries, 0);
  if (reason.empty())
    reason = whyUnordered(keys, 0);
  if (!reason.empty() || needed == Evidence::None)
    return reason;
  return needed == Evidence::Inputs
             ? whyApartInInputs(queries, keys)
             : "it is not known what its queries and its keys both are made of";
}

std::string TokenRows::whyApart(Value query, Value key, AffineExpr ahead,
                                Evidence evidence) {
  needed = evidence;
  positions.forget();
  values.forget();
  if (ahead != positions.constant(0) && positions.isNonNegative(-ahead))
    return "it has more queries than keys";
  positions.assume(Condition::nonNegative(ahead));
  AffineExpr row = positions.variable(kQuery);
  auto placeOf = [&](Value operand, AffineExpr index) {
    Place place = {positions.variable(kBatch), positions.variable(kHead), index,
                   positions.constant(0)};
    for (auto [at, size] : llvm::zip(place, values.shape(operand)))
      if (at != index || operand == query)
        positions.assume(Condition::within(at, size));
    return place;
  };
  Place queries = placeOf(query, row), keys = placeOf(key, row + ahead);
  std::string reason;
  // Mostly what both are of is near.
  for (size_t most : {40, 2000}) {
    Rows own = follow(query, queries, most), others = follow(key, keys, most);
    reason = whyApart(own, others);
    if (reason.empty() || (own.size() < most && others.size() < most))
      break;
  }
  positions.forget();
  return reason;
}
