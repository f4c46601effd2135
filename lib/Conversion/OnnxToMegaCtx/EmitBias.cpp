//===- EmitBias.cpp - biases that are left of masks -----------------------===//

#include "Masks.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx::raise;

namespace {
/// Code for one element, in the body of a loop over places.
class BodyEmitter {
public:
  BodyEmitter(ImplicitLocOpBuilder &b, ArrayRef<Value> variables,
              ArrayRef<Value> sizes)
      : b(b), variables(variables), sizes(sizes) {}

  /// f32.
  Value number(const Element &element);

private:
  Value index(AffineExpr expr) {
    return affine::expandAffineExpr(b, b.getLoc(), expr, variables, sizes);
  }
  Value read(const Element &element);
  Value truth(const Condition &condition);

  ImplicitLocOpBuilder &b;
  ArrayRef<Value> variables, sizes;
};
} // namespace

/// Indices are kept inside, as a choice may be computed on both sides and a
/// dimension that is broadcast has one entry.
Value BodyEmitter::read(const Element &element) {
  SmallVector<Value> place;
  Value zero = arith::ConstantIndexOp::create(b, 0);
  for (auto [d, expr] : llvm::enumerate(element.indices())) {
    Value size = tensor::DimOp::create(b, element.tensor(), d);
    Value last =
        arith::SubIOp::create(b, size, arith::ConstantIndexOp::create(b, 1));
    Value at = arith::MinSIOp::create(b, index(expr), last);
    place.push_back(arith::MaxSIOp::create(b, at, zero));
  }
  return tensor::ExtractOp::create(b, element.tensor(), place);
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

Value BodyEmitter::number(const Element &element) {
  Type f32 = b.getF32Type();
  auto real = [&](double value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value)).getResult();
  };
  switch (element.kind()) {
  case Element::Kind::Real:
    return real(element.real());
  case Element::Kind::Integer: {
    Value integer =
        arith::IndexCastOp::create(b, b.getI64Type(), index(element.expr()));
    return arith::SIToFPOp::create(b, f32, integer);
  }
  case Element::Kind::Truth:
    return arith::SelectOp::create(b, truth(element.condition()), real(1),
                                   real(0));
  case Element::Kind::Choice: {
    Value condition = truth(element.condition());
    Value first = number(element.first());
    return arith::SelectOp::create(b, condition, first,
                                   number(element.second()));
  }
  case Element::Kind::Read: {
    Value x = read(element);
    Type type = x.getType();
    if (auto real = dyn_cast<FloatType>(type)) {
      if (real.getWidth() == 32)
        return x;
      return real.getWidth() < 32
                 ? arith::ExtFOp::create(b, f32, x).getResult()
                 : arith::TruncFOp::create(b, f32, x).getResult();
    }
    return type.isInteger(1) ? arith::UIToFPOp::create(b, f32, x).getResult()
                             : arith::SIToFPOp::create(b, f32, x).getResult();
  }
  }
  llvm_unreachable("every kind is handled above");
}

Value Masks::emit(ImplicitLocOpBuilder &b, const Element &bias) {
  unsigned used = 0;
  bias.walkExprs([&](AffineExpr expr) {
    for (unsigned v = 0; v < kVariables; ++v)
      if (expr.isFunctionOfDim(v))
        used |= 1u << v;
  });
  SmallVector<int64_t> shape;
  SmallVector<Value> dynamic;
  for (unsigned v : {kBatch, kHead, kQuery, kKey}) {
    Value tensor = v == kKey ? key : query;
    unsigned dim = v == kKey ? 2 : v;
    if (!(used & (1u << v))) {
      shape.push_back(1);
      continue;
    }
    shape.push_back(cast<RankedTensorType>(tensor.getType()).getDimSize(dim));
    if (shape.back() == ShapedType::kDynamic)
      dynamic.push_back(tensor::DimOp::create(b, tensor, dim));
  }
  SmallVector<Value> sizes;
  for (auto [tensor, dim] : positions.sizes())
    sizes.push_back(tensor::DimOp::create(b, tensor, dim));
  SmallVector<Value> none(kVariables);
  Value shift = affine::expandAffineExpr(b, b.getLoc(), offset, none, sizes);
  Value empty = tensor::EmptyOp::create(b, shape, b.getF32Type(), dynamic);
  SmallVector<utils::IteratorType> loops(4, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, TypeRange{empty.getType()}, ValueRange(), ValueRange{empty},
      ArrayRef{b.getMultiDimIdentityMap(4)}, loops,
      [&](OpBuilder &nested, Location loc, ValueRange) {
        ImplicitLocOpBuilder body(loc, nested);
        SmallVector<Value> variables;
        for (unsigned i = 0; i < 4; ++i)
          variables.push_back(linalg::IndexOp::create(body, i));
        variables[kQuery] =
            arith::AddIOp::create(body, variables[kQuery], shift);
        variables.push_back(arith::ConstantIndexOp::create(body, 0));
        Value number = BodyEmitter(body, variables, sizes).number(bias);
        linalg::YieldOp::create(body, number);
      });
  return generic.getResult(0);
}
