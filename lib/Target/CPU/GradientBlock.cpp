//===- GradientBlock.cpp - gradients of one block of pairs ----------------===//

#include "GradientBlock.h"
#include "PairTests.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

static constexpr float kLog2e = static_cast<float>(M_LOG2E);

GradientBuffers::GradientBuffers(ImplicitLocOpBuilder &b,
                                 const KernelShape &shape,
                                 const GradientForm &form, Value given)
    : form(form), vectors(form.vectors), lanes(form.lanes()),
      vector(VectorType::get({shape.lanes}, b.getF32Type())) {
  Type f32 = b.getF32Type(), i32 = b.getI32Type(), index = b.getIndexType();
  bool inLanes = GradientBlock::lanesAreQueries(shape);
  int64_t rows = form.blockRows();
  int64_t queries = inLanes ? lanes : rows, keys = inLanes ? rows : lanes;
  Scratch fields;
  fields.add(laneA, {shape.headDim, lanes}, f32);
  fields.add(laneB, {shape.valueDim, lanes}, f32);
  if (shape.result != KernelResult::BiasGradient)
    fields.add(sumA, {shape.headDim, lanes}, f32);
  if (!inLanes)
    fields.add(sumB, {shape.valueDim, lanes}, f32);
  for (Value *each : {&weights, &slopes})
    fields.add(*each, {rows, lanes}, f32);
  for (Value *each : {&rowOf, &headOf})
    fields.add(*each, {lanes}, index);
  for (Value *each : {&other, &placeA, &placeB})
    fields.add(*each, {rows}, index);
  for (Value *each : {&lse, &delta})
    fields.add(*each, {queries}, f32);
  for (Value *each : {&low, &high})
    fields.add(*each, {queries}, i32);
  fields.add(number, {keys}, i32);
  fields.add(turned, {shape.lanes, shape.largerDim()}, f32);
  fields.add(factors, {lanes}, f32);
  fields.add(own, form.ownBuffers(b.getContext()));
  // Kernels that differ in these share parts, so they come last.
  if (shape.hasTest())
    fields.add(allowed, {rows, lanes}, i32);
  if (!shape.biasPerKey.empty())
    fields.add(biases, {rows, lanes}, f32);
  scratch = fields.cut(b, given);
}

std::string mlir::megactx::cpu::gradientKey(const KernelShape &shape,
                                            const GradientForm &form) {
  std::string key;
  llvm::raw_string_ostream(key)
      << "gradient " << static_cast<int>(shape.result) << ' ' << shape.element
      << ' ' << shape.headDim << ' ' << shape.valueDim << ' ' << shape.lanes
      << ' ' << form.vectors << ' ' << form.name() << ' ';
  return key;
}

void GradientBlock::add(KernelParts &parts, Value count, Value isFull,
                        const GradientContext &context) {
  auto masked = [&] { addMasked(parts, count, context); };
  if (context.test && context.isAllowed) {
    GradientContext untested = context;
    untested.test = {};
    return emitIf(
        b, context.isAllowed, [&] { add(parts, count, isFull, untested); },
        masked);
  }
  if (!shape.biasPerKey.empty() || context.test)
    return masked();
  emitIf(b, isFull, [&] { call(parts, count, nullptr); }, masked);
}

/// What depends on pieces and positions is looked up here, for the part to find
/// it in the scratch.
void GradientBlock::addMasked(KernelParts &parts, Value count,
                              const GradientContext &context) {
  Masks masks{bool(context.test), !shape.biasPerKey.empty()};
  PairTests tests{b,
                  context.test,
                  context.views,
                  lanesAreQueries(shape),
                  buffers.rowOf,
                  buffers.other,
                  buffers.allowed,
                  shape.lanes};
  if (masks.test || masks.bias)
    emitFor(b, a.c(0), count, 1, [&](Value n) {
      if (masks.test)
        tests.fill(n, a.c(0), a.c(0), buffers.vectors);
      if (masks.bias)
        sumBiases(n, context);
    });
  call(parts, count, &masks);
}

void GradientBlock::call(KernelParts &parts, Value count, const Masks *masks) {
  std::string key = gradientKey(shape, buffers.form);
  llvm::raw_string_ostream os(key);
  os << "block " << shape.softcap.value_or(0);
  if (masks)
    os << " masked " << masks->test << masks->bias << shape.hasTest();
  parts.call(b, key, {buffers.scratch, dataA, dataB, count},
             [&](ValueRange arguments) {
               GradientBuffers own(b, shape, buffers.form, arguments[0]);
               buffers.form.block(b, own, arguments[1], arguments[2])
                   ->emit(arguments[3], masks);
             });
}

Value GradientBlock::perLane(Value buffer, int64_t g) {
  Type element = getElementTypeOrSelf(buffer);
  return vector::LoadOp::create(b, VectorType::get({shape.lanes}, element),
                                buffer, a.c(g * shape.lanes));
}

Value GradientBlock::perRow(Value buffer, Value n) {
  Value x = memref::LoadOp::create(b, buffer, n);
  return vector::BroadcastOp::create(
      b, VectorType::get({shape.lanes}, x.getType()), x);
}

Value GradientBlock::perQuery(Value buffer, Value n, int64_t g) {
  return lanesAreQueries(shape) ? perLane(buffer, g) : perRow(buffer, n);
}

Value GradientBlock::perKey(Value buffer, Value n, int64_t g) {
  return lanesAreQueries(shape) ? perRow(buffer, n) : perLane(buffer, g);
}

Value GradientBlock::weight(Value s, Value n, int64_t g, const Masks *masks) {
  LaneSpan span{a.c(0), buffers.vectors};
  VectorType type = buffers.vector;
  if (shape.softcap) {
    float cap = *shape.softcap * kLog2e;
    Value t = arith::MulFOp::create(b, s, a.splat(1.0f / cap, type));
    t = math::TanhOp::create(b, t);
    s = arith::MulFOp::create(b, t, a.splat(cap, type));
    if (hasSlope()) {
      Value slope = arith::SubFOp::create(b, a.splat(1.0f, type),
                                          arith::MulFOp::create(b, t, t));
      products.store(slope, buffers.slopes, n, span, g);
    }
  }
  if (masks && masks->bias)
    s = arith::AddFOp::create(b, s, products.load(buffers.biases, n, span, g));
  Value p = power(arith::SubFOp::create(b, s, perQuery(buffers.lse, n, g)));
  if (!masks)
    return p;
  using Predicate = arith::CmpIPredicate;
  Value number = perKey(buffers.number, n, g);
  Value keep = a.both(arith::CmpIOp::create(b, Predicate::sge, number,
                                            perQuery(buffers.low, n, g)),
                      arith::CmpIOp::create(b, Predicate::slt, number,
                                            perQuery(buffers.high, n, g)));
  if (masks->test) {
    auto ints = VectorType::get({shape.lanes}, b.getI32Type());
    Value holds = vector::LoadOp::create(
        b, ints, buffers.allowed, ValueRange{n, products.laneOf(span, g)});
    Value none = arith::ConstantOp::create(
        b, DenseElementsAttr::get(ints, b.getI32IntegerAttr(0)));
    keep = a.both(keep, arith::CmpIOp::create(b, Predicate::ne, holds, none));
  }
  return a.select(keep, p, a.splat(0.0f, type));
}

/// The sum of all biases, to base 2. A dimension of size one is broadcast.
void GradientBlock::sumBiases(Value n, const GradientContext &context) {
  bool inLanes = lanesAreQueries(shape);
  LaneSpan span{a.c(0), buffers.vectors};
  auto ints = VectorType::get({shape.lanes}, b.getIndexType());
  auto all = [&](Value x) -> Value {
    return vector::BroadcastOp::create(b, ints, x);
  };
  Value mask = arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get({shape.lanes}, b.getI1Type()),
                                true));
  Value other = memref::LoadOp::create(b, buffers.other, n);
  for (int64_t g = 0; g < span.vectors; ++g) {
    Value own = vector::LoadOp::create(b, ints, buffers.rowOf,
                                       products.laneOf(span, g));
    Value sum;
    for (Value bias : context.biases) {
      auto last = [&](unsigned i) {
        return a.sub(memref::DimOp::create(b, bias, i), a.c(1));
      };
      auto [data, strides] = flattenAt(b, bias,
                                       {a.min(context.views.batch, last(0)),
                                        a.min(context.views.head, last(1))});
      unsigned laneDim = inLanes ? 2 : 3, rowDim = inLanes ? 3 : 2;
      Value at = arith::MinSIOp::create(b, own, all(last(laneDim)));
      at = arith::MulIOp::create(b, at, all(strides[laneDim]));
      Value row = a.mul(a.min(other, last(rowDim)), strides[rowDim]);
      Value x =
          vector::GatherOp::create(b, buffers.vector, data, ValueRange{row}, at,
                                   mask, a.splat(0, buffers.vector));
      sum = sum ? arith::AddFOp::create(b, sum, x).getResult() : x;
    }
    products.store(emitBase2(b, sum), buffers.biases, n, span, g);
  }
}
