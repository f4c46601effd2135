//===- Control.cpp - branches ---------------------------------------------===//
//
// The branch that a known condition takes becomes part of the block. Where only
// a run knows the condition, both become those of scf.if: a size of a result is
// a choice of two sizes where these are known outside, else the result's own.
// An assumption of which branch is taken is checked.
//
//===----------------------------------------------------------------------===//

#include "Control.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

FailureOr<Block *> mlir::megactx::subgraphOf(Node &node, StringRef name) {
  auto names =
      node.op->getAttrOfType<ArrayAttr>(onnx::OnnxDialect::kRegionsAttr);
  for (unsigned i = 0; names && i < node.op->getNumRegions(); ++i)
    if (i < names.size() &&
        names[i] == StringAttr::get(names.getContext(), name) &&
        llvm::hasSingleElement(node.op->getRegion(i)))
      return &node.op->getRegion(i).front();
  return node.error() << "expected a subgraph '" << name << "'";
}

static FailureOr<Block *> branchOf(Node &node, StringRef name) {
  FailureOr<Block *> branch = subgraphOf(node, name);
  if (failed(branch))
    return failure();
  unsigned count = (*branch)->back().getNumOperands();
  if (count != node.numOutputs())
    return node.error() << "expected " << node.numOutputs()
                        << " outputs of its " << name << ", but got " << count;
  return branch;
}

Output mlir::megactx::outputOf(Node &node, Tensor &tensor,
                               const Graph::Scope &scope) {
  auto isOutside = [&](const IndexExpr &expr) {
    return scope.indices.isOutside(expr);
  };
  Output output{
      node.graph.materialize(node.loc(), tensor), tensor.elementType, {}, {}};
  for (const IndexExpr &size : tensor.shape)
    output.shape.push_back(isOutside(size) ? std::optional(size)
                                           : std::nullopt);
  if (tensor.elements && llvm::all_of(*tensor.elements, isOutside))
    output.elements = tensor.elements;
  return output;
}

/// Converts a branch in a block that it has to itself.
static FailureOr<SmallVector<Output>> fillBranch(Node &node, Block &subgraph,
                                                 Block &block) {
  Graph::Scope scope(node.graph);
  node.graph.b.setInsertionPointToStart(&block);
  FailureOr<SmallVector<Tensor>> tensors = node.graph.inlined(node, subgraph);
  if (failed(tensors))
    return failure();
  SmallVector<Output> outputs;
  for (Tensor &tensor : *tensors)
    outputs.push_back(outputOf(node, tensor, scope));
  return outputs;
}

/// The type that two outputs have in common; sizes of a result are static where
/// both are the same.
static FailureOr<RankedTensorType>
commonType(Node &node, unsigned i, const Output &then, const Output &other) {
  auto a = cast<RankedTensorType>(then.value.getType());
  auto c = cast<RankedTensorType>(other.value.getType());
  if (a.getRank() != c.getRank() || then.elementType != other.elementType)
    return node.error() << "its branches give different types of output " << i
                        << ": " << a << " and " << c;
  SmallVector<int64_t> shape;
  for (auto [x, y] : llvm::zip_equal(a.getShape(), c.getShape()))
    shape.push_back(x == y ? x : ShapedType::kDynamic);
  return RankedTensorType::get(shape, then.elementType);
}

/// What is known of an output of the one branch or the other.
static Tensor chosen(Node &node, const IndexExpr &condition, const Output &then,
                     const Output &other, Value value) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Shape shape;
  for (auto [dim, sizes] :
       llvm::enumerate(llvm::zip_equal(then.shape, other.shape))) {
    auto [x, y] = sizes;
    shape.push_back(x && y ? graph.ix.select(loc, condition, *x, *y)
                           : graph.ix.dimOf(loc, value, dim));
  }
  Tensor result = graph.wrap(value, shape);
  if (then.elements && other.elements) {
    result.elements.emplace();
    for (auto [x, y] : llvm::zip_equal(*then.elements, *other.elements))
      result.elements->push_back(graph.ix.select(loc, condition, x, y));
  }
  return result;
}

static LogicalResult lowerChoice(Node &node, const IndexExpr &condition,
                                 Block &thenGraph, Block &elseGraph) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Value isThen = graph.ix.condition(loc, condition);
  Region thenRegion, elseRegion;
  auto then = fillBranch(node, thenGraph, thenRegion.emplaceBlock());
  if (failed(then))
    return failure();
  auto other = fillBranch(node, elseGraph, elseRegion.emplaceBlock());
  if (failed(other))
    return failure();
  SmallVector<Type> types;
  for (auto [i, outputs] : llvm::enumerate(llvm::zip_equal(*then, *other))) {
    auto [x, y] = outputs;
    FailureOr<RankedTensorType> type = commonType(node, i, x, y);
    if (failed(type))
      return failure();
    types.push_back(*type);
  }
  for (auto [region, outputs] :
       {std::pair(&thenRegion, &*then), {&elseRegion, &*other}}) {
    b.setInsertionPointToEnd(&region->front());
    SmallVector<Value> values;
    for (auto [output, type] : llvm::zip_equal(*outputs, types))
      values.push_back(b.createOrFold<tensor::CastOp>(loc, type, output.value));
    scf::YieldOp::create(b, loc, values);
  }
  b.setInsertionPoint(node.op);
  auto op = scf::IfOp::create(b, loc, types, isThen, /*addThenBlock=*/false,
                              /*addElseBlock=*/false);
  op.getThenRegion().takeBody(thenRegion);
  op.getElseRegion().takeBody(elseRegion);
  for (auto [i, value] : llvm::enumerate(op.getResults()))
    node.set(i, chosen(node, condition, (*then)[i], (*other)[i], value));
  return success();
}

static FailureOr<IndexExpr> conditionOf(Node &node, unsigned operand) {
  Tensor &given = node.in(operand);
  auto list = given.elementType.isInteger(1)
                  ? node.graph.elementsOf(node.loc(), given)
                  : std::nullopt;
  if (!list || list->size() != 1)
    return node.error() << "expected one bool as its condition, but got "
                        << node.graph.typeOf(given.shape, given.elementType);
  return list->front();
}

static LogicalResult lowerAssume(Node &node) {
  FailureOr<IndexExpr> condition = conditionOf(node, 1);
  if (failed(condition))
    return failure();
  IndexExpr is(node.integer("is", 1));
  node.graph.check(
      node.loc(),
      node.graph.ix.compare(node.loc(), Compare::Eq, *condition, is),
      "the sizes ask for a branch whose result has a rank that the nodes "
      "behind it do not take");
  node.set(0, node.in(0));
  return success();
}

static LogicalResult lowerIf(Node &node) {
  FailureOr<IndexExpr> given = conditionOf(node, 0);
  if (failed(given))
    return failure();
  FailureOr<Block *> then = branchOf(node, "then_branch");
  FailureOr<Block *> other = branchOf(node, "else_branch");
  if (failed(then) || failed(other))
    return failure();
  IndexExpr condition = *given;
  if (!condition.constant())
    return lowerChoice(node, condition, **then, **other);
  auto outputs = node.graph.inlined(node, condition.is(0) ? **other : **then);
  if (failed(outputs))
    return failure();
  for (auto [i, output] : llvm::enumerate(*outputs))
    node.set(i, output);
  return success();
}

void mlir::megactx::registerControl(Registry &registry) {
  registry["If"] = lowerIf;
  registry["ai.megactx.Assume"] = lowerAssume;
}
