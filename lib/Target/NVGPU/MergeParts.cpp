//===- MergeParts.cpp - the kernel that merges parts of keys --------------===//

#include "MergeParts.h"
#include "Kernel.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

namespace {
/// Emits one kernel; members are values of the function being built.
class MergeEmitter {
public:
  MergeEmitter(gpu::GPUModuleOp module, StringRef name,
               const AttentionShape &shape)
      : shape(shape), module(module),
        b(module.getLoc(), OpBuilder::atBlockEnd(module.getBody())), a{b},
        pair(VectorType::get({2}, b.getF32Type())) {
    MLIRContext *context = b.getContext();
    SmallVector<Type> others = kernelArguments(context, shape);
    SmallVector<Type> types = {
        KernelArguments::typeOfQueryOffset(context, shape)};
    types.append(PartArguments::types(context, shape));
    types.append(others.end() - 2, others.end());
    function =
        gpu::GPUFuncOp::create(b, name, b.getFunctionType(types, TypeRange()));
    function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(),
                      b.getUnitAttr());
    function.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({int32_t(MergeLaunch::kThreads), 1, 1}));
    b.setInsertionPointToStart(&function.getBody().front());
  }

  gpu::GPUFuncOp run();

private:
  void row();
  std::array<Value, 2> statisticsOf(Value part);
  Value weightOf(Value score);
  Value weightOfPart(Value part);
  Value overParts(Value init, function_ref<Value(Value, Value)> join,
                  function_ref<Value(Value)> ofPart);
  void findShares();
  void sumOwnParts();
  void storePair();
  SmallVector<Value> at(ArrayRef<Value> row, Value column);
  Value load(Value from, ArrayRef<Value> at);

  const AttentionShape &shape;
  gpu::GPUModuleOp module;
  ImplicitLocOpBuilder b;
  Arith a;
  VectorType pair;
  gpu::GPUFuncOp function;
  PartArguments parts;
  Value out, lse, batches, thread, lane, warp;
  /// The block's row; the largest score of its parts, and the sum of weights
  /// relative to it. Where there was something before, its log-sum-exp is
  /// `before`.
  SmallVector<Value> place;
  Value top, sum, before;
  Value sums; ///< shared, [kWarps][Dv]: what each warp adds to the row
};
} // namespace

gpu::GPUFuncOp MergeEmitter::run() {
  ValueRange arguments = function.getArguments();
  parts = {arguments[1], arguments[2], arguments[3]};
  out = arguments[4];
  lse = arguments[5];
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = a.rem(thread, a.c(32));
  warp = a.div(thread, a.c(32));
  Value number = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value head = gpu::BlockIdOp::create(b, gpu::Dimension::y);
  Value batch = gpu::BlockIdOp::create(b, gpu::Dimension::z);
  batches = memref::DimOp::create(b, out, 0);
  Value queries = memref::DimOp::create(b, out, 2);
  KernelArguments offsets;
  offsets.queryOffset = arguments[0];
  KeyViews views(b, module, shape, offsets);
  Value classes = a.c(views.classes());
  Value inClass = a.div(number, classes);
  views.enter(batch, head, a.rem(number, classes), queries);
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  Value memory = nvx::SharedMemoryOp::create(
      b, MemRefType::get({MergeLaunch::bytes(shape)}, b.getI8Type(),
                         AffineMap(), space));
  sums = memref::ViewOp::create(
      b,
      MemRefType::get({MergeLaunch::kWarps, shape.valueDim}, b.getF32Type(),
                      AffineMap(), space),
      memory, a.c(0), ValueRange());
  scf::IfOp::create(b, a.lt(inClass, views.rowsHere),
                    [&](OpBuilder &, Location) {
                      place = {batch, head, views.rowAt(inClass)};
                      row();
                      scf::YieldOp::create(b);
                    });
  gpu::ReturnOp::create(b);
  return function;
}

/// Warps take every fourth part each, and a lane the same columns of all.
void MergeEmitter::row() {
  findShares();
  sumOwnParts();
  gpu::BarrierOp::create(b);
  scf::IfOp::create(b, a.lt(thread, a.c(shape.valueDim / 2)),
                    [&](OpBuilder &, Location) {
                      storePair();
                      scf::YieldOp::create(b);
                    });
}

std::array<Value, 2> MergeEmitter::statisticsOf(Value part) {
  SmallVector<Value> row = place;
  row[0] = KeyParts::place(a, part, batches, place[0]);
  Value both = load(parts.statistics, at(row, a.c(0)));
  return {vector::ExtractOp::create(b, both, 0),
          vector::ExtractOp::create(b, both, 1)};
}

/// e^(x - top), 0 for minus infinity: top is finite.
Value MergeEmitter::weightOf(Value score) {
  Value difference = arith::SubFOp::create(b, score, top);
  return nvx::Exp2Op::create(
      b,
      arith::MulFOp::create(b, difference, a.f32(static_cast<float>(M_LOG2E))));
}

/// Of all keys of a part.
Value MergeEmitter::weightOfPart(Value part) {
  auto [best, weights] = statisticsOf(part);
  return arith::MulFOp::create(b, weightOf(best), weights);
}

/// Joins what all parts give, in every lane.
Value MergeEmitter::overParts(Value init,
                              function_ref<Value(Value, Value)> join,
                              function_ref<Value(Value)> ofPart) {
  Value x = emitFor(b, lane, parts.count, 32, ValueRange{init},
                    [&](Value part, ValueRange so) -> SmallVector<Value> {
                      return {join(so[0], ofPart(part))};
                    })[0];
  return nvx::reduceInWarp(b, x, join);
}

void MergeEmitter::findShares() {
  auto max = [&](Value x, Value y) -> Value {
    return nvx::MaxOp::create(b, x, y);
  };
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddFOp::create(b, x, y);
  };
  top = overParts(a.f32(kLeastTop), max,
                  [&](Value part) { return statisticsOf(part)[0]; });
  if (shape.accumulate) {
    before = memref::LoadOp::create(b, lse, place);
    top = max(top, before);
  }
  sum =
      overParts(a.f32(0), add, [&](Value part) { return weightOfPart(part); });
  if (before)
    sum = add(sum, weightOf(before));
}

SmallVector<Value> MergeEmitter::at(ArrayRef<Value> row, Value column) {
  SmallVector<Value> indices(row);
  indices.push_back(column);
  return indices;
}

/// Two columns, as f32.
Value MergeEmitter::load(Value from, ArrayRef<Value> at) {
  Type element = cast<MemRefType>(from.getType()).getElementType();
  auto type = VectorType::get({2}, element);
  auto load = vector::LoadOp::create(b, type, from, at);
  load->setAttr("alignment",
                b.getI64IntegerAttr(2 * element.getIntOrFloatBitWidth() / 8));
  if (type == pair)
    return load;
  return arith::ExtFOp::create(b, pair, load.getResult());
}

void MergeEmitter::sumOwnParts() {
  SmallVector<Value> columns;
  Value last = a.c(shape.valueDim - 2);
  for (int64_t from = 0; from < shape.valueDim; from += 64)
    // Lanes past the last column repeat it and store nothing.
    columns.push_back(a.min(a.add(a.mul(lane, a.c(2)), a.c(from)), last));
  SmallVector<Value> init(columns.size(), a.splat(0.0f, pair));
  SmallVector<Value> own =
      emitFor(b, warp, parts.count, MergeLaunch::kWarps, init,
              [&](Value part, ValueRange so) -> SmallVector<Value> {
                SmallVector<Value> row = place, next;
                row[0] = KeyParts::place(a, part, batches, place[0]);
                Value weight =
                    vector::BroadcastOp::create(b, pair, weightOfPart(part));
                for (auto [column, x] : llvm::zip(columns, so))
                  next.push_back(vector::FMAOp::create(
                      b, weight, load(parts.out, at(row, column)), x));
                return next;
              });
  for (auto [i, x] : llvm::enumerate(own)) {
    Value column = a.add(a.mul(lane, a.c(2)), a.c(64 * i));
    scf::IfOp::create(b, a.lt(column, a.c(shape.valueDim)),
                      [&, x = x](OpBuilder &, Location) {
                        for (int64_t j = 0; j < 2; ++j)
                          memref::StoreOp::create(
                              b, vector::ExtractOp::create(b, x, j), sums,
                              ValueRange{warp, a.add(column, a.c(j))});
                        scf::YieldOp::create(b);
                      });
  }
}

/// The thread's two columns, and the row's log-sum-exp.
void MergeEmitter::storePair() {
  Value column = a.mul(thread, a.c(2));
  Value some =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, sum, a.f32(0));
  Value divisor = a.select(some, sum, a.f32(1));
  SmallVector<Value> totals;
  for (int64_t j = 0; j < 2; ++j) {
    Value total;
    for (int64_t i = 0; i < MergeLaunch::kWarps; ++i) {
      Value x = memref::LoadOp::create(
          b, sums, ValueRange{a.c(i), a.add(column, a.c(j))});
      total = total ? arith::AddFOp::create(b, total, x) : x;
    }
    totals.push_back(total);
  }
  Value x = vector::FromElementsOp::create(b, pair, totals);
  if (before)
    x = vector::FMAOp::create(
        b, vector::BroadcastOp::create(b, pair, weightOf(before)),
        load(out, at(place, column)), x);
  x = arith::DivFOp::create(b, x,
                            vector::BroadcastOp::create(b, pair, divisor));
  auto type = VectorType::get({2}, shape.element);
  if (type != pair)
    x = arith::TruncFOp::create(b, type, x);
  auto store = vector::StoreOp::create(b, x, out, at(place, column));
  store->setAttr(
      "alignment",
      b.getI64IntegerAttr(2 * shape.element.getIntOrFloatBitWidth() / 8));
  Value isFirst = a.eq(thread, a.c(0));
  scf::IfOp::create(b, isFirst, [&](OpBuilder &, Location) {
    Value log = arith::MulFOp::create(b, nvx::Log2Op::create(b, divisor),
                                      a.f32(static_cast<float>(M_LN2)));
    Value least = a.f32(-std::numeric_limits<float>::infinity());
    Value total = a.select(some, arith::AddFOp::create(b, top, log), least);
    memref::StoreOp::create(b, total, lse, place);
    scf::YieldOp::create(b);
  });
}

gpu::GPUFuncOp
mlir::megactx::nvgpu::emitMergeKernel(gpu::GPUModuleOp module, StringRef name,
                                      const AttentionShape &shape) {
  return MergeEmitter(module, name, shape).run();
}
