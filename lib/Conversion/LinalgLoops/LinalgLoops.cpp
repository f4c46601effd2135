//===- LinalgLoops.cpp - scalar code of a linalg op -----------------------===//

#include "LinalgLoops.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace mlir::megactx;

Value LinalgLoops::c(int64_t v) { return arith::ConstantIndexOp::create(b, v); }
Value LinalgLoops::mul(Value x, Value y) {
  return b.createOrFold<arith::MulIOp>(x, y);
}
Value LinalgLoops::add(Value x, Value y) {
  return b.createOrFold<arith::AddIOp>(x, y);
}
Value LinalgLoops::ceilDiv(Value x, Value y) {
  return b.createOrFold<arith::CeilDivSIOp>(x, y);
}

std::optional<int64_t> LinalgLoops::constantOf(Value x) {
  APInt number;
  if (matchPattern(x, m_ConstantInt(&number)))
    return number.getSExtValue();
  return std::nullopt;
}

void LinalgLoops::findExtents() {
  auto interface = cast<linalg::LinalgOp>(op.getOperation());
  for (Range range : interface.createLoopRanges(b, b.getLoc()))
    extents.push_back(
        getValueOrCreateConstantIndexOp(b, b.getLoc(), range.size));
  indices.resize(extents.size());
}

void LinalgLoops::shareExtents(ArrayRef<LinalgLoops *> ops) {
  SmallVector<Value> shared = ops.front()->extents;
  for (LinalgLoops *other : ops)
    for (auto [extent, here] : llvm::zip_equal(shared, other->extents))
      if (!constantOf(extent))
        extent = here;
  for (LinalgLoops *other : ops)
    other->extents = shared;
}

Value LinalgLoops::product(ArrayRef<unsigned> dims) {
  Value result = c(1);
  for (unsigned dim : dims)
    result = mul(result, extents[dim]);
  return result;
}

std::pair<Value, Value> LinalgLoops::divide(Value x, Value y) {
  return {b.createOrFold<arith::DivUIOp>(x, y),
          b.createOrFold<arith::RemUIOp>(x, y)};
}

void LinalgLoops::unflatten(Value number, ArrayRef<unsigned> dims) {
  for (size_t i = dims.size(); i-- > 1;)
    std::tie(number, indices[dims[i]]) = divide(number, extents[dims[i]]);
  if (!dims.empty())
    indices[dims.front()] = number;
}

SmallVector<Value> LinalgLoops::point(OpOperand &operand) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  SmallVector<Value> at;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      at.push_back(indices[dim.getPosition()]);
      continue;
    }
    // What is not used may be of a loop that has ended.
    SmallVector<Value> operands;
    for (auto [dim, index] : llvm::enumerate(indices))
      operands.push_back(expr.isFunctionOfDim(dim) ? index : c(0));
    at.push_back(affine::AffineApplyOp::create(
        b, AffineMap::get(map.getNumDims(), 0, expr), operands));
  }
  return at;
}

/// Whether vectors have the elements where the memref has them: those of i1 are
/// bits.
static bool isMovable(Type element) {
  return element.isIntOrFloat() &&
         llvm::is_contained({8, 16, 32, 64}, element.getIntOrFloatBitWidth());
}

/// c of `loop floordiv c`.
static std::optional<int64_t> quotientOf(AffineExpr expr) {
  auto quotient = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!quotient || quotient.getKind() != AffineExprKind::FloorDiv ||
      !isa<AffineDimExpr>(quotient.getLHS()))
    return std::nullopt;
  auto by = dyn_cast<AffineConstantExpr>(quotient.getRHS());
  if (!by || by.getValue() < 1)
    return std::nullopt;
  return by.getValue();
}

LinalgLoops::Neighbours LinalgLoops::neighboursOf(OpOperand &operand,
                                                  unsigned loop) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return Neighbours::Same;
  AffineMap map = op.getMatchingIndexingMap(&operand);
  std::optional<unsigned> along;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (!expr.isFunctionOfDim(loop))
      continue;
    if (along)
      return Neighbours::Apart;
    along = i;
  }
  if (!along)
    return Neighbours::Same;
  // Vectors are along the last dim.
  if (int64_t(*along) + 1 != type.getRank() ||
      !isMovable(type.getElementType()) || !type.isLastDimUnitStride())
    return Neighbours::Apart;
  AffineExpr expr = map.getResults().back();
  if (isa<AffineDimExpr>(expr))
    return Neighbours::Next;
  AffineExpr rest = expr - getAffineDimExpr(loop, op.getContext());
  if (!simplifyAffineExpr(rest, map.getNumDims(), 0).isFunctionOfDim(loop))
    return Neighbours::Shifted;
  return quotientOf(expr) ? Neighbours::Several : Neighbours::Apart;
}

int64_t LinalgLoops::neighboursAtElement(OpOperand &operand) {
  return *quotientOf(op.getMatchingIndexingMap(&operand).getResults().back());
}

Value LinalgLoops::load(OpOperand &operand) {
  return memref::LoadOp::create(b, operand.get(), point(operand));
}

SmallVector<Value> LinalgLoops::body(ValueRange carried) {
  IRMapping map;
  for (auto [input, argument] :
       llvm::zip_equal(op.getDpsInputOperands(), op.getRegionInputArgs())) {
    if (argument.use_empty())
      continue;
    Value x = input->get();
    if (isa<MemRefType>(x.getType()))
      x = load(*input);
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

SmallVector<Value>
LinalgLoops::nest(ArrayRef<unsigned> dims, ValueRange carried,
                  function_ref<SmallVector<Value>(ValueRange carried)> inside) {
  if (dims.empty())
    return inside(carried);
  auto loop = scf::ForOp::create(b, c(0), extents[dims.front()], c(1), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  indices[dims.front()] = loop.getInductionVar();
  SmallVector<Value> results =
      nest(dims.drop_front(), loop.getRegionIterArgs(), inside);
  // Without values to carry the loop has its terminator already.
  if (!results.empty())
    scf::YieldOp::create(b, results);
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value> LinalgLoops::loadOutputs() {
  SmallVector<Value> values;
  for (auto [init, argument] :
       llvm::zip_equal(op.getDpsInitsMutable(), op.getRegionOutputArgs()))
    values.push_back(argument.use_empty() ? Value() : load(init));
  return values;
}

SmallVector<Value> LinalgLoops::followed(ValueRange values) {
  if (!follower)
    return values;
  AffineMap from = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  AffineMap to = follower.getMatchingIndexingMap(follower.getDpsInitOperand(0));
  linalg::GenericOp reduction = std::exchange(op, follower);
  SmallVector<Value> own =
      std::exchange(indices, SmallVector<Value>(to.getNumDims()));
  for (auto [here, there] : llvm::zip_equal(from.getResults(), to.getResults()))
    indices[cast<AffineDimExpr>(there).getPosition()] =
        own[cast<AffineDimExpr>(here).getPosition()];
  SmallVector<Value> mapped = body(values);
  op = reduction;
  indices = own;
  return mapped;
}

void LinalgLoops::storeOutputs(ValueRange values) {
  for (auto [init, value] :
       llvm::zip_equal(op.getDpsInitsMutable(), followed(values)))
    memref::StoreOp::create(b, value, init.get(), point(init));
}

/// The buffer that a view is of; one placed in an arena is a buffer by itself.
static Value bufferOf(Value memory) {
  while (auto view = memory.getDefiningOp<ViewLikeOpInterface>()) {
    if (isa<memref::ViewOp>(view.getOperation()))
      break;
    memory = view.getViewSource();
  }
  return memory;
}

/// Whether `map` does nothing but map the elements of `out`, where they are.
/// Buffers that it reads besides hold their contents throughout the op before
/// it, so that they are others than those which that op writes.
static bool mapsInPlace(linalg::GenericOp map, Value out, AffineMap from) {
  if (map.getNumParallelLoops() != map.getNumLoops() ||
      map.getNumDpsInits() != 1 || map.getDpsInits()[0] != out ||
      !map.hasPureBufferSemantics())
    return false;
  AffineMap to = map.getMatchingIndexingMap(map.getDpsInitOperand(0));
  if (!to.isPermutation() || to.getNumResults() != from.getNumResults())
    return false;
  return llvm::none_of(map.getDpsInputs(), [&](Value input) {
    return isa<MemRefType>(input.getType()) && bufferOf(input) == bufferOf(out);
  });
}

void LinalgLoops::takeFollower() {
  if (op.getNumReductionLoops() == 0 || op.getNumDpsInits() != 1)
    return;
  Value out = op.getDpsInits()[0];
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (!map.isProjectedPermutation() ||
      map.getNumResults() != op.getNumParallelLoops())
    return;
  for (Operation *next = op->getNextNode(); next; next = next->getNextNode()) {
    auto candidate = dyn_cast<linalg::GenericOp>(next);
    if (candidate && mapsInPlace(candidate, out, map)) {
      follower = candidate;
      b.setInsertionPoint(follower);
      return;
    }
    auto load = dyn_cast<memref::LoadOp>(next);
    bool reads = load && bufferOf(load.getMemref()) != bufferOf(out);
    if (!reads && !isPure(next) && !isa<memref::AllocOp>(next))
      return;
  }
}

void LinalgLoops::remarkFollower() {
  if (!follower)
    return;
  auto function = op->getParentOfType<FunctionOpInterface>();
  remark::passed(follower.getLoc(), remark::RemarkOpts::name("map-fused")
                                        .category("fuse-lod")
                                        .function(function.getName()))
      << remark::add("{0}", "done where the sums before it end, in one loop");
}

SmallVector<Value> LinalgLoops::takeFills() {
  SmallVector<Value> values(op.getNumDpsInits());
  for (auto [value, out] : llvm::zip_equal(values, op.getDpsInitsMutable()))
    if (linalg::FillOp fill = fillBefore(op, out)) {
      value = fill.value();
      fill.erase();
    }
  return values;
}

SmallVector<Value> LinalgLoops::initialValues() {
  SmallVector<Value> values;
  for (auto [init, fill] : llvm::zip_equal(op.getDpsInitsMutable(), fills))
    values.push_back(fill ? fill : load(init));
  return values;
}

void LinalgLoops::erase() {
  op.erase();
  if (follower)
    follower.erase();
}

SmallVector<linalg::GenericOp>
mlir::megactx::genericOps(Operation *root,
                          function_ref<bool(linalg::LinalgOp)> wanted) {
  SmallVector<linalg::LinalgOp> ops;
  root->walk([&](linalg::LinalgOp op) {
    if (op.hasPureBufferSemantics() && wanted(op))
      ops.push_back(op);
  });
  SmallVector<linalg::GenericOp> generic;
  IRRewriter rewriter(root->getContext());
  for (linalg::LinalgOp op : ops) {
    rewriter.setInsertionPoint(op);
    if (auto same = dyn_cast<linalg::GenericOp>(op.getOperation())) {
      generic.push_back(same);
      continue;
    }
    FailureOr<linalg::GenericOp> made = linalg::generalizeNamedOp(rewriter, op);
    if (succeeded(made))
      generic.push_back(*made);
  }
  return generic;
}

void mlir::megactx::lowerGenericOps(
    Operation *root, function_ref<linalg::GenericOp(linalg::GenericOp)> lower) {
  for (bool fills : {false, true}) {
    DenseSet<Operation *> done;
    auto wanted = [&](linalg::LinalgOp op) {
      return isa<linalg::FillOp>(op) == fills;
    };
    for (linalg::GenericOp op : genericOps(root, wanted))
      if (!done.contains(op))
        if (linalg::GenericOp follower = lower(op))
          done.insert(follower);
  }
}

linalg::FillOp mlir::megactx::fillBefore(linalg::GenericOp op, OpOperand &out) {
  if (!op.getMatchingIndexingMap(&out).isProjectedPermutation())
    return {};
  for (Operation *before = op->getPrevNode(); before;
       before = before->getPrevNode()) {
    auto fill = dyn_cast<linalg::FillOp>(before);
    if (fill && fill.getOutputs()[0] == out.get())
      return fill;
    if (!isPure(before) && !fill && !isa<memref::AllocOp>(before))
      return {};
  }
  return {};
}
