//===- OutlineComputedWeights.cpp - what is computed of weights -----------===//
//
// Owns what of `main` is computed of constants alone, and at which of its
// values it is smallest.
//
//===----------------------------------------------------------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Runtime/Runtime.h"
#include "megactx/Support/StoredBytes.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::megactx;

namespace mlir::megactx {
#define GEN_PASS_DEF_OUTLINECOMPUTEDWEIGHTSPASS
#include "megactx/Transforms/Passes.h.inc"
} // namespace mlir::megactx

/// What an op reads, in its regions too.
static SetVector<Value> readBy(Operation *op) {
  SetVector<Value> values;
  getUsedValuesDefinedAbove(op->getRegions(), values);
  values.insert(op->operand_begin(), op->operand_end());
  return values;
}

/// Bytes of a tensor of static sizes; 0 of everything else.
static int64_t bytesOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || !type.getElementType().isIntOrFloat())
    return 0;
  return storedBytes(type);
}

/// Whether it may be a constant of the model, that the runtime can compute.
static bool isWeight(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return bytesOf(value) > 0 && type.getRank() <= MCTX_MAX_RANK &&
         (isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(
              type.getElementType()) ||
          type.getElementType().isSignlessInteger(32));
}

/// Whether the op gives tensors that are not what it reads in another shape.
static bool computes(Operation *op) {
  return !op->hasTrait<OpTrait::ConstantLike>() &&
         !isa<linalg::FillOp, tensor::CastOp, tensor::CollapseShapeOp,
              tensor::EmptyOp, tensor::ExpandShapeOp, tensor::ExtractSliceOp>(
             op) &&
         llvm::any_of(op->getResultTypes(), llvm::IsaPred<RankedTensorType>);
}

namespace {
/// The part of a block that is computed of constants.
class ConstantPart {
public:
  explicit ConstantPart(Block &block);
  /// Computed values from which the rest of the block is computed, of as few
  /// bytes as there are, in the block's order.
  SetVector<Value> results() const;

private:
  bool isConstant(Operation &op) const;
  void add(Operation &op);
  bool isComputed(Value value) const { return leastBytes.contains(value); }

  Block &block;
  DenseSet<Operation *> ops;
  /// Of computed values: the fewest bytes that they can be computed of, their
  /// own included.
  llvm::MapVector<Value, int64_t> leastBytes;
};
} // namespace

bool ConstantPart::isConstant(Operation &op) const {
  if (op.hasTrait<OpTrait::IsTerminator>() || !isMemoryEffectFree(&op) ||
      isa<MegaCtxDialect>(op.getDialect()))
    return false;
  return llvm::all_of(readBy(&op), [&](Value value) {
    return ops.contains(value.getDefiningOp());
  });
}

void ConstantPart::add(Operation &op) {
  ops.insert(&op);
  bool isNew = computes(&op);
  auto destination = dyn_cast<DestinationStyleOpInterface>(op);
  int64_t bytes = 0;
  for (Value value : readBy(&op)) {
    bool isInit =
        destination && llvm::is_contained(destination.getDpsInits(), value);
    isNew |= isComputed(value);
    bytes += isComputed(value) ? leastBytes.lookup(value)
             : isInit          ? 0
                               : bytesOf(value);
  }
  for (Value result : op.getResults())
    if (isNew)
      leastBytes[result] =
          isWeight(result) ? std::min(bytes, bytesOf(result)) : bytes;
}

ConstantPart::ConstantPart(Block &block) : block(block) {
  for (Operation &op : block)
    if (isConstant(op))
      add(op);
}

SetVector<Value> ConstantPart::results() const {
  DenseSet<Value> wanted;
  SetVector<Value> found;
  for (auto [value, bytes] : llvm::reverse(leastBytes)) {
    bool leaves = llvm::any_of(value.getUsers(), [&](Operation *user) {
      return !ops.contains(block.findAncestorOpInBlock(*user));
    });
    if (!leaves && !wanted.contains(value))
      continue;
    if (isWeight(value) && bytesOf(value) == bytes)
      found.insert(value);
    else
      wanted.insert_range(readBy(value.getDefiningOp()));
  }
  SetVector<Value> ordered;
  ordered.insert_range(llvm::reverse(found));
  return ordered;
}

namespace {
struct OutlineComputedWeights
    : megactx::impl::OutlineComputedWeightsPassBase<OutlineComputedWeights> {
  using OutlineComputedWeightsPassBase::OutlineComputedWeightsPassBase;

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main || main.isExternal() || !llvm::hasSingleElement(main.getBody()))
      return;
    SetVector<Value> results = ConstantPart(main.front()).results();
    SmallVector<Operation *> slice = sliceOf(main.front(), results);
    int64_t read = 0;
    for (Operation *op : slice)
      if (op->hasTrait<OpTrait::ConstantLike>())
        read += bytesOf(op->getResult(0));
    if (results.empty() || read < threshold)
      return;
    numValues += results.size();
    func::CallOp call = outline(main, results, slice);
    for (auto [i, result] : llvm::enumerate(results))
      Value(result).replaceAllUsesWith(call.getResult(i));
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(main.front())))
      if (isOpTriviallyDead(&op))
        op.erase();
  }

  /// What the values are computed by, in the block's order.
  static SmallVector<Operation *> sliceOf(Block &block,
                                          const SetVector<Value> &results) {
    SetVector<Value> needed = results;
    SmallVector<Operation *> slice;
    for (Operation &op : llvm::reverse(block))
      if (llvm::any_of(op.getResults(),
                       [&](Value value) { return needed.contains(value); })) {
        slice.push_back(&op);
        needed.insert_range(readBy(&op));
      }
    std::reverse(slice.begin(), slice.end());
    return slice;
  }

  /// A function that computes the values, and main's call of it.
  func::CallOp outline(func::FuncOp main, const SetVector<Value> &results,
                       ArrayRef<Operation *> slice) {
    OpBuilder b(main);
    auto type =
        b.getFunctionType({}, TypeRange(ValueRange(results.getArrayRef())));
    auto function =
        func::FuncOp::create(b, main.getLoc(), kComputedWeights, type);
    function.setPrivate();
    SymbolTable(getOperation()).insert(function);
    b.setInsertionPointToStart(function.addEntryBlock());
    IRMapping copies;
    for (Operation *op : slice)
      b.clone(*op, copies);
    auto given = llvm::map_to_vector(
        results, [&](Value result) { return copies.lookup(result); });
    func::ReturnOp::create(b, main.getLoc(), given);
    b.setInsertionPointToStart(&main.front());
    return func::CallOp::create(b, main.getLoc(), function);
  }
};
} // namespace
