//===- Emit.h - index arithmetic and linalg in few words --------*- C++ -*-===//
//
// What lowerings of the dialect's ops on tensors are written in.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_IR_EMIT_H
#define MEGACTX_DIALECT_MEGACTX_IR_EMIT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// A builder with the arithmetic of index values (signed) and of truth values.
class Emitter : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;
  using Predicate = arith::CmpIPredicate;

  Value index(int64_t v) { return arith::ConstantIndexOp::create(*this, v); }
  Value truth(bool v) { return arith::ConstantIntOp::create(*this, v, 1); }
  Value add(Value x, Value y) { return createOrFold<arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) { return createOrFold<arith::SubIOp>(x, y); }
  Value mul(Value x, Value y) { return createOrFold<arith::MulIOp>(x, y); }
  Value min(Value x, Value y) { return createOrFold<arith::MinSIOp>(x, y); }
  Value max(Value x, Value y) { return createOrFold<arith::MaxSIOp>(x, y); }
  /// floor(x / y), y > 0.
  Value floorDiv(Value x, Value y) {
    return createOrFold<arith::FloorDivSIOp>(x, y);
  }
  Value both(Value x, Value y) { return createOrFold<arith::AndIOp>(x, y); }
  Value either(Value x, Value y) { return createOrFold<arith::OrIOp>(x, y); }
  Value cmp(Predicate p, Value x, Value y) {
    return createOrFold<arith::CmpIOp>(p, x, y);
  }
  Value eq(Value x, Value y) { return cmp(Predicate::eq, x, y); }
  Value ne(Value x, Value y) { return cmp(Predicate::ne, x, y); }
  Value lt(Value x, Value y) { return cmp(Predicate::slt, x, y); }
  Value le(Value x, Value y) { return cmp(Predicate::sle, x, y); }
  Value select(Value condition, Value x, Value y) {
    return createOrFold<arith::SelectOp>(condition, x, y);
  }

  /// An integer or index as index, and an index as such a type.
  Value toIndex(Value x);
  Value fromIndex(Value x, Type type);
  /// A float of any width as f32, and an f32 as such a type.
  Value toF32(Value x);
  Value fromF32(Value x, Type type);

  /// sum + x y, a term of a sum that may be taken in any order.
  Value addProduct(Value sum, Value x, Value y);
  /// weight * x, 0 where the weight is 0, whatever x is: what nothing sees may
  /// be no number.
  Value weighted(Value weight, Value x);
  /// The same, added to a sum in any order.
  Value addWeighted(Value sum, Value weight, Value x);

  Value dim(Value tensor, int64_t i) {
    return createOrFold<tensor::DimOp>(tensor, i);
  }
  Value extract(Value tensor, ValueRange at) {
    return tensor::ExtractOp::create(*this, tensor, at);
  }
  /// The tensor with the value at a place; an index becomes an element's type.
  Value insert(Value x, Value tensor, ValueRange at);
  /// A tensor of these sizes with every element the value.
  Value filled(ArrayRef<OpFoldResult> sizes, Value value);
};

using Body = llvm::function_ref<Value(Emitter &, ValueRange)>;

/// One linalg.generic with one result over dims named by number: `maps` lists,
/// per input and last for the destination, which dim each of its dims is. A dim
/// that the destination lacks is reduced.
Value emitGeneric(ImplicitLocOpBuilder &b, ValueRange inputs, Value init,
                  ArrayRef<SmallVector<int64_t>> maps, Body body);

using Step =
    llvm::function_ref<SmallVector<Value>(Emitter &, Value, ValueRange)>;

/// for i in [begin, end): carried = step(i, carried).
SmallVector<Value> emitFor(Emitter &b, Value begin, Value end,
                           ValueRange carried, Step step);

/// Whether the body holds for all elements of tensors of one shape: i1.
Value emitForAll(ImplicitLocOpBuilder &b, ValueRange tensors, Body body);

} // namespace mlir::megactx

#endif
