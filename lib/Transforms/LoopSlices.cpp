//===- LoopSlices.cpp - slices that a loop's steps keep apart -------------===//

#include "LoopSlices.h"
#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::megactx;

std::optional<LoopSlices> LoopSlices::along(scf::ForOp loop, unsigned carried,
                                            unsigned dim, bool readsAgain) {
  LoopSlices slices(loop, readsAgain);
  if (!slices.setCarried(carried, dim))
    return std::nullopt;
  while (!slices.changed.empty())
    if (!slices.tie(slices.changed.pop_back_val()))
      return std::nullopt;
  return slices.isComplete(carried) ? std::optional(slices) : std::nullopt;
}

std::optional<unsigned> LoopSlices::dimOf(Value tensor) const {
  auto found = dims.find(tensor);
  return found == dims.end() ? std::nullopt : std::optional(found->second);
}

std::optional<unsigned> LoopSlices::loopOf(linalg::LinalgOp op) const {
  for (OpOperand &operand : op->getOpOperands()) {
    std::optional<unsigned> dim = dimOf(operand.get());
    if (!dim && op.isDpsInit(&operand))
      dim = dimOf(op.getTiedOpResult(&operand));
    if (!dim)
      continue;
    AffineExpr at = op.getMatchingIndexingMap(&operand).getResult(*dim);
    auto number = dyn_cast<AffineDimExpr>(at);
    return number ? std::optional(number.getPosition()) : std::nullopt;
  }
  return std::nullopt;
}

/// Notes a dim. Whether the tensor can have it: it has no other, and there can
/// be slices, which have to start at an element.
bool LoopSlices::set(Value tensor, unsigned dim) {
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  if (!type || llvm::is_contained(type.getShape(), 0))
    return false;
  auto [known, isNew] = dims.try_emplace(tensor, dim);
  if (isNew)
    changed.push_back(tensor);
  return known->second == dim;
}

bool LoopSlices::setCarried(unsigned number, unsigned dim) {
  return set(loop.getInitArgs()[number], dim) &&
         set(loop.getRegionIterArg(number), dim) &&
         set(loop.getYieldedValues()[number], dim);
}

/// Asks the ops in the loop that make or take the tensor.
bool LoopSlices::tie(Value tensor) {
  Block *body = loop.getBody();
  unsigned dim = dims.lookup(tensor);
  auto argument = dyn_cast<BlockArgument>(tensor);
  if (argument && argument.getOwner() == body &&
      !setCarried(argument.getArgNumber() - loop.getNumInductionVars(), dim))
    return false;
  Operation *def = tensor.getDefiningOp();
  if (def && def->getBlock() == body && !tie(def))
    return false;
  return llvm::all_of(tensor.getUses(), [&](OpOperand &use) {
    Operation *user = use.getOwner();
    if (user == loop)
      return setCarried(use.getOperandNumber() - loop.getNumControlOperands(),
                        dim);
    if (user == body->getTerminator())
      return setCarried(use.getOperandNumber(), dim);
    if (!loop->isProperAncestor(user))
      return true;
    return user->getBlock() == body && tie(user);
  });
}

/// Cuts the tensors of an op as one of them is.
bool LoopSlices::tie(Operation *op) {
  if (auto structured = dyn_cast<linalg::LinalgOp>(op))
    return structured.hasPureTensorSemantics() && tieLoops(structured);
  if (auto size = dyn_cast<tensor::DimOp>(op))
    return size.getConstantIndex().has_value();
  if (auto cast = dyn_cast<tensor::CastOp>(op)) {
    std::optional<unsigned> dim = dimOf(cast.getSource());
    dim = dim ? dim : dimOf(cast.getDest());
    return set(cast.getSource(), *dim) && set(cast.getDest(), *dim);
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return tieReshape(expand.getResult(), expand.getSrc(),
                      expand.getReassociationIndices());
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return tieReshape(collapse.getSrc(), collapse.getResult(),
                      collapse.getReassociationIndices());
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return tieSlice(slice, slice.getSource(), slice.getResult(),
                    slice.getDroppedDims());
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
    if (std::optional<unsigned> dim = dimOf(insert.getResult());
        dim && !set(insert.getDest(), *dim))
      return false;
    return tieSlice(insert, insert.getDest(), insert.getSource(),
                    insert.getDroppedDims()) &&
           set(insert.getResult(), *dimOf(insert.getDest()));
  }
  return isa<tensor::EmptyOp>(op);
}

bool LoopSlices::tieLoops(linalg::LinalgOp op) {
  std::optional<unsigned> number = loopOf(op);
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  if (!number || kinds[*number] != utils::IteratorType::parallel)
    return false;
  auto isReduced = [&](AffineExpr expr) {
    return llvm::any_of(llvm::enumerate(kinds), [&](auto kind) {
      return kind.value() == utils::IteratorType::reduction &&
             expr.isFunctionOfDim(kind.index());
    });
  };
  for (OpOperand &operand : op->getOpOperands()) {
    std::optional<unsigned> dim;
    ArrayRef<AffineExpr> at = op.getMatchingIndexingMap(&operand).getResults();
    for (auto [i, expr] : llvm::enumerate(at)) {
      if (!expr.isFunctionOfDim(*number))
        continue;
      if (dim || !isa<AffineDimExpr>(expr))
        return false;
      dim = i;
    }
    if (!dim && (dimOf(operand.get()) || op.isDpsInit(&operand) ||
                 (!readsAgain && llvm::any_of(at, isReduced))))
      return false;
    if (dim && !set(operand.get(), *dim))
      return false;
    if (op.isDpsInit(&operand) && !set(op.getTiedOpResult(&operand), *dim))
      return false;
  }
  return true;
}

/// Where a dim is split into, or made of, itself and others of one element.
bool LoopSlices::tieReshape(Value wide, Value narrow,
                            ArrayRef<ReassociationIndices> groups) {
  auto type = cast<RankedTensorType>(wide.getType());
  for (auto [number, group] : llvm::enumerate(groups)) {
    std::optional<unsigned> dim = dimOf(wide);
    if (dim ? !llvm::is_contained(group, int64_t(*dim))
            : dimOf(narrow) != unsigned(number))
      continue;
    SmallVector<int64_t> longer = llvm::filter_to_vector(
        group, [&](int64_t i) { return type.getDimSize(i) != 1; });
    return longer.size() == 1 && set(wide, longer.front()) &&
           set(narrow, number);
  }
  return false;
}

/// Where all of the dim is taken, or put.
bool LoopSlices::tieSlice(OffsetSizeAndStrideOpInterface op, Value whole,
                          Value part, const llvm::SmallBitVector &dropped) {
  auto placeOf = [&](unsigned dim) {
    return dim - llvm::count_if(llvm::seq(0u, dim),
                                [&](unsigned i) { return dropped[i]; });
  };
  std::optional<unsigned> dim = dimOf(whole);
  for (unsigned i = 0; i < dropped.size() && !dim; ++i)
    if (!dropped[i] && dimOf(part) == placeOf(i))
      dim = i;
  if (!dim || dropped[*dim])
    return false;
  OpFoldResult size = op.getMixedSizes()[*dim];
  int64_t extent = cast<RankedTensorType>(whole.getType()).getDimSize(*dim);
  // What is carried keeps the size that it starts with.
  Value first = whole;
  if (auto carried = dyn_cast<BlockArgument>(whole);
      carried && carried.getOwner() == loop.getBody())
    first = loop.getTiedLoopInit(carried)->get();
  bool isAll = getConstantIntValue(size) == extent ||
               areEqualSizes(SizeVariable(first, *dim), SizeVariable(size));
  return isAll && isConstantIntValue(op.getMixedOffsets()[*dim], 0) &&
         isConstantIntValue(op.getMixedStrides()[*dim], 1) &&
         set(whole, *dim) && set(part, placeOf(*dim));
}

/// Whether an op is worth nothing to speak of where it is done for each slice.
bool LoopSlices::isCheap(Operation &op) const {
  if (!isMemoryEffectFree(&op))
    return false;
  if (isa_and_nonnull<tensor::TensorDialect>(op.getDialect()) ||
      llvm::any_of(op.getResults(),
                   [&](Value value) { return dims.contains(value); }))
    return true;
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  if (readsAgain && structured)
    return structured.getNumReductionLoops() == 0;
  return llvm::all_of(op.getResultTypes(), [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.getRank() == 0;
  });
}

/// Everything that the loop carries is cut, and has as many slices as what was
/// asked for, since ops have both.
bool LoopSlices::isComplete(unsigned carried) {
  Block *body = loop.getBody();
  SmallVector<Value> reached = {loop.getRegionIterArg(carried)};
  DenseSet<Value> known(reached.begin(), reached.end());
  auto reach = [&](Operation *op) {
    if (!op || op->getBlock() != body || isa<scf::YieldOp, tensor::DimOp>(op))
      return;
    for (ValueRange values :
         {ValueRange(op->getOperands()), ValueRange(op->getResults())})
      for (Value value : values)
        if (dims.contains(value) && known.insert(value).second)
          reached.push_back(value);
  };
  while (!reached.empty()) {
    Value value = reached.pop_back_val();
    reach(value.getDefiningOp());
    for (Operation *user : value.getUsers())
      reach(user);
  }
  auto isKnown = [&](Value value) { return known.contains(value); };
  auto isFine = [&](Operation &op) {
    return isCheap(op) && llvm::all_of(op.getResults(), [&](Value value) {
             return isKnown(value) || !dims.contains(value);
           });
  };
  return llvm::all_of(loop.getRegionIterArgs(), isKnown) &&
         llvm::all_of(loop.getYieldedValues(), isKnown) &&
         llvm::all_of(body->without_terminator(), isFine);
}
