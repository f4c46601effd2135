//===- ConvertLinalgToTasks.cpp - linalg on memrefs as parallel tasks -----===//
//
// An op's parallel dimensions but the innermost make rows; rows are cut into
// segments of at most `grain` elements, and a task takes as many segments as
// make up the grain:
//
//   scf.parallel task            segments [task * chunk, (task + 1) * chunk)
//     scf.for segment            -> row -> indices of the outer dimensions
//       scf.for reductions...    accumulators in registers where a reduction is
//         scf.for element        innermost, in the output's memory elsewhere
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTLINALGTOTASKSPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Emits the tasks of one op and erases it.
class TaskEmitter {
public:
  TaskEmitter(linalg::GenericOp op, int64_t grain)
      : op(op), b(op.getLoc(), op), grain(grain) {}

  void run();

private:
  Value c(int64_t v) { return arith::ConstantIndexOp::create(b, v); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
  Value atLeastOne(Value x) { return arith::MaxSIOp::create(b, x, c(1)); }
  Value ceilDiv(Value x, Value y) {
    return arith::CeilDivSIOp::create(b, x, y);
  }
  Value product(ArrayRef<unsigned> dims);

  void sizes();
  void segment(Value number);
  void reduceInRegisters();
  void reduceInMemory(ArrayRef<unsigned> rest, Value begin, Value end);
  SmallVector<Value> nest(ArrayRef<unsigned> dims, ValueRange carried);
  SmallVector<Value> point(OpOperand &operand);
  SmallVector<Value> body(ValueRange carried);

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  int64_t grain;
  SmallVector<Value> extents, indices; ///< per loop dimension
  SmallVector<unsigned> outer, reductions;
  std::optional<unsigned> inner; ///< the innermost dimension, if parallel
  Value rowSegments;
};
} // namespace

void TaskEmitter::sizes() {
  auto interface = cast<linalg::LinalgOp>(op.getOperation());
  for (Range range : interface.createLoopRanges(b, b.getLoc()))
    extents.push_back(
        getValueOrCreateConstantIndexOp(b, b.getLoc(), range.size));
  indices.resize(extents.size());
}

Value TaskEmitter::product(ArrayRef<unsigned> dims) {
  Value result = c(1);
  for (unsigned dim : dims)
    result = b.createOrFold<arith::MulIOp>(result, extents[dim]);
  return result;
}

void TaskEmitter::run() {
  sizes();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? outer : reductions).push_back(dim);
  if (!outer.empty() && outer.back() + 1 == extents.size())
    inner = outer.pop_back_val();
  Value rows = product(outer);
  Value work = atLeastOne(product(reductions));
  Value width = inner ? extents[*inner] : c(1);
  // A segment's elements, segments of a row, segments of a task.
  Value length = min(atLeastOne(width), c(grain));
  rowSegments = ceilDiv(width, length);
  Value chunk = ceilDiv(c(grain), atLeastOne(mul(length, work)));
  Value segments = mul(rows, rowSegments);
  auto tasks = scf::ParallelOp::create(b, c(0), ceilDiv(segments, chunk), c(1));
  b.setInsertionPointToStart(tasks.getBody());
  Value first = mul(tasks.getInductionVars()[0], chunk);
  Value last = min(add(first, chunk), segments);
  auto loop = scf::ForOp::create(b, first, last, c(1));
  b.setInsertionPointToStart(loop.getBody());
  segment(loop.getInductionVar());
  op.erase();
}

void TaskEmitter::segment(Value number) {
  Value row = number, begin, end;
  if (inner) {
    row = arith::DivUIOp::create(b, number, rowSegments);
    Value part = arith::RemUIOp::create(b, number, rowSegments);
    begin = mul(part, c(grain));
    end = min(add(begin, c(grain)), extents[*inner]);
  }
  for (size_t i = outer.size(); i-- > 0;) {
    indices[outer[i]] =
        i == 0 ? row : Value(arith::RemUIOp::create(b, row, extents[outer[i]]));
    if (i > 0)
      row = arith::DivUIOp::create(b, row, extents[outer[i]]);
  }
  if (inner)
    reduceInMemory(reductions, begin, end);
  else
    reduceInRegisters();
}

/// The outputs' element stays in registers throughout the reductions.
void TaskEmitter::reduceInRegisters() {
  SmallVector<Value> carried;
  for (OpOperand &init : op.getDpsInitsMutable())
    carried.push_back(memref::LoadOp::create(b, init.get(), point(init)));
  carried = nest(reductions, carried);
  for (auto [init, value] : llvm::zip_equal(op.getDpsInitsMutable(), carried))
    memref::StoreOp::create(b, value, init.get(), point(init));
}

SmallVector<Value> TaskEmitter::nest(ArrayRef<unsigned> dims,
                                     ValueRange carried) {
  if (dims.empty())
    return body(carried);
  auto loop = scf::ForOp::create(b, c(0), extents[dims.front()], c(1), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  indices[dims.front()] = loop.getInductionVar();
  scf::YieldOp::create(b, nest(dims.drop_front(), loop.getRegionIterArgs()));
  return SmallVector<Value>(loop.getResults());
}

void TaskEmitter::reduceInMemory(ArrayRef<unsigned> rest, Value begin,
                                 Value end) {
  bool isLast = rest.empty();
  auto loop = scf::ForOp::create(b, isLast ? begin : c(0),
                                 isLast ? end : extents[rest.front()], c(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  indices[isLast ? *inner : rest.front()] = loop.getInductionVar();
  if (!isLast)
    return reduceInMemory(rest.drop_front(), begin, end);
  SmallVector<Value> carried;
  for (auto [init, argument] :
       llvm::zip_equal(op.getDpsInitsMutable(), op.getRegionOutputArgs()))
    carried.push_back(
        argument.use_empty()
            ? Value()
            : memref::LoadOp::create(b, init.get(), point(init)).getResult());
  SmallVector<Value> results = body(carried);
  for (auto [init, value] : llvm::zip_equal(op.getDpsInitsMutable(), results))
    memref::StoreOp::create(b, value, init.get(), point(init));
}

/// Where the loops' point lies in an operand.
SmallVector<Value> TaskEmitter::point(OpOperand &operand) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  SmallVector<Value> at;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      at.push_back(indices[dim.getPosition()]);
      continue;
    }
    SmallVector<Value> operands;
    for (Value index : indices)
      operands.push_back(index ? index : c(0));
    at.push_back(affine::AffineApplyOp::create(
        b, AffineMap::get(map.getNumDims(), 0, expr), operands));
  }
  return at;
}

SmallVector<Value> TaskEmitter::body(ValueRange carried) {
  IRMapping map;
  for (auto [input, argument] :
       llvm::zip_equal(op.getDpsInputOperands(), op.getRegionInputArgs())) {
    if (argument.use_empty())
      continue;
    Value x = input->get();
    if (isa<MemRefType>(x.getType()))
      x = memref::LoadOp::create(b, x, point(*input));
    map.map(argument, x);
  }
  for (auto [argument, value] :
       llvm::zip_equal(op.getRegionOutputArgs(), carried))
    if (value)
      map.map(argument, value);
  for (Operation &inside : op.getBody()->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inside))
      map.map(index.getResult(), indices[index.getDim()]);
    else
      b.clone(inside, map);
  }
  SmallVector<Value> results;
  for (Value result : op.getBody()->getTerminator()->getOperands())
    results.push_back(map.lookupOrDefault(result));
  return results;
}

namespace {
struct ConvertLinalgToTasks
    : impl::ConvertLinalgToTasksPassBase<ConvertLinalgToTasks> {
  using ConvertLinalgToTasksPassBase::ConvertLinalgToTasksPassBase;

  void runOnOperation() override {
    if (grain < 1) {
      getOperation().emitError("expected a grain of at least 1, but got ")
          << int64_t(grain);
      return signalPassFailure();
    }
    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](linalg::LinalgOp op) {
      if (op.hasPureBufferSemantics())
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (linalg::LinalgOp op : ops) {
      rewriter.setInsertionPoint(op);
      auto generic = dyn_cast<linalg::GenericOp>(op.getOperation());
      if (!generic) {
        FailureOr<linalg::GenericOp> made =
            linalg::generalizeNamedOp(rewriter, op);
        if (failed(made))
          continue;
        generic = *made;
      }
      TaskEmitter(generic, grain).run();
    }
  }
};
} // namespace
} // namespace mlir::megactx
