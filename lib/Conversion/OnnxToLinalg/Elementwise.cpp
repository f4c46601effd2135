//===- Elementwise.cpp - operators of elements at the same place ----------===//
//
// To add one, write its scalar computation and a row of a table: Arithmetic.cpp
// or Functions.cpp.
//
//===----------------------------------------------------------------------===//

#include "Elementwise.h"

using namespace mlir;
using namespace mlir::megactx;

/// The rule on small integer tensors of known contents; null where it has none.
static std::optional<IndexExpr> symbolic(Node &node, ArrayRef<IndexExpr> x) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  auto compare = [&](Compare kind) {
    return ix.compare(loc, kind, x[0], x[1]);
  };
  StringRef op = node.type();
  if (op == "Add")
    return x[0] + x[1];
  if (op == "Sub")
    return x[0] - x[1];
  if (op == "Mul" || op == "And")
    return x[0] * x[1];
  // ONNX truncates, which is the floor where nothing is negative.
  if (op == "Div" && ix.isNonNegative(x[0]) && ix.isNonNegative(x[1]))
    return ix.floorDiv(loc, x[0], x[1]);
  // fmod or not, where nothing is negative; else the sign is the divisor's.
  if (op == "Mod" && ix.isNonNegative(x[1]) &&
      (ix.isNonNegative(x[0]) || node.integer("fmod", 0) == 0))
    return ix.mod(loc, x[0], x[1]);
  if (op == "Neg")
    return IndexExpr(0) - x[0];
  if (op == "Not")
    return IndexExpr(1) - x[0];
  if (op == "Max" && x.size() == 2)
    return ix.max(loc, x[0], x[1]);
  if (op == "Min" && x.size() == 2)
    return ix.min(loc, x[0], x[1]);
  if (op == "Equal")
    return compare(Compare::Eq);
  if (op == "Less")
    return compare(Compare::Lt);
  if (op == "LessOrEqual")
    return compare(Compare::Le);
  if (op == "Greater")
    return compare(Compare::Gt);
  if (op == "GreaterOrEqual")
    return compare(Compare::Ge);
  if (op == "Where")
    return ix.select(loc, x[0], x[1], x[2]);
  return std::nullopt;
}

/// The element of a tensor of known contents that broadcasting puts at `at`.
static const IndexExpr &elementAt(const Tensor &tensor, ArrayRef<int64_t> at) {
  int64_t linear = 0, skip = at.size() - tensor.rank();
  for (int64_t i = 0; i < tensor.rank(); ++i) {
    int64_t size = *tensor.shape[i].constant();
    linear = linear * size + (size == 1 ? 0 : at[skip + i]);
  }
  return (*tensor.elements)[linear];
}

/// The whole node on known contents.
static std::optional<Tensor> lowerSymbolic(Node &node,
                                           ArrayRef<Tensor *> inputs,
                                           ArrayRef<IndexExpr> shape,
                                           Type elementType) {
  Tensor probe;
  probe.shape.assign(shape.begin(), shape.end());
  auto count = probe.staticCount();
  if (!count || *count > 64 || !holdsExpressions(elementType))
    return std::nullopt;
  for (Tensor *input : inputs)
    if (!input->elements)
      return std::nullopt;
  SmallVector<IndexExpr> results;
  SmallVector<int64_t> at(shape.size());
  for (int64_t i = 0; i < *count; ++i) {
    int64_t rest = i;
    for (int64_t d = shape.size() - 1; d >= 0; --d) {
      at[d] = rest % *shape[d].constant();
      rest /= *shape[d].constant();
    }
    SmallVector<IndexExpr> operands;
    for (Tensor *input : inputs)
      operands.push_back(elementAt(*input, at));
    auto result = symbolic(node, operands);
    if (!result)
      return std::nullopt;
    results.push_back(*result);
  }
  return node.graph.ofElements(results, shape, elementType);
}

static bool isTaken(Takes takes, Type type) {
  bool isBool = type.isInteger(1);
  switch (takes) {
  case Takes::Numbers:
    return !isBool;
  case Takes::Floats:
    return isa<FloatType>(type);
  case Takes::Integers:
    return isa<IntegerType>(type) && !isBool;
  case Takes::Bools:
    return isBool;
  case Takes::All:
    return true;
  }
  llvm_unreachable("every kind is handled above");
}

static FailureOr<SmallVector<Tensor *>> operands(Node &node, unsigned count) {
  SmallVector<Tensor *> inputs;
  for (unsigned i = 0; i < node.numInputs(); ++i)
    if (node.has(i))
      inputs.push_back(&node.in(i));
  if (inputs.empty() || (count && inputs.size() != count))
    return node.error() << "expected " << std::max(count, 1u)
                        << " operands, but got " << inputs.size();
  for (Tensor *input : inputs)
    if (Type type = input->elementType; !isNumber(type))
      return node.error() << "element type " << type << " has no lowering";
  return inputs;
}

/// Of one type, but for exponents, which have any.
static LogicalResult checkTypes(Node &node, ArrayRef<Tensor *> inputs,
                                Takes takes) {
  Type first = inputs.front()->elementType;
  for (Tensor *input : inputs) {
    if (!isTaken(takes, input->elementType))
      return node.error() << "element type " << input->elementType
                          << " has no lowering";
    if (input->elementType != first && node.type() != "Pow")
      return node.error() << "operands are of " << first << " and of "
                          << input->elementType;
  }
  return success();
}

/// Functions of f16 and bf16 compute in f32 and round once.
static bool isWidened(const Rule &rule, Type type) {
  return rule.takes == Takes::Floats && rule.gives == Gives::Same &&
         accumulatorType(type) != type;
}

/// One element per place with the rule's computation, in pairs where there may
/// be any number of operands.
static Value apply(const Rule &rule, Node &node, OpBuilder &b, Location loc,
                   ValueRange args, Type elementType) {
  Type first = args.front().getType();
  SmallVector<Value> bits;
  for (Value arg : args)
    bits.push_back(bitsAs(b, loc, arg, signlessOf(arg.getType())));
  bool isUnsigned = first.isUnsignedInteger();
  if (isWidened(rule, first)) {
    for (Value &operand : bits)
      operand = castScalar(b, loc, operand, accumulatorType(first));
    Value result = rule.build({b, loc, node, bits, isUnsigned});
    return castScalar(b, loc, result, elementType);
  }
  if (rule.count)
    return bitsAs(b, loc, rule.build({b, loc, node, bits, isUnsigned}),
                  elementType);
  Value result = bits[0];
  for (Value next : ArrayRef(bits).drop_front()) {
    Value pair[] = {result, next};
    result = rule.build({b, loc, node, pair, isUnsigned});
  }
  return bitsAs(b, loc, result, elementType);
}

static const Rule *ruleOf(StringRef op) {
  static const llvm::StringMap<const Rule *> byName = [] {
    llvm::StringMap<const Rule *> map;
    for (ArrayRef<Rule> rules : {arithmeticRules(), functionRules()})
      for (const Rule &rule : rules)
        map[rule.op] = &rule;
    return map;
  }();
  return byName.lookup(op);
}

static LogicalResult lowerRule(Node &node) {
  const Rule &rule = *ruleOf(node.type());
  auto inputs = operands(node, rule.count);
  if (failed(inputs) || failed(checkTypes(node, *inputs, rule.takes)))
    return failure();
  auto shape = node.graph.broadcastShape(node, *inputs);
  if (failed(shape))
    return failure();
  Type elementType = rule.gives == Gives::Bool ? Type(node.graph.b.getI1Type())
                                               : inputs->front()->elementType;
  if (auto known = lowerSymbolic(node, *inputs, *shape, elementType)) {
    node.set(0, *known);
    return success();
  }
  node.set(0, node.graph.map(node.loc(), *inputs, *shape, elementType,
                             [&](OpBuilder &b, Location loc, ValueRange args) {
                               return apply(rule, node, b, loc, args,
                                            elementType);
                             }));
  return success();
}

/// The mean of any number of floats.
static LogicalResult lowerMean(Node &node) {
  auto inputs = operands(node, 0);
  if (failed(inputs) || failed(checkTypes(node, *inputs, Takes::Floats)))
    return failure();
  auto shape = node.graph.broadcastShape(node, *inputs);
  if (failed(shape))
    return failure();
  Type type = inputs->front()->elementType;
  node.set(0, node.graph.map(
                  node.loc(), *inputs, *shape, type,
                  [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                    Value sum = args[0];
                    for (Value next : args.drop_front())
                      sum = arith::AddFOp::create(b, loc, sum, next);
                    Value count = arith::ConstantOp::create(
                        b, loc, b.getFloatAttr(type, double(args.size())));
                    return arith::DivFOp::create(b, loc, sum, count);
                  }));
  return success();
}

static LogicalResult lowerWhere(Node &node) {
  auto inputs = operands(node, 3);
  if (failed(inputs))
    return failure();
  Type elementType = (*inputs)[1]->elementType;
  if (!(*inputs)[0]->elementType.isInteger(1) ||
      (*inputs)[2]->elementType != elementType)
    return node.error() << "expected a bool and two values of one type";
  auto shape = node.graph.broadcastShape(node, *inputs);
  if (failed(shape))
    return failure();
  auto known = lowerSymbolic(node, *inputs, *shape, elementType);
  node.set(0, known ? *known
                    : node.graph.map(node.loc(), *inputs, *shape, elementType,
                                     [](OpBuilder &b, Location loc,
                                        ValueRange args) -> Value {
                                       return arith::SelectOp::create(
                                           b, loc, args[0], args[1], args[2]);
                                     }));
  return success();
}

/// max(x, low), then min(x, high): the rules of Max and Min.
static LogicalResult lowerClip(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  SmallVector<Tensor> bounds;
  SmallVector<const Rule *> rules;
  for (unsigned i : {1u, 2u}) {
    if (!node.has(i))
      continue;
    if (node.in(i).staticCount() != 1 ||
        node.in(i).elementType != node.in(0).elementType)
      return node.error() << "expected bounds to be scalars of the data's type";
    bounds.push_back(graph.reshape(loc, node.in(i), {}));
    rules.push_back(ruleOf(i == 1 ? "Max" : "Min"));
  }
  SmallVector<Tensor *> inputs{&node.in(0)};
  for (Tensor &bound : bounds)
    inputs.push_back(&bound);
  if (failed(checkTypes(node, inputs, Takes::Numbers)))
    return failure();
  Type type = node.in(0).elementType;
  Shape shape = node.in(0).shape;
  node.set(0, graph.map(loc, inputs, shape, type,
                        [&](OpBuilder &b, Location l, ValueRange args) {
                          Value x = args[0];
                          for (auto [i, rule] : llvm::enumerate(rules))
                            x = apply(*rule, node, b, l, {x, args[i + 1]},
                                      type);
                          return x;
                        }));
  return success();
}

static LogicalResult lowerCast(Node &node) {
  Type to;
  if (auto type = dyn_cast<TensorType>(node.op->getResult(0).getType()))
    to = type.getElementType();
  else if (node.type() == "CastLike")
    to = node.in(1).elementType;
  Type from = node.in(0).elementType;
  if (!to)
    return node.error() << "no cast to a type that has no lowering";
  if (!isNumber(to) || !isNumber(from))
    return node.error() << "no cast from " << from << " to " << to;
  node.set(0, node.graph.cast(node.loc(), node.in(0), to));
  return success();
}

/// The same bits as another type.
static LogicalResult lowerBitCast(Node &node) {
  auto result = dyn_cast<RankedTensorType>(node.op->getResult(0).getType());
  Type from = node.in(0).elementType;
  Type to = result ? result.getElementType() : Type();
  bool isBool = from.isInteger(1) || (to && to.isInteger(1));
  if (!to || !isNumber(to) || !isNumber(from) || (isBool && from != to) ||
      from.getIntOrFloatBitWidth() != to.getIntOrFloatBitWidth())
    return node.error() << "no cast of bits from " << from << " to " << to;
  Shape shape = node.in(0).shape;
  node.set(0, node.graph.map(
                  node.loc(), {&node.in(0)}, shape, to,
                  [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                    Value bits = bitsAs(b, loc, args[0], signlessOf(from));
                    if (signlessOf(from) != signlessOf(to))
                      bits = arith::BitcastOp::create(b, loc, signlessOf(to),
                                                      bits);
                    return bitsAs(b, loc, bits, to);
                  }));
  return success();
}

void mlir::megactx::registerElementwise(Registry &registry) {
  for (ArrayRef<Rule> rules : {arithmeticRules(), functionRules()})
    for (const Rule &rule : rules)
      registry[rule.op] = lowerRule;
  registry["Mean"] = lowerMean;
  registry["Where"] = lowerWhere;
  registry["Clip"] = lowerClip;
  registry["Cast"] = lowerCast;
  registry["CastLike"] = lowerCast;
  registry["BitCast"] = lowerBitCast;
}
