//===- Scatter.cpp - operators that write at computed indices -------------===//

#include "Reduction.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlir::megactx;

/// How updates are combined with what is there, or nullopt for a name that is
/// none. "none", which replaces it, is no reduction either.
static std::optional<Reduce> reductionOf(StringRef name) {
  return llvm::StringSwitch<std::optional<Reduce>>(name)
      .Case("add", Reduce::Sum)
      .Case("mul", Reduce::Prod)
      .Case("max", Reduce::Max)
      .Case("min", Reduce::Min)
      .Default(std::nullopt);
}

/// Where an update goes; `loops` is where it is among the updates.
using Place = llvm::function_ref<SmallVector<Value>(OpBuilder &, Location,
                                                    ValueRange loops)>;

/// The updates one after the other, since several may go to one place.
static LogicalResult scatter(Node &node, Place place) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor &data = node.in(0), &updates = node.in(2);
  Type type = data.elementType, bits = signlessOf(type);
  StringRef name = node.string("reduction", "none");
  std::optional<Reduce> reduction = reductionOf(name);
  if ((!reduction && name != "none") || updates.elementType != type ||
      !isNumber(type) || (reduction && type.isInteger(1)))
    return node.error() << "expected updates of the data's type and a "
                           "reduction that it has, but got '"
                        << name << "' of " << type;
  Value from = graph.materialize(loc, updates);
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  SmallVector<Value> begins(updates.rank(), zero), steps(updates.rank(), one),
      ends = graph.ix.values(loc, updates.shape);
  auto nest = scf::buildLoopNest(
      b, loc, begins, ends, steps, graph.materialize(loc, data),
      [&](OpBuilder &n, Location l, ValueRange loops, ValueRange so) {
        SmallVector<Value> at = place(n, l, loops);
        Value update = tensor::ExtractOp::create(n, l, from, loops);
        if (reduction) {
          Value was = tensor::ExtractOp::create(n, l, so[0], at);
          Value both =
              combine(n, l, bitsAs(n, l, was, bits), bitsAs(n, l, update, bits),
                      type.isUnsignedInteger(), *reduction);
          update = bitsAs(n, l, both, type);
        }
        return scf::ValueVector{
            tensor::InsertOp::create(n, l, update, so[0], at)};
      });
  node.set(0, graph.wrap(nest.results.front(), data.shape));
  return success();
}

static LogicalResult lowerScatterElements(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1), &updates = node.in(2);
  auto axis = node.axis(node.integer("axis", 0), data.rank());
  if (!axis || indices.rank() != data.rank() || updates.rank() != data.rank() ||
      !isa<IntegerType>(indices.elementType))
    return node.error() << "expected an axis in range, integer indices and "
                           "operands of one rank";
  for (int64_t i = 0; i < data.rank(); ++i)
    if (failed(node.requireEqual(indices.shape[i], updates.shape[i],
                                 "sizes of indices and updates")) ||
        (i != *axis &&
         failed(node.requireSize(data.shape[i] - indices.shape[i]))))
      return failure();
  checkIndices(node, indices, data.shape[*axis]);
  Value size = graph.ix.value(loc, data.shape[*axis]);
  Value at = graph.materialize(loc, indices);
  return scatter(node, [&](OpBuilder &b, Location l, ValueRange loops) {
    SmallVector<Value> place(loops);
    Value index = tensor::ExtractOp::create(b, l, at, loops);
    place[*axis] = insideOf(b, l, index, size);
    return place;
  });
}

static LogicalResult lowerScatterND(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0), &indices = node.in(1), &updates = node.in(2);
  auto depth = indices.rank() ? indices.shape.back().constant() : std::nullopt;
  int64_t outer = indices.rank() - 1;
  if (!depth || *depth < 1 || *depth > data.rank() ||
      updates.rank() != outer + data.rank() - *depth ||
      !isa<IntegerType>(indices.elementType))
    return node.error() << "expected integer indices with a static last dim "
                           "and updates of the rank that follows";
  for (int64_t i = 0; i < updates.rank(); ++i)
    if (failed(node.requireEqual(updates.shape[i],
                                 i < outer ? indices.shape[i]
                                           : data.shape[*depth + i - outer],
                                 "sizes of updates and what they are for")))
      return failure();
  ArrayRef<IndexExpr> indexed = ArrayRef(data.shape).take_front(*depth);
  checkIndices(node, indices, indexed);
  SmallVector<Value> sizes = graph.ix.values(loc, indexed);
  Value at = graph.materialize(loc, indices);
  return scatter(node, [&](OpBuilder &b, Location l, ValueRange loops) {
    SmallVector<Value> place =
        placeInside(b, l, at, loops.take_front(outer), sizes);
    llvm::append_range(place, loops.drop_front(outer));
    return place;
  });
}

/// A cache with rows written from the given place on, for each batch entry; a
/// circular one goes on at its beginning.
static LogicalResult lowerTensorScatter(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &cache = node.in(0), &update = node.in(1);
  auto axis = node.axis(node.integer("axis", -2), cache.rank());
  StringRef mode = node.string("mode", "linear");
  bool isCircular = mode == "circular";
  if (!axis || *axis == 0 || update.rank() != cache.rank() ||
      update.elementType != cache.elementType ||
      (!isCircular && mode != "linear"))
    return node.error() << "expected operands of one type and rank, an axis "
                           "after the first and mode linear or circular";
  for (int64_t i = 0; i < cache.rank(); ++i)
    if (i == *axis ? failed(node.requireSize(cache.shape[i] - update.shape[i]))
                   : failed(node.requireEqual(cache.shape[i], update.shape[i],
                                              "sizes of cache and update")))
      return failure();
  Value begins;
  if (node.has(2)) {
    Tensor &given = node.in(2);
    if (given.rank() != 1 || !isa<IntegerType>(given.elementType) ||
        failed(node.requireEqual(given.shape[0], cache.shape[0],
                                 "batch sizes of write_indices and cache")))
      return node.error() << "expected write_indices of one dim";
    // In a linear cache all rows must fit after the first.
    IndexExpr places = cache.shape[*axis];
    checkIndices(node, given,
                 isCircular ? places : places - update.shape[*axis] + 1);
    begins = graph.materialize(loc, given);
  }
  Value rows = graph.materialize(loc, update);
  Value size = graph.ix.value(loc, cache.shape[*axis]);
  Value count = graph.ix.value(loc, update.shape[*axis]);
  Shape shape = cache.shape;
  node.set(
      0,
      graph.map(loc, {&cache}, shape, cache.elementType,
                [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                  SmallVector<Value> place = loopIndices(b, l, shape.size());
                  Value zero = arith::ConstantIndexOp::create(b, l, 0);
                  Value one = arith::ConstantIndexOp::create(b, l, 1);
                  Value row = place[*axis];
                  if (begins) {
                    Value begin =
                        tensor::ExtractOp::create(b, l, begins, place[0]);
                    row = arith::SubIOp::create(b, l, row,
                                                insideOf(b, l, begin, size));
                  }
                  if (isCircular)
                    row = fromFirst(b, l, row, size);
                  Value isNew = arith::AndIOp::create(
                      b, l,
                      arith::CmpIOp::create(b, l, arith::CmpIPredicate::sge,
                                            row, zero),
                      arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt,
                                            row, count));
                  // An update of no rows has none to read.
                  auto choice = scf::IfOp::create(
                      b, l, isNew,
                      [&](OpBuilder &n, Location ll) {
                        Value last = arith::SubIOp::create(n, ll, count, one);
                        place[*axis] = arith::MinSIOp::create(n, ll, row, last);
                        Value x = tensor::ExtractOp::create(n, ll, rows, place);
                        scf::YieldOp::create(n, ll, x);
                      },
                      [&](OpBuilder &n, Location ll) {
                        scf::YieldOp::create(n, ll, args[0]);
                      });
                  return choice.getResult(0);
                }));
  return success();
}

/// values[1] at each index along a new axis, values[0] elsewhere.
static LogicalResult lowerOneHot(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor &indices = node.in(0), &values = node.in(2);
  auto axis = node.axis(node.integer("axis", -1), indices.rank() + 1);
  if (!axis || values.staticCount() != 2 || values.rank() != 1 ||
      node.in(1).staticCount() != 1 || !isNumber(indices.elementType) ||
      !isNumber(node.in(1).elementType))
    return node.error() << "expected an axis in range, a scalar depth and two "
                           "values";
  Tensor depth = graph.cast(loc, node.in(1), b.getI64Type());
  depth = graph.reshape(loc, depth, {});
  auto list = graph.elementsOf(loc, depth);
  if (!list || failed(node.requireSize(list->front())))
    return node.error() << "expected a scalar depth";
  Shape shape = indices.shape;
  shape.insert(shape.begin() + *axis, list->front());
  if (failed(node.requireMemory(shape, values.elementType, list->front())))
    return failure();
  Shape wide = indices.shape;
  wide.insert(wide.begin() + *axis, IndexExpr(1));
  Tensor places = graph.reshape(loc, indices, wide);
  Value size = graph.ix.value(loc, list->front());
  Value from = graph.materialize(loc, values);
  node.set(0,
           graph.map(loc, {&places}, shape, values.elementType,
                     [&](OpBuilder &n, Location l, ValueRange args) -> Value {
                       Value zero = arith::ConstantIndexOp::create(n, l, 0);
                       Value one = arith::ConstantIndexOp::create(n, l, 1);
                       Value at = indexOf(
                           n, l, castScalar(n, l, args[0], n.getI64Type()));
                       at = fromFirst(n, l, at, size);
                       Value isHere = arith::CmpIOp::create(
                           n, l, arith::CmpIPredicate::eq, at,
                           linalg::IndexOp::create(n, l, *axis));
                       Value which =
                           arith::SelectOp::create(n, l, isHere, one, zero);
                       return tensor::ExtractOp::create(n, l, from, which);
                     }));
  return success();
}

/// 1 on a diagonal of a matrix, 0 elsewhere.
static LogicalResult lowerEyeLike(Node &node) {
  Graph &graph = node.graph;
  auto result = dyn_cast<TensorType>(node.op->getResult(0).getType());
  Tensor &data = node.in(0);
  if (data.rank() != 2 || !result || !isNumber(result.getElementType()))
    return node.error() << "expected a matrix and a type with a lowering";
  Type type = result.getElementType();
  int64_t k = node.integer("k", 0);
  node.set(0, graph.parallel(node.loc(), {}, {}, data.shape, type,
                             [&](OpBuilder &b, Location loc, ValueRange) {
                               Value row = linalg::IndexOp::create(b, loc, 0);
                               Value column =
                                   linalg::IndexOp::create(b, loc, 1);
                               Value shift =
                                   arith::ConstantIndexOp::create(b, loc, k);
                               Value isSet = arith::CmpIOp::create(
                                   b, loc, arith::CmpIPredicate::eq, column,
                                   arith::AddIOp::create(b, loc, row, shift));
                               return castScalar(b, loc, isSet, type);
                             }));
  return success();
}

void mlir::megactx::registerScatter(Registry &registry) {
  registry["ScatterElements"] = lowerScatterElements;
  registry["ScatterND"] = lowerScatterND;
  registry["TensorScatter"] = lowerTensorScatter;
  registry["OneHot"] = lowerOneHot;
  registry["EyeLike"] = lowerEyeLike;
}
