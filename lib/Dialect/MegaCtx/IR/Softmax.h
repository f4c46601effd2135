//===- Softmax.h - a softmax in progress ------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_DIALECT_MEGACTX_IR_SOFTMAX_H
#define MEGACTX_LIB_DIALECT_MEGACTX_IR_SOFTMAX_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <limits>

namespace mlir::megactx {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline Value emitFloat(ImplicitLocOpBuilder &b, float value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}

/// exp(x - max) of f32; 0 where x is minus infinity, whatever max is.
inline Value emitWeight(ImplicitLocOpBuilder &b, Value x, Value max) {
  Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x,
                                     emitFloat(b, -kInfinity));
  Value weight = math::ExpOp::create(b, arith::SubFOp::create(b, x, max));
  return arith::SelectOp::create(b, none, emitFloat(b, 0.0f), weight);
}

} // namespace mlir::megactx

#endif
