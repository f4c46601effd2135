//===- KernelEmitter.cpp - a linalg op as a kernel ------------------------===//

#include "KernelEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

/// Elements that a thread computes at least, where rows are long enough.
static constexpr int64_t kPerThread = 4;
/// Reductions that are known to be shorter run within a thread.
static constexpr int64_t kThreadReduction = 8;
bool gpukernel::isLongReduction(linalg::GenericOp op) {
  if (op.getNumReductionLoops() == 0 ||
      op.getIteratorTypesArray().back() != utils::IteratorType::reduction)
    return false;
  int64_t extent = op.getStaticLoopRanges().back();
  return (ShapedType::isDynamic(extent) || extent >= kThreadReduction) &&
         combinersOf(op);
}

void KernelEmitter::run() {
  takeFollower();
  remarkFollower();
  findExtents();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? parallel : reductions)
        .push_back(dim);
  fills.resize(op.getNumDpsInits());
  if (!reductions.empty())
    fills = takeFills();
  elements();
  erase();
}

void KernelEmitter::elements() {
  SmallVector<unsigned> outer = parallel;
  std::optional<unsigned> inner;
  if (!outer.empty())
    inner = outer.pop_back_val();
  if (inner)
    findWidth(*inner);
  Value length = inner ? extents[*inner] : c(1);
  // Threads along the innermost loop, and how many of its elements each takes.
  int64_t lanes = kThreads, each = std::max(kPerThread, width);
  if (std::optional<int64_t> extent = constantOf(length)) {
    int64_t needed = llvm::divideCeil(*extent, width);
    lanes = llvm::PowerOf2Ceil(std::clamp<int64_t>(needed, 1, kThreads));
    needed = llvm::divideCeil(needed, lanes) * width;
    each = std::clamp(needed, width, each);
  }
  int64_t rowsOfBlock = kThreads / lanes;
  Value rows = product(outer), parts = ceilDiv(length, c(lanes * each));
  Value blocks = mul(parts, blocksFor(rows, rowsOfBlock));
  launch(reductions.empty() ? "elements" : "reduce_columns", blocks, 0, [&] {
    Value row, part;
    std::tie(row, part) = divide(block, parts);
    Value lane = b.createOrFold<arith::RemUIOp>(thread, c(lanes));
    row = add(mul(row, c(rowsOfBlock)),
              b.createOrFold<arith::DivUIOp>(thread, c(lanes)));
    Value begin = mul(part, c(lanes * each));
    Value end =
        b.createOrFold<arith::MinUIOp>(add(begin, c(lanes * each)), length);
    when(less(row, rows), [&] {
      unflatten(row, outer);
      if (!inner)
        return neighbours(1);
      along(begin, end, lane, lanes, {}, [&](int64_t count, ValueRange) {
        neighbours(count);
        return SmallVector<Value>();
      });
    });
  });
}

/// Computes and stores the outputs of so many points.
void KernelEmitter::neighbours(int64_t count) {
  SmallVector<SmallVector<Value>> values(count);
  if (reductions.empty()) {
    forNeighbours(count, [&](int64_t i) { values[i] = body(loadOutputs()); });
    return storeNeighbours(values);
  }
  SmallVector<Value> all;
  forNeighbours(count,
                [&](int64_t) { llvm::append_range(all, initialValues()); });
  size_t outputs = fills.size();
  all = nest(reductions, all, [&](ValueRange sofar) {
    SmallVector<Value> next;
    forNeighbours(count, [&](int64_t i) {
      llvm::append_range(next, body(sofar.slice(i * outputs, outputs)));
    });
    return next;
  });
  for (auto [i, here] : llvm::enumerate(values))
    here.append(all.begin() + i * outputs, all.begin() + (i + 1) * outputs);
  storeNeighbours(values);
}
