//===- Graph.cpp - the forward walk over a function -----------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace mlir;
using namespace mlir::megactx;

Graph::Graph(func::FuncOp function)
    : b(function.getContext()), ix(b), function(function) {
  for (Operation &op : function.front())
    originals.insert(&op);
  b.setInsertionPointToStart(&function.front());
}

Tensor *Graph::lookup(Value original) {
  auto it = tensors.find(original);
  return it == tensors.end() ? nullptr : it->second.get();
}

/// Sizes that type inference knew and the walk did not.
static void refine(Graph &graph, Location loc, Tensor &tensor, Type declared) {
  auto type = dyn_cast<RankedTensorType>(declared);
  if (!type || type.getRank() != tensor.rank())
    return;
  bool refined = false;
  for (int64_t i = 0; i < tensor.rank(); ++i)
    if (!type.isDynamicDim(i) && !tensor.shape[i].constant()) {
      tensor.shape[i] = IndexExpr(type.getDimSize(i));
      refined = true;
    }
  if (refined && tensor.value)
    tensor.value = tensor::CastOp::create(
        graph.b, loc, graph.typeOf(tensor.shape, tensor.elementType),
        tensor.value);
}

void Graph::bind(Value original, Tensor tensor) {
  refine(*this, original.getLoc(), tensor, original.getType());
  tensors[original] = std::make_unique<Tensor>(std::move(tensor));
}

/// Dimensions of one name are one number; that they agree is checked once,
/// here.
LogicalResult Graph::convertArguments() {
  llvm::StringMap<IndexExpr> named;
  Location loc = function.getLoc();
  for (BlockArgument arg : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    if (!type)
      continue;
    Tensor tensor = wrap(loc, arg);
    auto names =
        function.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "onnx.dims");
    for (int64_t i = 0; names && i < type.getRank(); ++i) {
      auto name = i < static_cast<int64_t>(names.size())
                      ? dyn_cast<StringAttr>(names[i])
                      : StringAttr();
      if (!name || name.empty() || !type.isDynamicDim(i))
        continue;
      auto [it, isNew] = named.try_emplace(name, tensor.shape[i]);
      if (isNew)
        continue;
      check(loc, ix.compare(loc, Compare::Eq, it->second, tensor.shape[i]),
            "inputs disagree on the size of dimension '" + name.getValue() +
                "'");
      tensor.shape[i] = it->second;
    }
    tensors[arg] = std::make_unique<Tensor>(std::move(tensor));
  }
  return success();
}

/// An op of another dialect stays; it gets its operands in their declared
/// types.
LogicalResult Graph::keep(Operation &op) {
  Location loc = op.getLoc();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto elements = dyn_cast<ElementsAttr>(constant.getValue())) {
      Tensor tensor = wrap(loc, constant);
      tensor.constant = elements;
      if (auto values = integersOf(elements))
        tensor.elements = llvm::map_to_vector(
            *values, [](int64_t value) { return IndexExpr(value); });
      return bind(constant, std::move(tensor)), success();
    }
  // Sizes are known whatever a type says of them.
  if (auto cast = dyn_cast<tensor::CastOp>(op))
    if (Tensor *tensor = lookup(cast.getSource())) {
      cast.getSourceMutable().assign(materialize(loc, *tensor));
      return bind(cast, *tensor), success();
    }
  // Dimensions of converted tensors are known; no op needs to ask for them.
  if (auto dim = dyn_cast<tensor::DimOp>(op))
    if (auto index = dim.getConstantIndex())
      if (Tensor *tensor = lookup(dim.getSource());
          tensor && *index < tensor->rank()) {
        dim.replaceAllUsesWith(ix.value(loc, tensor->shape[*index]));
        dim.erase();
        return success();
      }
  auto walked = op.walk([&](Operation *inner) {
    for (OpOperand &operand : inner->getOpOperands()) {
      Tensor *tensor = lookup(operand.get());
      if (!tensor)
        continue;
      // A damaged model may say of a value that it is none.
      if (!isa<TensorType>(operand.get().getType())) {
        inner->emitError("expected a tensor as operand ")
            << operand.getOperandNumber() << ", but got "
            << operand.get().getType();
        return WalkResult::interrupt();
      }
      Value value = materialize(loc, *tensor);
      if (value.getType() != operand.get().getType())
        value = tensor::CastOp::create(b, loc, operand.get().getType(), value);
      operand.set(value);
    }
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  b.setInsertionPointAfter(&op);
  ReifiedRankedShapedTypeDims reified;
  bool hasShapes = isa<ReifyRankedShapedTypeOpInterface>(op) &&
                   succeeded(reifyResultShapes(b, &op, reified));
  for (auto [i, result] : llvm::enumerate(op.getResults())) {
    if (!isa<RankedTensorType>(result.getType()))
      continue;
    Tensor tensor = wrap(loc, result);
    for (int64_t d = 0; hasShapes && d < tensor.rank(); ++d) {
      auto value = dyn_cast<Value>(reified[i][d]);
      if (value && !tensor.shape[d].constant())
        tensor.shape[d] = exprOf(value);
    }
    RankedTensorType known = typeOf(tensor.shape, tensor.elementType);
    if (known != result.getType())
      tensor.value = tensor::CastOp::create(b, loc, known, result);
    bind(result, std::move(tensor));
  }
  return success();
}

/// The expression of an index value, seen through tensor.dim and tensor.cast.
IndexExpr Graph::exprOf(Value index) {
  auto dim = index.getDefiningOp<tensor::DimOp>();
  if (dim && dim.getConstantIndex()) {
    Value source = dim.getSource();
    while (auto cast = source.getDefiningOp<tensor::CastOp>())
      source = cast.getSource();
    for (auto &[original, tensor] : tensors)
      if (tensor->value == source && *dim.getConstantIndex() < tensor->rank())
        return tensor->shape[*dim.getConstantIndex()];
  }
  return ix.symbol(index, 0);
}

void Graph::enter(Block &block, Operation *owner) {
  for (Operation &op : block)
    originals.insert(&op);
  owners[block.getTerminator()] = owner;
  auto after = std::next(owner->getIterator());
  owner->getBlock()->getOperations().splice(after, block.getOperations());
}

/// Refuses results of static sizes that no memory holds.
static LogicalResult checkResults(Node &node) {
  for (Value result : node.op->getResults())
    if (Tensor *tensor = node.graph.lookup(result))
      if (llvm::all_of(tensor->shape,
                       [](const IndexExpr &size) { return size.constant(); }) &&
          failed(node.requireMemory(tensor->shape, tensor->elementType, {})))
        return failure();
  return success();
}

LogicalResult Graph::lower(Operation *op, const Registry &registry) {
  Node node(*this, op);
  auto found = registry.find(node.type());
  if (found == registry.end())
    return node.error() << "the operator has no lowering";
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (node.has(i) && !lookup(operand))
      return node.error() << "expected a ranked tensor as operand " << i
                          << ", but got " << operand.getType();
  if (failed(found->second(node)) || failed(checkResults(node)))
    return failure();
  // Outputs of a node whose subgraph was entered come at its end.
  bool hasEntered = llvm::any_of(
      owners, [&](const auto &entry) { return entry.second == op; });
  for (auto [i, result] : llvm::enumerate(op->getResults()))
    if (!hasEntered && !isa<NoneType>(result.getType()) && node.wants(i) &&
        !lookup(result))
      return node.error() << "output " << i << " has no lowering";
  return success();
}

LogicalResult Graph::run(const Registry &registry) {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError("expected one block in a function of ONNX nodes");
  if (failed(convertArguments()))
    return failure();
  SmallVector<Operation *> nodes;
  Operation *next;
  for (Operation *op = &function.front().front(); op; op = next) {
    next = op->getNextNode();
    // The walk's own ops stand before the first original one.
    if (!originals.contains(op))
      continue;
    b.setInsertionPoint(op);
    if (op->getName().getDialectNamespace() != "onnx") {
      if (failed(keep(*op)))
        return failure();
      continue;
    }
    nodes.push_back(op);
    if (failed(lower(op, registry)))
      return failure();
    // A subgraph may have been entered.
    next = op->getNextNode();
  }
  for (Operation *node : llvm::reverse(nodes))
    node->erase();
  return success();
}
