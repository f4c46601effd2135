//===- Scan.cpp - cumulative sums and products ----------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// Each element adds up, or multiplies, its own prefix: n^2 operations along
/// the axis, which is short wherever models use it (a mask's row), and no
/// dependence between rows.
template <Reduce kind> static LogicalResult lowerCumulative(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &data = node.in(0);
  auto axis = node.scalar(1, "the axis");
  if (failed(axis))
    return failure();
  if (!isNumber(data.elementType) || data.elementType.isInteger(1))
    return node.error() << "element type " << data.elementType
                        << " has no lowering";
  auto flags = node.axisFlags(*axis, data.rank());
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
  bool isUnsigned = type.isUnsignedInteger();
  Shape shape = data.shape;
  node.set(0,
           graph.parallel(
               loc, {}, {}, shape, type,
               [&](OpBuilder &b, Location l, ValueRange) -> Value {
                 SmallVector<Value> at = loopIndices(b, l, shape.size());
                 Value zero = arith::ConstantIndexOp::create(b, l, 0);
                 Value one = arith::ConstantIndexOp::create(b, l, 1);
                 Value here = zero;
                 for (auto [index, hit] : llvm::zip_equal(at, isAxis))
                   here = arith::SelectOp::create(b, l, hit, index, here);
                 Value next = arith::AddIOp::create(b, l, here, one);
                 Value begin = reverse ? (exclusive ? next : here) : zero;
                 Value end = reverse ? size : (exclusive ? here : next);
                 Type bits = signlessOf(type);
                 Value none = arith::ConstantOp::create(
                     b, l, initialValue(b, bits, isUnsigned, kind));
                 auto loop = scf::ForOp::create(
                     b, l, begin, end, one, none,
                     [&](OpBuilder &n, Location ll, Value i, ValueRange so) {
                       SmallVector<Value> place(at);
                       for (auto [index, hit] : llvm::zip_equal(place, isAxis))
                         index = arith::SelectOp::create(n, ll, hit, i, index);
                       Value x = tensor::ExtractOp::create(n, ll, from, place);
                       x = bitsAs(n, ll, x, bits);
                       Value sum = combine(n, ll, so[0], x, isUnsigned, kind);
                       scf::YieldOp::create(n, ll, sum);
                     });
                 return bitsAs(b, l, loop.getResult(0), type);
               }));
  return success();
}

void mlir::megactx::registerScan(Registry &registry) {
  registry["CumSum"] = lowerCumulative<Reduce::Sum>;
  registry["CumProd"] = lowerCumulative<Reduce::Prod>;
}
