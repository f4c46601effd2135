//===- BiasGradient.cpp - gradients of scores, summed by where biases are -===//
//
// Owns the tasks of a bias's gradient, which alone write what they add to: a
// block of queries, where queries have elements of their own; else a part of
// dbias, with every so many-th block. A task has all batches and heads that the
// bias is the same for.
//
//===----------------------------------------------------------------------===//

#include "QueryGradient.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

namespace {
/// Where the elements of a task are: of query i and key j in
/// data[first + i * ofQuery + j * ofKey].
struct BiasPlaces {
  Value data, first, ofQuery, ofKey;
};

class BiasGradientKernel : public QueryGradientKernel {
public:
  using QueryGradientKernel::QueryGradientKernel;

private:
  void tasks(const GradientForm &form, Value most) override;
  void task(GradientBuffers &buffers, Value batch, Value head) override;
  void afterBlock(const GradientBuffers &buffers, Value count) override;

  Value sizeOf(int64_t dim) {
    return memref::DimOp::create(b, arguments.dbias, dim);
  }
  Value queriesAreApart();
  BiasPlaces placesOf(Value batch, Value head);

  Value part; ///< of the task
  BiasPlaces places;
};

/// Adds dS of a block to its elements.
class BiasAdder {
public:
  BiasAdder(ImplicitLocOpBuilder &b, const GradientBuffers &buffers,
            const BiasPlaces &places, Value lanesHere)
      : b(b), a{b}, buffers(buffers), places(places), lanesHere(lanesHere),
        width(buffers.vector.getNumElements()) {}

  void add(Value count);

private:
  Value isMirrored();
  void addSums(Value count);
  void addMirrored(Value count);
  void addEach(Value count);
  Value slopes(Value n, int64_t g);
  Value mask(int64_t g);
  Value placeOfKey(Value n);

  ImplicitLocOpBuilder &b;
  Arith a;
  const GradientBuffers &buffers;
  const BiasPlaces &places;
  Value lanesHere;
  int64_t width;
};
} // namespace

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

Value BiasGradientKernel::queriesAreApart() {
  if (shape.sumsDistances)
    return arith::ConstantIntOp::create(b, false, 1);
  return a.lt(a.c(1), sizeOf(3));
}

void BiasGradientKernel::tasks(const GradientForm &form, Value most) {
  Value perClass = a.ceilDiv(most, a.c(form.lanes()));
  Value blocks = a.mul(perClass, a.c(laneClasses()));
  Value apart = queriesAreApart();
  Value ways = a.select(apart, blocks, sizeOf(0));
  Value ownBatches = sizeOf(1), ownHeads = sizeOf(2);
  Value batchesOfTask = a.select(a.eq(ownBatches, a.c(1)), batches, a.c(1)),
        headsOfTask = a.select(a.eq(ownHeads, a.c(1)), heads, a.c(1));
  Value count = a.mul(a.mul(ownBatches, ownHeads), ways);
  emitParallel(b, count, [&](Value number) {
    GradientBuffers buffers(b, shape, form);
    Value way = a.rem(number, ways), rest = a.div(number, ways);
    part = a.select(apart, a.c(0), way);
    Value batch = a.div(rest, ownHeads), head = a.rem(rest, ownHeads);
    Value turns = a.ceilDiv(a.sub(blocks, way), ways);
    emitFor(b, batch, a.add(batch, batchesOfTask), 1, [&](Value eachBatch) {
      emitFor(b, head, a.add(head, headsOfTask), 1, [&](Value eachHead) {
        emitFor(b, a.c(0), turns, 1, [&](Value turn) {
          block(buffers, eachBatch, eachHead, a.add(way, a.mul(turn, ways)),
                perClass);
        });
      });
    });
  });
}

void BiasGradientKernel::task(GradientBuffers &buffers, Value batch,
                              Value head) {
  places = placesOf(batch, head);
  walk(buffers, batch, head);
}

BiasPlaces BiasGradientKernel::placesOf(Value batch, Value head) {
  auto within = [&](Value at, int64_t dim) {
    return a.min(at, a.sub(sizeOf(dim), a.c(1)));
  };
  auto [data, strides] =
      flattenAt(b, arguments.dbias, {part, within(batch, 1), within(head, 2)});
  Value none = a.c(0);
  if (shape.sumsDistances) {
    Value step = strides[3];
    return {data, a.mul(a.sub(queries, a.c(1)), step), a.sub(none, step), step};
  }
  auto stride = [&, strides = strides](int64_t dim) {
    return a.select(a.eq(sizeOf(dim), a.c(1)), none, strides[dim]);
  };
  return {data, none, stride(3), stride(4)};
}

void BiasGradientKernel::afterBlock(const GradientBuffers &buffers,
                                    Value count) {
  parts.call(b, gradientKey(shape, buffers.form) + "bias",
             {buffers.scratch, places.data, places.first, places.ofQuery,
              places.ofKey, lanesHere, count},
             [&](ValueRange x) {
               GradientBuffers own(b, shape, buffers.form, x[0]);
               BiasPlaces to{x[1], x[2], x[3], x[4]};
               BiasAdder(b, own, to, x[5]).add(x[6]);
             });
}

//===----------------------------------------------------------------------===//
// One block
//===----------------------------------------------------------------------===//

void BiasAdder::add(Value count) {
  emitIf(
      b, a.eq(places.ofQuery, a.c(0)), [&] { addSums(count); },
      [&] {
        emitIf(
            b, isMirrored(), [&] { addMirrored(count); },
            [&] { addEach(count); });
      });
}

/// Whether each lane's element is the one before that of the lane before it.
Value BiasAdder::isMirrored() {
  auto row = [&](int64_t lane) -> Value {
    return memref::LoadOp::create(b, buffers.rowOf, a.c(lane));
  };
  // Rows ascend; lanes without one repeat the last.
  Value all = a.eq(lanesHere, a.c(buffers.lanes));
  Value follow =
      a.eq(row(buffers.lanes - 1), a.add(row(0), a.c(buffers.lanes - 1)));
  return a.both(a.both(all, follow), a.eq(places.ofQuery, a.c(-1)));
}

Value BiasAdder::slopes(Value n, int64_t g) {
  return vector::LoadOp::create(b, buffers.vector, buffers.slopes,
                                ValueRange{n, a.c(g * width)});
}

/// Which lanes of a vector have a row.
Value BiasAdder::mask(int64_t g) {
  return vector::CreateMaskOp::create(
      b, VectorType::get({width}, b.getI1Type()),
      ValueRange(a.sub(lanesHere, a.c(g * width))));
}

Value BiasAdder::placeOfKey(Value n) {
  Value key = memref::LoadOp::create(b, buffers.other, n);
  return a.add(places.first, a.mul(key, places.ofKey));
}

/// All lanes have one element.
void BiasAdder::addSums(Value count) {
  SmallVector<Value> masks;
  for (int64_t g = 0; g < buffers.vectors; ++g)
    masks.push_back(mask(g));
  Value zero = a.splat(0.0f, buffers.vector);
  emitFor(b, a.c(0), count, 1, [&](Value n) {
    Value sum = zero;
    for (int64_t g = 0; g < buffers.vectors; ++g)
      sum =
          arith::AddFOp::create(b, sum, a.select(masks[g], slopes(n, g), zero));
    Value one = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sum,
                                            arith::FastMathFlags::reassoc);
    Value at = placeOfKey(n);
    Value old = memref::LoadOp::create(b, places.data, at);
    memref::StoreOp::create(b, arith::AddFOp::create(b, old, one), places.data,
                            at);
  });
}

void BiasAdder::addMirrored(Value count) {
  auto mirror = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, width)));
  Value row = memref::LoadOp::create(b, buffers.rowOf, a.c(0));
  emitFor(b, a.c(0), count, 1, [&](Value n) {
    Value first = a.sub(placeOfKey(n), row);
    for (int64_t g = 0; g < buffers.vectors; ++g) {
      Value at = a.sub(first, a.c((g + 1) * width - 1));
      Value x = slopes(n, g);
      x = vector::ShuffleOp::create(b, x, x, mirror);
      Value old = vector::LoadOp::create(b, buffers.vector, places.data, at);
      vector::StoreOp::create(b, arith::AddFOp::create(b, old, x), places.data,
                              at);
    }
  });
}

/// Lanes have elements of their own, anywhere.
void BiasAdder::addEach(Value count) {
  auto ints = VectorType::get({width}, b.getIndexType());
  Value step = vector::BroadcastOp::create(b, ints, places.ofQuery);
  for (int64_t g = 0; g < buffers.vectors; ++g) {
    Value rows = vector::LoadOp::create(b, ints, buffers.rowOf, a.c(g * width));
    Value own = arith::MulIOp::create(b, rows, step), some = mask(g);
    emitFor(b, a.c(0), count, 1, [&](Value n) {
      Value at = placeOfKey(n);
      Value zero = a.splat(0.0f, buffers.vector);
      Value old = vector::GatherOp::create(b, buffers.vector, places.data,
                                           ValueRange(at), own, some, zero);
      Value sum = arith::AddFOp::create(b, old, slopes(n, g));
      vector::ScatterOp::create(b, /*resultType=*/Type(), places.data,
                                ValueRange(at), own, some, sum);
    });
  }
}

std::unique_ptr<GradientKernel>
mlir::megactx::cpu::biasGradientKernel(KernelParts &parts, StringRef name,
                                       const KernelShape &shape) {
  return std::make_unique<BiasGradientKernel>(parts, name, shape);
}
