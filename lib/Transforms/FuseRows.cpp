//===- FuseRows.cpp - reductions and maps of the same rows as one op ------===//
//
// Owns the pass --megactx-fuse-rows: which linalg ops on memrefs may be done
// row by row. What does them is another's.
//
//===----------------------------------------------------------------------===//

#include "Products.h"
#include "megactx/Dialect/MegaCtx/IR/Combiner.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSEROWSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Memory that an op reads or writes: for each point of its loops, at one
/// place, or where there is no map, anywhere.
struct Use {
  Value memory;
  AffineMap at;
  bool isWritten;
};

/// Ops that are done row by row, and those that stand between them.
class RowGroup {
public:
  RowGroup(BufferOriginAnalysis &origins, int64_t leastExtent,
           int64_t longExtent)
      : origins(origins), leastExtent(leastExtent), longExtent(longExtent) {}

  /// Takes the op, which is behind the others; false where it cannot.
  bool add(linalg::GenericOp op);
  /// Whether what has been taken can be done after the op.
  bool passes(Operation &op);
  /// Builds the op where more than one have been taken, a reduction among them.
  /// Returns how many.
  size_t build();

private:
  bool fits(linalg::GenericOp op);
  bool isRelated(linalg::GenericOp op);
  bool hasSameExtents(linalg::GenericOp op);
  bool mayOverlap(Value x, Value y);
  bool conflicts(const Use &x, const Use &y, bool byRows);
  bool areFewAndLong();
  SmallVector<std::pair<size_t, linalg::FillOp>> findFills();
  bool isReadBefore(const Use &read, const Use &write);
  linalg::FillOp fillOf(linalg::GenericOp reduction, Value out);
  SmallVector<Value> findScratch(FusedRowsOp fused);

  BufferOriginAnalysis &origins;
  int64_t leastExtent, longExtent;
  SmallVector<linalg::GenericOp> ops;
  SmallVector<Use> uses; ///< of the ops
  unsigned rows = 0; ///< loops that count them; until an op reduces, the most
  bool reduces = false;
};
} // namespace

/// What an op uses; nothing where that is not known.
static std::optional<SmallVector<Use>> usesOf(linalg::LinalgOp op) {
  SmallVector<Use> uses;
  for (OpOperand &operand : op->getOpOperands())
    if (isa<MemRefType>(operand.get().getType()))
      uses.push_back({operand.get(), op.getMatchingIndexingMap(&operand),
                      op.isDpsInit(&operand)});
  for (Operation &inside : *op.getBlock()) {
    if (auto load = dyn_cast<memref::LoadOp>(inside))
      uses.push_back({load.getMemRef(), AffineMap(), false});
    else if (!isPure(&inside) && !inside.hasTrait<OpTrait::IsTerminator>())
      return std::nullopt;
  }
  return uses;
}

bool RowGroup::mayOverlap(Value x, Value y) {
  std::optional<bool> isSame = origins.isSameAllocation(x, y);
  return !isSame || *isSame;
}

/// Whether it matters which of two uses comes first. `byRows`: for the same
/// point, they come as they do now; then it does not where each point has a
/// place, of a row of its own, which is the same in both.
bool RowGroup::conflicts(const Use &x, const Use &y, bool byRows) {
  if (!(x.isWritten || y.isWritten) || !mayOverlap(x.memory, y.memory))
    return false;
  if (!byRows || x.memory != y.memory || !x.at || x.at != y.at)
    return true;
  for (unsigned i = 0; i < rows; ++i)
    if (!llvm::is_contained(x.at.getResults(),
                            getAffineDimExpr(i, x.at.getContext())))
      return true;
  return false;
}

/// Whether many points of a row read from memory what one of them then writes:
/// nothing orders those. What an op of the group has written they do not read
/// from there.
bool RowGroup::isReadBefore(const Use &read, const Use &write) {
  if (read.isWritten || !write.isWritten || read.memory != write.memory ||
      write.at.isPermutation())
    return false;
  for (const Use &other : uses)
    if (other.isWritten && other.memory == read.memory)
      return false;
  return true;
}

/// The op's loops count rows and run along them as those of the others.
bool RowGroup::fits(linalg::GenericOp op) {
  if (!op.hasPureBufferSemantics() || isProduct(op) || op.getNumLoops() < 2 ||
      (!ops.empty() && op.getNumLoops() != ops.front().getNumLoops()))
    return false;
  int64_t extent = op.getStaticLoopRanges().back();
  if (ShapedType::isStatic(extent) && extent < leastExtent)
    return false;
  unsigned reductions = op.getNumReductionLoops();
  if (!reductions)
    return true;
  unsigned parallel = op.getNumParallelLoops();
  if (!parallel || (reduces && rows != parallel) || !combinersOf(op))
    return false;
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  return !llvm::is_contained(ArrayRef(kinds).take_front(parallel),
                             utils::IteratorType::reduction);
}

/// Whether the op has memory in common with the others, at the same place.
bool RowGroup::isRelated(linalg::GenericOp op) {
  return llvm::any_of(*usesOf(op), [&](const Use &use) {
    return use.at && llvm::any_of(uses, [&](const Use &other) {
             return use.memory == other.memory && use.at == other.at;
           });
  });
}

/// An operand's dim that a loop runs along.
static std::optional<SizeVariable> extentOf(linalg::GenericOp op,
                                            unsigned loop) {
  AffineExpr dim = getAffineDimExpr(loop, op.getContext());
  for (OpOperand &operand : op->getOpOperands())
    for (auto [i, expr] :
         llvm::enumerate(op.getMatchingIndexingMap(&operand).getResults()))
      if (expr == dim)
        return SizeVariable(operand.get(), i);
  return std::nullopt;
}

bool RowGroup::hasSameExtents(linalg::GenericOp op) {
  linalg::GenericOp first = ops.front();
  // Loops that run along the same dims of the same operand.
  for (OpOperand &operand : op->getOpOperands())
    for (OpOperand &other : first->getOpOperands())
      if (operand.get() == other.get() &&
          op.getMatchingIndexingMap(&operand) ==
              first.getMatchingIndexingMap(&other) &&
          op.getMatchingIndexingMap(&operand).isPermutation())
        return true;
  SmallVector<int64_t> here = op.getStaticLoopRanges();
  SmallVector<int64_t> there = first.getStaticLoopRanges();
  for (unsigned i = 0; i < op.getNumLoops(); ++i) {
    if (ShapedType::isStatic(here[i]) && here[i] == there[i])
      continue;
    auto x = extentOf(op, i), y = extentOf(first, i);
    if (!x || !y)
      return false;
    if (!areEqualSizes(*x, *y))
      return false;
  }
  return true;
}

bool RowGroup::add(linalg::GenericOp op) {
  std::optional<SmallVector<Use>> own = usesOf(op);
  if (!own || !fits(op))
    return false;
  if (!ops.empty() && !(isRelated(op) && hasSameExtents(op)))
    return false;
  bool isReduction = op.getNumReductionLoops();
  unsigned before = rows;
  if (isReduction || ops.empty())
    rows = isReduction ? op.getNumParallelLoops() : op.getNumLoops() - 1;
  for (const Use &use : *own)
    for (const Use &other : uses)
      if (conflicts(other, use, /*byRows=*/true) || isReadBefore(other, use)) {
        rows = before;
        return false;
      }
  ops.push_back(op);
  llvm::append_range(uses, *own);
  reduces |= isReduction;
  return true;
}

bool RowGroup::passes(Operation &op) {
  if (isPure(&op) || isa<memref::AllocOp, memref::DeallocOp>(op))
    return true;
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp || !linalgOp.hasPureBufferSemantics())
    return false;
  std::optional<SmallVector<Use>> own = usesOf(linalgOp);
  return own && llvm::none_of(*own, [&](const Use &use) {
           return llvm::any_of(uses, [&](const Use &other) {
             return conflicts(other, use, /*byRows=*/false);
           });
         });
}

/// What a reduction's output is filled with, by an op that can be done directly
/// before it.
linalg::FillOp RowGroup::fillOf(linalg::GenericOp reduction, Value out) {
  for (Operation *op = reduction->getPrevNode(); op; op = op->getPrevNode()) {
    auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
    auto fill = dyn_cast<linalg::FillOp>(op);
    if (fill && fill.getOutputs()[0] == out)
      return fill;
    if (isPure(op) || isa<memref::AllocOp>(op))
      continue;
    std::optional<SmallVector<Use>> own;
    if (linalgOp && linalgOp.hasPureBufferSemantics())
      own = usesOf(linalgOp);
    if (!own || llvm::any_of(*own, [&](const Use &use) {
          return mayOverlap(use.memory, out);
        }))
      return {};
  }
  return {};
}

/// Buffers that the ops write and nobody else reads.
SmallVector<Value> RowGroup::findScratch(FusedRowsOp fused) {
  SetVector<Value> scratch;
  for (const Use &use : uses)
    if (use.isWritten && use.memory.getDefiningOp<memref::AllocOp>() &&
        llvm::all_of(use.memory.getUsers(), [&](Operation *user) {
          return fused->isAncestor(user) || isa<memref::DeallocOp>(user);
        }))
      scratch.insert(use.memory);
  return scratch.takeVector();
}

/// What the reductions start from, each with the number of its op.
SmallVector<std::pair<size_t, linalg::FillOp>> RowGroup::findFills() {
  SmallVector<std::pair<size_t, linalg::FillOp>> fills;
  for (auto [i, op] : llvm::enumerate(ops))
    if (op.getNumReductionLoops())
      for (Value out : op.getDpsInits())
        if (linalg::FillOp fill = fillOf(op, out))
          fills.push_back({i, fill});
  return fills;
}

/// Whether the rows are known to be too few for the cores of a machine, and so
/// long that cores could share one.
bool RowGroup::areFewAndLong() {
  constexpr int64_t kFew = 32;
  SmallVector<int64_t> extents = ops.front().getStaticLoopRanges();
  int64_t count = 1, length = 1;
  for (auto [i, extent] : llvm::enumerate(extents)) {
    if (ShapedType::isDynamic(extent))
      return false;
    int64_t &part = i < rows ? count : length;
    part = llvm::SaturatingMultiply(uint64_t(part), uint64_t(extent));
  }
  return count < kFew && length >= longExtent;
}

size_t RowGroup::build() {
  if (ops.size() < 2 || !reduces || areFewAndLong())
    return 0;
  linalg::GenericOp last = ops.back();
  auto fills = findFills();
  OpBuilder b(last);
  auto fused = FusedRowsOp::create(b, last.getLoc(), ValueRange());
  Block &body = fused.getBody().emplaceBlock();
  // Memory is freed after the last use, which is here now.
  for (Operation *op = last->getPrevNode(); op != ops.front();) {
    Operation *before = op->getPrevNode();
    if (isa<memref::DeallocOp>(op))
      op->moveAfter(fused);
    op = before;
  }
  for (auto [i, op] : llvm::enumerate(ops)) {
    for (auto [number, fill] : fills)
      if (number == i)
        fill->moveBefore(&body, body.end());
    op->moveBefore(&body, body.end());
  }
  fused.getScratchMutable().assign(findScratch(fused));
  return ops.size();
}

namespace {
struct FuseRows : impl::FuseRowsPassBase<FuseRows> {
  using FuseRowsPassBase::FuseRowsPassBase;

  void runOnOperation() override {
    BufferOriginAnalysis origins(getOperation());
    SmallVector<linalg::GenericOp> ops;
    getOperation()->walk([&](linalg::GenericOp op) { ops.push_back(op); });
    for (linalg::GenericOp op : ops)
      if (!op->getParentOfType<FusedRowsOp>())
        fuse(op, origins);
  }

  /// With what comes after it.
  void fuse(linalg::GenericOp first, BufferOriginAnalysis &origins) {
    RowGroup group(origins, leastExtent, longExtent);
    if (!group.add(first))
      return;
    for (Operation *op = first->getNextNode(); op; op = op->getNextNode()) {
      auto generic = dyn_cast<linalg::GenericOp>(op);
      if (!(generic && group.add(generic)) && !group.passes(*op))
        break;
    }
    if (size_t count = group.build()) {
      ++numGroups;
      numOps += count;
    }
  }
};
} // namespace
} // namespace mlir::megactx
