//===- Elementwise.cpp - one row per operator -----------------------------===//
//
// Every operator that computes an element from elements at the same place. To
// add one, write its scalar computation and a row of the table.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// What a scalar computation gets: the operands' elements, and the node for its
/// attributes.
struct Scalar {
  OpBuilder &b;
  Location loc;
  const Node &node;
  ValueRange in;

  Type type() const { return in.front().getType(); }
  bool isFloat() const { return isa<FloatType>(type()); }
  Value constant(double value) const {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type(), value));
  }
  Value zero() const {
    return arith::ConstantOp::create(b, loc, b.getZeroAttr(type()));
  }
  template <typename Op, typename... Args> Value make(Args &&...args) const {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }
  template <typename FloatOp, typename IntOp> Value binary() const {
    return isFloat() ? make<FloatOp>(in[0], in[1]) : make<IntOp>(in[0], in[1]);
  }
  Value compare(arith::CmpFPredicate f, arith::CmpIPredicate i) const {
    if (isFloat())
      return make<arith::CmpFOp>(f, in[0], in[1]);
    return make<arith::CmpIOp>(i, in[0], in[1]);
  }
};

using ScalarFn = Value (*)(const Scalar &);
enum class Result { Same, Bool };

struct Rule {
  StringRef op;
  /// Operands: exactly `count`, or one or more where it is 0 (folded in pairs).
  unsigned count;
  Result result;
  ScalarFn build;
};
} // namespace

static Value geluErf(const Scalar &s, Value x) {
  Value scaled = s.make<arith::MulFOp>(x, s.constant(0.70710678118654752));
  Value erf = s.make<math::ErfOp>(scaled);
  Value sum = s.make<arith::AddFOp>(erf, s.constant(1.0));
  Value half = s.make<arith::MulFOp>(x, s.constant(0.5));
  return s.make<arith::MulFOp>(half, sum);
}

static Value geluTanh(const Scalar &s, Value x) {
  Value square = s.make<arith::MulFOp>(x, x);
  Value cubic = s.make<arith::MulFOp>(square, s.constant(0.044715));
  Value factor = s.make<arith::AddFOp>(cubic, s.constant(1.0));
  Value inner = s.make<arith::MulFOp>(x, factor);
  inner = s.make<arith::MulFOp>(inner, s.constant(0.7978845608028654));
  Value tanh = s.make<math::TanhOp>(inner);
  Value sum = s.make<arith::AddFOp>(tanh, s.constant(1.0));
  Value half = s.make<arith::MulFOp>(x, s.constant(0.5));
  return s.make<arith::MulFOp>(half, sum);
}

static Value sigmoid(const Scalar &s, Value x) {
  Value exp = s.make<math::ExpOp>(s.make<arith::NegFOp>(x));
  Value sum = s.make<arith::AddFOp>(exp, s.constant(1.0));
  return s.make<arith::DivFOp>(s.constant(1.0), sum);
}

/// By the bits of the exponent; by floats where that is one.
static Value integerPower(const Scalar &s, Value base, Value exponent) {
  if (isa<FloatType>(exponent.getType())) {
    Value real = castScalar(s.b, s.loc, base, exponent.getType());
    return castScalar(s.b, s.loc, s.make<math::PowFOp>(real, exponent),
                      s.type());
  }
  Type type = s.type();
  exponent = castScalar(s.b, s.loc, exponent, type);
  Value zero = s.make<arith::ConstantIndexOp>(0);
  Value bits = s.make<arith::ConstantIndexOp>(type.getIntOrFloatBitWidth());
  Value step = s.make<arith::ConstantIndexOp>(1);
  Value one = s.make<arith::ConstantOp>(s.b.getIntegerAttr(type, 1));
  Value none = s.make<arith::ConstantOp>(s.b.getIntegerAttr(type, 0));
  auto loop = scf::ForOp::create(
      s.b, s.loc, zero, bits, step, ValueRange{one, base, exponent},
      [&](OpBuilder &b, Location l, Value, ValueRange so) {
        Value bit = arith::AndIOp::create(b, l, so[2], one);
        Value isSet =
            arith::CmpIOp::create(b, l, arith::CmpIPredicate::ne, bit, none);
        Value product = arith::MulIOp::create(b, l, so[0], so[1]);
        Value result = arith::SelectOp::create(b, l, isSet, product, so[0]);
        Value square = arith::MulIOp::create(b, l, so[1], so[1]);
        Value rest = arith::ShRUIOp::create(b, l, so[2], one);
        scf::YieldOp::create(b, l, ValueRange{result, square, rest});
      });
  return loop.getResult(0);
}

static Value power(const Scalar &s) {
  Value base = s.in[0], exponent = s.in[1];
  if (!s.isFloat())
    return integerPower(s, base, exponent);
  FloatAttr constant;
  if (auto op = exponent.getDefiningOp<arith::ConstantOp>()) {
    if (auto number = dyn_cast<FloatAttr>(op.getValue()))
      constant = number;
    else if (auto integer = dyn_cast<IntegerAttr>(op.getValue()))
      constant = s.b.getF64FloatAttr(integer.getValue().getSExtValue());
  }
  if (constant && constant.getValueAsDouble() == 2.0)
    return s.make<arith::MulFOp>(base, base);
  if (constant && constant.getValueAsDouble() == 3.0)
    return s.make<arith::MulFOp>(s.make<arith::MulFOp>(base, base), base);
  if (constant && constant.getValueAsDouble() == 0.5)
    return s.make<math::SqrtOp>(base);
  return s.make<math::PowFOp>(base, castScalar(s.b, s.loc, exponent, s.type()));
}

static Value modulo(const Scalar &s) {
  if (s.isFloat())
    return s.make<arith::RemFOp>(s.in[0], s.in[1]);
  Value remainder = s.make<arith::RemSIOp>(s.in[0], s.in[1]);
  if (s.node.integer("fmod", 0))
    return remainder;
  // The result takes the divisor's sign.
  Value sign = s.make<arith::XOrIOp>(remainder, s.in[1]);
  Value differs =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::slt, sign, s.zero());
  Value isNonZero =
      s.make<arith::CmpIOp>(arith::CmpIPredicate::ne, remainder, s.zero());
  Value adjust = s.make<arith::AndIOp>(differs, isNonZero);
  Value sum = s.make<arith::AddIOp>(remainder, s.in[1]);
  return s.make<arith::SelectOp>(adjust, sum, remainder);
}

static Value leakyRelu(const Scalar &s) {
  Value scaled =
      s.make<arith::MulFOp>(s.in[0], s.constant(s.node.real("alpha", 0.01)));
  Value isNegative =
      s.make<arith::CmpFOp>(arith::CmpFPredicate::OLT, s.in[0], s.zero());
  return s.make<arith::SelectOp>(isNegative, scaled, s.in[0]);
}

static Value softplus(const Scalar &s) {
  // max(x, 0) + log1p(exp(-|x|)) does not overflow.
  Value top = s.make<arith::MaximumFOp>(s.in[0], s.zero());
  Value magnitude = s.make<math::AbsFOp>(s.in[0]);
  Value exp = s.make<math::ExpOp>(s.make<arith::NegFOp>(magnitude));
  return s.make<arith::AddFOp>(top, s.make<math::Log1pOp>(exp));
}

static const Rule rules[] = {
    {"Add", 2, Result::Same,
     [](const Scalar &s) { return s.binary<arith::AddFOp, arith::AddIOp>(); }},
    {"Sub", 2, Result::Same,
     [](const Scalar &s) { return s.binary<arith::SubFOp, arith::SubIOp>(); }},
    {"Mul", 2, Result::Same,
     [](const Scalar &s) { return s.binary<arith::MulFOp, arith::MulIOp>(); }},
    {"Div", 2, Result::Same,
     [](const Scalar &s) { return s.binary<arith::DivFOp, arith::DivSIOp>(); }},
    {"Sum", 0, Result::Same,
     [](const Scalar &s) { return s.binary<arith::AddFOp, arith::AddIOp>(); }},
    {"Max", 0, Result::Same,
     [](const Scalar &s) {
       return s.binary<arith::MaximumFOp, arith::MaxSIOp>();
     }},
    {"Min", 0, Result::Same,
     [](const Scalar &s) {
       return s.binary<arith::MinimumFOp, arith::MinSIOp>();
     }},
    {"Pow", 2, Result::Same, power},
    {"Mod", 2, Result::Same, modulo},
    {"Abs", 1, Result::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<math::AbsFOp>(s.in[0])
                          : s.make<math::AbsIOp>(s.in[0]);
     }},
    {"Neg", 1, Result::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<arith::NegFOp>(s.in[0])
                          : s.make<arith::SubIOp>(s.zero(), s.in[0]);
     }},
    {"Sqrt", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::SqrtOp>(s.in[0]); }},
    {"Reciprocal", 1, Result::Same,
     [](const Scalar &s) {
       return s.make<arith::DivFOp>(s.constant(1.0), s.in[0]);
     }},
    {"Erf", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::ErfOp>(s.in[0]); }},
    {"Tanh", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::TanhOp>(s.in[0]); }},
    {"Sigmoid", 1, Result::Same,
     [](const Scalar &s) { return sigmoid(s, s.in[0]); }},
    {"Exp", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::ExpOp>(s.in[0]); }},
    {"Log", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::LogOp>(s.in[0]); }},
    {"Sin", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::SinOp>(s.in[0]); }},
    {"Cos", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::CosOp>(s.in[0]); }},
    {"Floor", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::FloorOp>(s.in[0]); }},
    {"Ceil", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::CeilOp>(s.in[0]); }},
    {"Round", 1, Result::Same,
     [](const Scalar &s) { return s.make<math::RoundEvenOp>(s.in[0]); }},
    {"Relu", 1, Result::Same,
     [](const Scalar &s) {
       return s.isFloat() ? s.make<arith::MaximumFOp>(s.in[0], s.zero())
                          : s.make<arith::MaxSIOp>(s.in[0], s.zero());
     }},
    {"LeakyRelu", 1, Result::Same, leakyRelu},
    {"Softplus", 1, Result::Same, softplus},
    {"Gelu", 1, Result::Same,
     [](const Scalar &s) {
       return s.node.string("approximate", "none") == "tanh"
                  ? geluTanh(s, s.in[0])
                  : geluErf(s, s.in[0]);
     }},
    {"And", 2, Result::Bool,
     [](const Scalar &s) { return s.make<arith::AndIOp>(s.in[0], s.in[1]); }},
    {"Or", 2, Result::Bool,
     [](const Scalar &s) { return s.make<arith::OrIOp>(s.in[0], s.in[1]); }},
    {"Xor", 2, Result::Bool,
     [](const Scalar &s) { return s.make<arith::XOrIOp>(s.in[0], s.in[1]); }},
    {"Not", 1, Result::Bool,
     [](const Scalar &s) {
       Value one = s.make<arith::ConstantIntOp>(1, 1);
       return s.make<arith::XOrIOp>(s.in[0], one);
     }},
    {"Equal", 2, Result::Bool,
     [](const Scalar &s) {
       return s.compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq);
     }},
    {"Less", 2, Result::Bool,
     [](const Scalar &s) {
       return s.compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt);
     }},
    {"LessOrEqual", 2, Result::Bool,
     [](const Scalar &s) {
       return s.compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle);
     }},
    {"Greater", 2, Result::Bool,
     [](const Scalar &s) {
       return s.compare(arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt);
     }},
    {"GreaterOrEqual", 2, Result::Bool,
     [](const Scalar &s) {
       return s.compare(arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge);
     }},
    {"IsNaN", 1, Result::Bool,
     [](const Scalar &s) {
       return s.make<arith::CmpFOp>(arith::CmpFPredicate::UNO, s.in[0],
                                    s.in[0]);
     }},
};

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
  // fmod or not, where nothing is negative.
  if (op == "Mod" && ix.isNonNegative(x[0]) && ix.isNonNegative(x[1]))
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
  if (!count || *count > 64 || !isa<IntegerType>(elementType))
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

static FailureOr<SmallVector<Tensor *>> operands(Node &node, unsigned count) {
  SmallVector<Tensor *> inputs;
  for (unsigned i = 0; i < node.numInputs(); ++i)
    if (node.has(i))
      inputs.push_back(&node.in(i));
  if (inputs.empty() || (count && inputs.size() != count))
    return node.error() << "expected " << std::max(count, 1u)
                        << " operands, but got " << inputs.size();
  for (Tensor *input : inputs)
    if (Type type = input->elementType;
        !isa<FloatType>(type) && !type.isSignlessInteger())
      return node.error() << "element type " << type << " has no lowering";
  return inputs;
}

static LogicalResult lowerRule(Node &node) {
  static const llvm::StringMap<const Rule *> byName = [] {
    llvm::StringMap<const Rule *> map;
    for (const Rule &rule : rules)
      map[rule.op] = &rule;
    return map;
  }();
  const Rule &rule = *byName.lookup(node.type());
  auto inputs = operands(node, rule.count);
  if (failed(inputs))
    return failure();
  auto shape = node.graph.broadcastShape(node, *inputs);
  if (failed(shape))
    return failure();
  Type elementType = rule.result == Result::Bool
                         ? Type(node.graph.b.getI1Type())
                         : inputs->front()->elementType;
  if (auto known = lowerSymbolic(node, *inputs, *shape, elementType)) {
    node.set(0, *known);
    return success();
  }
  node.set(0, node.graph.map(node.loc(), *inputs, *shape, elementType,
                             [&](OpBuilder &b, Location loc, ValueRange args) {
                               if (rule.count)
                                 return rule.build({b, loc, node, args});
                               Value result = args[0];
                               for (Value next : args.drop_front()) {
                                 Value pair[] = {result, next};
                                 result = rule.build({b, loc, node, pair});
                               }
                               return result;
                             }));
  return success();
}

static LogicalResult lowerWhere(Node &node) {
  auto inputs = operands(node, 3);
  if (failed(inputs))
    return failure();
  auto shape = node.graph.broadcastShape(node, *inputs);
  if (failed(shape))
    return failure();
  Type elementType = (*inputs)[1]->elementType;
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

static LogicalResult lowerClip(Node &node) {
  SmallVector<Tensor *> inputs{&node.in(0)};
  bool hasMin = node.has(1), hasMax = node.has(2);
  for (unsigned i : {1u, 2u})
    if (node.has(i))
      inputs.push_back(&node.in(i));
  Type elementType = inputs[0]->elementType;
  Shape shape = inputs[0]->shape;
  node.set(
      0,
      node.graph.map(
          node.loc(), inputs, shape, elementType,
          [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
            bool isFloat = isa<FloatType>(elementType);
            Value x = args[0];
            if (hasMin)
              x = isFloat
                      ? arith::MaximumFOp::create(b, loc, x, args[1])
                            .getResult()
                      : arith::MaxSIOp::create(b, loc, x, args[1]).getResult();
            if (hasMax)
              x = isFloat ? arith::MinimumFOp::create(b, loc, x, args.back())
                                .getResult()
                          : arith::MinSIOp::create(b, loc, x, args.back())
                                .getResult();
            return x;
          }));
  return success();
}

static LogicalResult lowerCast(Node &node) {
  Type to;
  if (auto type = dyn_cast<RankedTensorType>(node.op->getResult(0).getType()))
    to = type.getElementType();
  else if (node.type() == "CastLike")
    to = node.in(1).elementType;
  Type from = node.in(0).elementType;
  if (!to || !isNumber(to) || !isNumber(from))
    return node.error() << "no cast from " << from << " to " << to;
  node.set(0, node.graph.cast(node.loc(), node.in(0), to));
  return success();
}

void mlir::megactx::registerElementwise(Registry &registry) {
  for (const Rule &rule : rules)
    registry[rule.op] = lowerRule;
  registry["Where"] = lowerWhere;
  registry["Clip"] = lowerClip;
  registry["Cast"] = lowerCast;
  registry["CastLike"] = lowerCast;
}
