//===- Emit.cpp - index arithmetic and linalg in few words ----------------===//

#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

Value Emitter::toIndex(Value x) {
  if (x.getType().isIndex())
    return x;
  return arith::IndexCastOp::create(*this, getIndexType(), x);
}

Value Emitter::fromIndex(Value x, Type type) {
  if (type.isIndex())
    return x;
  return arith::IndexCastOp::create(*this, type, x);
}

Value Emitter::toF32(Value x) {
  if (x.getType().isF32())
    return x;
  return arith::ExtFOp::create(*this, getF32Type(), x);
}

Value Emitter::fromF32(Value x, Type type) {
  if (type.isF32())
    return x;
  return arith::TruncFOp::create(*this, type, x);
}

Value Emitter::addProduct(Value sum, Value x, Value y) {
  auto any = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  Value term = arith::MulFOp::create(*this, x, y, any);
  return arith::AddFOp::create(*this, sum, term, any);
}

Value Emitter::weighted(Value weight, Value x) {
  auto any = arith::FastMathFlags::contract;
  Value zero = arith::ConstantOp::create(*this, getF32FloatAttr(0.0f));
  Value isNone =
      arith::CmpFOp::create(*this, arith::CmpFPredicate::OEQ, weight, zero);
  x = arith::SelectOp::create(*this, isNone, zero, x);
  return arith::MulFOp::create(*this, weight, x, any);
}

Value Emitter::addWeighted(Value sum, Value weight, Value x) {
  auto any = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  return arith::AddFOp::create(*this, sum, weighted(weight, x), any);
}

Value Emitter::insert(Value x, Value tensor, ValueRange at) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (x.getType().isIndex())
    x = fromIndex(x, type.getElementType());
  return tensor::InsertOp::create(*this, x, tensor, at);
}

Value Emitter::filled(ArrayRef<OpFoldResult> sizes, Value value) {
  Value empty = tensor::EmptyOp::create(*this, sizes, value.getType());
  return linalg::FillOp::create(*this, value, empty).getResult(0);
}

Value mlir::megactx::emitGeneric(ImplicitLocOpBuilder &b, ValueRange inputs,
                                 Value init,
                                 ArrayRef<SmallVector<int64_t>> maps,
                                 Body body) {
  int64_t dims = 0;
  for (ArrayRef<int64_t> map : maps)
    for (int64_t dim : map)
      dims = std::max(dims, dim + 1);
  SmallVector<AffineMap> affine;
  for (ArrayRef<int64_t> map : maps) {
    SmallVector<AffineExpr> exprs;
    for (int64_t dim : map)
      exprs.push_back(b.getAffineDimExpr(dim));
    affine.push_back(AffineMap::get(dims, 0, exprs, b.getContext()));
  }
  SmallVector<utils::IteratorType> kinds(dims, utils::IteratorType::reduction);
  for (int64_t dim : maps.back())
    kinds[dim] = utils::IteratorType::parallel;
  auto op = linalg::GenericOp::create(
      b, b.getLoc(), init.getType(), inputs, init, affine, kinds,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Emitter inside(loc, nested);
        linalg::YieldOp::create(inside, body(inside, args));
      });
  return op.getResult(0);
}

SmallVector<Value> mlir::megactx::emitFor(Emitter &b, Value begin, Value end,
                                          ValueRange carried, Step step) {
  auto loop = scf::ForOp::create(
      b, begin, end, b.index(1), carried,
      [&](OpBuilder &nested, Location loc, Value i, ValueRange args) {
        Emitter in(loc, nested);
        scf::YieldOp::create(in, step(in, i, args));
      });
  return SmallVector<Value>(loop.getResults());
}

Value mlir::megactx::emitForAll(ImplicitLocOpBuilder &builder,
                                ValueRange tensors, Body body) {
  Emitter b(builder.getLoc(), builder);
  int64_t rank = cast<RankedTensorType>(tensors[0].getType()).getRank();
  SmallVector<SmallVector<int64_t>> maps(
      tensors.size(), llvm::to_vector(llvm::seq<int64_t>(0, rank)));
  maps.push_back({});
  Value all = emitGeneric(b, tensors, b.filled({}, b.truth(true)), maps,
                          [&](Emitter &in, ValueRange x) {
                            return in.both(x.back(), body(in, x.drop_back()));
                          });
  return b.extract(all, {});
}
