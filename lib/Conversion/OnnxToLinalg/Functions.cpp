//===- Functions.cpp - elementwise operators of floats ------------------------
//===//

#include "Elementwise.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::megactx;

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

static Value isInfinite(const Scalar &s) {
  auto infinity = [&](bool isNegative) {
    auto type = cast<FloatType>(s.type());
    Value bound = s.make<arith::ConstantOp>(s.b.getFloatAttr(
        type, APFloat::getInf(type.getFloatSemantics(), isNegative)));
    return s.make<arith::CmpFOp>(arith::CmpFPredicate::OEQ, s.in[0], bound);
  };
  Value none = s.make<arith::ConstantIntOp>(0, 1);
  bool negative = s.node.integer("detect_negative", 1);
  bool positive = s.node.integer("detect_positive", 1);
  return s.make<arith::OrIOp>(negative ? infinity(true) : none,
                              positive ? infinity(false) : none);
}

static const Rule rules[] = {
    {"Sqrt", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::SqrtOp>(s.in[0]); }},
    {"Reciprocal", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) {
       return s.make<arith::DivFOp>(s.constant(1.0), s.in[0]);
     }},
    {"Exp", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::ExpOp>(s.in[0]); }},
    {"Log", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::LogOp>(s.in[0]); }},
    {"Erf", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::ErfOp>(s.in[0]); }},
    {"Sin", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::SinOp>(s.in[0]); }},
    {"Cos", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::CosOp>(s.in[0]); }},
    {"Tan", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::TanOp>(s.in[0]); }},
    {"Asin", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AsinOp>(s.in[0]); }},
    {"Acos", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AcosOp>(s.in[0]); }},
    {"Atan", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AtanOp>(s.in[0]); }},
    {"Sinh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::SinhOp>(s.in[0]); }},
    {"Cosh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::CoshOp>(s.in[0]); }},
    {"Tanh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::TanhOp>(s.in[0]); }},
    {"Asinh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AsinhOp>(s.in[0]); }},
    {"Acosh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AcoshOp>(s.in[0]); }},
    {"Atanh", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::AtanhOp>(s.in[0]); }},
    {"Floor", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::FloorOp>(s.in[0]); }},
    {"Ceil", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::CeilOp>(s.in[0]); }},
    {"Round", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return s.make<math::RoundEvenOp>(s.in[0]); }},
    {"Sigmoid", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) { return sigmoid(s, s.in[0]); }},
    {"LeakyRelu", 1, Takes::Floats, Gives::Same, leakyRelu},
    {"Softplus", 1, Takes::Floats, Gives::Same, softplus},
    {"Gelu", 1, Takes::Floats, Gives::Same,
     [](const Scalar &s) {
       return s.node.string("approximate", "none") == "tanh"
                  ? geluTanh(s, s.in[0])
                  : geluErf(s, s.in[0]);
     }},
    {"IsNaN", 1, Takes::Floats, Gives::Bool,
     [](const Scalar &s) {
       return s.make<arith::CmpFOp>(arith::CmpFPredicate::UNO, s.in[0],
                                    s.in[0]);
     }},
    {"IsInf", 1, Takes::Floats, Gives::Bool, isInfinite},
};

ArrayRef<Rule> mlir::megactx::functionRules() { return rules; }
