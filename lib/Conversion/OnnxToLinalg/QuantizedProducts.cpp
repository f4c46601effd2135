//===- QuantizedProducts.cpp - products of integers -----------------------===//
//
// Sums of integers of 8 bits are sums of f32, exact for so many terms at a
// time.
//
//===----------------------------------------------------------------------===//

#include "Quantize.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// Products of differences of 8 bits, at most 255 * 255, are exact in the 24
/// bits of f32 up to this many.
static constexpr int64_t kExactTerms = 256;

/// Rows [first, first + count) of a dim, less their zero points, as f32.
static FailureOr<Tensor> centred(Node &node, unsigned i, int64_t dim,
                                 const IndexExpr &first,
                                 const IndexExpr &count) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &all = node.in(i);
  Shape sizes(all.shape), offsets(all.rank(), IndexExpr(0));
  sizes[dim] = count;
  offsets[dim] = first;
  Tensor part =
      graph.slice(loc, all, offsets, sizes, Shape(all.rank(), IndexExpr(1)));
  SmallVector<Tensor *> inputs = {&part};
  Tensor zeros;
  if (node.has(i + 2)) {
    zeros = node.in(i + 2);
    // One for each row of the left operand, or each column of the right one.
    if (i == 0 && zeros.rank() == 1 && !zeros.shape[0].is(1))
      zeros = graph.reshape(loc, zeros, {zeros.shape[0], IndexExpr(1)});
    inputs.push_back(&zeros);
  }
  FailureOr<Shape> shape = graph.broadcastShape(node, inputs);
  if (failed(shape))
    return failure();
  return graph.map(loc, inputs, *shape, graph.b.getF32Type(),
                   [](OpBuilder &b, Location l, ValueRange args) -> Value {
                     Value x = quantize::toReal(b, l, args[0]);
                     if (args.size() == 1)
                       return x;
                     return arith::SubFOp::create(
                         b, l, x, quantize::toReal(b, l, args[1]));
                   });
}

/// The product over `count` terms from `first` on, as f32.
static FailureOr<Tensor> termsOf(Node &node, const IndexExpr &first,
                                 const IndexExpr &count) {
  FailureOr<Tensor> a = centred(node, 0, node.in(0).rank() - 1, first, count);
  FailureOr<Tensor> c = centred(node, 1, node.in(1).rank() - 2, first, count);
  if (failed(a) || failed(c))
    return failure();
  return multiply(node, *a, *c);
}

/// Adds f32 to i32, in its place.
static Value addTo(Graph &graph, Location loc, Value sums, Value terms) {
  OpBuilder &b = graph.b;
  int64_t rank = cast<RankedTensorType>(sums.getType()).getRank();
  AffineMap all = b.getMultiDimIdentityMap(rank);
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b, loc, sums.getType(), terms, sums, ArrayRef{all, all}, loops,
             [&](OpBuilder &nested, Location l, ValueRange args) {
               Value x = arith::FPToSIOp::create(nested, l, args[1].getType(),
                                                 args[0]);
               Value sum = arith::AddIOp::create(nested, l, args[1], x);
               linalg::YieldOp::create(nested, l, sum);
             })
      .getResult(0);
}

static LogicalResult lowerMatMulInteger(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  OpBuilder &b = graph.b;
  for (unsigned i : {0u, 1u}) {
    Tensor &x = node.in(i);
    if (x.rank() < 2 || !signlessOf(x.elementType).isInteger(8))
      return node.error() << "expected matrices of int8 or uint8";
  }
  IndexExpr terms = node.in(1).shape[node.in(1).rank() - 2];
  if (failed(node.requireEqual(node.in(0).shape.back(), terms,
                               "inner dims of the matrices")))
    return failure();
  auto known = terms.constant();
  IndexExpr most(kExactTerms);
  FailureOr<Tensor> part =
      termsOf(node, IndexExpr(0),
              known ? IndexExpr(std::min(*known, kExactTerms))
                    : graph.ix.min(loc, terms, most));
  if (failed(part))
    return failure();
  Tensor sums = graph.map(
      loc, {&*part}, part->shape, b.getI32Type(),
      [](OpBuilder &nested, Location l, ValueRange args) -> Value {
        return arith::FPToSIOp::create(nested, l, nested.getI32Type(), args[0]);
      });
  if (known && *known <= kExactTerms) {
    node.set(0, sums);
    return success();
  }
  auto index = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  auto loop =
      scf::ForOp::create(b, loc, index(kExactTerms), graph.ix.value(loc, terms),
                         index(kExactTerms), ValueRange{sums.value});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  IndexExpr first = graph.ix.symbol(loop.getInductionVar(), 0);
  IndexExpr count = known && *known % kExactTerms == 0
                        ? most
                        : graph.ix.min(loc, terms - first, most);
  part = termsOf(node, first, count);
  if (failed(part))
    return failure();
  scf::YieldOp::create(
      b, loc, addTo(graph, loc, loop.getRegionIterArg(0), part->value));
  node.set(0, graph.wrap(loop.getResult(0), sums.shape));
  return success();
}

void mlir::megactx::registerQuantizedProducts(Registry &registry) {
  registry["MatMulInteger"] = lowerMatMulInteger;
}
