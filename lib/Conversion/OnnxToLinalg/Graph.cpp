//===- Graph.cpp - the forward walk over a function -----------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace mlir;
using namespace mlir::megactx;

Graph::Graph(func::FuncOp function, const Registry &registry,
             const GraphOptions &options)
    : b(function.getContext()), ix(b), options(options), function(function),
      registry(registry), tensors(1) {
  b.setInsertionPointToStart(&function.front());
}

Graph::Scope::Scope(Graph &graph)
    : indices(graph.ix), graph(graph), numNodes(graph.nodes.size()) {
  graph.tensors.emplace_back();
}

Graph::Scope::~Scope() {
  for (; graph.nodes.size() > numNodes; graph.nodes.pop_back()) {
    // Where the conversion failed others still use it.
    graph.nodes.back()->dropAllUses();
    graph.nodes.back()->erase();
  }
  graph.tensors.pop_back();
}

Tensor *Graph::lookup(Value original) {
  for (auto &scope : llvm::reverse(tensors)) {
    auto it = scope.find(original);
    if (it == scope.end())
      continue;
    if (&scope == &tensors.back())
      return it->second.get();
    // What a block inside learns or makes of it is of no use outside.
    auto copy = std::make_unique<Tensor>(*it->second);
    return (tensors.back()[original] = std::move(copy)).get();
  }
  return nullptr;
}

/// Sizes that type inference or the file knew and the walk did not. The file
/// may be wrong: that they are so is checked.
static void refine(Graph &graph, Location loc, Tensor &tensor, Type declared) {
  auto type = dyn_cast<RankedTensorType>(declared);
  if (!type || type.getRank() != tensor.rank())
    return;
  bool refined = false;
  for (int64_t i = 0; i < tensor.rank(); ++i) {
    if (type.isDynamicDim(i) || tensor.shape[i].constant())
      continue;
    IndexExpr size(type.getDimSize(i));
    graph.check(loc, graph.ix.compare(loc, Compare::Eq, tensor.shape[i], size),
                "the model declares size " + Twine(type.getDimSize(i)) +
                    " for dim " + Twine(i) + " of a result, which has another");
    tensor.shape[i] = size;
    refined = true;
  }
  auto retype = [&](Value &value, ArrayRef<IndexExpr> shape) {
    if (refined && value)
      value = tensor::CastOp::create(
          graph.b, loc, graph.typeOf(shape, tensor.elementType), value);
  };
  retype(tensor.value, tensor.shape);
  if (tensor.channelsLast)
    retype(tensor.channelsLast, inLastOrder<IndexExpr>(tensor.shape));
}

void Graph::bind(Value original, Tensor tensor) {
  refine(*this, original.getLoc(), tensor, original.getType());
  tensors.back()[original] = std::make_unique<Tensor>(std::move(tensor));
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
    tensors.back()[arg] = std::make_unique<Tensor>(std::move(tensor));
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
      // A result of which the graph says nothing, or another rank, is what the
      // walk finds.
      auto declared = dyn_cast<RankedTensorType>(operand.get().getType());
      bool isKnown = !isa<func::ReturnOp>(inner) ||
                     (declared && declared.getRank() == tensor->rank());
      if (isKnown && value.getType() != operand.get().getType()) {
        if (!tensor::CastOp::areCastCompatible(value.getType(),
                                               operand.get().getType())) {
          inner->emitError("the model declares ")
              << operand.get().getType() << " for operand "
              << operand.getOperandNumber() << ", which is " << value.getType();
          return WalkResult::interrupt();
        }
        value = tensor::CastOp::create(b, loc, operand.get().getType(), value);
      }
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

static Value withoutCasts(Value value) {
  while (auto cast = value ? value.getDefiningOp<tensor::CastOp>() : nullptr)
    value = cast.getSource();
  return value;
}

/// The size of a converted tensor that a tensor.dim asks for, if it is one.
const IndexExpr *Graph::sizeOf(tensor::DimOp dim) {
  std::optional<int64_t> index = dim.getConstantIndex();
  Value source = withoutCasts(dim.getSource());
  for (auto &scope : llvm::reverse(tensors))
    for (auto &[original, tensor] : scope)
      if (index && *index < tensor->rank() &&
          withoutCasts(tensor->value) == source)
        return &tensor->shape[*index];
  return nullptr;
}

/// The expression of a size, seen through tensor.dim, sums and products.
IndexExpr Graph::exprOf(Value size) {
  auto known = sumOf(size);
  return known ? *known : ix.symbol(size, 0);
}

/// A sum of products of sizes and constants; nothing for others, which may be
/// negative.
std::optional<IndexExpr> Graph::sumOf(Value index) {
  if (auto dim = index.getDefiningOp<tensor::DimOp>()) {
    const IndexExpr *size = sizeOf(dim);
    return size ? *size : ix.symbol(index, 0);
  }
  if (std::optional<int64_t> constant = getConstantIntValue(index))
    return IndexExpr(*constant);
  auto combined = [&](Operation *op, auto combine) -> std::optional<IndexExpr> {
    auto lhs = sumOf(op->getOperand(0)), rhs = sumOf(op->getOperand(1));
    if (!lhs || !rhs)
      return std::nullopt;
    return combine(*lhs, *rhs);
  };
  if (auto sum = index.getDefiningOp<arith::AddIOp>())
    return combined(sum, [](auto &x, auto &y) { return x + y; });
  if (auto product = index.getDefiningOp<arith::MulIOp>())
    return combined(product, [](auto &x, auto &y) { return x * y; });
  if (auto apply = index.getDefiningOp<affine::AffineApplyOp>())
    return sumOf(apply.getAffineMap().getResult(0), apply);
  return std::nullopt;
}

/// The same of an expression of the map's operands.
std::optional<IndexExpr> Graph::sumOf(AffineExpr expr,
                                      affine::AffineApplyOp apply) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return IndexExpr(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return sumOf(apply.getDimOperands()[dim.getPosition()]);
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return sumOf(apply.getSymbolOperands()[symbol.getPosition()]);
  auto binary = llvm::cast<AffineBinaryOpExpr>(expr);
  auto lhs = sumOf(binary.getLHS(), apply), rhs = sumOf(binary.getRHS(), apply);
  if (!lhs || !rhs)
    return std::nullopt;
  if (expr.getKind() == AffineExprKind::Add)
    return *lhs + *rhs;
  if (expr.getKind() == AffineExprKind::Mul)
    return *lhs * *rhs;
  return std::nullopt;
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

LogicalResult Graph::lower(Operation *op) {
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
  for (auto [i, result] : llvm::enumerate(op->getResults()))
    if (!isa<NoneType>(result.getType()) && node.wants(i) && !lookup(result))
      return node.error() << "output " << i << " has no lowering";
  return success();
}

/// The walk's own ops stand before the one that it is at.
LogicalResult Graph::convert(ArrayRef<Operation *> ops) {
  for (Operation *op : ops) {
    b.setInsertionPoint(op);
    if (op->getName().getDialectNamespace() != "onnx") {
      if (failed(keep(*op)))
        return failure();
      continue;
    }
    nodes.push_back(op);
    if (failed(lower(op)))
      return failure();
  }
  return success();
}

static SmallVector<Operation *> opsOf(Block &block) {
  return llvm::map_to_vector(block, [](Operation &op) { return &op; });
}

FailureOr<SmallVector<Tensor>> Graph::inlined(Node &owner, Block &subgraph) {
  Operation *end = &subgraph.back();
  SmallVector<Value> given(end->getOperands());
  end->erase();
  SmallVector<Operation *> ops = opsOf(subgraph);
  Block *block = b.getBlock();
  Block::iterator after = b.getInsertionPoint();
  block->getOperations().splice(after, subgraph.getOperations());
  if (failed(convert(ops)))
    return failure();
  b.setInsertionPoint(block, after);
  SmallVector<Tensor> outputs;
  for (auto [i, value] : llvm::enumerate(given)) {
    Tensor *tensor = lookup(value);
    if (!tensor)
      return owner.error() << "expected a ranked tensor as output " << i
                           << " of a subgraph, but got " << value.getType();
    outputs.push_back(*tensor);
  }
  return outputs;
}

LogicalResult Graph::run() {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError("expected one block in a function of ONNX nodes");
  SmallVector<Operation *> ops = opsOf(function.front());
  if (failed(convertArguments()) || failed(convert(ops)))
    return failure();
  function.setType(
      b.getFunctionType(function.getArgumentTypes(),
                        function.front().getTerminator()->getOperandTypes()));
  for (Operation *node : llvm::reverse(nodes))
    node->erase();
  return success();
}
