//===- VectorRow.cpp - a row of a linalg op as vectors --------------------===//

#include "VectorRow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::megactx;

/// Whether LLVM has an instruction or an intrinsic for vectors of it. Others
/// become calls for each element, or polynomials of some types alone.
static bool isOfVectors(Operation &inside) {
  return !isa<math::MathDialect>(inside.getDialect()) ||
         isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp,
             math::CosOp, math::ExpOp, math::Exp2Op, math::FloorOp, math::FmaOp,
             math::LogOp, math::Log2Op, math::PowFOp, math::RoundEvenOp,
             math::RsqrtOp, math::SinOp, math::SqrtOp, math::TanhOp,
             math::TruncOp>(inside);
}

static bool isByElement(Operation &inside) {
  // The casts are those of integers with a sign to those without.
  return isa<linalg::IndexOp, UnrealizedConversionCastOp>(inside) ||
         inside.hasTrait<OpTrait::ConstantLike>() ||
         (OpTrait::hasElementwiseMappableTraits(&inside) &&
          isOfVectors(inside));
}

bool VectorRow::isVectorRow(int64_t count, Neighbours outputs) {
  unsigned loop = extents.size() - 1;
  for (OpOperand &operand : op->getOpOperands()) {
    Neighbours neighbours = neighboursOf(operand, loop);
    if (op.isDpsInit(&operand) ? neighbours != outputs
                               : neighbours == Neighbours::Apart)
      return false;
    if (neighbours != Neighbours::Several)
      continue;
    int64_t several = neighboursAtElement(operand);
    if (count % several && several % count)
      return false;
  }
  return llvm::all_of(op.getBody()->without_terminator(), isByElement);
}

Value VectorRow::loadRow(OpOperand &operand, int64_t count) {
  auto type =
      VectorType::get({count}, getElementTypeOrSelf(operand.get().getType()));
  return vector::LoadOp::create(b, type, operand.get(), point(operand));
}

/// Of an input: a vector where the row has more than one element of it.
Value VectorRow::loadInput(OpOperand &operand, int64_t count) {
  if (!isa<MemRefType>(operand.get().getType()))
    return operand.get();
  switch (neighboursOf(operand, extents.size() - 1)) {
  case Neighbours::Next:
  case Neighbours::Shifted:
    return loadRow(operand, count);
  case Neighbours::Several: {
    int64_t several = neighboursAtElement(operand);
    if (several >= count)
      return load(operand);
    Value elements = loadRow(operand, count / several);
    SmallVector<int64_t> places;
    for (int64_t i = 0; i < count; ++i)
      places.push_back(i / several);
    return vector::ShuffleOp::create(b, elements, elements, places);
  }
  default:
    return load(operand);
  }
}

void VectorRow::storeRows(ValueRange rows) {
  for (auto [init, row] : llvm::zip_equal(op.getDpsInitsMutable(), rows))
    vector::StoreOp::create(b, row, init.get(), point(init));
}

/// The innermost loop's indices along a row.
Value VectorRow::rowIndices(int64_t count) {
  auto type = VectorType::get({count}, b.getIndexType());
  Value first = vector::BroadcastOp::create(b, type, indices.back());
  return arith::AddIOp::create(b, first, vector::StepOp::create(b, type));
}

/// The op on vectors, where one of its operands is a vector.
void VectorRow::vectorize(Operation &inside, int64_t count, IRMapping &map) {
  SmallVector<Value> operands;
  for (Value operand : inside.getOperands())
    operands.push_back(map.lookupOrDefault(operand));
  if (llvm::none_of(operands, [](Value operand) {
        return isa<VectorType>(operand.getType());
      })) {
    b.clone(inside, map);
    return;
  }
  auto rowOf = [&](Type type) { return VectorType::get({count}, type); };
  for (Value &operand : operands)
    if (!isa<VectorType>(operand.getType()))
      operand =
          vector::BroadcastOp::create(b, rowOf(operand.getType()), operand);
  SmallVector<Type> types = llvm::map_to_vector(
      inside.getResultTypes(), [&](Type type) -> Type { return rowOf(type); });
  Operation *made = b.create(inside.getLoc(), inside.getName().getIdentifier(),
                             operands, types, inside.getAttrs());
  map.map(inside.getResults(), made->getResults());
}

SmallVector<Value> VectorRow::rowBody(int64_t count, ValueRange carried) {
  IRMapping map;
  unsigned loop = extents.size() - 1;
  for (auto [input, argument] :
       llvm::zip_equal(op.getDpsInputOperands(), op.getRegionInputArgs())) {
    if (argument.use_empty())
      continue;
    map.map(argument, loadInput(*input, count));
  }
  map.map(op.getRegionOutputArgs(), carried);
  for (Operation &inside : op.getBody()->without_terminator()) {
    auto index = dyn_cast<linalg::IndexOp>(inside);
    if (!index)
      vectorize(inside, count, map);
    else if (index.getDim() != loop)
      map.map(index.getResult(), indices[index.getDim()]);
    else
      map.map(index.getResult(), rowIndices(count));
  }
  SmallVector<Value> results;
  for (auto [value, init] : llvm::zip_equal(
           op.getBody()->getTerminator()->getOperands(), op.getDpsInits())) {
    Value result = map.lookupOrDefault(value);
    if (!isa<VectorType>(result.getType()))
      result = vector::BroadcastOp::create(
          b, VectorType::get({count}, result.getType()), result);
    results.push_back(result);
  }
  return results;
}
