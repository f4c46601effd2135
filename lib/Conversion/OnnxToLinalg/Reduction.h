//===- Reduction.h - reductions that others are made of ---------*- C++ -*-===//
//
// How two elements become one, and reductions over whole axes.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_REDUCTION_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_REDUCTION_H

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::megactx {

enum class Reduce { Sum, Mean, Max, Min, SumSquare, Prod };

/// Lets a sum or product be taken in any order, as every other implementation
/// of reductions and contractions does.
inline constexpr arith::FastMathFlags kAnyOrder =
    arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;

/// What is combined with x to give x, of a type without unsigned integers;
/// `isUnsigned` says how its integers compare.
TypedAttr initialValue(OpBuilder &b, Type type, bool isUnsigned, Reduce kind);

/// One more element, of the accumulator's type, which has no unsigned integers;
/// `isUnsigned` says how its integers compare. The mean is combined as the sum.
Value combine(OpBuilder &b, Location loc, Value accumulator, Value x,
              bool isUnsigned, Reduce kind,
              arith::FastMathFlags flags = arith::FastMathFlags::none);

/// The body of a contraction: adds the product of all operands to the
/// accumulator, the last.
void multiplyAdd(OpBuilder &b, Location loc, ValueRange args,
                 arith::FastMathFlags flags);

/// Reduces the axes to size 1. Narrow floats are summed in f32, which is the
/// result's type.
Tensor reduce(Node &node, Tensor &data, const SmallVector<bool> &axes,
              Reduce kind);

/// Of each element of a list, the sum of those before it.
Value sumsBefore(Graph &graph, Location loc, Tensor &list);

} // namespace mlir::megactx

#endif
