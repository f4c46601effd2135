//===- KernelUtils.cpp - what kernel emission builds on -------------------===//

#include "Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx::cpu;

Value Arith::c(int64_t value) const {
  return arith::ConstantIndexOp::create(b, value);
}
Value Arith::add(Value x, Value y) const {
  return arith::AddIOp::create(b, x, y);
}
Value Arith::sub(Value x, Value y) const {
  return arith::SubIOp::create(b, x, y);
}
Value Arith::mul(Value x, Value y) const {
  return arith::MulIOp::create(b, x, y);
}
Value Arith::min(Value x, Value y) const {
  return arith::MinSIOp::create(b, x, y);
}
Value Arith::max(Value x, Value y) const {
  return arith::MaxSIOp::create(b, x, y);
}
Value Arith::div(Value x, Value y) const {
  return arith::DivUIOp::create(b, x, y);
}
Value Arith::rem(Value x, Value y) const {
  return arith::RemUIOp::create(b, x, y);
}
Value Arith::ceilDiv(Value x, Value y) const {
  return emitFloorDiv(b, add(x, sub(y, c(1))), y);
}
Value Arith::lt(Value x, Value y) const {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
}
Value Arith::le(Value x, Value y) const {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, x, y);
}
Value Arith::both(Value x, Value y) const {
  return arith::AndIOp::create(b, x, y);
}
Value Arith::select(Value cond, Value x, Value y) const {
  return arith::SelectOp::create(b, cond, x, y);
}
Value Arith::f32(float value) const {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}
Value Arith::fmax(Value x, Value y) const {
  // One instruction; math's maximum spends more on NaNs and signs of zero.
  Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return select(greater, x, y);
}
Value Arith::splat(float value, VectorType type) const {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
}

SmallVector<Value> mlir::megactx::cpu::emitFor(ImplicitLocOpBuilder &b,
                                               Value lo, Value hi, int64_t step,
                                               ValueRange init, LoopBody body) {
  Value by = arith::ConstantIndexOp::create(b, step);
  auto loop = scf::ForOp::create(
      b, lo, hi, by, init,
      [&](OpBuilder &, Location loc, Value i, ValueRange carried) {
        scf::YieldOp::create(b, body(i, carried));
      });
  return SmallVector<Value>(loop.getResults());
}

void mlir::megactx::cpu::emitFor(ImplicitLocOpBuilder &b, Value lo, Value hi,
                                 int64_t step, function_ref<void(Value)> body) {
  emitFor(b, lo, hi, step, ValueRange(),
          [&](Value i, ValueRange) -> SmallVector<Value> {
            body(i);
            return {};
          });
}

Value mlir::megactx::cpu::emitExp2(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  auto ints = VectorType::get(type.getShape(), b.getI32Type());
  Arith a{b};
  // 2^f on [-1/2, 1/2], then the exponent is added to the bits.
  const float terms[] = {1.0f,        0.69314718f, 0.24022651f,
                         0.05550411f, 0.00961813f, 0.00133336f};
  Value clamped = a.fmax(x, a.splat(kLeastExponent, type));
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
                               /*localityHint=*/3, /*isDataCache=*/true);
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

Value mlir::megactx::cpu::emitGlobalTable(ImplicitLocOpBuilder &b,
                                          ModuleOp module,
                                          ArrayRef<int64_t> values) {
  auto tensor = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
  auto data = DenseElementsAttr::get(tensor, values);
  auto type = MemRefType::get(tensor.getShape(), b.getI64Type());
  StringAttr name;
  for (auto global : module.getOps<memref::GlobalOp>())
    if (global.getInitialValueAttr() == data)
      name = global.getSymNameAttr();
  if (!name) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    unsigned number = 0;
    std::string fresh;
    do
      fresh = "mctx_table_" + std::to_string(number++);
    while (module.lookupSymbol(fresh));
    name = b.getStringAttr(fresh);
    memref::GlobalOp::create(b, name, b.getStringAttr("private"), type, data,
                             /*constant=*/true, IntegerAttr());
  }
  return memref::GetGlobalOp::create(b, type, name.getValue());
}

std::string KernelShape::key() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << element << ' ' << headDim << ' ' << valueDim << ' ' << scale << ' '
     << softcap.value_or(0) << ' ' << queryStep << ' ' << keyStep << ' '
     << hasBias << biasPerKey << hasLengths << accumulate << ' ' << lanes;
  for (const pattern::Piece &piece : pieces)
    os << " | " << piece.str();
  return text;
}

SmallVector<Type>
mlir::megactx::cpu::kernelArguments(MLIRContext *context,
                                    const KernelShape &shape) {
  constexpr int64_t any = ShapedType::kDynamic;
  auto strided = [&](ArrayRef<int64_t> dims, Type element, bool unitLast) {
    SmallVector<int64_t> strides(dims.size(), any);
    if (unitLast)
      strides.back() = 1;
    return MemRefType::get(dims, element,
                           StridedLayoutAttr::get(context, any, strides));
  };
  Type f32 = Float32Type::get(context), index = IndexType::get(context);
  Type q = strided({any, any, any, shape.headDim}, shape.element, true);
  Type v = strided({any, any, any, shape.valueDim}, shape.element, true);
  SmallVector<Type> types = {q, q, v};
  if (shape.hasBias)
    types.push_back(strided({any, any, any, any}, f32, false));
  if (shape.hasLengths)
    types.push_back(strided({any}, index, false));
  types.append({index, index, v, strided({any, any, any}, f32, true)});
  return types;
}
