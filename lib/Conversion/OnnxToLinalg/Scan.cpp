//===- Scan.cpp - cumulative sums -----------------------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// Each element sums its own prefix: n^2 additions along the axis, which is
/// short wherever models use it (a mask's row), and no dependence between rows.
static LogicalResult lowerCumSum(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto list = graph.elementsOf(loc, node.in(1));
  if (!list || list->size() != 1)
    return node.error() << "expected one axis";
  auto flags = node.axisFlags(*list, data.rank());
  if (failed(flags))
    return failure();
  IndexSpace &ix = graph.ix;
  IndexExpr length(1);
  SmallVector<Value> isAxis;
  for (auto [flag, dim] : llvm::zip_equal(*flags, data.shape)) {
    length = ix.select(loc, flag, dim, length);
    isAxis.push_back(ix.condition(loc, flag));
  }
  bool exclusive = node.integer("exclusive", 0);
  bool reverse = node.integer("reverse", 0);
  Value from = graph.materialize(loc, data);
  Value size = ix.value(loc, length);
  Type type = data.elementType;
  Shape shape = data.shape;
  node.set(
      0,
      graph.parallel(
          loc, {}, {}, shape, type,
          [&](OpBuilder &b, Location l, ValueRange) -> Value {
            SmallVector<Value> at;
            for (size_t i = 0; i < shape.size(); ++i)
              at.push_back(linalg::IndexOp::create(b, l, i));
            Value zero = arith::ConstantIndexOp::create(b, l, 0);
            Value one = arith::ConstantIndexOp::create(b, l, 1);
            Value here = zero;
            for (auto [index, hit] : llvm::zip_equal(at, isAxis))
              here = arith::SelectOp::create(b, l, hit, index, here);
            Value next = arith::AddIOp::create(b, l, here, one);
            Value begin = reverse ? (exclusive ? next : here) : zero;
            Value end = reverse ? size : (exclusive ? here : next);
            Value none = arith::ConstantOp::create(
                b, l, cast<TypedAttr>(b.getZeroAttr(type)));
            auto loop = scf::ForOp::create(
                b, l, begin, end, one, none,
                [&](OpBuilder &n, Location ll, Value i, ValueRange so) {
                  SmallVector<Value> place(at);
                  for (auto [index, hit] : llvm::zip_equal(place, isAxis))
                    index = arith::SelectOp::create(n, ll, hit, i, index);
                  Value x = tensor::ExtractOp::create(n, ll, from, place);
                  Value sum =
                      isa<FloatType>(type)
                          ? arith::AddFOp::create(n, ll, so[0], x).getResult()
                          : arith::AddIOp::create(n, ll, so[0], x).getResult();
                  scf::YieldOp::create(n, ll, sum);
                });
            return loop.getResult(0);
          }));
  return success();
}

void mlir::megactx::registerScan(Registry &registry) {
  registry["CumSum"] = lowerCumSum;
}
