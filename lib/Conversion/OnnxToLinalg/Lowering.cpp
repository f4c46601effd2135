//===- Lowering.cpp - tensors of symbolic shape ---------------------------===//

#include "Lowering.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace mlir::megactx;

std::optional<int64_t> Tensor::staticCount() const {
  int64_t count = 1;
  for (const IndexExpr &size : shape) {
    auto constant = size.constant();
    if (!constant || llvm::MulOverflow(count, *constant, count))
      return std::nullopt;
  }
  return count;
}

std::optional<SmallVector<int64_t>> Tensor::staticStrides() const {
  SmallVector<int64_t> strides(rank());
  int64_t count = 1;
  for (int64_t dim = rank() - 1; dim >= 0; --dim) {
    strides[dim] = count;
    auto size = shape[dim].constant();
    if (!size || llvm::MulOverflow(count, *size, count))
      return std::nullopt;
  }
  return strides;
}

RankedTensorType Graph::typeOf(ArrayRef<IndexExpr> shape,
                               Type elementType) const {
  SmallVector<int64_t> sizes;
  for (const IndexExpr &size : shape)
    sizes.push_back(size.constant().value_or(ShapedType::kDynamic));
  return RankedTensorType::get(sizes, elementType);
}

Tensor Graph::wrap(Value value, ArrayRef<IndexExpr> shape) const {
  Tensor tensor;
  tensor.elementType =
      llvm::cast<RankedTensorType>(value.getType()).getElementType();
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.value = value;
  return tensor;
}

Tensor Graph::wrap(Location loc, Value value) {
  Shape shape;
  for (int64_t i = 0,
               e = llvm::cast<RankedTensorType>(value.getType()).getRank();
       i < e; ++i)
    shape.push_back(ix.dimOf(loc, value, i));
  return wrap(value, shape);
}

Tensor Graph::splat(TypedAttr value, ArrayRef<IndexExpr> shape) const {
  Tensor tensor;
  tensor.elementType = value.getType();
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.splat = value;
  return tensor;
}

Tensor Graph::ofElements(ArrayRef<IndexExpr> elements,
                         ArrayRef<IndexExpr> shape, Type elementType) const {
  Tensor tensor;
  tensor.elementType = elementType;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.elements.emplace(elements.begin(), elements.end());
  // Sizes fit into 32 bits; other numbers begin again.
  if (elementType.isSignlessInteger(32))
    for (IndexExpr &element : *tensor.elements)
      if (auto constant = element.constant())
        element = IndexExpr(int64_t(int32_t(*constant)));
  return tensor;
}

std::optional<Tensor> Graph::pick(const Tensor &tensor,
                                  ArrayRef<IndexExpr> shape, int64_t offset,
                                  ArrayRef<int64_t> steps) const {
  if (!tensor.elements)
    return std::nullopt;
  SmallVector<int64_t> places = {offset};
  for (auto [size, step] : llvm::zip_equal(shape, steps)) {
    auto count = size.constant();
    if (!count)
      return std::nullopt;
    SmallVector<int64_t> inner;
    for (int64_t place : places)
      for (int64_t i = 0; i < *count; ++i)
        inner.push_back(place + i * step);
    places = inner;
  }
  return ofElements(
      llvm::map_to_vector(
          places, [&](int64_t place) { return (*tensor.elements)[place]; }),
      shape, tensor.elementType);
}

Value Graph::empty(Location loc, ArrayRef<IndexExpr> shape, Type elementType) {
  return tensor::EmptyOp::create(b, loc, ix.fold(loc, shape), elementType);
}

Value Graph::filled(Location loc, ArrayRef<IndexExpr> shape, TypedAttr value) {
  Value out = empty(loc, shape, value.getType());
  Value scalar = constantOf(b, loc, value);
  return linalg::FillOp::create(b, loc, scalar, out).getResult(0);
}

/// The elements of a tensor without a value, null where some are not known.
static ElementsAttr knownElements(const Tensor &tensor, RankedTensorType type) {
  if (tensor.constant)
    return tensor.constant;
  if (tensor.splat)
    return DenseElementsAttr::get(type, Attribute(tensor.splat));
  Builder b(type.getContext());
  SmallVector<Attribute> elements;
  for (const IndexExpr &element : *tensor.elements) {
    auto number = element.constant();
    if (!number)
      return {};
    elements.push_back(b.getIntegerAttr(tensor.elementType, *number));
  }
  return DenseElementsAttr::get(type, elements);
}

Value Graph::materialize(Location loc, Tensor &tensor) {
  if (tensor.value)
    return tensor.value;
  if (tensor.channelsLast)
    return tensor.value = fromChannelsLast(loc, tensor);
  RankedTensorType type = typeOf(tensor.shape, tensor.elementType);
  constexpr int64_t most = int64_t(1) << 28;
  if (tensor.splat && (!type.hasStaticShape() || type.getNumElements() > most))
    return tensor.value = filled(loc, tensor.shape, tensor.splat);
  ElementsAttr constant = knownElements(tensor, type);
  // One of equal elements folds to scalars, which have no sign.
  if (constant && constant.isSplat() && tensor.elementType.isUnsignedInteger())
    return tensor.value = filled(
               loc, tensor.shape,
               llvm::cast<TypedAttr>(constant.getSplatValue<Attribute>()));
  if (constant)
    return tensor.value = arith::ConstantOp::create(b, loc, constant);
  SmallVector<Value> values;
  for (const IndexExpr &element : *tensor.elements)
    values.push_back(tensor.elementType.isInteger(1)
                         ? ix.condition(loc, element)
                         : bitsAs(b, loc,
                                  arith::IndexCastOp::create(
                                      b, loc, signlessOf(tensor.elementType),
                                      ix.value(loc, element)),
                                  tensor.elementType));
  return tensor.value =
             tensor::FromElementsOp::create(b, loc, type, values).getResult();
}

Tensor Graph::parallel(Location loc, ValueRange inputs,
                       ArrayRef<AffineMap> maps, ArrayRef<IndexExpr> shape,
                       Type elementType, Body body) {
  SmallVector<AffineMap> allMaps(maps);
  allMaps.push_back(b.getMultiDimIdentityMap(shape.size()));
  SmallVector<utils::IteratorType> loops(shape.size(),
                                         utils::IteratorType::parallel);
  Value out = empty(loc, shape, elementType);
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{out.getType()}, inputs, ValueRange{out}, allMaps, loops,
      [&](OpBuilder &nested, Location nestedLoc, ValueRange args) {
        Value result = body(nested, nestedLoc, args.drop_back());
        linalg::YieldOp::create(nested, nestedLoc, result);
      });
  return wrap(op.getResult(0), shape);
}

SmallVector<Value> mlir::megactx::loopIndices(OpBuilder &b, Location loc,
                                              int64_t rank) {
  return llvm::map_to_vector(llvm::seq(rank), [&](int64_t dim) -> Value {
    return linalg::IndexOp::create(b, loc, dim);
  });
}

/// The value to read with the broadcasting map, which knows only static ones: a
/// dimension that may be 1 or equal to the result's is expanded here.
Value Graph::readable(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape) {
  Value value = materialize(loc, tensor);
  int64_t skip = shape.size() - tensor.rank();
  Shape full(tensor.shape);
  bool differs = false;
  for (int64_t i = 0; i < tensor.rank(); ++i)
    if (!tensor.shape[i].is(1) && tensor.shape[i] != shape[skip + i]) {
      full[i] = shape[skip + i];
      differs = true;
    }
  if (!differs)
    return value;
  SmallVector<Value> last;
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  for (const IndexExpr &size : tensor.shape)
    last.push_back(
        arith::SubIOp::create(b, loc, ix.value(loc, size), one).getResult());
  Tensor expanded = parallel(
      loc, {}, {}, full, tensor.elementType,
      [&](OpBuilder &nested, Location l, ValueRange) {
        SmallVector<Value> indices = loopIndices(nested, l, tensor.rank());
        for (int64_t i = 0; i < tensor.rank(); ++i)
          if (full[i] != tensor.shape[i])
            indices[i] = arith::MinSIOp::create(nested, l, indices[i], last[i]);
        return Value(tensor::ExtractOp::create(nested, l, value, indices));
      });
  return expanded.value;
}

Tensor Graph::map(Location loc, ArrayRef<Tensor *> inputs,
                  ArrayRef<IndexExpr> shape, Type elementType, Body body) {
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  SmallVector<int> argument(inputs.size(), -1);
  int64_t rank = shape.size();
  bool isLast = llvm::any_of(inputs, [&](Tensor *input) {
    return input->isChannelsLast() &&
           ArrayRef<IndexExpr>(input->shape) == shape;
  });
  for (auto [i, input] : llvm::enumerate(inputs)) {
    if (input->splat)
      continue;
    argument[i] = operands.size();
    Value last = isLast ? readableLast(loc, *input, shape) : Value();
    operands.push_back(last ? last : readable(loc, *input, shape));
    int64_t skip = rank - input->rank();
    SmallVector<AffineExpr> exprs(last ? skip : 0, b.getAffineConstantExpr(0));
    for (int64_t d = 0; d < input->rank(); ++d)
      exprs.push_back(input->shape[d].is(1)
                          ? b.getAffineConstantExpr(0)
                          : b.getAffineDimExpr(isLast
                                                   ? placeInLast(skip + d, rank)
                                                   : skip + d));
    if (last)
      exprs = inLastOrder<AffineExpr>(exprs);
    maps.push_back(AffineMap::get(rank, 0, exprs, b.getContext()));
  }
  Tensor result = parallel(
      loc, operands, maps, isLast ? inLastOrder(shape) : Shape(shape),
      elementType, [&](OpBuilder &nested, Location l, ValueRange args) {
        SmallVector<Value> values;
        for (auto [i, input] : llvm::enumerate(inputs))
          values.push_back(argument[i] >= 0
                               ? args[argument[i]]
                               : constantOf(nested, l, input->splat));
        return body(nested, l, values);
      });
  if (!isLast)
    return result;
  result.value.getDefiningOp()->walk([&](linalg::IndexOp index) {
    index.setDim(placeInLast(index.getDim(), rank));
  });
  return wrapChannelsLast(result.value, shape);
}

/// Of two sizes of a dim that only broadcast where they are equal: checks that
/// they are, after which both are `out`, the one without a cap.
void Graph::equate(Location loc, ArrayRef<Tensor *> inputs, int64_t dim,
                   IndexExpr size, IndexExpr &out) {
  check(loc, ix.compare(loc, Compare::Eq, out, size),
        "operands do not broadcast");
  if (ix.isCapped(out, size))
    std::swap(out, size);
  int64_t rank = 0;
  for (Tensor *input : inputs)
    rank = std::max(rank, input->rank());
  for (Tensor *input : inputs) {
    int64_t own = dim - (rank - input->rank());
    if (own >= 0 && input->shape[own] == size)
      input->shape[own] = out;
  }
}

FailureOr<Shape> Graph::broadcastShape(Node &node, ArrayRef<Tensor *> inputs) {
  Shape result;
  for (Tensor *input : inputs)
    if (input->rank() > static_cast<int64_t>(result.size()))
      result.insert(result.begin(), input->rank() - result.size(),
                    IndexExpr(1));
  for (Tensor *input : inputs) {
    int64_t skip = result.size() - input->rank();
    for (int64_t i = 0; i < input->rank(); ++i) {
      IndexExpr &out = result[skip + i];
      const IndexExpr &size = input->shape[i];
      if (size == out || size.is(1))
        continue;
      if (out.is(1)) {
        out = size;
        continue;
      }
      auto a = out.constant(), c = size.constant();
      if (a && c)
        return node.error()
               << "cannot broadcast dim " << *a << " with dim " << *c;
      if (ix.isCapped(size, out) || ix.isCapped(out, size)) {
        equate(node.loc(), inputs, skip + i, size, out);
        continue;
      }
      // One of them may be 1 at run time. A static size above 1 wins.
      IndexExpr one(1);
      IndexExpr outIsOne = ix.compare(node.loc(), Compare::Eq, out, one);
      IndexExpr sizeIsOne = ix.compare(node.loc(), Compare::Eq, size, one);
      IndexExpr same = ix.compare(node.loc(), Compare::Eq, out, size);
      check(node.loc(), outIsOne + sizeIsOne + same,
            "operands do not broadcast");
      if (c)
        out = size;
      else if (!a)
        out = ix.select(node.loc(), outIsOne, size, out);
    }
  }
  return result;
}

Tensor Graph::expand(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape) {
  if (ArrayRef<IndexExpr>(tensor.shape) == shape)
    return tensor;
  if (tensor.splat)
    return splat(tensor.splat, shape);
  return map(loc, {&tensor}, shape, tensor.elementType,
             [](OpBuilder &, Location, ValueRange args) { return args[0]; });
}

/// The elements of `value` in other dims' order; `permutation` are its own
/// dims.
Value Graph::permuted(Location loc, Value value, ArrayRef<IndexExpr> shape,
                      ArrayRef<int64_t> permutation) {
  int64_t rank = shape.size();
  SmallVector<AffineExpr> exprs(rank);
  for (int64_t i = 0; i < rank; ++i)
    exprs[permutation[i]] = b.getAffineDimExpr(i);
  AffineMap map = AffineMap::get(rank, 0, exprs, b.getContext());
  return parallel(
             loc, value, map, shape, getElementTypeOrSelf(value.getType()),
             [](OpBuilder &, Location, ValueRange args) { return args[0]; })
      .value;
}

Tensor Graph::transpose(Location loc, Tensor &tensor,
                        ArrayRef<int64_t> permutation) {
  int64_t rank = tensor.rank();
  Shape shape;
  for (int64_t source : permutation)
    shape.push_back(tensor.shape[source]);
  if (tensor.splat)
    return splat(tensor.splat, shape);
  bool identity = true;
  for (int64_t i = 0; i < rank; ++i)
    identity &= permutation[i] == i;
  if (identity)
    return tensor;
  if (auto steps = tensor.staticStrides())
    if (auto known =
            pick(tensor, shape, 0, applyPermutation(*steps, permutation)))
      return *known;
  bool isLast = rank >= 3, isFirst = options.channelsLast && rank >= 4;
  for (int64_t i = 0; i < rank; ++i) {
    isLast &= placeInLast(permutation[i], rank) == i;
    isFirst &= permutation[i] == placeInLast(i, rank);
  }
  if (isLast && tensor.channelsLast)
    return wrap(tensor.channelsLast, shape);
  Value value = materialize(loc, tensor);
  if (isFirst)
    return wrapChannelsLast(value, shape);
  Tensor result = wrap(permuted(loc, value, shape, permutation), shape);
  bool swapsLast = rank >= 2 && permutation[rank - 1] == rank - 2 &&
                   permutation[rank - 2] == rank - 1;
  for (int64_t i = 0; i + 2 < rank; ++i)
    swapsLast &= permutation[i] == i;
  if (swapsLast)
    result.transposed = value;
  return result;
}

Tensor Graph::cast(Location loc, Tensor &tensor, Type elementType) {
  if (tensor.elementType == elementType)
    return tensor;
  if (tensor.elements && holdsExpressions(elementType)) {
    SmallVector<IndexExpr> elements(*tensor.elements);
    if (elementType.isInteger(1))
      for (IndexExpr &element : elements)
        element = ix.compare(loc, Compare::Ne, element, IndexExpr(0));
    return ofElements(elements, tensor.shape, elementType);
  }
  return map(loc, {&tensor}, tensor.shape, elementType,
             [&](OpBuilder &nested, Location l, ValueRange args) {
               return castScalar(nested, l, args[0], elementType);
             });
}

bool mlir::megactx::isEmpty(ArrayRef<IndexExpr> shape) {
  return llvm::any_of(shape, [](const IndexExpr &size) { return size.is(0); });
}

Tensor Graph::slice(Location loc, Tensor &tensor, ArrayRef<IndexExpr> offsets,
                    ArrayRef<IndexExpr> sizes, ArrayRef<IndexExpr> strides) {
  if (ArrayRef<IndexExpr>(tensor.shape) == sizes)
    return tensor;
  if (tensor.splat)
    return splat(tensor.splat, sizes);
  if (isEmpty(sizes) || isEmpty(tensor.shape))
    return wrap(empty(loc, sizes, tensor.elementType), sizes);
  if (tensor.isChannelsLast()) {
    Tensor last =
        wrap(tensor.channelsLast, inLastOrder<IndexExpr>(tensor.shape));
    last = slice(loc, last, inLastOrder(offsets), inLastOrder(sizes),
                 inLastOrder(strides));
    return wrapChannelsLast(materialize(loc, last), sizes);
  }
  Value value = materialize(loc, tensor);
  Value result = tensor::ExtractSliceOp::create(
      b, loc, typeOf(sizes, tensor.elementType), value, ix.fold(loc, offsets),
      ix.fold(loc, sizes), ix.fold(loc, strides));
  return wrap(result, sizes);
}

Tensor Graph::concat(Location loc, ArrayRef<Tensor *> parts, int64_t axis) {
  // Of few parts, each may be made in its place. Bufferization looks at all
  // pairs of such places, and again for each of them.
  constexpr size_t kMostInserted = 32;
  Shape shape(parts.front()->shape);
  IndexExpr total(0);
  for (Tensor *part : parts)
    total = total + part->shape[axis];
  shape[axis] = total;
  if (llvm::all_of(parts,
                   [](Tensor *part) { return part->isChannelsLast(); })) {
    SmallVector<Tensor> last = llvm::map_to_vector(parts, [&](Tensor *part) {
      return wrap(part->channelsLast, inLastOrder<IndexExpr>(part->shape));
    });
    SmallVector<Tensor *> all =
        llvm::map_to_vector(last, [](Tensor &part) { return &part; });
    Tensor whole = concat(loc, all, placeInLast(axis, shape.size()));
    return wrapChannelsLast(materialize(loc, whole), shape);
  }
  auto full = llvm::make_filter_range(
      parts, [](Tensor *part) { return !isEmpty(part->shape); });
  Type elementType = parts.front()->elementType;
  if (parts.size() > kMostInserted && !full.empty()) {
    SmallVector<Value> values = llvm::map_to_vector(
        full, [&](Tensor *part) { return materialize(loc, *part); });
    return wrap(tensor::ConcatOp::create(b, loc, typeOf(shape, elementType),
                                         axis, values),
                shape);
  }
  Value result = empty(loc, shape, elementType);
  SmallVector<OpFoldResult> offsets(shape.size(), b.getIndexAttr(0)),
      strides(shape.size(), b.getIndexAttr(1));
  IndexExpr at(0);
  for (Tensor *part : full) {
    offsets[axis] = ix.fold(loc, at);
    Value value = materialize(loc, *part);
    result = tensor::InsertSliceOp::create(b, loc, value, result, offsets,
                                           ix.fold(loc, part->shape), strides);
    at = at + part->shape[axis];
  }
  return wrap(result, shape);
}

//===----------------------------------------------------------------------===//
// Run-time values
//===----------------------------------------------------------------------===//

std::optional<SmallVector<IndexExpr>>
Graph::elementsOf(Location loc, Tensor &tensor, int64_t most) {
  if (tensor.elements)
    return tensor.elements;
  auto count = tensor.staticCount();
  if (!count || *count > most || tensor.rank() > 1 ||
      !isa<IntegerType>(tensor.elementType))
    return std::nullopt;
  Value value = materialize(loc, tensor);
  SmallVector<IndexExpr> elements;
  for (int64_t i = 0; i < *count; ++i) {
    SmallVector<Value> at;
    if (tensor.rank())
      at.push_back(arith::ConstantIndexOp::create(b, loc, i));
    Value element = tensor::ExtractOp::create(b, loc, value, at);
    bool isUnsigned = tensor.elementType.isUnsignedInteger() ||
                      tensor.elementType.isInteger(1);
    elements.push_back(
        ix.symbol(indexOf(b, loc, element),
                  isUnsigned ? std::optional<int64_t>(0) : std::nullopt));
  }
  tensor.elements = elements;
  return elements;
}

Shape Graph::without(Location loc, ArrayRef<IndexExpr> shape,
                     ArrayRef<IndexExpr> flags, size_t removed) {
  Shape kept(shape.size() - removed, IndexExpr(1));
  IndexExpr before(0);
  for (auto [size, flag] : llvm::zip_equal(shape, flags)) {
    IndexExpr stays = IndexExpr(1) - flag;
    for (auto [place, own] : llvm::enumerate(kept))
      own = ix.select(loc,
                      stays * ix.compare(loc, Compare::Eq, before,
                                         IndexExpr(int64_t(place))),
                      size, own);
    before = before + stays;
  }
  return kept;
}

Value Graph::scalar(Location loc, Tensor &tensor) {
  Value value = materialize(loc, tensor);
  SmallVector<Value> at(tensor.rank(),
                        arith::ConstantIndexOp::create(b, loc, 0));
  return tensor::ExtractOp::create(b, loc, value, at);
}

void Graph::check(Location loc, Value ok, const Twine &message) {
  createCheck(b, loc, ok, message);
}

void Graph::check(Location loc, const IndexExpr &condition,
                  const Twine &message) {
  if (condition.constant().value_or(0) == 0)
    check(loc, ix.condition(loc, condition), message);
}
