//===- ElementShapes.cpp - the sizes of tensors, symbolically -------------===//

#include "ElementValues.h"
#include "Nodes.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

static bool isOne(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant && constant.getValue() == 1;
}

const Place &ElementValues::shape(Value tensor) {
  if (auto it = shapes.find(tensor); it != shapes.end())
    return *it->second;
  // Elements of shapes are no part of what `movesOf` follows.
  auto *outer = std::exchange(moves, nullptr);
  auto computed = std::make_unique<Place>(computeShape(tensor));
  moves = outer;
  return *(shapes[tensor] = std::move(computed));
}

Place ElementValues::computeShape(Value tensor) {
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  auto result = dyn_cast<OpResult>(tensor);
  Place sizes;
  if (!type)
    return sizes;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    if (!type.isDynamicDim(d)) {
      sizes.push_back(positions.constant(type.getDimSize(d)));
      continue;
    }
    std::optional<AffineExpr> inferred;
    // Deep graphs of shapes end in a symbol that equals nothing.
    if (result && depth < 200) {
      ++depth;
      inferred = inferSize(result.getOwner(), result.getResultNumber(), d);
      --depth;
    }
    sizes.push_back(inferred ? *inferred : positions.size(tensor, d));
  }
  return sizes;
}

std::optional<AffineExpr> ElementValues::integerAt(Value tensor,
                                                   int64_t place) {
  if (rankOf(tensor) > 1 || rankOf(tensor) < 0)
    return std::nullopt;
  Place at(rankOf(tensor), positions.constant(place));
  Element element = this->at(tensor, at);
  // The largest integer is no double.
  if (auto integer = element.integer())
    return integer;
  auto number = element.number();
  return number ? std::optional(positions.constant(int64_t(*number)))
                : std::nullopt;
}

/// The integer at a place, or a choice between integers none of which is known
/// to stand for something else than a size: those below `least` do.
std::optional<Element> ElementValues::sizeAt(Value tensor, int64_t place,
                                             int64_t least) {
  if (rankOf(tensor) > 1 || rankOf(tensor) < 0)
    return std::nullopt;
  Element element =
      at(tensor, Place(rankOf(tensor), positions.constant(place)));
  return element.map([&](const Element &leaf) -> Result {
    if (auto number = leaf.number(); number && *number < double(least))
      return std::nullopt;
    return leaf.integer() ? Result(leaf) : std::nullopt;
  });
}

AffineExpr ElementValues::symbolOf(ChosenSize size, Value tensor, int64_t dim) {
  for (const ChosenSize &known : chosenSizes)
    if (known.end == size.end && known.start == size.start &&
        known.whole == size.whole)
      return known.symbol;
  size.symbol = positions.size(tensor, dim);
  chosenSizes.push_back(size);
  return size.symbol;
}

/// The size that an integer of a run is known to be, or null.
AffineExpr ElementValues::knownSize(const Element &integer) {
  for (const ChosenSize &known : chosenSizes)
    if (!known.start && known.end == integer)
      return known.symbol;
  return {};
}

/// The integer of a run that a tensor's size is: what else it says is said in
/// terms of that size.
std::optional<AffineExpr> ElementValues::runtimeSize(Value list, Value tensor,
                                                     int64_t dim) {
  Element size = at(list, positions.constant(dim));
  auto isConstant = [](AffineExpr e) { return isa<AffineConstantExpr>(e); };
  if (size.kind() != Element::Kind::Read ||
      !llvm::all_of(size.indices(), isConstant))
    return std::nullopt;
  elements.clear();
  return symbolOf({size, {}, {}, {}}, tensor, dim);
}

/// The operand's size that is not 1, or the last one.
AffineExpr ElementValues::broadcastSize(ValueRange operands, int64_t rank,
                                        int64_t dim) {
  AffineExpr size = positions.constant(1);
  for (Value operand : operands) {
    int64_t d = dim - (rank - rankOf(operand));
    if (d >= 0 && isOne(size))
      size = shape(operand)[d];
  }
  return size;
}

/// The first ones, where none are said.
static std::optional<SmallVector<int64_t>> axesOfSlice(Operation *op) {
  if (hasOperand(op, 3))
    return constantIntegers(op->getOperand(3));
  auto starts = dyn_cast<RankedTensorType>(op->getOperand(1).getType());
  if (!starts || starts.getRank() != 1 || starts.isDynamicDim(0))
    return std::nullopt;
  return llvm::to_vector(llvm::seq(starts.getDimSize(0)));
}

/// How many windows of a convolution or pool there are along a spatial axis of
/// so many elements; nothing where sizes decide on the padding.
static std::optional<AffineExpr> countWindows(Operation *op, int64_t axis,
                                              AffineExpr size) {
  auto listed = [&](StringRef name, int64_t at, int64_t otherwise) {
    auto list = op->getAttrOfType<DenseI64ArrayAttr>(name);
    return list && at < list.size() ? list[at] : otherwise;
  };
  auto kernel = op->getAttrOfType<DenseI64ArrayAttr>("kernel_shape");
  auto pad = op->getAttrOfType<StringAttr>("auto_pad");
  if (!kernel || axis >= kernel.size() || integerAttr(op, "ceil_mode", 0) ||
      (pad && pad.getValue() != "NOTSET"))
    return std::nullopt;
  int64_t more = listed("pads", axis, 0) +
                 listed("pads", axis + kernel.size(), 0) -
                 listed("dilations", axis, 1) * (kernel[axis] - 1);
  int64_t stride = listed("strides", axis, 1);
  if (stride < 1)
    return std::nullopt;
  return stride == 1 ? size + more : (size + (more - 1)).floorDiv(stride) + 1;
}

/// Of what raising itself made.
std::optional<AffineExpr> ElementValues::inferRaised(Operation *op,
                                                     int64_t dim) {
  if (auto attention = dyn_cast<AttentionOp>(op); attention && dim < 3)
    return shape(attention.getQuery())[dim];
  if (auto cast = dyn_cast<tensor::CastOp>(op);
      cast && rankOf(cast.getSource()) > dim)
    return shape(cast.getSource())[dim];
  auto collapse = dyn_cast<tensor::CollapseShapeOp>(op);
  if (!collapse)
    return std::nullopt;
  const Place &sizes = shape(collapse.getSrc());
  AffineExpr product = positions.constant(1);
  for (int64_t outer : collapse.getReassociationIndices()[dim])
    product = product * sizes[outer];
  return product;
}

std::optional<AffineExpr>
ElementValues::inferSize(Operation *op, unsigned result, int64_t dim) {
  static const llvm::StringSet<> sameAsFirst = {
      "Abs",     "Cast",     "Ceil",       "CumSum",
      "Dropout", "Exp",      "Erf",        "DequantizeLinear",
      "Gelu",    "Identity", "IsNaN",      "LayerNormalization",
      "Log",     "Neg",      "Not",        "QuantizeLinear",
      "Relu",    "Round",    "ScatterND",  "RMSNormalization",
      "Softmax", "Sqrt",     "Reciprocal", "RotaryEmbedding",
      "Tanh",    "Trilu",    "Cos",        "Sigmoid",
      "Clip",    "IsInf",    "CastLike",   "Floor",
      "Sin"};
  static const llvm::StringSet<> broadcasts = {
      "Add",  "And", "Div", "Equal",      "Greater", "GreaterOrEqual",
      "Less", "Max", "Min", "Mod",        "Mul",     "Or",
      "Pow",  "Sub", "Xor", "LessOrEqual"};
  StringRef type = typeOf(op);
  if (type.empty())
    return inferRaised(op, dim);
  for (Value operand : op->getOperands())
    if (!isa<NoneType>(operand.getType()) && rankOf(operand) < 0)
      return std::nullopt;
  int64_t rank = rankOf(op->getResult(result));
  if (sameAsFirst.contains(type) && result == 0 &&
      rankOf(op->getOperand(0)) == rank)
    return shape(op->getOperand(0))[dim];
  // Masks have the sizes of what they mask, by other names maybe.
  if (type == "Where")
    return broadcastSize(
        {op->getOperand(1), op->getOperand(2), op->getOperand(0)}, rank, dim);
  if (broadcasts.contains(type))
    return broadcastSize(op->getOperands(), rank, dim);
  if (type == "Range") {
    auto start = integerAt(op->getOperand(0), 0),
         limit = integerAt(op->getOperand(1), 0),
         delta = integerAt(op->getOperand(2), 0);
    if (start && limit && delta && isOne(*delta))
      return *limit - *start;
    return std::nullopt;
  }
  if (type == "ConstantOfShape") {
    auto size = integerAt(op->getOperand(0), dim);
    return size ? size : runtimeSize(op->getOperand(0), op->getResult(0), dim);
  }
  if (llvm::is_contained({"AveragePool", "Conv", "MaxPool"}, type)) {
    Value data = op->getOperand(0);
    if (dim >= 2 && rankOf(data) == rank)
      return countWindows(op, dim - 2, shape(data)[dim]);
    return dim == 0 && rankOf(data) == rank ? std::optional(shape(data)[0])
                                            : std::nullopt;
  }
  if (type == "MatMul" && rank >= 2) {
    Value a = op->getOperand(0), b = op->getOperand(1);
    if (rankOf(a) < 2 || rankOf(b) < 2)
      return std::nullopt;
    if (dim == rank - 2)
      return shape(a)[rankOf(a) - 2];
    return dim == rank - 1 ? shape(b)[rankOf(b) - 1]
                           : broadcastSize({a, b}, rank, dim);
  }
  // Of a list without zeros.
  if (type == "NonZero" && dim == 1 && rankOf(op->getOperand(0)) == 1) {
    auto number = at(op->getOperand(0), positions.variable(kPlace)).number();
    return number && *number != 0 ? std::optional(shape(op->getOperand(0))[0])
                                  : std::nullopt;
  }
  return inferMoved(op, dim);
}

/// The symbolic factors of a product, and its constant.
static void factorsOf(AffineExpr expr, SmallVectorImpl<AffineExpr> &symbolic,
                      int64_t &constant) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (auto number = dyn_cast<AffineConstantExpr>(expr)) {
    constant *= number.getValue();
  } else if (binary && binary.getKind() == AffineExprKind::Mul) {
    factorsOf(binary.getLHS(), symbolic, constant);
    factorsOf(binary.getRHS(), symbolic, constant);
  } else {
    symbolic.push_back(expr);
  }
}

/// The product of some sizes over that of others, where it is exact.
static std::optional<AffineExpr> quotientOf(ArrayRef<AffineExpr> sizes,
                                            ArrayRef<AffineExpr> others) {
  SmallVector<AffineExpr> over, under;
  int64_t above = 1, below = 1;
  for (AffineExpr size : sizes)
    factorsOf(size, over, above);
  for (AffineExpr size : others)
    factorsOf(size, under, below);
  for (AffineExpr factor : under) {
    auto *same = llvm::find(over, factor);
    if (same == over.end())
      return std::nullopt;
    over.erase(same);
  }
  if (below <= 0 || above % below)
    return std::nullopt;
  if (sizes.empty())
    return std::nullopt;
  AffineExpr quotient =
      getAffineConstantExpr(above / below, sizes.front().getContext());
  for (AffineExpr factor : over)
    quotient = factor * quotient;
  return quotient;
}

/// Operators whose second operand says which dims of the result are added ones
/// of 1, or which dims of the first operand the result has not.
std::optional<AffineExpr> ElementValues::inferUnits(Operation *op, int64_t dim,
                                                    bool adds) {
  auto axes =
      hasOperand(op, 1) ? constantIntegers(op->getOperand(1)) : std::nullopt;
  if (!axes)
    return std::nullopt;
  Value data = op->getOperand(0);
  int64_t outer = adds ? rankOf(op->getResult(0)) : rankOf(data);
  for (int64_t &axis : *axes)
    axis += axis < 0 ? outer : 0;
  auto sizeOf = [&](int64_t i) -> std::optional<AffineExpr> {
    return i < rankOf(data) ? std::optional(shape(data)[i]) : std::nullopt;
  };
  int64_t from = 0, to = 0;
  for (int64_t i = 0; i < outer; ++i) {
    bool isOdd = llvm::is_contained(*axes, i);
    int64_t here = adds ? i : to;
    if (here == dim && !(isOdd && !adds))
      return isOdd ? std::optional(positions.constant(1))
                   : sizeOf(adds ? from : i);
    from += !isOdd;
    to += !isOdd;
  }
  return std::nullopt;
}

/// Operators that move elements without computing any, and reductions.
std::optional<AffineExpr> ElementValues::inferMoved(Operation *op,
                                                    int64_t dim) {
  StringRef type = typeOf(op);
  Value data = op->getNumOperands() ? op->getOperand(0) : Value();
  int64_t rank = data ? rankOf(data) : 0;
  int64_t resultRank = rankOf(op->getResult(0));
  bool isReduction = type.starts_with("Reduce");
  if (!data || rank < 0 ||
      !(isReduction ? dim < rank : hasRanks(op, resultRank)))
    return std::nullopt;
  auto axisOf = [&](int64_t otherwise) {
    return axisAttr(op, rank, otherwise);
  };
  if (type == "Transpose") {
    auto perm = op->getAttrOfType<DenseI64ArrayAttr>("perm");
    return shape(data)[perm ? perm[dim] : rank - 1 - dim];
  }
  if (type == "Unsqueeze" || type == "Squeeze")
    return inferUnits(op, dim, type == "Unsqueeze");
  if (isReduction) {
    auto axes =
        hasOperand(op, 1) ? constantIntegers(op->getOperand(1)) : std::nullopt;
    if (!axes || axes->empty())
      return std::nullopt;
    if (!integerAttr(op, "keepdims", 1))
      return inferUnits(op, dim, /*adds=*/false);
    bool isReduced =
        llvm::is_contained(*axes, dim) || llvm::is_contained(*axes, dim - rank);
    return isReduced ? positions.constant(1) : shape(data)[dim];
  }
  if (type == "Reshape" || type == "Expand") {
    auto size = integerAt(op->getOperand(1), dim);
    // An integer of a run may be one of the data's sizes.
    if (!size && !shape(data).empty())
      size = integerAt(op->getOperand(1), dim);
    auto constant =
        size ? dyn_cast<AffineConstantExpr>(*size) : AffineConstantExpr();
    if (type == "Expand") {
      int64_t d = dim - (resultRank - rank);
      if (d >= 0 && !isOne(shape(data)[d]))
        return shape(data)[d];
      return size;
    }
    bool zeroCopies = !integerAttr(op, "allowzero", 0);
    if (!constant) {
      auto choice = size ? std::nullopt
                         : sizeAt(op->getOperand(1), dim, zeroCopies ? 1 : 0);
      return choice ? symbolOf({*choice, {}, {}, {}}, op->getResult(0), dim)
                    : size;
    }
    if (constant.getValue() == 0 && zeroCopies && dim < rank)
      return shape(data)[dim];
    if (constant.getValue() != -1)
      return size;
    // -1: what the other sizes leave.
    Place others;
    for (int64_t d = 0; d < resultRank; ++d)
      if (d != dim) {
        auto other = integerAt(op->getOperand(1), d);
        if (!other)
          return std::nullopt;
        bool copies = *other == positions.constant(0) && d < rank && zeroCopies;
        others.push_back(copies ? shape(data)[d] : *other);
      }
    return quotientOf(shape(data), others);
  }
  if (type == "Concat") {
    int64_t axis = axisOf(0);
    if (axis != dim)
      return shape(data)[dim];
    AffineExpr sum = positions.constant(0);
    for (Value operand : op->getOperands())
      sum = sum + shape(operand)[dim];
    return sum;
  }
  if (type == "Tile") {
    auto repeats = integerAt(op->getOperand(1), dim);
    if (!repeats)
      return std::nullopt;
    return isOne(*repeats) ? shape(data)[dim] : shape(data)[dim] * *repeats;
  }
  if (type == "Pad" && !hasOperand(op, 3)) {
    auto before = integerAt(op->getOperand(1), dim),
         after = integerAt(op->getOperand(1), rank + dim);
    if (!before || !after)
      return std::nullopt;
    return shape(data)[dim] + *before + *after;
  }
  if (type == "Split")
    return axisOf(0) == dim ? std::nullopt : std::optional(shape(data)[dim]);
  if (type == "Gather") {
    int64_t axis = axisOf(0), added = rankOf(op->getOperand(1));
    if (dim < axis)
      return shape(data)[dim];
    return dim < axis + added ? shape(op->getOperand(1))[dim - axis]
                              : shape(data)[dim - added + 1];
  }
  if (type == "GatherElements")
    return shape(op->getOperand(1))[dim];
  if (type == "GatherND" && dim < rankOf(op->getOperand(1)) - 1)
    return shape(op->getOperand(1))[dim];
  if (type == "Slice") {
    auto axes = axesOfSlice(op);
    if (!axes)
      return std::nullopt;
    for (auto [i, axis] : llvm::enumerate(*axes)) {
      if ((axis < 0 ? axis + rank : axis) != dim)
        continue;
      AffineExpr whole = shape(data)[dim];
      auto start = integerAt(op->getOperand(1), i),
           end = integerAt(op->getOperand(2), i);
      auto step = hasOperand(op, 4) ? integerAt(op->getOperand(4), i)
                                    : positions.constant(1);
      auto choice = end ? std::nullopt : sizeAt(op->getOperand(2), i, 1);
      AffineExpr fromEnd; // how many, of a start before it
      if (start && positions.isNonNegative(-*start - 1)) {
        fromEnd = -*start;
        start = positions.simplify(whole + *start);
      }
      if (!start || !(end || choice) || !step || !isOne(*step) ||
          !positions.holds(Condition::nonNegative(*start) &&
                           Condition::nonNegative(whole - *start)))
        return std::nullopt;
      if (!end)
        return symbolOf({*choice, *start, whole, {}}, op->getResult(0), dim);
      auto last = dyn_cast<AffineConstantExpr>(*end);
      if (last && last.getValue() >= INT32_MAX)
        return fromEnd ? fromEnd : whole - *start;
      if (last && last.getValue() < 0)
        end = whole + last.getValue();
      if (!positions.holds(Condition::nonNegative(whole - *end) &&
                           Condition::nonNegative(*end - *start)))
        return symbolOf({Element::integer(*end), *start, whole, {}},
                        op->getResult(0), dim);
      return *end - *start;
    }
    return shape(data)[dim];
  }
  return std::nullopt;
}
