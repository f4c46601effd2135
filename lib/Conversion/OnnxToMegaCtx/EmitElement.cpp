//===- EmitElement.cpp - tensors of symbolic elements ---------------------===//

#include "EmitElement.h"
#include "Nodes.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx::raise;

namespace {
/// Code for one element, in the body of a loop over places.
class BodyEmitter {
public:
  BodyEmitter(ImplicitLocOpBuilder &b, ArrayRef<Value> variables,
              ArrayRef<Value> sizes, const DenseMap<Value, Value> &casts)
      : b(b), variables(variables), sizes(sizes), casts(casts) {}

  /// A number of the type, integer or float; of i1 whether it is not zero.
  Value number(const Element &element, Type type);

private:
  Value index(AffineExpr expr) {
    return affine::expandAffineExpr(b, b.getLoc(), expr, variables, sizes);
  }
  Value read(const Element &element);
  Value truth(const Condition &condition);

  ImplicitLocOpBuilder &b;
  ArrayRef<Value> variables, sizes;
  const DenseMap<Value, Value> &casts; ///< in place of tensors that are read
};
} // namespace

/// Indices are kept inside, as a choice may be computed on both sides and a
/// dimension that is broadcast has one entry. Of a tensor without elements none
/// is read.
Value BodyEmitter::read(const Element &element) {
  SmallVector<Value> place;
  Value widened = casts.lookup(element.tensor());
  Value tensor = widened ? widened : element.tensor();
  auto type = cast<RankedTensorType>(tensor.getType());
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value isEmpty;
  for (auto [d, expr] : llvm::enumerate(element.indices())) {
    Value size = tensor::DimOp::create(b, tensor, d);
    Value last =
        arith::SubIOp::create(b, size, arith::ConstantIndexOp::create(b, 1));
    Value at = arith::MinSIOp::create(b, index(expr), last);
    place.push_back(arith::MaxSIOp::create(b, at, zero));
    if (!type.isDynamicDim(d))
      continue;
    Value isNone =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, size, zero);
    isEmpty = isEmpty ? arith::OrIOp::create(b, isEmpty, isNone) : isNone;
  }
  if (!isEmpty)
    return tensor::ExtractOp::create(b, tensor, place);
  return scf::IfOp::create(
             b, isEmpty,
             [&](OpBuilder &n, Location loc) {
               Value none = arith::ConstantOp::create(
                   n, loc, n.getZeroAttr(type.getElementType()));
               scf::YieldOp::create(n, loc, none);
             },
             [&](OpBuilder &n, Location loc) {
               Value x = tensor::ExtractOp::create(n, loc, tensor, place);
               scf::YieldOp::create(n, loc, x);
             })
      .getResult(0);
}

Value BodyEmitter::truth(const Condition &condition) {
  auto zero = [&](Type type) {
    return arith::ConstantOp::create(b, b.getZeroAttr(type)).getResult();
  };
  switch (condition.kind()) {
  case Condition::Kind::False:
  case Condition::Kind::True:
    return arith::ConstantOp::create(b, b.getBoolAttr(condition.isTrue()));
  case Condition::Kind::NonNegative:
  case Condition::Kind::Zero:
    return arith::CmpIOp::create(
        b,
        condition.kind() == Condition::Kind::Zero ? arith::CmpIPredicate::eq
                                                  : arith::CmpIPredicate::sge,
        index(condition.expr()), zero(b.getIndexType()));
  case Condition::Kind::Runtime: {
    Value x = read(condition.element());
    Type type = x.getType();
    if (type.isInteger(1))
      return x;
    if (isa<FloatType>(type))
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, zero(type));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, zero(type));
  }
  case Condition::Kind::Not: {
    Value one = arith::ConstantOp::create(b, b.getBoolAttr(true));
    return arith::XOrIOp::create(b, truth(condition.args()[0]), one);
  }
  case Condition::Kind::And:
  case Condition::Kind::Or: {
    Value all;
    for (const Condition &arg : condition.args()) {
      Value next = truth(arg);
      if (!all)
        all = next;
      else if (condition.kind() == Condition::Kind::And)
        all = arith::AndIOp::create(b, all, next);
      else
        all = arith::OrIOp::create(b, all, next);
    }
    return all;
  }
  }
  llvm_unreachable("every kind is handled above");
}

/// A scalar as one of another type: integers have signs, but for truths.
static Value converted(ImplicitLocOpBuilder &b, Value x, Type type) {
  Type from = x.getType();
  if (from == type)
    return x;
  auto real = dyn_cast<FloatType>(type), old = dyn_cast<FloatType>(from);
  if (real && old)
    return real.getWidth() > old.getWidth()
               ? arith::ExtFOp::create(b, type, x).getResult()
               : arith::TruncFOp::create(b, type, x).getResult();
  if (real)
    return from.isInteger(1) ? arith::UIToFPOp::create(b, type, x).getResult()
                             : arith::SIToFPOp::create(b, type, x).getResult();
  if (old)
    return arith::FPToSIOp::create(b, type, x);
  if (from.isInteger(1))
    return arith::ExtUIOp::create(b, type, x);
  return type.getIntOrFloatBitWidth() > from.getIntOrFloatBitWidth()
             ? arith::ExtSIOp::create(b, type, x).getResult()
             : arith::TruncIOp::create(b, type, x).getResult();
}

Value BodyEmitter::number(const Element &element, Type type) {
  if (type.isInteger(1))
    return truth(element.isNonZero());
  auto constant = [&](double value) -> Value {
    if (isa<FloatType>(type))
      return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
    return arith::ConstantOp::create(b, b.getIntegerAttr(type, int64_t(value)));
  };
  switch (element.kind()) {
  case Element::Kind::Real:
    return constant(element.real());
  case Element::Kind::Integer:
    return converted(
        b, arith::IndexCastOp::create(b, b.getI64Type(), index(element.expr())),
        type);
  case Element::Kind::Truth:
    return arith::SelectOp::create(b, truth(element.condition()), constant(1),
                                   constant(0));
  case Element::Kind::Choice: {
    Value condition = truth(element.condition());
    Value first = number(element.first(), type);
    return arith::SelectOp::create(b, condition, first,
                                   number(element.second(), type));
  }
  case Element::Kind::Read:
    return converted(b, read(element), type);
  }
  llvm_unreachable("every kind is handled above");
}

/// The read that the element is, or that alone decides it, whatever else it is
/// made of.
static std::optional<Element> readAlways(const Element &element) {
  if (element.kind() == Element::Kind::Read)
    return element;
  if (element.kind() != Element::Kind::Choice &&
      element.kind() != Element::Kind::Truth)
    return std::nullopt;
  Condition condition = element.condition();
  if (condition.kind() == Condition::Kind::Not)
    condition = condition.args()[0];
  if (condition.kind() != Condition::Kind::Runtime ||
      condition.element().kind() != Element::Kind::Read)
    return std::nullopt;
  return condition.element();
}

/// Ends the run where a tensor that is read at each place has fewer elements
/// along a dim than there are places, and not one that is broadcast.
static void requireElements(ImplicitLocOpBuilder &b, const Element &read,
                            ArrayRef<OpFoldResult> dims,
                            ArrayRef<AffineExpr> variables) {
  auto type = cast<RankedTensorType>(read.tensor().getType());
  for (auto [d, expr] : llvm::enumerate(read.indices())) {
    auto variable = dyn_cast<AffineDimExpr>(expr);
    auto loop = variable && variable.getPosition() < variables.size()
                    ? dyn_cast<AffineDimExpr>(variables[variable.getPosition()])
                    : AffineDimExpr(nullptr);
    if (!loop || !type.isDynamicDim(d))
      continue;
    Value size = b.createOrFold<tensor::DimOp>(read.tensor(), d);
    Value places = getValueOrCreateConstantIndexOp(b, b.getLoc(),
                                                   dims[loop.getPosition()]);
    if (size == places)
      continue;
    Value one = arith::ConstantIndexOp::create(b, 1);
    auto is = [&](arith::CmpIPredicate how, Value other) -> Value {
      return arith::CmpIOp::create(b, how, size, other);
    };
    megactx::createCheck(
        b,
        arith::OrIOp::create(b, is(arith::CmpIPredicate::sge, places),
                             is(arith::CmpIPredicate::eq, one)),
        "a mask has fewer elements than there are scores for it");
  }
}

Value mlir::megactx::raise::emitTensor(ImplicitLocOpBuilder &b,
                                       const Positions &positions,
                                       const Element &element, Type elementType,
                                       ArrayRef<AffineExpr> shape,
                                       ArrayRef<AffineExpr> variables) {
  SmallVector<Value> sizes;
  for (auto [tensor, dim] : positions.sizes())
    sizes.push_back(tensor::DimOp::create(b, tensor, dim));
  SmallVector<OpFoldResult> dims;
  for (AffineExpr size : shape) {
    if (auto constant = dyn_cast<AffineConstantExpr>(size)) {
      dims.push_back(b.getIndexAttr(std::max<int64_t>(0, constant.getValue())));
      continue;
    }
    Value number = affine::expandAffineExpr(b, b.getLoc(), size, {}, sizes);
    // Between no queries and no keys there is no distance.
    if (!isa<AffineSymbolExpr>(size))
      number = arith::MaxSIOp::create(b, number,
                                      arith::ConstantIndexOp::create(b, 0));
    dims.push_back(number);
  }
  if (auto read = readAlways(element))
    requireElements(b, *read, dims, variables);
  // The operations of bodies know no unsigned types.
  DenseMap<Value, Value> casts;
  element.walkReads([&](Value read) {
    auto type = cast<RankedTensorType>(read.getType());
    if (type.getElementType().isUnsignedInteger() && !casts.contains(read))
      casts[read] = createNode(b, "Cast", read, type.clone(b.getI64Type()),
                               {b.getNamedAttr("to", b.getI64IntegerAttr(7))});
  });
  Value empty = tensor::EmptyOp::create(b, dims, elementType);
  SmallVector<utils::IteratorType> loops(shape.size(),
                                         utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, TypeRange{empty.getType()}, ValueRange(), ValueRange{empty},
      ArrayRef{b.getMultiDimIdentityMap(shape.size())}, loops,
      [&](OpBuilder &nested, Location loc, ValueRange) {
        ImplicitLocOpBuilder body(loc, nested);
        SmallVector<Value> indices, values;
        for (size_t i = 0; i < shape.size(); ++i)
          indices.push_back(linalg::IndexOp::create(body, i));
        for (AffineExpr variable : variables)
          values.push_back(
              affine::expandAffineExpr(body, loc, variable, indices, sizes));
        linalg::YieldOp::create(body, BodyEmitter(body, values, sizes, casts)
                                          .number(element, elementType));
      });
  return generic.getResult(0);
}
