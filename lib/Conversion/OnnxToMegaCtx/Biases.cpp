//===- Biases.cpp - biases that are left of masks -------------------------===//

#include "EmitElement.h"
#include "Heads.h"
#include "Magnitudes.h"
#include "Masks.h"
#include "Nodes.h"
#include "RelativeTables.h"
#include "Remarks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// The number, at least `kLeastMasked` where its type has that.
static Value floorInRange(ImplicitLocOpBuilder &b, Value floor) {
  Type element = getElementTypeOrSelf(floor.getType());
  if (*constantNumber(floor) >= kLeastMasked)
    return floor;
  auto type = RankedTensorType::get({}, element);
  return onnx::InitializerOp::create(
      b, type,
      DenseElementsAttr::get(type, b.getFloatAttr(element, kLeastMasked)));
}

bool mlir::megactx::raise::changeTerm(ImplicitLocOpBuilder &b, Term &term) {
  if (term.fill) {
    auto type = RankedTensorType::get({}, b.getF32Type());
    bool hasFloor = llvm::any_of(
        term.changes, [](const Change &c) { return c.type == "Max"; });
    if (hasFloor || !std::isinf(*constantNumber(term.fill)))
      term.fill = onnx::InitializerOp::create(
          b, type, DenseElementsAttr::get(type, kLeastMasked));
    return true;
  }
  Value &changed = term.value;
  for (auto [type, operand] : term.changes) {
    if (!operand) {
      changed = createNode(b, type, changed, changed.getType());
      continue;
    }
    bool isWider = rankOf(operand) > rankOf(changed);
    if (getElementTypeOrSelf(operand.getType()) !=
            getElementTypeOrSelf(changed.getType()) ||
        (isWider && !isScalar(changed)))
      return false;
    if (type == "Max")
      operand = floorInRange(b, operand);
    Type result = isWider ? operand.getType() : changed.getType();
    changed = createNode(b, type, {changed, operand}, result);
  }
  return true;
}

/// How many of [B, H, Nq, Nk] a tensor of the element has.
static unsigned countDims(const Element &element) {
  return llvm::count_if(
      ArrayRef<Variable>{kBatch, kHead, kQuery, kKey},
      [&](Variable variable) { return element.uses(variable); });
}

/// Whether a number that masks stays the same where an element is added to it,
/// also in the order that a kernel adds scores.
static bool masksAlso(std::optional<double> number, const Element &other) {
  return number &&
         (*number <= kLeastMasked ||
          (*number <= kMasked &&
           swallows(*number, magnitudeOf(other), llvm::APFloat::IEEEsingle())));
}

/// Whether a tensor is the sum of others that are as large in rows and columns,
/// or have one. Sums of integers may wrap around.
bool Masks::isSumOfParts(Value tensor) {
  if (typeOf(tensor) != "Add" ||
      !isa<FloatType>(getElementTypeOrSelf(tensor.getType())))
    return false;
  auto fits = [&](Value operand) {
    const Place own = values.shape(operand), whole = values.shape(tensor);
    for (size_t i = 1; i <= std::min<size_t>(2, own.size()); ++i) {
      AffineExpr size = own[own.size() - i];
      if (size != positions.constant(1) && size != whole[whole.size() - i])
        return false;
    }
    return true;
  };
  return llvm::all_of(tensor.getDefiningOp()->getOperands(), fits);
}

void Masks::split(const Element &bias, SmallVectorImpl<Element> &parts) {
  if (bias.kind() == Element::Kind::Choice) {
    // Where one side masks, the other may be added everywhere.
    bool firstMasks = masksAlso(bias.first().number(), bias.second());
    const Element &rest = firstMasks ? bias.second() : bias.first();
    const Element &fill = firstMasks ? bias.first() : bias.second();
    Element zero = Element::real(0);
    if (masksAlso(fill.number(), rest) && rest.number() != 0.0) {
      split(rest, parts);
      Element masks = Element::real(inRange(fill.number()));
      parts.push_back(Element::choice(bias.condition(),
                                      firstMasks ? masks : zero,
                                      firstMasks ? zero : masks));
      return;
    }
  }
  if (bias.kind() == Element::Kind::Read && isSumOfParts(bias.tensor())) {
    for (Value operand : bias.tensor().getDefiningOp()->getOperands())
      split(values.at(operand, values.broadcast(operand, bias.indices())),
            parts);
    return;
  }
  auto inKernel = [](const Element &leaf) {
    auto number = leaf.number();
    return std::optional(number ? Element::real(inRange(number)) : leaf);
  };
  parts.push_back(*bias.map(inKernel));
}

/// Whether a plain term is not broadcast along its rows: a size of the model's
/// other inputs may be 1 when the program runs. What a node makes in a size
/// that is not inferred, as a slice of the last queries, has the scores'.
bool Masks::hasRowsOfScores(const Term &term) {
  const Place own = values.shape(term.value);
  if (!isPlain(term) || own.size() < 2)
    return true;
  AffineExpr rows = own[own.size() - 2];
  auto symbol = dyn_cast<AffineSymbolExpr>(rows);
  return rows == values.shape(query)[2] || rows == values.shape(key)[2] ||
         (symbol &&
          positions.sizes()[symbol.getPosition()].first.getDefiningOp());
}

/// What the node that adds the term asks of its sizes: 1, or those of the
/// scores. Without it elements would be read that are not there.
void Masks::requireSizes(ImplicitLocOpBuilder &b, const Term &term) {
  const Place q = values.shape(query), k = values.shape(key),
              own = values.shape(term.value);
  AffineExpr one = positions.constant(1);
  Place scores = {q[0] == one ? k[0] : q[0], q[1], q[2], k[2]};
  if (term.placement)
    scores = values.shape(term.placement->scores);
  else if (!term.reshapes.empty())
    scores = values.shape(term.reshapes.back()->getResult(0));
  else if (product && rankOf(product) == 3)
    scores = {scores[0] * scores[1], scores[2], scores[3]};
  else if (!isPlain(term))
    scores = values.shape(product);
  SmallVector<Value> sizes;
  for (auto [tensor, dim] : positions.sizes())
    sizes.push_back(b.createOrFold<tensor::DimOp>(tensor, dim));
  auto valueOf = [&](AffineExpr size) {
    return affine::expandAffineExpr(b, b.getLoc(), size, {}, sizes);
  };
  for (auto [size, whole] :
       llvm::zip(llvm::reverse(own), llvm::reverse(scores))) {
    if (size == one || size == whole)
      continue;
    Value number = valueOf(size);
    auto is = [&](AffineExpr other) {
      return b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, number,
                                           valueOf(other));
    };
    createCheck(b, b.createOrFold<arith::OrIOp>(is(whole), is(one)),
                "a mask has other sizes than the scores");
  }
}

/// The parts that have fewer dims than the whole, or none.
SmallVector<Masks::Part> Masks::partsOf(ImplicitLocOpBuilder &b,
                                        const Term &term, const Element &bias) {
  const bool mayBeRelative = hasRowsOfScores(term);
  RelativeTables tables(b, positions, values);
  auto relative = [&](const Element &element) -> std::optional<Element> {
    if (mayBeRelative && element.uses(kQuery) && element.uses(kKey))
      return tables.of(element);
    return std::nullopt;
  };
  if (auto whole = relative(bias))
    return {{*whole, /*isRelative=*/true}};
  SmallVector<Element> elements;
  split(bias, elements);
  // A kernel reads every part for every score.
  constexpr size_t most = 4;
  if (elements.size() > most)
    return {};
  SmallVector<Part> parts;
  for (const Element &element : elements) {
    if (element.number() == 0.0)
      continue;
    auto table = relative(element);
    parts.push_back({table.value_or(element), table.has_value()});
    if (countDims(parts.back().element) >= countDims(bias))
      return {};
  }
  return parts;
}

Value Masks::emit(ImplicitLocOpBuilder &b, const Element &bias) {
  const Place q = values.shape(query), k = values.shape(key);
  Place shape = {q[0], q[1], q[2], k[2]}, variables;
  for (unsigned v : {kBatch, kHead, kQuery, kKey}) {
    variables.push_back(positions.variable(Variable(v)));
    if (!bias.uses(v))
      shape[v] = positions.constant(1);
  }
  variables[kQuery] = variables[kQuery] + offset;
  variables.push_back(positions.constant(0));
  return emitTensor(b, positions, bias, b.getF32Type(), shape, variables);
}

Value Masks::withRowsWhere(ImplicitLocOpBuilder &b, Value rows,
                           const Condition &condition) {
  offset = positions.constant(0);
  Value holds = emit(b, Element::truth(condition));
  auto type = cast<RankedTensorType>(rows.getType());
  holds =
      createNode(b, "Cast", holds,
                 cast<RankedTensorType>(holds.getType()).clone(b.getI1Type()),
                 {b.getNamedAttr("to", b.getI64IntegerAttr(9))});
  auto scalar = RankedTensorType::get({}, type.getElementType());
  Value zero = onnx::InitializerOp::create(
      b, scalar,
      DenseElementsAttr::get(scalar, b.getZeroAttr(type.getElementType())));
  return createNode(b, "Where", {holds, rows, zero}, type);
}

/// The bias for each distance, as a matrix in which rows overlap.
Value Masks::emitRelative(ImplicitLocOpBuilder &b, const Element &bias) {
  const Place q = values.shape(query), k = values.shape(key);
  AffineExpr one = positions.constant(1), zero = positions.constant(0);
  auto at = [&](unsigned i) { return getAffineDimExpr(i, b.getContext()); };
  Place shape = {bias.uses(kBatch) ? q[0] : one, bias.uses(kHead) ? q[1] : one,
                 q[2] + k[2] - 1};
  Place variables = {at(0), at(1), zero, at(2) - (q[2] - 1) - offset, zero};
  Value table =
      emitTensor(b, positions, bias, b.getF32Type(), shape, variables);
  SmallVector<int64_t> dims(cast<RankedTensorType>(table.getType()).getShape());
  dims.pop_back();
  for (Value rows : {query, key})
    dims.push_back(cast<RankedTensorType>(rows.getType()).getDimSize(2));
  return ToeplitzViewOp::create(b, RankedTensorType::get(dims, b.getF32Type()),
                                table, b.createOrFold<tensor::DimOp>(query, 2),
                                b.createOrFold<tensor::DimOp>(key, 2));
}

/// A term with the model's own numbers.
static Value termAsBias(ImplicitLocOpBuilder &b, const Term &term) {
  if (!term.fill)
    return term.value;
  auto condition = cast<RankedTensorType>(term.value.getType());
  Type element = cast<RankedTensorType>(term.fill.getType()).getElementType();
  auto type = RankedTensorType::get(condition.getShape(), element);
  auto scalar = RankedTensorType::get({}, element);
  Value zero = onnx::InitializerOp::create(
      b, scalar, DenseElementsAttr::get(scalar, b.getZeroAttr(element)));
  Value x = term.whereTrue ? term.fill : zero;
  Value y = term.whereTrue ? zero : term.fill;
  return createNode(b, "Where", {term.value, x, y}, type);
}

/// As f32 of rank 4.
static Value widened(ImplicitLocOpBuilder &b, Value term) {
  auto type = cast<RankedTensorType>(term.getType());
  if (!type.getElementType().isF32()) {
    type = type.clone(b.getF32Type());
    term = createNode(b, "Cast", term, type,
                      {b.getNamedAttr("to", b.getI64IntegerAttr(1))});
  }
  return withRank4(b, term);
}

/// Whether numbers of the element that a run knows may be finite and mask.
static bool readsFiniteMask(const Element &element) {
  if (element.kind() == Element::Kind::Choice)
    return readsFiniteMask(element.first()) ||
           readsFiniteMask(element.second());
  return element.kind() == Element::Kind::Read &&
         isa<FloatType>(getElementTypeOrSelf(element.tensor().getType())) &&
         mayMaskFinitely(element.tensor());
}

/// The f32 tensor with finite numbers that mask in the kernels' range: a row of
/// the least numbers of f32 has equal weights, not none.
static Value broughtInRange(ImplicitLocOpBuilder &b, Value tensor) {
  // The floor of scores is such a range.
  if (typeOf(tensor) == "Max") {
    auto floor = constantNumber(tensor.getDefiningOp()->getOperand(1));
    if (floor && *floor >= kLeastMasked)
      return tensor;
  }
  auto type = cast<RankedTensorType>(tensor.getType());
  auto scalar = RankedTensorType::get({}, b.getF32Type());
  Value least = onnx::InitializerOp::create(
      b, scalar, DenseElementsAttr::get(scalar, kLeastMasked));
  Value isInfinite = createNode(b, "IsInf", tensor, type.clone(b.getI1Type()));
  Value finite = createNode(b, "Max", {tensor, least}, type);
  return createNode(b, "Where", {isInfinite, tensor, finite}, type);
}

SmallVector<Value> Masks::tensorsOf(ImplicitLocOpBuilder &b, const Term &term,
                                    const Mask &mask) {
  SmallVector<Value> tensors;
  auto add = [&](const Element &element) {
    Value tensor = emit(b, element);
    tensors.push_back(readsFiniteMask(element) ? broughtInRange(b, tensor)
                                               : tensor);
  };
  if (mask.bias)
    for (const Part &part : partsOf(b, term, *mask.bias)) {
      if (part.isRelative)
        tensors.push_back(emitRelative(b, part.element));
      else
        add(part.element);
    }
  if (!tensors.empty())
    return tensors;
  if (!mask.keepsTerm) {
    add(*mask.bias);
    return tensors;
  }
  Value tensor = widened(b, termAsBias(b, term));
  bool isKnown = term.fill || isConstant(term.value);
  tensors.push_back(isKnown || !mayMaskFinitely(term.value)
                        ? tensor
                        : broughtInRange(b, tensor));
  return tensors;
}

/// Adds the tensor to one of those that have the same dims, else as another.
static void addTo(SmallVectorImpl<Value> &biases, Value tensor,
                  ImplicitLocOpBuilder &b) {
  auto shapeOf = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getShape();
  };
  auto hasSameDims = [&](Value other) {
    return !other.getDefiningOp<ToeplitzViewOp>() &&
           llvm::all_of(llvm::zip(shapeOf(tensor), shapeOf(other)),
                        [](auto sizes) {
                          auto [x, y] = sizes;
                          return (x == 1) == (y == 1);
                        });
  };
  Value *other = tensor.getDefiningOp<ToeplitzViewOp>()
                     ? biases.end()
                     : llvm::find_if(biases, hasSameDims);
  if (other == biases.end())
    biases.push_back(tensor);
  else
    *other = createNode(b, "Add", {*other, tensor}, other->getType());
}

SmallVector<Value> Masks::biasesOf(ImplicitLocOpBuilder &b,
                                   ArrayRef<Term> terms,
                                   pattern::Pattern &pattern,
                                   MaskCounts &counts, bool hasPatterns) {
  SmallVector<Value> biases;
  SmallVector<Mask> masks;
  keepsFinite = false;
  if (hasPatterns) {
    for (const Term &term : terms)
      masks.push_back(classify(term));
    SmallVector<Mask> named(masks);
    llvm::erase_if(named, [](const Mask &m) { return m.pattern.isDense(); });
    keepsFinite =
        llvm::any_of(named, [](const Mask &m) { return m.isFinite; }) &&
        !leavesEveryRowAKey(named);
  }
  for (auto [i, term] : llvm::enumerate(terms)) {
    Mask mask;
    mask.keepsTerm = true;
    mask.reason = "its queries stand behind a cache, at positions that the "
                  "mask's rows do not tell";
    if (hasPatterns)
      mask = keepsFinite ? classify(term) : masks[i];
    offset = mask.offset;
    if (!mask.pattern.isDense()) {
      ++counts.patterns;
      pattern = pattern.isDense()
                    ? mask.pattern
                    : pattern::Pattern::conjunction(pattern, mask.pattern);
    }
    if (!mask.keepsTerm && !mask.bias)
      continue;
    ++counts.biases;
    missed(term.node, kTermStaysBias)
        << remark::add("{0}", describe(term.value))
        << remark::reason("{0}", mask.reason);
    requireSizes(b, term);
    for (Value tensor : tensorsOf(b, term, mask))
      addTo(biases, tensor, b);
  }
  counts.tables += getNumTables();
  return biases;
}
