//===- Pad.cpp - more elements at both ends of axes -----------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// What each dim gets before its elements, and after them, and how many of
/// these go first, by negative pads.
struct Pads {
  Shape low, high, cutLow, cutHigh;
  SmallVector<IndexExpr> given;
};
} // namespace

static FailureOr<Pads> padsOf(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  int64_t rank = node.in(0).rank();
  auto pads = graph.elementsOf(loc, node.in(1));
  SmallVector<IndexExpr> axes;
  for (int64_t i = 0; i < rank; ++i)
    axes.push_back(IndexExpr(i));
  if (node.has(3))
    axes = graph.elementsOf(loc, node.in(3)).value_or(SmallVector<IndexExpr>());
  if (!pads || pads->size() != 2 * axes.size())
    return node.error() << "expected two pads per axis";
  if (failed(node.axisFlags(axes, rank)))
    return failure();
  Shape zeros(rank, IndexExpr(0));
  Pads result{zeros, zeros, zeros, zeros, *pads};
  for (size_t i = 0; i < axes.size(); ++i) {
    auto flags = node.axisFlags(axes[i], rank);
    auto add = [&](const IndexExpr &pad, Shape &added, Shape &cut) {
      bool isCut = pad.constant().value_or(0) < 0;
      if (!isCut)
        graph.check(loc, graph.ix.compare(loc, Compare::Ge, pad, 0),
                    "a pad is negative that is not known before");
      IndexExpr size = isCut ? IndexExpr(0) - pad : graph.ix.max(loc, pad, 0);
      for (int64_t d = 0; d < rank; ++d)
        (isCut ? cut : added)[d] =
            (isCut ? cut : added)[d] + (*flags)[d] * size;
    };
    add((*pads)[i], result.low, result.cutLow);
    add((*pads)[axes.size() + i], result.high, result.cutHigh);
  }
  return result;
}

/// What negative pads leave.
static FailureOr<Tensor> cut(Node &node, const Pads &pads) {
  Tensor &data = node.in(0);
  Shape shape;
  for (auto [low, size, high] :
       llvm::zip_equal(pads.cutLow, data.shape, pads.cutHigh)) {
    shape.push_back(size - low - high);
    if (shape.back() != size && failed(node.requireSize(shape.back())))
      return failure();
  }
  return node.graph.slice(node.loc(), data, pads.cutLow, shape,
                          Shape(data.rank(), IndexExpr(1)));
}

Tensor Graph::pad(Location loc, Tensor &tensor, ArrayRef<IndexExpr> low,
                  ArrayRef<IndexExpr> high, Value fill) {
  Shape shape;
  for (auto [before, size, after] : llvm::zip_equal(low, tensor.shape, high))
    shape.push_back(size + before + after);
  if (isEmpty(shape))
    return wrap(empty(loc, shape, tensor.elementType), shape);
  Value value = materialize(loc, tensor);
  Value padded =
      tensor::PadOp::create(b, loc, typeOf(shape, tensor.elementType), value,
                            ix.fold(loc, low), ix.fold(loc, high), fill);
  return wrap(padded, shape);
}

static LogicalResult padConstant(Node &node, Tensor &data, const Pads &pads) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Value fill;
  if (node.has(2)) {
    if (node.in(2).staticCount() != 1 ||
        node.in(2).elementType != data.elementType)
      return node.error() << "expected a scalar of the data's type to pad with";
    fill = graph.scalar(loc, node.in(2));
  } else {
    fill = constantOf(b, loc, b.getZeroAttr(data.elementType));
  }
  node.set(0, graph.pad(loc, data, pads.low, pads.high, fill));
  return success();
}

/// The nearest element, the one that a mirror at the edge shows, or the one of
/// a tensor that is repeated: where `at`, from the first element, reads.
static Value sourceOf(OpBuilder &b, Location loc, StringRef mode, Value at,
                      Value size) {
  auto constant = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  auto modulo = [&](Value x, Value y) -> Value {
    return fromFirst(b, loc, arith::RemSIOp::create(b, loc, x, y), y);
  };
  Value last = arith::SubIOp::create(b, loc, size, constant(1));
  if (mode == "wrap")
    return modulo(at, size);
  if (mode == "reflect") {
    Value period = arith::MulIOp::create(b, loc, last, constant(2));
    period = arith::MaxSIOp::create(b, loc, period, constant(1));
    at = modulo(at, period);
    Value back = arith::SubIOp::create(b, loc, period, at);
    return arith::MinSIOp::create(
        b, loc, arith::MinSIOp::create(b, loc, at, back), last);
  }
  at = arith::MaxSIOp::create(b, loc, at, constant(0));
  return arith::MinSIOp::create(b, loc, at, last);
}

static LogicalResult lowerPad(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  StringRef mode = node.string("mode", "constant");
  if (!llvm::is_contained({"constant", "edge", "reflect", "wrap"}, mode))
    return node.error() << "mode '" << mode << "' of Pad has no lowering";
  auto pads = padsOf(node);
  if (failed(pads))
    return failure();
  auto left = cut(node, *pads);
  if (failed(left))
    return failure();
  Tensor &data = *left;
  Shape shape;
  for (auto [low, size, high] :
       llvm::zip_equal(pads->low, data.shape, pads->high))
    shape.push_back(size + low + high);
  if (ArrayRef<IndexExpr>(shape) == ArrayRef<IndexExpr>(data.shape)) {
    node.set(0, data);
    return success();
  }
  if (failed(node.requireMemory(shape, data.elementType, pads->given)))
    return failure();
  if (mode == "constant")
    return padConstant(node, data, *pads);
  // Elements that are added are of some that are there.
  for (auto [low, size, high] :
       llvm::zip_equal(pads->low, data.shape, pads->high)) {
    IndexExpr least = graph.ix.min(loc, low + high, IndexExpr(1));
    if (failed(node.requireSize(size - least)))
      return failure();
  }
  SmallVector<Value> lows = graph.ix.values(loc, pads->low),
                     sizes = graph.ix.values(loc, data.shape);
  Value from = graph.materialize(loc, data);
  node.set(0,
           graph.parallel(loc, {}, {}, shape, data.elementType,
                          [&](OpBuilder &b, Location l, ValueRange) -> Value {
                            SmallVector<Value> place =
                                loopIndices(b, l, sizes.size());
                            for (auto [at, low, size] :
                                 llvm::zip_equal(place, lows, sizes)) {
                              at = arith::SubIOp::create(b, l, at, low);
                              at = sourceOf(b, l, mode, at, size);
                            }
                            return tensor::ExtractOp::create(b, l, from, place);
                          }));
  return success();
}

void mlir::megactx::registerPad(Registry &registry) {
  registry["Pad"] = lowerPad;
}
