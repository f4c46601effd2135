//===- ActivatedSum.cpp - elementwise ops that are epilogues --------------===//
//
// Bodies are compared as polynomials in the op's inputs and in one tanh, so
// that neither order nor grouping of their ops matter.
//
//===----------------------------------------------------------------------===//

#include "ActivatedSum.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include <cmath>
#include <map>
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// Exponents of the inputs, in order, and of the tanh.
using Monomial = std::vector<unsigned>;
using Polynomial = std::map<Monomial, double>;

/// A body's values as polynomials; none where one is not.
class Body {
public:
  explicit Body(linalg::GenericOp op)
      : block(op.getBody()), inputs(op.getNumDpsInputs()) {}

  std::optional<Polynomial> valueOf(Value value);
  Polynomial input(unsigned number) const { return {{power(number, 1), 1.0}}; }
  /// Of the tanh with this factor.
  Polynomial tanhTimes(const Polynomial &factor) const {
    return times(factor, {{power(inputs, 1), 1.0}});
  }
  bool hasTanhOf(const Polynomial &x) const;

  static Polynomial sum(Polynomial a, const Polynomial &b, double factor = 1);
  static Polynomial times(const Polynomial &a, const Polynomial &b);
  static bool areClose(const Polynomial &a, const Polynomial &b);

private:
  /// Longer ones are no activation.
  static constexpr size_t kMostTerms = 16;
  static constexpr unsigned kMostFactors = 4;

  Monomial power(unsigned variable, unsigned exponent) const {
    Monomial monomial(inputs + 1);
    monomial[variable] = exponent;
    return monomial;
  }
  std::optional<Polynomial> resultOf(Operation *op);
  std::optional<Polynomial> powerOf(Value base, double exponent);
  std::optional<Polynomial> tanhOf(Value x);

  Block *block;
  unsigned inputs;
  std::optional<Polynomial> inTanh;
};
} // namespace

Polynomial Body::sum(Polynomial a, const Polynomial &b, double factor) {
  for (const auto &[monomial, coefficient] : b)
    if ((a[monomial] += factor * coefficient) == 0)
      a.erase(monomial);
  return a;
}

Polynomial Body::times(const Polynomial &a, const Polynomial &b) {
  Polynomial product;
  for (const auto &[x, p] : a)
    for (const auto &[y, q] : b) {
      Monomial both = x;
      for (size_t i = 0; i < both.size(); ++i)
        both[i] += y[i];
      product[both] += p * q;
    }
  return product;
}

bool Body::areClose(const Polynomial &a, const Polynomial &b) {
  constexpr double kTolerance = 1.0 / 256;
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](const auto &x, const auto &y) {
                      return x.first == y.first &&
                             std::fabs(x.second - y.second) <=
                                 kTolerance * std::fabs(y.second);
                    });
}

bool Body::hasTanhOf(const Polynomial &x) const {
  return inTanh && areClose(*inTanh, x);
}

std::optional<Polynomial> Body::tanhOf(Value x) {
  std::optional<Polynomial> argument = valueOf(x);
  if (!argument || (inTanh && *inTanh != *argument))
    return std::nullopt;
  inTanh = argument;
  return Polynomial{{power(inputs, 1), 1.0}};
}

std::optional<Polynomial> Body::powerOf(Value base, double exponent) {
  std::optional<Polynomial> x = valueOf(base);
  if (!x || exponent != std::floor(exponent) || exponent < 1 ||
      exponent > kMostFactors)
    return std::nullopt;
  Polynomial result = *x;
  for (int i = 1; i < int(exponent) && result.size() <= kMostTerms; ++i)
    result = times(result, *x);
  return result;
}

std::optional<Polynomial> Body::resultOf(Operation *op) {
  if (isa<arith::ExtFOp, arith::TruncFOp>(op))
    return valueOf(op->getOperand(0));
  if (isa<math::TanhOp>(op))
    return tanhOf(op->getOperand(0));
  if (isa<math::PowFOp, math::FPowIOp>(op)) {
    APFloat real(0.0);
    APInt whole;
    if (matchPattern(op->getOperand(1), m_ConstantFloat(&real)))
      return powerOf(op->getOperand(0), real.convertToDouble());
    if (matchPattern(op->getOperand(1), m_ConstantInt(&whole)))
      return powerOf(op->getOperand(0), double(whole.getSExtValue()));
    return std::nullopt;
  }
  if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp>(op))
    return std::nullopt;
  std::optional<Polynomial> a = valueOf(op->getOperand(0));
  std::optional<Polynomial> b = valueOf(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  if (isa<arith::AddFOp>(op))
    return sum(*a, *b);
  if (isa<arith::SubFOp>(op))
    return sum(*a, *b, -1);
  if (isa<arith::MulFOp>(op))
    return times(*a, *b);
  Monomial one(inputs + 1);
  if (b->size() != 1 || b->begin()->first != one || b->begin()->second == 0)
    return std::nullopt;
  return times(*a, {{one, 1 / b->begin()->second}});
}

std::optional<Polynomial> Body::valueOf(Value value) {
  APFloat number(0.0);
  if (matchPattern(value, m_ConstantFloat(&number))) {
    double x = number.convertToDouble();
    if (!std::isfinite(x))
      return std::nullopt;
    return x == 0 ? Polynomial() : Polynomial{{Monomial(inputs + 1), x}};
  }
  auto argument = dyn_cast<BlockArgument>(value);
  if (argument && argument.getOwner() == block &&
      argument.getArgNumber() < inputs && isa<FloatType>(value.getType()))
    return input(argument.getArgNumber());
  Operation *op = value.getDefiningOp();
  std::optional<Polynomial> result;
  if (op && op->getBlock() == block)
    result = resultOf(op);
  if (!result || result->size() > kMostTerms ||
      llvm::any_of(*result, [](const auto &term) {
        return std::accumulate(term.first.begin(), term.first.end(), 0u) >
               kMostFactors;
      }))
    return std::nullopt;
  return result;
}

/// What is left of a value before casts.
static Value withoutCasts(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::TruncFOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// x, where the value is max(x, 0).
static Value rectified(Value value) {
  Operation *op = withoutCasts(value).getDefiningOp();
  if (isa_and_nonnull<arith::MaximumFOp, arith::MaxNumFOp>(op))
    for (unsigned i : {0, 1})
      if (matchPattern(op->getOperand(1 - i), m_AnyZeroFloat()))
        return op->getOperand(i);
  return nullptr;
}

/// Whether the polynomial is the tanh GELU of an input, as ONNX and cuBLASLt
/// define it.
static bool isGeluTanh(const Body &body, const Polynomial &value,
                       unsigned number) {
  Polynomial x = body.input(number);
  Polynomial half = Body::sum({}, x, 0.5);
  if (!Body::areClose(value, Body::sum(half, body.tanhTimes(half))))
    return false;
  double factor = std::sqrt(2 / M_PI);
  Polynomial cube = Body::times(Body::times(x, x), x);
  return body.hasTanhOf(
      Body::sum(Body::sum({}, x, factor), cube, factor * 0.044715));
}

std::optional<ActivatedSum> ActivatedSum::of(linalg::GenericOp op) {
  if (op.getNumResults() != 1 || op.getNumDpsInputs() == 0 ||
      op.getNumParallelLoops() != op.getNumLoops() ||
      !isa<FloatType>(getElementTypeOrSelf(op.getResultTypes()[0])))
    return std::nullopt;
  Body body(op);
  ActivatedSum found;
  Value value = op.getBody()->getTerminator()->getOperand(0);
  if (Value x = rectified(value)) {
    found.activation = Activation::Relu;
    value = x;
  }
  std::optional<Polynomial> polynomial = body.valueOf(value);
  if (!polynomial)
    return std::nullopt;
  Polynomial rest = *polynomial;
  for (unsigned i = 0; i < unsigned(op.getNumDpsInputs()); ++i) {
    if (found.activation == Activation::None &&
        isGeluTanh(body, *polynomial, i))
      return ActivatedSum{{i}, Activation::GeluTanh};
    auto term = rest.find(body.input(i).begin()->first);
    if (term == rest.end() || term->second != 1)
      continue;
    found.inputs.push_back(i);
    rest.erase(term);
  }
  if (!rest.empty() || found.inputs.empty())
    return std::nullopt;
  return found;
}
