//===- Node.cpp - a node's operands, attributes and checks ----------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;

StringRef Node::type() const {
  StringRef name = op->getName().getStringRef();
  name.consume_front("onnx.");
  return name;
}

bool Node::has(unsigned i) const {
  return i < op->getNumOperands() &&
         !isa<NoneType>(op->getOperand(i).getType());
}

Tensor &Node::in(unsigned i) const {
  Tensor *tensor = graph.lookup(op->getOperand(i));
  assert(tensor && "every operand was converted before");
  return *tensor;
}

bool Node::wants(unsigned i) const {
  return i < op->getNumResults() && !op->getResult(i).use_empty();
}

void Node::set(unsigned i, Tensor tensor) {
  if (i < op->getNumResults())
    graph.bind(op->getResult(i), std::move(tensor));
}

int64_t Node::integer(StringRef name, int64_t otherwise) const {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getValue().getSExtValue() : otherwise;
}

double Node::real(StringRef name, double otherwise) const {
  auto attr = op->getAttrOfType<FloatAttr>(name);
  return attr ? attr.getValueAsDouble() : otherwise;
}

std::optional<SmallVector<int64_t>> Node::integers(StringRef name) const {
  if (auto attr = op->getAttrOfType<DenseI64ArrayAttr>(name))
    return SmallVector<int64_t>(attr.asArrayRef());
  return std::nullopt;
}

StringRef Node::string(StringRef name, StringRef otherwise) const {
  auto attr = op->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : otherwise;
}

std::optional<int64_t> Node::axis(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

FailureOr<int64_t> Node::axisOfNumbers(int64_t otherwise) const {
  Tensor &data = in(0);
  auto known = axis(integer("axis", otherwise), data.rank());
  if (!known || !isNumber(data.elementType) || data.elementType.isInteger(1))
    return error() << "expected numbers and an axis in range";
  return *known;
}

FailureOr<SmallVector<IndexExpr>> Node::axisFlags(ArrayRef<IndexExpr> axes,
                                                  int64_t rank) const {
  SmallVector<IndexExpr> flags(rank, IndexExpr(0));
  bool isKnown = true;
  for (const IndexExpr &given : axes) {
    if (auto constant = given.constant()) {
      auto known = axis(*constant, rank);
      if (!known)
        return error() << "axis " << *constant << " is out of range";
      if (!flags[*known].is(0))
        return error() << "axes are not distinct";
      flags[*known] = IndexExpr(1);
      continue;
    }
    isKnown = false;
    for (int64_t d = 0; d < rank; ++d)
      for (int64_t name : {d, d - rank})
        flags[d] = flags[d] +
                   graph.ix.compare(loc(), Compare::Eq, given, IndexExpr(name));
    IndexExpr low = given + IndexExpr(rank), high = IndexExpr(rank - 1) - given;
    for (const IndexExpr &distance : {low, high})
      graph.check(loc(), graph.ix.compare(loc(), Compare::Ge, distance, 0),
                  "an axis of " + type() + " is out of range");
  }
  for (IndexExpr &flag : flags)
    if (!isKnown && !flag.constant())
      graph.check(loc(),
                  graph.ix.compare(loc(), Compare::Ge, IndexExpr(1) - flag, 0),
                  "axes of " + type() + " are not distinct");
  return flags;
}

FailureOr<IndexExpr> Node::scalar(unsigned i, StringRef what) const {
  auto list = graph.elementsOf(loc(), in(i));
  if (!list || list->size() != 1)
    return error() << "expected " << what << " to be a scalar";
  return list->front();
}

LogicalResult Node::requireEqual(const IndexExpr &a, const IndexExpr &c,
                                 StringRef what) const {
  IndexSpace &ix = graph.ix;
  if (ix.decide(Compare::Eq, a, c) == false) {
    InFlightDiagnostic report = error() << what << " differ";
    if (a.constant() && c.constant())
      report << ": " << *a.constant() << " and " << *c.constant();
    return report;
  }
  graph.check(loc(), ix.compare(loc(), Compare::Eq, a, c),
              what + " of " + type() + " differ");
  return success();
}

LogicalResult Node::requireSize(const IndexExpr &size) const {
  IndexSpace &ix = graph.ix;
  if (size.constant().value_or(0) < 0)
    return error() << "the result has a size of " << *size.constant();
  graph.check(loc(), ix.compare(loc(), Compare::Ge, size, 0),
              "a size computed by " + type() + " is negative");
  return success();
}

LogicalResult Node::requireMemory(ArrayRef<IndexExpr> shape, Type elementType,
                                  ArrayRef<IndexExpr> numbers) const {
  // As floats, whose products do not wrap.
  constexpr double most = int64_t(1) << 47;
  unsigned bits =
      elementType.isIntOrFloat() ? elementType.getIntOrFloatBitWidth() : 64;
  double known = llvm::divideCeil(bits, 8);
  SmallVector<IndexExpr> rest;
  for (const IndexExpr &size : shape)
    if (auto constant = size.constant())
      known *= double(*constant);
    else
      rest.push_back(size);
  if (rest.empty()) {
    if (known > most)
      return error() << "its result does not fit into memory";
    return success();
  }
  if (llvm::all_of(numbers, [&](const IndexExpr &number) {
        return graph.ix.isNonNegative(number);
      }))
    return success();
  OpBuilder &b = graph.b;
  auto real = [&](double value) {
    return arith::ConstantOp::create(b, loc(), b.getF64FloatAttr(value));
  };
  Value bytes = real(known);
  for (const IndexExpr &size : rest) {
    Value number = arith::IndexCastOp::create(b, loc(), b.getI64Type(),
                                              graph.ix.value(loc(), size));
    bytes = arith::MulFOp::create(
        b, loc(), bytes,
        arith::SIToFPOp::create(b, loc(), b.getF64Type(), number));
  }
  graph.check(loc(),
              arith::CmpFOp::create(b, loc(), arith::CmpFPredicate::OLE, bytes,
                                    real(most)),
              "a result of " + type() + " does not fit into memory");
  return success();
}

InFlightDiagnostic Node::error() const {
  auto name = op->getLoc()->findInstanceOf<NameLoc>();
  return op->emitError() << "cannot lower node '"
                         << (name ? name.getName().strref() : "") << "' ("
                         << type() << "): ";
}
