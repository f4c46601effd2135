//===- MatMul.cpp - matrix products ---------------------------------------===//

#include "Quantize.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

Tensor Graph::contract(Location loc, Tensor &a, Tensor &c, Type sum) {
  Shape shape = {a.shape[0], a.shape[1], c.shape[2]};
  Value out = filled(loc, shape, b.getZeroAttr(sum ? sum : a.elementType));
  auto dim = [&](unsigned i) { return b.getAffineDimExpr(i); };
  auto map = [&](ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(4, 0, exprs, b.getContext());
  };
  using Iterator = utils::IteratorType;
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{out.getType()},
      ValueRange{materialize(loc, a), materialize(loc, c)}, ValueRange{out},
      {map({dim(0), dim(1), dim(3)}), map({dim(0), dim(3), dim(2)}),
       map({dim(0), dim(1), dim(2)})},
      {Iterator::parallel, Iterator::parallel, Iterator::parallel,
       Iterator::reduction},
      [&](OpBuilder &nested, Location l, ValueRange args) {
        multiplyAdd(nested, l, args, arith::FastMathFlags::none);
      });
  return wrap(op.getResult(0), shape);
}

/// The tensor with a dim in the size that it is known to have: what follows
/// need not handle any size.
static Tensor withDim(Node &node, Tensor &x, int64_t dim,
                      const IndexExpr &size) {
  Graph &graph = node.graph;
  Shape shape(x.shape);
  shape[dim] = size;
  Value value = graph.materialize(node.loc(), x);
  return graph.wrap(tensor::CastOp::create(graph.b, node.loc(),
                                           graph.typeOf(shape, x.elementType),
                                           value),
                    shape);
}

namespace {
/// A factor of batched products, read as the transpose of another tensor where
/// it is one: nothing moves it. So are weights, as the file has them: nothing
/// turns these before a run.
class Factor {
public:
  Factor(Graph &graph, Tensor &x) : graph(graph), x(x) {
    isView = x.transposed && isa<FloatType>(x.elementType);
  }

  /// [product of `batch`, rows, columns].
  Tensor over(Location loc, ArrayRef<IndexExpr> batch) {
    IndexExpr rows = x.shape[x.rank() - 2], columns = x.shape.back();
    Shape full(batch), stored(x.shape);
    if (isView)
      std::swap(rows, columns), std::swap(stored[x.rank() - 2], stored.back());
    full.append({rows, columns});
    Tensor from = isView ? graph.wrap(x.transposed, stored) : x;
    Tensor wide = product(batch).is(1) ? from : graph.expand(loc, from, full);
    Tensor flat = graph.reshape(loc, wide, {product(batch), rows, columns});
    if (!isView)
      return flat;
    Shape shape = {flat.shape[0], columns, rows};
    return graph.wrap(TransposeViewOp::create(
                          graph.b, loc, graph.typeOf(shape, x.elementType),
                          graph.materialize(loc, flat),
                          graph.b.getDenseI64ArrayAttr({0, 2, 1})),
                      shape);
  }

private:
  Graph &graph;
  Tensor &x;
  bool isView;
};
} // namespace

FailureOr<Tensor> mlir::megactx::multiply(Node &node, Tensor a, Tensor c,
                                          Type sum) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  if (!isNumber(a.elementType) || (!sum && c.elementType != a.elementType))
    return node.error() << "no lowering of a product of " << a.elementType
                        << " and " << c.elementType;
  if (auto product = multiplyDequantized(node, a, c))
    return *product;
  if (failed(node.requireEqual(a.shape.back(), c.shape[c.rank() - 2],
                               "inner dims")))
    return failure();
  if (!a.shape.back().constant() && c.shape[c.rank() - 2].constant())
    a = withDim(node, a, a.rank() - 1, c.shape[c.rank() - 2]);
  IndexExpr m = a.shape[a.rank() - 2], k = a.shape.back(), n = c.shape.back();
  Shape outer(ArrayRef(a.shape).drop_back(2));
  if (c.rank() == 2) {
    // Rows of all batches against one matrix.
    Tensor left = graph.reshape(loc, a, {1, product(outer) * m, k});
    Tensor right = Factor(graph, c).over(loc, {IndexExpr(1)});
    Tensor product = graph.contract(loc, left, right, sum);
    outer.append({m, n});
    return graph.reshape(loc, product, outer);
  }
  // Batch dimensions broadcast as tensors of rank two less would.
  Tensor batchA = graph.splat(graph.b.getI64IntegerAttr(0), outer);
  Tensor batchC =
      graph.splat(graph.b.getI64IntegerAttr(0), ArrayRef(c.shape).drop_back(2));
  FailureOr<Shape> batch = graph.broadcastShape(node, {&batchA, &batchC});
  if (failed(batch))
    return failure();
  Tensor left = Factor(graph, a).over(loc, *batch),
         right = Factor(graph, c).over(loc, *batch);
  Tensor product = graph.contract(loc, left, right, sum);
  Shape result(*batch);
  result.append({m, n});
  return graph.reshape(loc, product, result);
}

static LogicalResult lowerMatMul(Node &node) {
  Graph &graph = node.graph;
  Tensor a = node.in(0), c = node.in(1);
  bool vectorA = a.rank() == 1, vectorC = c.rank() == 1;
  if (a.rank() == 0 || c.rank() == 0)
    return node.error() << "expected operands of rank 1 or more";
  if (vectorA)
    a = graph.reshape(node.loc(), a, {1, a.shape[0]});
  if (vectorC)
    c = graph.reshape(node.loc(), c, {c.shape[0], 1});
  FailureOr<Tensor> product = multiply(node, a, c);
  if (failed(product))
    return failure();
  Shape shape = product->shape;
  if (vectorC)
    shape.pop_back();
  if (vectorA)
    shape.erase(shape.end() - (vectorC ? 1 : 2));
  if (vectorA || vectorC)
    *product = graph.reshape(node.loc(), *product, shape);
  node.set(0, *product);
  return success();
}

static Value scaled(OpBuilder &b, Location loc, Value x, double factor) {
  if (factor == 1.0 || !isa<FloatType>(x.getType()))
    return x;
  Value c =
      arith::ConstantOp::create(b, loc, b.getFloatAttr(x.getType(), factor));
  return arith::MulFOp::create(b, loc, x, c);
}

static LogicalResult lowerGemm(Node &node) {
  Graph &graph = node.graph;
  Tensor a = node.in(0), c = node.in(1);
  if (a.rank() != 2 || c.rank() != 2)
    return node.error() << "expected matrices";
  if (node.integer("transA", 0))
    a = graph.transpose(node.loc(), a, {1, 0});
  if (node.integer("transB", 0))
    c = graph.transpose(node.loc(), c, {1, 0});
  double alpha = node.real("alpha", 1.0), beta = node.real("beta", 1.0);
  FailureOr<Tensor> product = multiply(node, a, c);
  if (failed(product))
    return failure();
  SmallVector<Tensor *> inputs = {&*product};
  if (node.has(2))
    inputs.push_back(&node.in(2));
  FailureOr<Shape> shape = graph.broadcastShape(node, inputs);
  if (failed(shape))
    return failure();
  node.set(0, graph.map(node.loc(), inputs, *shape, a.elementType,
                        [&](OpBuilder &b, Location loc, ValueRange args) {
                          Value x = scaled(b, loc, args[0], alpha);
                          if (args.size() == 1)
                            return x;
                          Value y = scaled(b, loc, args[1], beta);
                          return Value(arith::AddFOp::create(b, loc, x, y));
                        }));
  return success();
}

void mlir::megactx::registerMatMul(Registry &registry) {
  registry["MatMul"] = lowerMatMul;
  registry["Gemm"] = lowerGemm;
}
