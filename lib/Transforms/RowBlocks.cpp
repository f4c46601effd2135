//===- RowBlocks.cpp - rows of tensors, computed a block at a time --------===//

#include "RowBlocks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::megactx;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The type of some rows of a tensor.
static RankedTensorType blockType(Value whole, int64_t dim) {
  SmallVector<int64_t> shape(typeOf(whole).getShape());
  shape[dim] = ShapedType::kDynamic;
  return RankedTensorType::get(shape, typeOf(whole).getElementType());
}

static bool isElementwise(Operation *op) {
  return OpTrait::hasElementwiseMappableTraits(op) &&
         op->getNumResults() == 1 &&
         llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>);
}

/// What costs nothing to make anew for each block.
static bool isCheap(Operation *op) {
  return isa_and_nonnull<tensor::EmptyOp, linalg::FillOp>(op);
}

//===----------------------------------------------------------------------===//
// Which ops
//===----------------------------------------------------------------------===//

RowBlocks::RowBlocks(OpOperand &rows, int64_t dim) : rows(rows), dim(dim) {
  uses.insert(&rows);
  rowDim[rows.get()] = dim;
  // Backwards, all users of an op are decided before it.
  for (Operation *op = rows.getOwner()->getPrevNode(); op;
       op = op->getPrevNode())
    if (llvm::any_of(op->getResults(),
                     [&](Value result) { return rowDim.contains(result); }))
      add(op);
}

bool RowBlocks::hasAttention() const {
  return llvm::any_of(ops, llvm::IsaPred<FusedAttentionOp>);
}

Value RowBlocks::getQuery() const {
  auto last = llvm::find_if(ops, llvm::IsaPred<FusedAttentionOp>);
  return cast<FusedAttentionOp>(*last).getQuery();
}

/// Whether an attention's result is among what an op's are made of.
static bool isOfAttention(Operation *op) {
  SetVector<Operation *> makers;
  makers.insert(op);
  for (size_t i = 0; i < makers.size(); ++i) {
    if (isa<FusedAttentionOp>(makers[i]))
      return true;
    for (Value operand : makers[i]->getOperands())
      if (Operation *maker = operand.getDefiningOp())
        makers.insert(maker);
  }
  return false;
}

/// Takes the op, unless its results are needed whole; then rows are slices.
void RowBlocks::add(Operation *op) {
  if (isCheap(op))
    return;
  std::string why;
  std::optional<Operands> wanted = rowOperands(op);
  if (!wanted)
    why = (op->getName().getStringRef() + " does not keep rows apart").str();
  for (OpResult result : op->getResults())
    for (OpOperand &use : result.getUses())
      if (!uses.contains(&use) && !isa<tensor::DimOp>(use.getOwner()))
        why = isa<FusedAttentionOp>(op) && result.getResultNumber() == 1
                  ? "its log-sum-exp is used, too"
                  : ("the result of " + op->getName().getStringRef() +
                     " is used elsewhere, too")
                        .str();
  if (wanted)
    for (auto [operand, at] : *wanted) {
      auto known = rowDim.find(operand->get());
      if (known != rowDim.end() && known->second != at)
        why = "rows are wanted along two dims";
    }
  if (!why.empty()) {
    if (reason.empty() && isOfAttention(op))
      reason = why;
    return;
  }
  ops.push_back(op);
  members.insert(op);
  for (auto [operand, at] : *wanted) {
    uses.insert(operand);
    rowDim[operand->get()] = at;
  }
}

/// The operands of which a block of rows needs the same rows, and the dims that
/// count them there; nothing where an op cannot give rows one by one.
std::optional<RowBlocks::Operands> RowBlocks::rowOperands(Operation *op) {
  if (auto attention = dyn_cast<FusedAttentionOp>(op)) {
    auto at = rowDim.find(op->getResult(0));
    if (at == rowDim.end() || at->second != 2)
      return std::nullopt;
    Operands wanted = {{&attention.getQueryMutable(), 2}};
    for (OpOperand &operand : attention.getQueryPositionsMutable())
      wanted.emplace_back(&operand, 1);
    if (attention.getAccumulate()) {
      wanted.emplace_back(&attention.getOutMutable(), 2);
      wanted.emplace_back(&attention.getLseMutable(), 2);
    }
    return wanted;
  }
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return rowOperands(linalgOp);
  if (op->getNumResults() != 1)
    return std::nullopt;
  int64_t at = rowDim.lookup(op->getResult(0));
  if (isElementwise(op)) {
    Operands wanted;
    for (OpOperand &operand : op->getOpOperands())
      wanted.emplace_back(&operand, at);
    return wanted;
  }
  if (isa<tensor::CastOp>(op))
    return Operands{{&op->getOpOperand(0), at}};
  // Reshapes that leave rows alone.
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    ReassociationIndices group = collapse.getReassociationIndices()[at];
    if (group.size() == 1)
      return Operands{{&op->getOpOperand(0), group[0]}};
  } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    for (auto [i, group] : llvm::enumerate(expand.getReassociationIndices()))
      if (group == ReassociationIndices{at})
        return Operands{{&op->getOpOperand(0), i}};
  }
  return std::nullopt;
}

/// The loop that the dim of a result is; null where it is none.
static AffineExpr loopOf(linalg::LinalgOp op, OpResult result, int64_t dim) {
  AffineMap map =
      op.getMatchingIndexingMap(op.getDpsInitOperand(result.getResultNumber()));
  AffineExpr expr = map.getResult(dim);
  return isa<AffineDimExpr>(expr) ? expr : AffineExpr();
}

std::optional<RowBlocks::Operands> RowBlocks::rowOperands(linalg::LinalgOp op) {
  AffineExpr loop;
  for (OpResult result : op->getResults()) {
    auto at = rowDim.find(result);
    if (at == rowDim.end())
      continue;
    AffineExpr here = loopOf(op, result, at->second);
    if (!here || (loop && loop != here))
      return std::nullopt;
    loop = here;
  }
  unsigned number = cast<AffineDimExpr>(loop).getPosition();
  if (op.getIteratorTypesArray()[number] != utils::IteratorType::parallel)
    return std::nullopt;
  Operands wanted;
  for (OpOperand &operand : op->getOpOperands()) {
    bool found = false;
    for (auto [i, expr] :
         llvm::enumerate(op.getMatchingIndexingMap(&operand).getResults())) {
      if (expr == loop && !found) {
        found = true;
        if (!op.isDpsInit(&operand) || op.payloadUsesValueFromOperand(&operand))
          wanted.emplace_back(&operand, i);
      } else if (expr.isFunctionOfDim(number)) {
        return std::nullopt;
      }
    }
    if (!found && op.isDpsInit(&operand))
      return std::nullopt;
  }
  return wanted;
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

OpFoldResult RowBlocks::sizeOf(ImplicitLocOpBuilder &b, Value value,
                               int64_t dim) {
  RankedTensorType type = typeOf(value);
  if (!type.isDynamicDim(dim))
    return b.getIndexAttr(type.getDimSize(dim));
  Operation *op = value.getDefiningOp();
  if (!op || !members.contains(op))
    return tensor::getMixedSize(b, b.getLoc(), value, dim);
  if (auto inPlace = dyn_cast<DestinationStyleOpInterface>(op))
    return sizeOf(b, inPlace.getTiedOpOperand(cast<OpResult>(value))->get(),
                  dim);
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return expand.getMixedOutputShape()[dim];
  auto collapse = dyn_cast<tensor::CollapseShapeOp>(op);
  if (!collapse) // elementwise, and casts
    return sizeOf(b, op->getOperand(0), dim);
  Value size = arith::ConstantIndexOp::create(b, 1);
  for (int64_t i : collapse.getReassociationIndices()[dim])
    size = b.createOrFold<arith::MulIOp>(
        size, getValueOrCreateConstantIndexOp(b, b.getLoc(),
                                              sizeOf(b, collapse.getSrc(), i)));
  return size;
}

void RowBlocks::erase(RewriterBase &rewriter) {
  for (Operation *op : ops) {
    for (OpResult result : op->getResults())
      for (OpOperand &use : llvm::make_early_inc_range(result.getUses())) {
        auto query = cast<tensor::DimOp>(use.getOwner());
        ImplicitLocOpBuilder b(query.getLoc(), query);
        OpFoldResult size = sizeOf(b, result, *query.getConstantIndex());
        rewriter.replaceOp(
            query, getValueOrCreateConstantIndexOp(b, b.getLoc(), size));
      }
    rewriter.eraseOp(op);
  }
}

//===----------------------------------------------------------------------===//
// One block
//===----------------------------------------------------------------------===//

Value RowBlocks::emit(ImplicitLocOpBuilder &builder, Value first, Value many) {
  b = &builder;
  begin = first;
  count = many;
  emitted.clear();
  return rowsOf(rows.get(), dim);
}

Value RowBlocks::rowsOf(Value value, int64_t dim) {
  std::pair<Value, int64_t> key(value, dim);
  if (Value known = emitted.lookup(key))
    return known;
  Operation *op = value.getDefiningOp();
  if (op && members.contains(op)) {
    compute(op);
    return emitted.lookup(key);
  }
  Value made;
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    made = linalg::FillOp::create(*b, fill.value(), emptyOf(value, dim))
               .getResult(0);
  else if (isCheap(op))
    made = emptyOf(value, dim);
  else
    made = sliceOf(value, dim);
  emitted[key] = made;
  return made;
}

Value RowBlocks::sliceOf(Value value, int64_t dim) {
  int64_t rank = typeOf(value).getRank();
  SmallVector<OpFoldResult> offsets(rank, b->getIndexAttr(0)), sizes,
      strides(rank, b->getIndexAttr(1));
  for (int64_t i = 0; i < rank; ++i)
    sizes.push_back(i == dim ? OpFoldResult(count) : sizeOf(*b, value, i));
  offsets[dim] = begin;
  return tensor::ExtractSliceOp::create(*b, value, offsets, sizes, strides);
}

/// A destination for rows of a value.
Value RowBlocks::emptyOf(Value value, int64_t dim) {
  SmallVector<OpFoldResult> sizes;
  for (int64_t i = 0; i < typeOf(value).getRank(); ++i)
    sizes.push_back(i == dim ? OpFoldResult(count) : sizeOf(*b, value, i));
  return tensor::EmptyOp::create(*b, sizes, typeOf(value).getElementType());
}

void RowBlocks::compute(Operation *op) {
  if (auto attention = dyn_cast<FusedAttentionOp>(op))
    return compute(attention);
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return compute(linalgOp);
  Value whole = op->getResult(0);
  int64_t at = rowDim.lookup(whole);
  RankedTensorType type = blockType(whole, at);
  Value result;
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    auto from = rowOperands(op)->front();
    SmallVector<OpFoldResult> shape = expand.getMixedOutputShape();
    shape[at] = count;
    result = tensor::ExpandShapeOp::create(
        *b, type, rowsOf(expand.getSrc(), from.second),
        expand.getReassociationIndices(), shape);
  } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    auto from = rowOperands(op)->front();
    result = tensor::CollapseShapeOp::create(
        *b, type, rowsOf(collapse.getSrc(), from.second),
        collapse.getReassociationIndices());
  } else {
    IRMapping map;
    for (Value operand : op->getOperands())
      map.map(operand, rowsOf(operand, at));
    Operation *clone = b->clone(*op, map);
    clone->getResult(0).setType(type);
    result = clone->getResult(0);
  }
  emitted[{whole, at}] = result;
}

void RowBlocks::compute(linalg::LinalgOp op) {
  SmallVector<int64_t> dims(op->getNumOperands(), -1);
  Operands wanted = *rowOperands(op);
  for (auto [operand, at] : wanted)
    dims[operand->getOperandNumber()] = at;
  AffineExpr loop;
  for (OpResult result : op->getResults())
    if (auto at = rowDim.find(result); at != rowDim.end())
      loop = loopOf(op, result, at->second);
  SmallVector<Value> operands;
  SmallVector<Type> types;
  SmallVector<int64_t> resultDims;
  for (OpOperand &operand : op->getOpOperands()) {
    int64_t at = dims[operand.getOperandNumber()];
    Value given = operand.get();
    if (op.isDpsInit(&operand)) {
      AffineMap map = op.getMatchingIndexingMap(&operand);
      resultDims.push_back(llvm::find(map.getResults(), loop) -
                           map.getResults().begin());
      given = at < 0 ? emptyOf(given, resultDims.back()) : rowsOf(given, at);
      types.push_back(given.getType());
    } else if (at >= 0) {
      given = rowsOf(given, at);
    }
    operands.push_back(given);
  }
  Operation *made = mlir::clone(*b, op, types, operands);
  SmallVector<OpFoldResult> offsets(op.getNumLoops(), b->getIndexAttr(0));
  offsets[cast<AffineDimExpr>(loop).getPosition()] = begin;
  linalg::offsetIndices(*b, cast<linalg::LinalgOp>(made), offsets);
  for (auto [result, block, at] :
       llvm::zip_equal(op->getResults(), made->getResults(), resultDims))
    emitted[{result, at}] = block;
}

/// The bias of the block's queries; whether one is for all may be known only
/// when the program runs.
Value RowBlocks::blockOfBias(Value bias) {
  if (typeOf(bias).getDimSize(2) == 1)
    return bias;
  if (!typeOf(bias).isDynamicDim(2))
    return sliceOf(bias, 2);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(*b, b->getLoc(), bias);
  SmallVector<OpFoldResult> offsets(4, b->getIndexAttr(0)),
      strides(4, b->getIndexAttr(1));
  Value one = arith::ConstantIndexOp::create(*b, 1);
  Value zero = arith::ConstantIndexOp::create(*b, 0);
  Value isOne = arith::CmpIOp::create(*b, arith::CmpIPredicate::eq,
                                      cast<Value>(sizes[2]), one);
  offsets[2] = arith::SelectOp::create(*b, isOne, zero, begin).getResult();
  sizes[2] = arith::SelectOp::create(*b, isOne, one, count).getResult();
  return tensor::ExtractSliceOp::create(*b, bias, offsets, sizes, strides);
}

/// An offset, maybe one for each entry of the batch or none, and as much more.
Value RowBlocks::moved(Value offset, Value shift) {
  if (!offset)
    return shift;
  if (auto type = dyn_cast<RankedTensorType>(offset.getType())) {
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(tensor::DimOp::create(*b, offset, 0));
    shift = tensor::SplatOp::create(*b, type, shift, sizes);
  }
  return b->createOrFold<arith::AddIOp>(offset, shift);
}

void RowBlocks::compute(FusedAttentionOp op) {
  Value query = rowsOf(op.getQuery(), 2), positions = op.getQueryPositions();
  Value offset = op.getQueryOffset();
  if (positions) {
    positions = rowsOf(positions, 1);
  } else {
    Value step = arith::ConstantIndexOp::create(*b, op.getQueryStep());
    offset = moved(offset, b->createOrFold<arith::MulIOp>(begin, step));
  }
  auto state = [&](Value value) {
    return op.getAccumulate() ? rowsOf(value, 2) : emptyOf(value, 2);
  };
  Value out = state(op.getOut()), lse = state(op.getLse());
  SmallVector<Value> biases;
  for (Value bias : op.getBiases())
    biases.push_back(blockOfBias(bias));
  auto made = FusedAttentionOp::create(
      *b, TypeRange{out.getType(), lse.getType()}, query, op.getKey(),
      op.getValue(), biases, op.getLengths(), op.getSegmentBounds(), offset,
      op.getKeyOffset(), positions, op.getKeyPositions(), out, lse,
      op.getPiecesAttr(), op.getScaleAttr(), op.getSoftcapAttr(),
      op.getQueryStepAttr(), op.getKeyStepAttr(), op.getAccumulateAttr());
  emitted[{op->getResult(0), 2}] = made->getResult(0);
  emitted[{op->getResult(1), 2}] = made->getResult(1);
}
