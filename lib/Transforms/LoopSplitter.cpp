//===- LoopSplitter.cpp - a loop for each slice of its tensors ------------===//

#include "LoopSplitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
using Sizes = SmallVector<OpFoldResult>;

/// Emits a loop once more, in parallel over slices.
class Splitter {
public:
  Splitter(scf::ForOp loop, SmallVector<Cut> cuts)
      : loop(loop), cuts(std::move(cuts)), b(loop.getLoc(), loop) {}

  void run();

private:
  bool isCut(Value value) const;
  RankedTensorType typeOfSlice(Value whole) const;
  Sizes cutSizes(Value whole, Sizes sizes) const;
  Sizes mapped(Sizes values) const;
  Sizes offsetsOf(Value whole) const;
  Value emptyLike(Value whole);
  Value sliceOf(Value whole, Value from);
  Value localOf(Value whole);
  Value countSlices();
  void findOffsets(Value number);
  Value start(unsigned i, Value shared);
  scf::ForOp steps(ValueRange shared);
  SmallVector<Value> placesOfResults();
  SmallVector<Value> onlyStep(ArrayRef<Value> places);
  SmallVector<Value> allSteps(ArrayRef<Value> places);
  void emit(Operation &op);
  void emitSliced(Operation &op);

  scf::ForOp loop;
  SmallVector<Cut> cuts;
  ImplicitLocOpBuilder b;
  IRMapping map; ///< from whole tensors to slices
};
} // namespace

bool mlir::megactx::isStacked(scf::ForOp loop, unsigned i) {
  BlockArgument carried = loop.getRegionIterArg(i);
  auto insert =
      loop.getYieldedValues()[i].getDefiningOp<tensor::InsertSliceOp>();
  return insert && insert.getDest() == carried && carried.hasOneUse() &&
         insert->hasOneUse();
}

/// Whether a tensor has nothing in it, or one number everywhere.
static bool isMadeAnywhere(Value tensor) {
  return isa_and_nonnull<tensor::EmptyOp, linalg::FillOp>(
      tensor.getDefiningOp());
}

/// What a step leaves of a carried tensor is computed where that is, element by
/// element, once the step has read all else that it reads of it.
static void updateInPlace(scf::ForOp loop, unsigned i) {
  Value next = loop.getYieldedValues()[i], last = loop.getRegionIterArg(i);
  auto op = next.getDefiningOp<linalg::GenericOp>();
  if (!op || op->getBlock() != loop.getBody() || op->getNumResults() != 1 ||
      op.getNumParallelLoops() != op.getNumLoops())
    return;
  OpOperand &init = op.getDpsInitsMutable()[0];
  AffineMap map = op.getMatchingIndexingMap(&init);
  bool isRead = false;
  for (OpOperand *input : op.getDpsInputOperands())
    if (input->get() == last) {
      isRead = true;
      if (op.getMatchingIndexingMap(input) != map)
        return;
    }
  if (!isRead || !map.isPermutation() ||
      init.get().getType() != last.getType() ||
      op.payloadUsesValueFromOperand(&init))
    return;
  init.set(last);
  if (next.hasOneUse())
    op->moveBefore(loop.getBody()->getTerminator());
}

bool Splitter::isCut(Value value) const {
  return llvm::any_of(cuts, [&](const Cut &cut) {
    return cut.slices.dimOf(value).has_value();
  });
}

RankedTensorType Splitter::typeOfSlice(Value whole) const {
  auto type = cast<RankedTensorType>(whole.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (const Cut &cut : cuts)
    if (std::optional<unsigned> dim = cut.slices.dimOf(whole))
      shape[*dim] = cut.width;
  return type.clone(shape);
}

/// A slice's sizes, of those of the whole.
Sizes Splitter::cutSizes(Value whole, Sizes sizes) const {
  for (const Cut &cut : cuts)
    if (std::optional<unsigned> dim = cut.slices.dimOf(whole))
      sizes[*dim] = OpBuilder(loop).getIndexAttr(cut.width);
  return sizes;
}

Sizes Splitter::mapped(Sizes values) const {
  for (OpFoldResult &each : values)
    if (auto value = dyn_cast<Value>(each))
      each = map.lookupOrDefault(value);
  return values;
}

Sizes Splitter::offsetsOf(Value whole) const {
  auto rank = cast<RankedTensorType>(whole.getType()).getRank();
  Sizes offsets(rank, OpBuilder(loop).getIndexAttr(0));
  for (const Cut &cut : cuts)
    if (std::optional<unsigned> dim = cut.slices.dimOf(whole))
      offsets[*dim] = cut.offset;
  return offsets;
}

Value Splitter::emptyLike(Value whole) {
  RankedTensorType type = typeOfSlice(whole);
  Sizes sizes = tensor::getMixedSizes(b, b.getLoc(), whole);
  return tensor::EmptyOp::create(b, cutSizes(whole, sizes),
                                 type.getElementType(), type.getEncoding());
}

/// The slice of a tensor, or of one of the same shape.
Value Splitter::sliceOf(Value whole, Value from) {
  Sizes sizes = tensor::getMixedSizes(b, b.getLoc(), whole);
  Sizes strides(sizes.size(), b.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(b, typeOfSlice(whole), from,
                                        offsetsOf(whole),
                                        cutSizes(whole, sizes), strides);
}

/// The slice of a tensor from outside of the loop, of which one without
/// contents, or with one number everywhere, is made here.
Value Splitter::localOf(Value whole) {
  if (whole.getDefiningOp<tensor::EmptyOp>())
    return emptyLike(whole);
  if (auto fill = whole.getDefiningOp<linalg::FillOp>())
    return linalg::FillOp::create(b, fill.value(), emptyLike(whole)).result();
  return sliceOf(whole, whole);
}

/// How many slices there are, of all cuts.
Value Splitter::countSlices() {
  Value count = arith::ConstantIndexOp::create(b, 1);
  for (Cut &cut : cuts) {
    unsigned i = 0;
    while (isStacked(loop, i))
      ++i;
    Value whole = loop.getInitArgs()[i];
    cut.extent = b.createOrFold<tensor::DimOp>(whole, *cut.slices.dimOf(whole));
    Value width = arith::ConstantIndexOp::create(b, cut.width);
    Value parts = b.createOrFold<arith::DivUIOp>(cut.extent, width);
    count = b.createOrFold<arith::MulIOp>(count, parts);
  }
  return count;
}

/// The offsets of the slice with a number, the last cut's changing first.
void Splitter::findOffsets(Value number) {
  for (Cut &cut : llvm::reverse(cuts)) {
    Value width = arith::ConstantIndexOp::create(b, cut.width);
    Value parts = b.createOrFold<arith::DivUIOp>(cut.extent, width);
    bool isLast = &cut == &cuts.front();
    Value part =
        isLast ? number : b.createOrFold<arith::RemUIOp>(number, parts);
    cut.offset = b.createOrFold<arith::MulIOp>(part, width);
    if (!isLast)
      number = b.createOrFold<arith::DivUIOp>(number, parts);
  }
}

/// What steps start from: parts are put into the result where it is; what they
/// compute with is a copy, all of whose rows are together.
Value Splitter::start(unsigned i, Value shared) {
  Value init = loop.getInitArgs()[i];
  if (isStacked(loop, i))
    return sliceOf(init, shared);
  RankedTensorType type = typeOfSlice(init);
  auto fill = init.getDefiningOp<linalg::FillOp>();
  Value whole = fill ? Value() : sliceOf(init, init);
  SmallVector<Value> sizes;
  if (fill)
    for (auto [size, extent] : llvm::zip_equal(
             cutSizes(init, tensor::getMixedSizes(b, b.getLoc(), init)),
             type.getShape()))
      if (ShapedType::isDynamic(extent))
        sizes.push_back(getValueOrCreateConstantIndexOp(b, b.getLoc(), size));
  Value own = bufferization::AllocTensorOp::create(b, type, sizes, whole);
  return fill ? linalg::FillOp::create(b, fill.value(), own).result() : own;
}

void Splitter::emit(Operation &op) {
  auto isCut = [&](Value value) { return this->isCut(value); };
  if (llvm::none_of(op.getOperands(), isCut) &&
      llvm::none_of(op.getResults(), isCut)) {
    b.clone(op, map);
    return;
  }
  if (auto size = dyn_cast<tensor::DimOp>(op))
    for (const Cut &cut : cuts)
      if (cut.slices.dimOf(size.getSource()) == size.getConstantIndex())
        return map.map(size.getResult(), cut.extent);
  // Each op has a place of its own to write to.
  SmallVector<Value> places;
  for (Value operand : op.getOperands())
    if (isCut(operand) && !map.contains(operand)) {
      map.map(operand, localOf(operand));
      places.push_back(operand);
    }
  emitSliced(op);
  for (Value place : places)
    map.erase(place);
}

void Splitter::emitSliced(Operation &op) {
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    RankedTensorType type = empty.getType();
    return map.map(empty.getResult(),
                   tensor::EmptyOp::create(
                       b, cutSizes(empty, mapped(empty.getMixedSizes())),
                       type.getElementType(), type.getEncoding())
                       .getResult());
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return map.map(
        slice.getResult(),
        tensor::ExtractSliceOp::create(
            b, typeOfSlice(slice), map.lookup(slice.getSource()),
            mapped(slice.getMixedOffsets()),
            cutSizes(slice.getSource(), mapped(slice.getMixedSizes())),
            mapped(slice.getMixedStrides()))
            .getResult());
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return map.map(
        insert.getResult(),
        tensor::InsertSliceOp::create(
            b, map.lookup(insert.getSource()), map.lookup(insert.getDest()),
            mapped(insert.getMixedOffsets()),
            cutSizes(insert.getDest(), mapped(insert.getMixedSizes())),
            mapped(insert.getMixedStrides()))
            .getResult());
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return map.map(
        expand.getResult(),
        tensor::ExpandShapeOp::create(
            b, typeOfSlice(expand.getResult()), map.lookup(expand.getSrc()),
            expand.getReassociationIndices(),
            cutSizes(expand.getResult(), mapped(expand.getMixedOutputShape())))
            .getResult());
  if (auto cast = dyn_cast<tensor::CastOp>(op))
    if (typeOfSlice(cast.getSource()) == typeOfSlice(cast.getDest()))
      return map.map(cast.getDest(), map.lookup(cast.getSource()));
  Operation *made = b.clone(op, map);
  for (auto [whole, slice] :
       llvm::zip_equal(op.getResults(), made->getResults()))
    if (isa<RankedTensorType>(whole.getType()))
      slice.setType(typeOfSlice(whole));
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  if (!structured)
    return;
  Sizes offsets(structured.getNumLoops());
  for (const Cut &cut : cuts)
    if (std::optional<unsigned> number = cut.slices.loopOf(structured))
      offsets[*number] = cut.offset;
  OpBuilder::InsertionGuard guard(b);
  linalg::offsetIndices(b, cast<linalg::LinalgOp>(made), offsets);
}

/// Emits the loop over the steps of the slice at hand.
scf::ForOp Splitter::steps(ValueRange shared) {
  for (Operation &op : loop.getBody()->without_terminator())
    for (Value operand : op.getOperands()) {
      if (!isCut(operand) || map.contains(operand) ||
          loop.getRegion().isAncestor(operand.getParentRegion()) ||
          isMadeAnywhere(operand))
        continue;
      map.map(operand, sliceOf(operand, operand));
    }
  SmallVector<Value> starts;
  for (auto [i, place] : llvm::enumerate(shared))
    starts.push_back(start(i, place));
  auto inner = scf::ForOp::create(b, loop.getLowerBound(), loop.getUpperBound(),
                                  loop.getStep(), starts);
  inner->setAttrs(loop->getAttrDictionary());
  OpBuilder::InsertionGuard guard(b);
  Block *body = inner.getBody();
  b.setInsertionPointToStart(body);
  map.map(loop.getBody()->getArguments(), body->getArguments());
  for (Operation &op : loop.getBody()->without_terminator())
    emit(op);
  SmallVector<Value> ends =
      llvm::map_to_vector(loop.getYieldedValues(), [&](Value value) {
        return map.contains(value) ? map.lookup(value) : localOf(value);
      });
  scf::YieldOp::create(b, ends);
  return inner;
}

/// A place for each result: where steps put parts, or of its own.
SmallVector<Value> Splitter::placesOfResults() {
  SmallVector<Value> places;
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs())) {
    if (isStacked(loop, i) && !init.getDefiningOp<tensor::EmptyOp>()) {
      places.push_back(init);
      continue;
    }
    auto type = cast<RankedTensorType>(init.getType());
    SmallVector<Value> sizes;
    for (auto [dim, size] : llvm::enumerate(type.getShape()))
      if (ShapedType::isDynamic(size))
        sizes.push_back(b.createOrFold<tensor::DimOp>(init, dim));
    places.push_back(bufferization::AllocTensorOp::create(b, type, sizes));
  }
  return places;
}

/// Emits the step of a loop that has one; what it leaves of a carried tensor is
/// computed where the result is.
SmallVector<Value> Splitter::onlyStep(ArrayRef<Value> places) {
  IRMapping single;
  single.map(loop.getInductionVar(), loop.getLowerBound());
  for (unsigned i = 0; i < places.size(); ++i)
    single.map(loop.getRegionIterArg(i),
               isStacked(loop, i) ? places[i] : loop.getInitArgs()[i]);
  for (Operation &op : loop.getBody()->without_terminator())
    b.clone(op, single);
  SmallVector<Value> results;
  for (auto [i, value] : llvm::enumerate(loop.getYieldedValues())) {
    results.push_back(single.lookupOrDefault(value));
    auto op = results.back().getDefiningOp<linalg::GenericOp>();
    if (isStacked(loop, i) || !op || op->getBlock() != b.getInsertionBlock() ||
        op->getNumResults() != 1)
      continue;
    OpOperand &init = op.getDpsInitsMutable()[0];
    if (init.get().getType() == places[i].getType() &&
        !op.payloadUsesValueFromOperand(&init))
      init.set(places[i]);
  }
  return results;
}

/// Emits the loop for each slice.
SmallVector<Value> Splitter::allSteps(ArrayRef<Value> places) {
  OpBuilder::InsertionGuard guard(b);
  OpFoldResult count = countSlices();
  auto slices = scf::ForallOp::create(b, count, places, std::nullopt);
  b.setInsertionPointToStart(slices.getBody());
  findOffsets(slices.getInductionVars()[0]);
  scf::ForOp inner = steps(slices.getRegionIterArgs());
  for (unsigned i = 0; i < loop.getNumResults(); ++i)
    if (!isStacked(loop, i))
      updateInPlace(inner, i);
  for (auto [i, init] : llvm::enumerate(loop.getInitArgs())) {
    b.setInsertionPointAfter(inner);
    Sizes sizes = cutSizes(init, tensor::getMixedSizes(b, b.getLoc(), init));
    Sizes strides(sizes.size(), b.getIndexAttr(1));
    b.setInsertionPointToEnd(slices.getTerminator().getBody());
    tensor::ParallelInsertSliceOp::create(b, inner.getResult(i),
                                          slices.getRegionIterArgs()[i],
                                          offsetsOf(init), sizes, strides);
  }
  return SmallVector<Value>(slices.getResults());
}

/// One step alone is not worth a copy of what it starts from.
void Splitter::run() {
  SmallVector<Value> places = placesOfResults();
  SmallVector<Value> results;
  if (loop.getStaticTripCount()) {
    results = allSteps(places);
  } else {
    Value first = loop.getLowerBound(), end = loop.getUpperBound();
    Value second = arith::AddIOp::create(b, first, loop.getStep());
    Value isAny =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, first, end);
    Value isAll =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sge, second, end);
    Value isOne = arith::AndIOp::create(b, isAny, isAll);
    auto choice = scf::IfOp::create(b, loop.getResultTypes(), isOne,
                                    /*withElseRegion=*/true);
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, onlyStep(places));
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, allSteps(places));
    results.assign(choice.result_begin(), choice.result_end());
  }
  loop.replaceAllUsesWith(results);
  loop.erase();
}

void mlir::megactx::splitLoop(scf::ForOp loop, SmallVector<Cut> cuts) {
  Splitter(loop, std::move(cuts)).run();
}
