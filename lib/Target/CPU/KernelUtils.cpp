//===- KernelUtils.cpp - what kernel emission builds on -------------------===//

#include "BlockForm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

Value mlir::megactx::cpu::emitExp2(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  auto ints = VectorType::get(type.getShape(), b.getI32Type());
  Arith a{b};
  // 2^f on [-1/2, 1/2], then the exponent is added to the bits.
  const float terms[] = {1.0f,        0.69314718f, 0.24022651f,
                         0.05550411f, 0.00961813f, 0.00133336f};
  // The bits of 2^-127 come out as those of 0.
  Value isLeast = arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, x,
                                        a.splat(kLeastExponent, type));
  Value clamped = a.select(isLeast, a.splat(-127.0f, type), x);
  // Beside 1.5 * 2^23 the last bit of a float is worth 1: the sum is rounded,
  // and its low bits are the integer.
  Value magic = a.splat(0x1.8p23f, type);
  Value shifted = arith::AddFOp::create(b, clamped, magic);
  Value whole = arith::SubFOp::create(b, shifted, magic);
  Value fraction = arith::SubFOp::create(b, clamped, whole);
  Value value = a.splat(terms[5], type);
  for (int k = 4; k >= 0; --k)
    value = vector::FMAOp::create(b, value, fraction, a.splat(terms[k], type));
  Value shift = arith::ConstantOp::create(
      b, DenseElementsAttr::get(ints, b.getI32IntegerAttr(23)));
  Value exponent = arith::ShLIOp::create(
      b, arith::BitcastOp::create(b, ints, shifted), shift);
  Value bits = arith::BitcastOp::create(b, ints, value);
  return arith::BitcastOp::create(b, type,
                                  arith::AddIOp::create(b, bits, exponent));
}

Value mlir::megactx::cpu::emitBase2(ImplicitLocOpBuilder &b, Value bias) {
  constexpr float log2e = static_cast<float>(M_LOG2E),
                  most = std::numeric_limits<float>::max() / (1.01f * log2e);
  Arith a{b};
  auto all = [&](float x) -> Value {
    if (auto type = dyn_cast<VectorType>(bias.getType()))
      return a.splat(x, type);
    return a.f32(x);
  };
  Value size = math::AbsFOp::create(b, bias);
  Value isInfinite =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, size,
                            all(std::numeric_limits<float>::infinity()));
  Value within = arith::MaximumFOp::create(
      b, arith::MinimumFOp::create(b, bias, all(most)), all(-most));
  return arith::MulFOp::create(b, a.select(isInfinite, bias, within),
                               all(log2e));
}

void mlir::megactx::cpu::emitParallel(ImplicitLocOpBuilder &b, Value count,
                                      function_ref<void(Value)> body) {
  Arith a{b};
  auto loop = scf::ParallelOp::create(b, a.c(0), count, a.c(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVars()[0]);
}

void mlir::megactx::cpu::emitPrefetch(ImplicitLocOpBuilder &b, Value data,
                                      Value at, int64_t size) {
  constexpr int64_t lineBits = 64 * 8;
  Arith a{b};
  int64_t step = lineBits / getElementTypeOrSelf(data).getIntOrFloatBitWidth();
  for (int64_t i = 0; i < size; i += step)
    memref::PrefetchOp::create(b, data, a.add(at, a.c(i)), /*isWrite=*/false,
                               /*localityHint=*/2, /*isDataCache=*/true);
}

SmallVector<Value> mlir::megactx::cpu::emitTranspose(ImplicitLocOpBuilder &b,
                                                     ValueRange rows) {
  // One round moves the top bit of the row's number below the column's bits.
  int64_t size = rows.size();
  SmallVector<int64_t> low, high;
  for (int64_t i = 0; i < size / 2; ++i) {
    low.append({i, size + i});
    high.append({size / 2 + i, size + size / 2 + i});
  }
  SmallVector<Value> current(rows);
  for (int64_t round = 1; round < size; round *= 2) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < size / 2; ++i)
      for (ArrayRef<int64_t> mask : {ArrayRef(low), ArrayRef(high)})
        next.push_back(vector::ShuffleOp::create(b, current[i],
                                                 current[i + size / 2], mask));
    current = next;
  }
  return current;
}

std::pair<Value, ValueRange>
mlir::megactx::cpu::flattenAt(ImplicitLocOpBuilder &b, Value memref,
                              ArrayRef<Value> leading) {
  Arith a{b};
  auto data = memref::ExtractStridedMetadataOp::create(b, memref);
  ValueRange strides = data.getStrides();
  Value offset = data.getOffset();
  for (auto [index, stride] : llvm::zip(leading, strides))
    offset = a.add(offset, a.mul(index, stride));
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  auto type = MemRefType::get(
      {ShapedType::kDynamic}, element,
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {1}));
  // The size is not used: rows are addressed by what keyRows computes.
  Value size = a.c(INT32_MAX);
  Value flat = memref::ReinterpretCastOp::create(
      b, type, data.getBaseBuffer(), OpFoldResult(offset),
      ArrayRef<OpFoldResult>{size}, ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
  return {flat, strides};
}

/// The type with another element type, of the same shape.
static Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.clone(element);
  return element;
}

Value mlir::megactx::cpu::toF32(ImplicitLocOpBuilder &b, Value x) {
  if (getElementTypeOrSelf(x).isF32())
    return x;
  return arith::ExtFOp::create(b, withElement(x.getType(), b.getF32Type()), x);
}

Value mlir::megactx::cpu::fromF32(ImplicitLocOpBuilder &b, Value x,
                                  Type element) {
  if (element.isF32())
    return x;
  return arith::TruncFOp::create(b, withElement(x.getType(), element), x);
}

Value mlir::megactx::cpu::loadF32(ImplicitLocOpBuilder &b, Type type,
                                  Value from, ValueRange at) {
  if (!isa<VectorType>(type))
    return toF32(b, memref::LoadOp::create(b, from, at));
  Type stored = withElement(type, getElementTypeOrSelf(from));
  return toF32(b,
               vector::LoadOp::create(b, cast<VectorType>(stored), from, at));
}

void mlir::megactx::cpu::storeF32(ImplicitLocOpBuilder &b, Value x, Value to,
                                  ValueRange at) {
  Value narrow = fromF32(b, x, getElementTypeOrSelf(to));
  if (isa<VectorType>(x.getType()))
    vector::StoreOp::create(b, narrow, to, at);
  else
    memref::StoreOp::create(b, narrow, to, at);
}

std::string KernelShape::key() const {
  return AttentionShape::key() + " " + std::to_string(lanes) +
         (tiles ? " tiles" : "");
}

std::string KernelShape::tileKey(const BlockForm &form) const {
  std::string text;
  llvm::raw_string_ostream(text)
      << element << ' ' << headDim << ' ' << valueDim << ' ' << lanes << ' '
      << form.vectors << ' ' << form.name();
  return text;
}
