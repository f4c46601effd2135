//===- LinearizeParallel.cpp - parallel loops of one dimension ------------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_LINEARIZEPARALLELPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
struct LinearizeParallel : impl::LinearizeParallelPassBase<LinearizeParallel> {
  using LinearizeParallelPassBase::LinearizeParallelPassBase;

  void runOnOperation() override {
    if (grain < 1) {
      getOperation().emitError("expected a grain of at least 1, but got ")
          << int64_t(grain);
      return signalPassFailure();
    }
    SmallVector<scf::ParallelOp> loops;
    getOperation()->walk<WalkOrder::PreOrder>([&](scf::ParallelOp loop) {
      if (isPlain(loop))
        loops.push_back(loop);
      return WalkResult::skip();
    });
    for (scf::ParallelOp loop : loops)
      linearize(loop);
  }

  static bool isPlain(scf::ParallelOp loop) {
    return loop.getInitVals().empty() &&
           llvm::all_of(loop.getLowerBound(),
                        [](Value v) { return isConstantIntValue(v, 0); }) &&
           llvm::all_of(loop.getStep(),
                        [](Value v) { return isConstantIntValue(v, 1); });
  }

  /// Rows are all dimensions but the last; a chunk is some rows, or a part of
  /// the one row there is.
  void linearize(scf::ParallelOp loop) {
    ImplicitLocOpBuilder b(loop.getLoc(), loop);
    auto c = [&](int64_t v) -> Value {
      return arith::ConstantIndexOp::create(b, v);
    };
    SmallVector<Value> sizes(loop.getUpperBound());
    // A single dimension is rows of one element.
    bool isFlat = sizes.size() == 1;
    Value width = isFlat ? c(1) : sizes.back();
    SmallVector<Value> outer(sizes);
    if (!isFlat)
      outer.pop_back();
    Value rows = outer[0];
    for (Value size : ArrayRef(outer).drop_front())
      rows = arith::MulIOp::create(b, rows, size);
    Value divisor = arith::MaxSIOp::create(b, width, c(1));
    Value chunk = arith::CeilDivSIOp::create(b, c(grain), divisor);
    Value count = arith::CeilDivSIOp::create(b, rows, chunk);
    auto task = scf::ParallelOp::create(b, c(0), count, c(1));
    b.setInsertionPointToStart(task.getBody());
    Value first = arith::MulIOp::create(b, task.getInductionVars()[0], chunk);
    Value last =
        arith::MinSIOp::create(b, arith::AddIOp::create(b, first, chunk), rows);
    auto rowLoop = scf::ForOp::create(b, first, last, c(1));
    b.setInsertionPointToStart(rowLoop.getBody());
    SmallVector<Value> indices(outer.size());
    Value rest = rowLoop.getInductionVar();
    for (size_t i = outer.size(); i-- > 1;) {
      indices[i] = arith::RemUIOp::create(b, rest, outer[i]);
      rest = arith::DivUIOp::create(b, rest, outer[i]);
    }
    indices[0] = rest;
    if (!isFlat) {
      auto inner = scf::ForOp::create(b, c(0), width, c(1));
      indices.push_back(inner.getInductionVar());
      b.setInsertionPointToStart(inner.getBody());
    }
    IRMapping map;
    map.map(loop.getInductionVars(), indices);
    for (Operation &op : loop.getBody()->without_terminator())
      b.clone(op, map);
    loop.erase();
  }
};
} // namespace
} // namespace mlir::megactx
