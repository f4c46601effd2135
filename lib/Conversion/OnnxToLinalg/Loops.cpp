//===- Loops.cpp - Loop and Scan ------------------------------------------===//
//
// A subgraph that is run again and again becomes scf.for, or scf.while where
// its own condition may end it. Sizes of what it carries are taken to stay as
// they start; where the subgraph then gives another one it is converted again,
// with a size that only a run knows.
//
//===----------------------------------------------------------------------===//

#include "Control.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/ScopeExit.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// Along which axis, and in which direction, steps take or leave slices.
struct Stack {
  int64_t axis = 0;
  bool isReversed = false;
};

/// A tensor that has a slice for each step.
struct Slices {
  Tensor *tensor;
  Stack stack;
};

/// What steps carry on, and which of its sizes they change.
struct Carried {
  Tensor *start;
  SmallVector<bool> varies;
};

/// What steps leave slices of.
struct Stacked {
  Stack stack;
  Type elementType;
  Shape shape; ///< of all slices
};

/// A node that runs its subgraph again and again. The subgraph's inputs are the
/// number of the step and a condition, where it has one, what is carried, and
/// slices; its outputs the condition, what is carried, and new slices.
class Repetition {
public:
  explicit Repetition(Node &node)
      : node(node), graph(node.graph), ix(graph.ix), b(graph.b) {}

  LogicalResult run();

  bool hasCondition = false;
  /// Of steps, at most; all of them where the subgraph does not end them.
  std::optional<IndexExpr> count;
  IndexExpr starts = 1; ///< whether there is a first step
  SmallVector<Carried> carried;
  SmallVector<Slices> slices;
  SmallVector<Stack> stacks;

private:
  LogicalResult convert(Node &copy, Region &region, bool &isStable);
  LogicalResult bindInputs(Node &copy, Block &subgraph, Block &block);
  LogicalResult readCondition(Node &copy, Tensor &output);
  LogicalResult carryOn(unsigned i, Tensor &output, bool &isStable);
  LogicalResult addSlice(Node &copy, Stack stack, Tensor &slice, Block &block);
  RankedTensorType typeOf(const Carried &value) const;
  FailureOr<SmallVector<Value>> startValues();
  SmallVector<Value> emitFor(Region &step, ValueRange starts);
  SmallVector<Value> emitWhile(Region &step, ValueRange starts);
  bool isEnded() const { return bool(goesOn); }

  Node &node;
  Graph &graph;
  IndexSpace &ix;
  OpBuilder &b;
  IndexExpr trips; ///< how many steps there are, where no condition ends them

  // Of the step as it was last converted.
  IndexExpr at;               ///< the number of the step
  Value goesOn;               ///< whether there is a next, null: always
  SmallVector<Value> yielded; ///< what is carried, then all slices
  SmallVector<Stacked> stacked;
};
} // namespace

RankedTensorType Repetition::typeOf(const Carried &value) const {
  RankedTensorType start =
      graph.typeOf(value.start->shape, value.start->elementType);
  SmallVector<int64_t> shape(start.getShape());
  for (auto [size, varies] : llvm::zip_equal(shape, value.varies))
    if (varies)
      size = ShapedType::kDynamic;
  return start.clone(shape);
}

LogicalResult Repetition::bindInputs(Node &copy, Block &subgraph,
                                     Block &block) {
  size_t own = hasCondition ? 2 : 0;
  if (subgraph.getNumArguments() != own + carried.size() + slices.size())
    return copy.error() << "expected a subgraph of "
                        << own + carried.size() + slices.size()
                        << " inputs, but got " << subgraph.getNumArguments();
  Location loc = copy.loc();
  auto inputs = subgraph.getArguments();
  if (hasCondition) {
    // Both have one element, with or without a dim.
    for (auto [input, element, type] :
         {std::tuple(inputs[0], at, Type(b.getI64Type())),
          {inputs[1], IndexExpr(1), Type(b.getI1Type())}}) {
      auto declared = dyn_cast<RankedTensorType>(input.getType());
      Shape shape(declared && declared.getRank() == 1 ? 1 : 0, IndexExpr(1));
      graph.bind(input, graph.ofElements(element, shape, type));
    }
    inputs = inputs.drop_front(2);
  }
  for (const Carried &value : carried) {
    Value argument = block.addArgument(typeOf(value), loc);
    Shape shape = value.start->shape;
    for (auto [dim, varies] : llvm::enumerate(value.varies))
      if (varies)
        shape[dim] = ix.dimOf(loc, argument, dim);
    graph.bind(inputs.front(), graph.wrap(argument, shape));
    inputs = inputs.drop_front();
  }
  for (auto [input, all] : llvm::zip_equal(inputs, slices)) {
    Tensor whole = *all.tensor;
    Shape offsets(whole.rank(), IndexExpr(0)),
        sizes = whole.shape, strides(whole.rank(), IndexExpr(1));
    offsets[all.stack.axis] =
        all.stack.isReversed ? trips - IndexExpr(1) - at : at;
    sizes[all.stack.axis] = IndexExpr(1);
    Tensor slice = graph.slice(loc, whole, offsets, sizes, strides);
    sizes.erase(sizes.begin() + all.stack.axis);
    graph.bind(input, graph.reshape(loc, slice, sizes));
  }
  return success();
}

LogicalResult Repetition::readCondition(Node &copy, Tensor &output) {
  auto list = output.elementType.isInteger(1)
                  ? graph.elementsOf(copy.loc(), output)
                  : std::nullopt;
  if (!list || list->size() != 1)
    return copy.error() << "expected one bool as its condition, but got "
                        << graph.typeOf(output.shape, output.elementType);
  if (!list->front().is(1))
    goesOn = ix.condition(copy.loc(), list->front());
  else if (!count)
    return copy.error() << "nothing ends the loop";
  return success();
}

/// Notes which sizes do not stay as they were.
LogicalResult Repetition::carryOn(unsigned i, Tensor &output, bool &isStable) {
  Carried &value = carried[i];
  if (output.rank() != value.start->rank() ||
      output.elementType != value.start->elementType)
    return node.error() << "a step changes the type of what is carried as "
                        << "output " << i << ": " << typeOf(value) << " to "
                        << graph.typeOf(output.shape, output.elementType);
  for (auto [dim, size] : llvm::enumerate(output.shape))
    if (!value.varies[dim] && size != value.start->shape[dim]) {
      value.varies[dim] = true;
      isStable = false;
    }
  if (isStable)
    yielded.push_back(b.createOrFold<tensor::CastOp>(
        node.loc(), typeOf(value), graph.materialize(node.loc(), output)));
  return success();
}

/// Without a count that is known before, all slices are copied in each step.
LogicalResult Repetition::addSlice(Node &copy, Stack stack, Tensor &slice,
                                   Block &block) {
  Location loc = copy.loc();
  auto axis = copy.axis(stack.axis, slice.rank() + 1);
  if (!axis)
    return copy.error() << "axis " << stack.axis << " is out of range";
  Value value = graph.materialize(loc, slice);
  Shape full = slice.shape, one = slice.shape;
  IndexExpr place = stack.isReversed ? trips - IndexExpr(1) - at : at;
  full.insert(full.begin() + *axis, isEnded() ? at : trips);
  one.insert(one.begin() + *axis, IndexExpr(1));
  SmallVector<OpFoldResult> offsets(full.size(), b.getIndexAttr(0)),
      strides(full.size(), b.getIndexAttr(1));
  Value before = block.addArgument(graph.typeOf(full, slice.elementType), loc);
  Value whole = before;
  stacked.push_back({{*axis, stack.isReversed}, slice.elementType, full});
  if (isEnded()) {
    Shape larger = full;
    larger[*axis] = at + IndexExpr(1);
    whole = tensor::InsertSliceOp::create(
        b, loc, before, graph.empty(loc, larger, slice.elementType), offsets,
        ix.fold(loc, full), strides);
  }
  offsets[*axis] = ix.fold(loc, place);
  if (!isEmpty(slice.shape))
    whole = tensor::InsertSliceOp::create(b, loc, value, whole, offsets,
                                          ix.fold(loc, one), strides);
  if (isEnded())
    whole = b.createOrFold<tensor::CastOp>(loc, before.getType(), whole);
  yielded.push_back(whole);
  return success();
}

/// Converts a step into the region, whose block has the step's number and what
/// is carried as arguments, and no end.
LogicalResult Repetition::convert(Node &copy, Region &region, bool &isStable) {
  FailureOr<Block *> subgraph = subgraphOf(copy, "body");
  if (failed(subgraph))
    return failure();
  size_t first = hasCondition ? 1 : 0;
  size_t wanted = first + carried.size() + stacks.size();
  if ((*subgraph)->back().getNumOperands() != wanted)
    return copy.error() << "expected a subgraph of " << wanted
                        << " outputs, but got "
                        << (*subgraph)->back().getNumOperands();
  yielded.clear();
  stacked.clear();
  goesOn = {};
  Block &block = region.emplaceBlock();
  Graph::Scope scope(graph);
  b.setInsertionPointToStart(&block);
  at = ix.symbol(block.addArgument(b.getIndexType(), copy.loc()), 0);
  if (failed(bindInputs(copy, **subgraph, block)))
    return failure();
  auto outputs = graph.inlined(copy, **subgraph);
  if (failed(outputs) ||
      (hasCondition && failed(readCondition(copy, outputs->front()))))
    return failure();
  MutableArrayRef<Tensor> values(*outputs);
  for (auto [i, output] : llvm::enumerate(values.slice(first, carried.size())))
    if (failed(carryOn(i, output, isStable)))
      return failure();
  if (!isStable)
    return success();
  for (auto [stack, slice] :
       llvm::zip_equal(stacks, values.take_back(stacks.size()))) {
    for (const IndexExpr &size : slice.shape)
      if (!scope.indices.isOutside(size))
        return copy.error() << "the slices that its steps give have sizes that "
                               "are not known before the first";
    if (failed(addSlice(copy, stack, slice, block)))
      return failure();
  }
  return success();
}

FailureOr<SmallVector<Value>> Repetition::startValues() {
  Location loc = node.loc();
  SmallVector<Value> starts;
  for (const Carried &value : carried)
    starts.push_back(b.createOrFold<tensor::CastOp>(
        loc, typeOf(value), graph.materialize(loc, *value.start)));
  for (const Stacked &all : stacked) {
    Shape shape = all.shape;
    if (isEnded())
      shape[all.stack.axis] = IndexExpr(0);
    else if (failed(node.requireMemory(shape, all.elementType, trips)))
      return failure();
    starts.push_back(b.createOrFold<tensor::CastOp>(
        loc, graph.typeOf(all.shape, all.elementType),
        graph.empty(loc, shape, all.elementType)));
  }
  return starts;
}

SmallVector<Value> Repetition::emitFor(Region &step, ValueRange starts) {
  Location loc = node.loc();
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  auto loop =
      scf::ForOp::create(b, loc, zero, ix.value(loc, trips), one, starts);
  loop.getRegion().takeBody(step);
  OpBuilder end = OpBuilder::atBlockEnd(loop.getBody());
  scf::YieldOp::create(end, loc, yielded);
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value> Repetition::emitWhile(Region &step, ValueRange starts) {
  Location loc = node.loc();
  SmallVector<Value> carriedIn = {arith::ConstantIndexOp::create(b, loc, 0),
                                  ix.condition(loc, this->starts)};
  llvm::append_range(carriedIn, starts);
  SmallVector<Type> types(ValueRange(carriedIn).getTypes());
  std::optional<Value> most;
  if (count)
    most = ix.value(loc, *count);
  auto loop = scf::WhileOp::create(b, loc, types, carriedIn);
  SmallVector<Location> locs(types.size(), loc);
  Block *before = &loop.getBefore().emplaceBlock();
  before->addArguments(types, locs);
  OpBuilder first = OpBuilder::atBlockEnd(before);
  Value isNext = before->getArgument(1);
  if (most) {
    Value isInside = arith::CmpIOp::create(
        first, loc, arith::CmpIPredicate::slt, before->getArgument(0), *most);
    isNext = arith::AndIOp::create(first, loc, isInside, isNext);
  }
  scf::ConditionOp::create(first, loc, isNext, before->getArguments());
  loop.getAfter().takeBody(step);
  Block *after = loop.getAfterBody();
  after->insertArgument(1u, b.getI1Type(), loc);
  OpBuilder end = OpBuilder::atBlockEnd(after);
  Value one = arith::ConstantIndexOp::create(end, loc, 1);
  SmallVector<Value> next = {
      arith::AddIOp::create(end, loc, after->getArgument(0), one), goesOn};
  llvm::append_range(next, yielded);
  scf::YieldOp::create(end, loc, next);
  trips = ix.symbol(loop.getResult(0), 0);
  return SmallVector<Value>(loop.getResults().drop_front(2));
}

LogicalResult Repetition::run() {
  Location loc = node.loc();
  if (count)
    trips = ix.select(loc, starts, ix.max(loc, *count, 0), 0);
  // What steps read is made before them.
  for (const Carried &value : carried)
    graph.materialize(loc, *value.start);
  Region step;
  for (bool isStable = false; !isStable;) {
    Region region;
    Operation *copy = node.op->clone();
    llvm::scope_exit erase([&] {
      region.dropAllReferences();
      copy->erase();
    });
    Node copied(graph, copy);
    isStable = true;
    if (failed(convert(copied, region, isStable)))
      return failure();
    if (isStable)
      step.takeBody(region);
  }
  b.setInsertionPoint(node.op);
  FailureOr<SmallVector<Value>> starts = startValues();
  if (failed(starts))
    return failure();
  SmallVector<Value> results =
      isEnded() ? emitWhile(step, *starts) : emitFor(step, *starts);
  for (auto [i, value] : llvm::enumerate(carried)) {
    Shape shape = value.start->shape;
    for (auto [dim, varies] : llvm::enumerate(value.varies))
      if (varies)
        shape[dim] = ix.dimOf(loc, results[i], dim);
    node.set(i, graph.wrap(results[i], shape));
  }
  for (auto [i, all] : llvm::enumerate(stacked)) {
    Shape shape = all.shape;
    shape[all.stack.axis] = trips;
    unsigned output = carried.size() + i;
    node.set(output, graph.wrap(results[output], shape));
  }
  return success();
}

static Carried startingWith(Tensor &start) {
  return {&start, SmallVector<bool>(start.rank(), false)};
}

static LogicalResult lowerLoop(Node &node) {
  Repetition loop(node);
  loop.hasCondition = true;
  if (node.has(0)) {
    FailureOr<IndexExpr> count = node.scalar(0, "the number of steps");
    if (failed(count))
      return failure();
    loop.count = *count;
  }
  if (node.has(1)) {
    FailureOr<IndexExpr> starts = node.scalar(1, "the condition");
    if (failed(starts))
      return failure();
    loop.starts = *starts;
  }
  for (unsigned i = 2; i < node.numInputs(); ++i) {
    if (!node.has(i))
      return node.error() << "expected a tensor as operand " << i;
    loop.carried.push_back(startingWith(node.in(i)));
  }
  if (node.numOutputs() < loop.carried.size())
    return node.error() << "expected an output for each value that is carried";
  loop.stacks.resize(node.numOutputs() - loop.carried.size());
  return loop.run();
}

static LogicalResult lowerScan(Node &node) {
  int64_t numSlices = node.integer("num_scan_inputs", 0);
  int64_t numCarried = int64_t(node.numInputs()) - numSlices;
  if (numSlices < 1 || numCarried < 0 ||
      int64_t(node.numOutputs()) < numCarried)
    return node.error() << "expected num_scan_inputs to be some of its inputs, "
                           "and an output for each other";
  Repetition loop(node);
  auto stackOf = [&](StringRef axes, StringRef directions, size_t i) {
    auto axis = node.integers(axes), direction = node.integers(directions);
    return Stack{axis && i < axis->size() ? (*axis)[i] : 0,
                 direction && i < direction->size() && (*direction)[i] == 1};
  };
  for (int64_t i = 0; i < numCarried; ++i)
    loop.carried.push_back(startingWith(node.in(i)));
  for (int64_t i = 0; i < numSlices; ++i) {
    Tensor &all = node.in(numCarried + i);
    Stack stack = stackOf("scan_input_axes", "scan_input_directions", i);
    auto axis = node.axis(stack.axis, all.rank());
    if (!axis)
      return node.error() << "axis " << stack.axis << " is out of range";
    stack.axis = *axis;
    if (loop.count && failed(node.requireEqual(*loop.count, all.shape[*axis],
                                               "numbers of slices")))
      return failure();
    if (!loop.count)
      loop.count = all.shape[*axis];
    loop.slices.push_back({&all, stack});
  }
  for (int64_t i = 0; i < int64_t(node.numOutputs()) - numCarried; ++i)
    loop.stacks.push_back(
        stackOf("scan_output_axes", "scan_output_directions", i));
  return loop.run();
}

void mlir::megactx::registerLoops(Registry &registry) {
  registry["Loop"] = lowerLoop;
  registry["Scan"] = lowerScan;
}
