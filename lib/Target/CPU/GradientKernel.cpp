//===- GradientKernel.cpp - what kernels of gradients share ---------------===//

#include "GradientKernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

func::FuncOp GradientKernel::run() {
  tasksByLength(gradientFormsOf(shape), rowsPerClass());
  func::ReturnOp::create(b);
  return function;
}

/// Blocks of the fewest vectors that hold a whole class, as in attention.
void GradientKernel::tasksByLength(ArrayRef<GradientFormPtr> forms,
                                   Value most) {
  const GradientForm &form = *forms.front();
  if (forms.size() == 1)
    return tasks(form, most);
  emitIf(
      b, a.le(most, a.c(form.lanes())), [&] { tasks(form, most); },
      [&] { tasksByLength(forms.drop_front(), most); });
}

void GradientKernel::tasks(const GradientForm &form, Value most) {
  Value perClass = a.ceilDiv(most, a.c(form.lanes()));
  Value blocks = a.mul(perClass, a.c(laneClasses()));
  Value count = a.mul(a.mul(batches, laneHeads()), blocks);
  // Blocks of one class follow each other, and find each other's rows in the
  // cache.
  emitParallel(b, count, [&](Value number) {
    GradientBuffers buffers(b, shape, form);
    Value rest = a.div(number, blocks);
    block(buffers, a.div(rest, laneHeads()), a.rem(rest, laneHeads()),
          a.rem(number, blocks), perClass);
  });
}

/// The task of a block, by its number among those of all classes.
void GradientKernel::block(GradientBuffers &buffers, Value batch, Value head,
                           Value number, Value perClass) {
  Value first = a.mul(a.rem(number, perClass), a.c(buffers.lanes));
  Value count = enter(batch, head, a.div(number, perClass));
  emitIf(b, a.lt(first, count), [&] {
    startLanes(buffers, head, first, count);
    task(buffers, batch, head);
  });
}

/// Says which row each lane stands for, and starts from nothing.
void GradientKernel::startLanes(const GradientBuffers &buffers, Value head,
                                Value first, Value count) {
  Value last = a.sub(count, a.c(1));
  lanesHere = a.min(a.sub(count, first), a.c(buffers.lanes));
  emitFor(b, a.c(0), a.c(buffers.lanes), 1, [&](Value lane) {
    // Lanes past the class's end repeat its last row and are not stored.
    Value row = rowAt(a.min(a.add(first, lane), last));
    memref::StoreOp::create(b, row, buffers.rowOf, lane);
    memref::StoreOp::create(b, head, buffers.headOf, lane);
  });
  auto clear = [&](Value sum, int64_t dim) {
    emitFor(b, a.c(0), a.c(dim), 1, [&](Value d) {
      for (int64_t g = 0; g < buffers.vectors; ++g)
        vector::StoreOp::create(b, a.splat(0.0f, buffers.vector), sum,
                                ValueRange{d, a.c(g * shape.lanes)});
    });
  };
  if (buffers.sumA)
    clear(buffers.sumA, shape.headDim);
  if (buffers.sumB)
    clear(buffers.sumB, shape.valueDim);
}

void GradientKernel::loadLanes(const GradientBuffers &buffers,
                               const BatchOf &ofA, const BatchOf &ofB) {
  std::string key = gradientKey(shape, buffers.form);
  llvm::raw_string_ostream(key) << "load " << shape.scale;
  parts.call(b, key, {buffers.scratch, ofA.tensor, ofB.tensor, ofA.batch},
             [&](ValueRange x) {
               GradientBuffers own(b, shape, buffers.form, x[0]);
               LaneRows rows(b, own.vector, own.rowOf, own.headOf);
               rows.load({x[1], x[3], ofA.dim}, own.form.laneFactor(),
                         own.laneA);
               rows.load({x[2], x[3], ofB.dim}, 1.0f, own.laneB);
               own.form.readLanes(b, own);
             });
}

/// Adds the lanes' sums, `sum` of the buffers, times the factor to their rows.
void GradientKernel::storeSum(const GradientBuffers &buffers,
                              Value GradientBuffers::*sum, float factor,
                              const BatchOf &to) {
  std::string key = gradientKey(shape, buffers.form);
  llvm::raw_string_ostream(key)
      << "store " << (sum == &GradientBuffers::sumA) << ' ' << factor;
  parts.call(b, key, {buffers.scratch, to.tensor, to.batch, lanesHere},
             [&](ValueRange x) {
               GradientBuffers own(b, shape, buffers.form, x[0]);
               BatchOf rowsOf{x[1], x[2], to.dim};
               LaneRows rows(b, own.vector, own.rowOf, own.headOf);
               for (int64_t g = 0; g < own.vectors; ++g)
                 vector::StoreOp::create(b, a.splat(factor, own.vector),
                                         own.factors, a.c(g * shape.lanes));
               Value one = a.f32(1.0f);
               emitFor(b, a.c(0), x[3], shape.lanes, [&](Value first) {
                 rows.turn(own.*sum, to.dim, first, own.factors, own.turned);
                 Value end = a.min(a.add(first, a.c(shape.lanes)), x[3]);
                 emitFor(b, first, end, 1, [&](Value lane) {
                   rows.store(own.turned, a.sub(lane, first), rowsOf, lane,
                              one);
                 });
               });
             });
}

Value GradientKernel::blockRows(const GradientBuffers &buffers, Value left) {
  Value step = a.c(buffers.form.rowStep());
  return a.min(a.mul(a.ceilDiv(left, step), step),
               a.c(buffers.form.blockRows()));
}

void GradientKernel::placeRow(const GradientBuffers &buffers, Value n,
                              Value row, Value strideA, Value strideB) {
  memref::StoreOp::create(b, row, buffers.other, n);
  memref::StoreOp::create(b, a.mul(row, strideA), buffers.placeA, n);
  memref::StoreOp::create(b, a.mul(row, strideB), buffers.placeB, n);
}

void GradientKernel::storeI32(Value x, Value to, Value at) {
  Value narrow = arith::IndexCastOp::create(b, b.getI32Type(), x);
  memref::StoreOp::create(b, narrow, to, at);
}

static std::unique_ptr<GradientKernel>
kernelOf(KernelParts &parts, StringRef name, const KernelShape &shape) {
  switch (shape.result) {
  case KernelResult::QueryGradient:
    return queryGradientKernel(parts, name, shape);
  case KernelResult::KeyGradient:
    return keyGradientKernel(parts, name, shape);
  case KernelResult::BiasGradient:
    return biasGradientKernel(parts, name, shape);
  case KernelResult::Attention:
    break;
  }
  llvm_unreachable("attention is no gradient");
}

func::FuncOp mlir::megactx::cpu::emitGradientKernel(KernelParts &parts,
                                                    StringRef name,
                                                    const KernelShape &shape) {
  return kernelOf(parts, name, shape)->run();
}
