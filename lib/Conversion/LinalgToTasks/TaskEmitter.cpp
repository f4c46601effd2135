//===- TaskEmitter.cpp - the tasks of a linalg op -------------------------===//

#include "TaskEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;

/// How many rows are summed at a time, where elements of a row are in vectors
/// and where partial results are.
static constexpr int64_t kRowsAtOnce = 4, kSumsAtOnce = 8;

/// How many vectors of neighbours keep their sums in registers, and of how many
/// terms at most: of more, neighbours in memory are read in longer runs.
static constexpr int64_t kVectorsAtOnce = 4, kFewTerms = 128;

/// How many rows of a transpose are taken together: as many as a line of memory
/// has elements, but no more than lines that caches hold at a power of two of
/// bytes from one another.
static constexpr int64_t kLineBits = 512, kRowsAcross = 16;

static arith::FastMathFlags flagsOf(Operation *op) {
  auto real = dyn_cast<arith::ArithFastMathInterface>(op);
  return real ? real.getFastMathFlagsAttr().getValue()
              : arith::FastMathFlags::none;
}

static bool isInAnyOrder(const Combiner &combine) {
  return linalg::getCombinerOpKind(combine.op) &&
         (!isa<arith::AddFOp, arith::MulFOp>(combine.op) ||
          arith::bitEnumContainsAny(flagsOf(combine.op),
                                    arith::FastMathFlags::reassoc));
}

void TaskEmitter::run() {
  // Results of other reductions are in memory until the last of their terms.
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  if (!kinds.empty() && kinds.back() == utils::IteratorType::reduction)
    takeFollower();
  remarkFollower();
  findExtents();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? outer : reductions).push_back(dim);
  if (!outer.empty() && outer.back() + 1 == extents.size())
    inner = outer.pop_back_val();
  findAcross();
  findPartial();
  takeUnrolled();
  fills.resize(op.getNumDpsInits());
  block = findBlock();
  if ((!inner || block) && !reductions.empty())
    fills = takeFills();
  Value rows = product(outer);
  Value work = atLeastOne(product(reductions));
  Value width = inner ? extents[*inner] : c(1);
  // A segment's elements, segments of a row, segments of a task.
  Value length = min(atLeastOne(width), c(longest()));
  rowSegments = ceilDiv(width, length);
  work = mul(work, c(rowsAcross));
  Value chunk = ceilDiv(c(grain), atLeastOne(mul(length, work)));
  Value segments = mul(rows, rowSegments);
  auto tasks = scf::ParallelOp::create(b, c(0), ceilDiv(segments, chunk), c(1));
  b.setInsertionPointToStart(tasks.getBody());
  Value first = mul(tasks.getInductionVars()[0], chunk);
  Value last = min(add(first, chunk), segments);
  auto loop = scf::ForOp::create(b, first, last, c(1));
  b.setInsertionPointToStart(loop.getBody());
  segment(loop.getInductionVar());
  erase();
}

/// The longest segment.
int64_t TaskEmitter::longest() const {
  return across ? std::max<int64_t>(grain / rowsAcross, 1) : grain;
}

void TaskEmitter::findRow(unsigned rowLoops) {
  findExtents();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (kind == utils::IteratorType::reduction)
      reductions.push_back(dim);
    else if (dim >= rowLoops)
      middle.push_back(dim);
  }
  if (!middle.empty())
    inner = middle.pop_back_val();
  findPartial();
  fills.resize(op.getNumDpsInits());
  if (!reductions.empty())
    fills = takeFills();
  // Of short rows, LLVM's checks of what a write may change take longer.
  blockLanes = lanes;
  int64_t length = kVectorsAtOnce * lanes;
  if (inner && middle.empty() && isShort() && isVectorRow(length))
    block = length;
}

void TaskEmitter::emitRow() {
  if (inner) {
    hold();
    Value end = extents[*inner];
    reduceInMemory(middle, block ? reduceBlocks(c(0), end) : c(0), end);
  } else if (combiners) {
    reducePartial();
  } else {
    reduceInRegisters();
  }
}

Value TaskEmitter::load(OpOperand &operand) {
  if (Value value = held.lookup(&operand))
    return value;
  return VectorRow::load(operand);
}

/// Loads what the row's elements have in common. A loop that stores would load
/// it again, and compute again what is of it alone.
void TaskEmitter::hold() {
  for (OpOperand *operand : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(operand);
    if (isa<MemRefType>(operand->get().getType()) &&
        op.payloadUsesValueFromOperand(operand) &&
        !map.isFunctionOfDim(*inner) &&
        llvm::none_of(middle,
                      [&](unsigned dim) { return map.isFunctionOfDim(dim); }))
      held[operand] = VectorRow::load(*operand);
  }
}

void TaskEmitter::segment(Value number) {
  Value row = number, begin, end;
  if (std::optional<int64_t> count = shortRow()) {
    unflatten(row, outer);
    return reductions.empty() ? together(*count) : reduceVectors(*count, c(0));
  }
  if (inner) {
    row = arith::DivUIOp::create(b, number, rowSegments);
    Value part = arith::RemUIOp::create(b, number, rowSegments);
    begin = mul(part, c(longest()));
    end = min(add(begin, c(longest())), extents[*inner]);
  }
  unflatten(row, outer);
  if (across)
    acrossRows(begin, end);
  else if (inner) {
    if (reductions.empty())
      hold();
    if (block)
      begin = reduceBlocks(begin, end);
    reduceInMemory(reductions, begin, end);
  } else if (combiners)
    reducePartial();
  else
    reduceInRegisters();
}

/// The length of blocks of a row whose sums of few terms vectors hold; nothing
/// for other ops, and for short rows.
std::optional<int64_t> TaskEmitter::findBlock() {
  if (!inner || reductions.empty() || shortRow() || !isShort())
    return std::nullopt;
  std::optional<int64_t> terms = constantOf(product(reductions)),
                         width = constantOf(extents[*inner]);
  blockLanes = lanes;
  while (width && *width < blockLanes / 2)
    blockLanes /= 2;
  int64_t length = kVectorsAtOnce * blockLanes;
  if (!terms || *terms > kFewTerms || blockLanes < 4 || !isVectorRow(length))
    return std::nullopt;
  return length;
}

/// Whether elements of a row may be summed up twice, anywhere: sums start from
/// what is not in memory, and no neighbours share elements of an input.
bool TaskEmitter::areRepeatable() {
  return !reductions.empty() &&
         llvm::all_of(fills, [](Value fill) { return bool(fill); }) &&
         llvm::none_of(op->getOpOperands(), [&](OpOperand &operand) {
           return neighboursOf(operand, *inner) == Neighbours::Several;
         });
}

/// Sums of whole blocks, of vectors and of half ones; gives where the rest
/// begins, which is what it starts from.
Value TaskEmitter::reduceBlocks(Value begin, Value end) {
  auto minus = [&](Value x, Value y) -> Value {
    return arith::SubIOp::create(b, x, y);
  };
  auto reduceTo = [&](Value from, Value to, int64_t length) {
    auto blocks = scf::ForOp::create(b, from, to, c(length));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(blocks.getBody());
    reduceVectors(length, blocks.getInductionVar());
  };
  Value rest = begin;
  for (int64_t length : {*block, blockLanes, blockLanes / 2}) {
    if (length < *block && (reductions.empty() || !isVectorRow(length)))
      continue;
    Value whole = add(rest, roundDown(minus(end, rest), length));
    reduceTo(rest, whole, length);
    rest = whole;
  }
  if (areRepeatable()) {
    // The last vector ends with the row, where that is as long.
    int64_t length = blockLanes / 2;
    Value isLong = arith::CmpIOp::create(b, arith::CmpIPredicate::sge,
                                         minus(end, begin), c(length));
    Value whole = arith::SelectOp::create(b, isLong, end, rest);
    Value isLeft =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, rest, whole);
    auto last = scf::IfOp::create(b, isLeft);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(last.thenBlock());
    reduceVectors(length, minus(end, c(length)));
    rest = whole;
  }
  if (llvm::none_of(fills, [](Value fill) { return bool(fill); }))
    return rest;
  auto others = scf::ForOp::create(b, rest, end, c(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(others.getBody());
  indices[*inner] = others.getInductionVar();
  for (auto [init, fill] : llvm::zip_equal(op.getDpsInitsMutable(), fills))
    if (fill)
      memref::StoreOp::create(b, fill, init.get(), point(init));
  return rest;
}

/// Rows are taken together along the dimension where the first operand lies
/// that does not lie along the innermost one.
void TaskEmitter::findAcross() {
  if (!inner || !reductions.empty() || shortRow())
    return;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    if (neighboursOf(*operand, *inner) != Neighbours::Apart)
      continue;
    Type element = getElementTypeOrSelf(operand->get().getType());
    if (!element.isIntOrFloat())
      continue;
    int64_t together =
        std::min(kLineBits / element.getIntOrFloatBitWidth(), kRowsAcross);
    for (unsigned dim : outer) {
      std::optional<int64_t> count = constantOf(extents[dim]);
      if (neighboursOf(*operand, dim) != Neighbours::Next ||
          (count && *count < together))
        continue;
      across = dim;
      extentAcross = extents[dim];
      rowsAcross = together;
      extents[dim] = ceilDiv(extentAcross, c(rowsAcross));
      return;
    }
  }
}

/// The elements of a block of rows, a column of them at a time.
void TaskEmitter::acrossRows(Value begin, Value end) {
  Value first = mul(indices[*across], c(rowsAcross));
  Value last = min(add(first, c(rowsAcross)), extentAcross);
  auto columns = scf::ForOp::create(b, begin, end, c(1));
  b.setInsertionPointToStart(columns.getBody());
  indices[*inner] = columns.getInductionVar();
  auto rows = scf::ForOp::create(b, first, last, c(1));
  b.setInsertionPointToStart(rows.getBody());
  indices[*across] = rows.getInductionVar();
  storeOutputs(body(loadOutputs()));
}

/// Whether the body may be there more than once.
bool TaskEmitter::isShort() {
  constexpr size_t kFewOps = 32;
  return op.getBody()->getOperations().size() <= kFewOps;
}

/// The length of rows that few vectors hold; nothing for others.
std::optional<int64_t> TaskEmitter::shortRow() {
  constexpr int64_t kShort = 32;
  if (!inner || grain < kShort || !isShort())
    return std::nullopt;
  std::optional<int64_t> count = constantOf(extents[*inner]);
  if (!count || *count > kShort)
    return std::nullopt;
  if (reductions.empty())
    return count;
  bool isVector =
      *count >= 4 && llvm::isPowerOf2_64(*count) && isVectorRow(*count);
  return isVector ? count : std::nullopt;
}

/// A row's elements without a loop, read before any is written: LLVM makes
/// vectors of them, which it does not where a write may change what is read
/// next, and checks of that for a short loop cost more than they save. Of more
/// elements than 8 it would make vectors across rows, and gather and scatter.
void TaskEmitter::together(int64_t count) {
  if (count > 8 && llvm::isPowerOf2_64(count) && isVectorRow(count))
    return reduceVectors(count, c(0));
  SmallVector<SmallVector<Value>> results;
  for (int64_t i = 0; i < count; ++i) {
    indices[*inner] = c(i);
    results.push_back(llvm::to_vector(ValueRange(body(loadOutputs()))));
  }
  for (int64_t i = 0; i < count; ++i) {
    indices[*inner] = c(i);
    storeOutputs(results[i]);
  }
}

/// Whether the innermost reduction has partial results side by side in vectors:
/// their order is free.
void TaskEmitter::findPartial() {
  if (inner || reductions.empty())
    return;
  std::optional<int64_t> count = constantOf(extents.back());
  if ((count && *count < lanes) || !isVectorRow(lanes, Neighbours::Same))
    return;
  combiners = combinersOf(op);
  if (combiners && !llvm::all_of(*combiners, isInAnyOrder))
    combiners = std::nullopt;
}

void TaskEmitter::takeUnrolled() {
  if (reductions.empty() || !(combiners || shortRow()))
    return;
  int64_t most = combiners ? kSumsAtOnce : kRowsAtOnce;
  while (!outer.empty()) {
    // Rows before the reductions are tasks, unless this is within one.
    if (!combiners && outer.back() < reductions.back() &&
        !op->getParentOfType<scf::ParallelOp>())
      return;
    std::optional<int64_t> rows = constantOf(extents[outer.back()]);
    if (!rows || *rows < 1 || *rows * unrolledRows() > most)
      return;
    unrolled.insert(unrolled.begin(), outer.pop_back_val());
  }
}

int64_t TaskEmitter::unrolledRows() {
  int64_t rows = 1;
  for (unsigned dim : unrolled)
    rows *= *constantOf(extents[dim]);
  return rows;
}

void TaskEmitter::forEachRow(function_ref<void(int64_t row)> inside) {
  for (int64_t row = 0, rows = unrolledRows(); row < rows; ++row) {
    int64_t rest = row;
    for (unsigned dim : llvm::reverse(unrolled)) {
      int64_t extent = *constantOf(extents[dim]);
      indices[dim] = c(rest % extent);
      rest /= extent;
    }
    inside(row);
  }
}

/// What the outputs' rows start from.
SmallVector<Value> TaskEmitter::firstRows(int64_t count) {
  SmallVector<Value> rows;
  for (auto [init, fill] : llvm::zip_equal(op.getDpsInitsMutable(), fills))
    rows.push_back(fill
                       ? Value(vector::BroadcastOp::create(
                             b, VectorType::get({count}, fill.getType()), fill))
                       : loadRow(init, count));
  return rows;
}

/// A row's elements as vectors, and their sums in registers, if there are any:
/// LLVM would make vectors of a row for each term, or gather terms. None is of
/// more elements than a register: what LLVM forwards from a longer one to a
/// load of a part it takes apart by elements.
void TaskEmitter::reduceVectors(int64_t count, Value first) {
  size_t outputs = op.getNumDpsInits();
  int64_t width = std::min(count, lanes);
  auto forEachVector = [&](function_ref<void(int64_t vector)> inside) {
    int64_t vector = 0;
    for (int64_t at = 0; at < count; at += width) {
      indices[*inner] = add(first, c(at));
      forEachRow([&](int64_t) { inside(vector++); });
    }
  };
  SmallVector<Value> sums;
  forEachVector([&](int64_t) { llvm::append_range(sums, firstRows(width)); });
  sums = nest(reductions, sums, [&](ValueRange sofar) {
    SmallVector<Value> next;
    forEachVector([&](int64_t vector) {
      llvm::append_range(
          next, rowBody(width, sofar.slice(vector * outputs, outputs)));
    });
    return next;
  });
  forEachVector([&](int64_t vector) {
    storeRows(ArrayRef(sums).slice(vector * outputs, outputs));
  });
}

/// Vectors of partial results along the innermost reduction, in registers
/// throughout: some for each row, for one would wait for each of its terms.
/// What does not fill a vector is added to the results themselves.
void TaskEmitter::reducePartial() {
  int64_t sums = std::max<int64_t>(kSumsAtOnce / unrolledRows(), 1);
  if (!isShort())
    sums = 1;
  SmallVector<Value> all;
  for (int64_t i = 0; i < sums * unrolledRows(); ++i)
    for (Combiner &combine : *combiners)
      all.push_back(arith::ConstantOp::create(
          b, DenseElementsAttr::get(
                 VectorType::get({lanes}, combine.neutral.getType()),
                 Attribute(combine.neutral))));
  size_t vectors = all.size();
  forEachRow([&](int64_t) { llvm::append_range(all, initialValues()); });
  all = nest(ArrayRef(reductions).drop_back(), all, [&](ValueRange sofar) {
    SmallVector<Value> next(sofar);
    Value end = extents.back(), begin = c(0);
    for (int64_t count : {sums, int64_t(1)}) {
      Value whole = roundDown(end, count * lanes);
      addTerms(begin, whole, lanes, count, next);
      begin = whole;
    }
    addTerms(begin, end, 1, 1, MutableArrayRef(next).drop_front(vectors));
    return next;
  });
  size_t outputs = combiners->size();
  forEachRow([&](int64_t row) {
    SmallVector<Value> results;
    for (auto [out, combine] : llvm::enumerate(*combiners)) {
      size_t place = row * outputs + out;
      Value partial = all[place];
      for (int64_t i = 1; i < sums; ++i)
        partial =
            combine(b, partial, all[i * unrolledRows() * outputs + place]);
      partial =
          vector::ReductionOp::create(b, *linalg::getCombinerOpKind(combine.op),
                                      partial, flagsOf(combine.op));
      results.push_back(combine(b, all[vectors + place], partial));
    }
    storeOutputs(results);
  });
}

/// A loop along the innermost reduction that adds `width` neighbours at a time
/// to each of `count` sums of each row, the first ones.
void TaskEmitter::addTerms(Value begin, Value end, int64_t width, int64_t count,
                           MutableArrayRef<Value> sums) {
  if (constantOf(begin) && constantOf(begin) == constantOf(end))
    return;
  size_t outputs = combiners->size();
  sums = sums.take_front(count * unrolledRows() * outputs);
  auto loop = scf::ForOp::create(b, begin, end, c(count * width), sums);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next;
  ValueRange sofar = loop.getRegionIterArgs();
  for (int64_t i = 0; i < count; ++i) {
    indices.back() = add(loop.getInductionVar(), c(i * width));
    forEachRow([&](int64_t) {
      ValueRange own = sofar.slice(next.size(), outputs);
      llvm::append_range(next, width > 1 ? rowBody(width, own) : body(own));
    });
  }
  scf::YieldOp::create(b, next);
  llvm::copy(loop.getResults(), sums.begin());
}

/// The outputs' element stays in registers throughout the reductions.
void TaskEmitter::reduceInRegisters() {
  storeOutputs(nest(reductions, initialValues(),
                    [&](ValueRange sofar) { return body(sofar); }));
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
  storeOutputs(body(loadOutputs()));
}
