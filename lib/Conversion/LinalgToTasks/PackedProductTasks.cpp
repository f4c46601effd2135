//===- PackedProductTasks.cpp - tasks of packed products ------------------===//

#include "PackedProductTasks.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;

/// Vectors of weights' rows that a panel has.
static constexpr int64_t kParts = 2;

/// Words of a panel's row that are transposed at a time, about: the panel's
/// stay in a core's caches.
static constexpr int64_t kWords = 128;

/// Rows that a task takes at most: panels meet them one after the other, while
/// a core's caches have them. Transposing takes as long as two.
static constexpr int64_t kTaskRows = 96;

/// Rows whose sums registers have.
static int64_t rowsAtOnce(int64_t lanes) { return lanes >= 16 ? 6 : 2; }

static constexpr arith::FastMathFlags kAnyOrder =
    arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;

static int64_t sizeOf(Value memory, unsigned dim) {
  return cast<MemRefType>(memory.getType()).getDimSize(dim);
}

PackedProductTasks::PackedProductTasks(PackedProductOp op, int64_t lanes)
    : op(op), lanes(lanes), b(op.getLoc(), op), words(sizeOf(op.getWords(), 1)),
      chains(sizeOf(op.getRowScales(), 1)), blocks(sizeOf(op.getScales(), 1)),
      columns(sizeOf(op.getWords(), 0)), inChain(words / chains),
      perBlock(chains / blocks) {
  // Whole blocks, or parts of one.
  inChunk = std::max<int64_t>(kWords / inChain, 1);
  if (inChunk >= perBlock)
    inChunk = std::min(inChunk / perBlock * perBlock, chains);
  else
    while (perBlock % inChunk != 0)
      --inChunk;
}

Value PackedProductTasks::vectorOf(Value scalar) {
  auto type = VectorType::get({lanes}, scalar.getType());
  return vector::BroadcastOp::create(b, type, scalar);
}

Value PackedProductTasks::splat(int64_t value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get({lanes}, b.getI32Type()),
                                static_cast<int32_t>(value)));
}

/// The operand itself where neighbours along its last dim lie next to one
/// another in memory, else a copy.
Value PackedProductTasks::withNeighbours(Value operand) {
  auto type = cast<MemRefType>(operand.getType());
  if (type.isLastDimUnitStride())
    return operand;
  SmallVector<Value> sizes;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (ShapedType::isDynamic(size))
      sizes.push_back(memref::DimOp::create(b, operand, i));
  return memref::AllocOp::create(
      b, MemRefType::get(type.getShape(), type.getElementType()), sizes);
}

void PackedProductTasks::takeMemory() {
  auto memory = [&](int64_t lines, Type type) -> Value {
    int64_t sizes[] = {llvm::divideCeilSigned(lines, lanes) * lanes,
                       kParts * lanes};
    return memref::AllocaOp::create(b, MemRefType::get(sizes, type),
                                    b.getI64IntegerAttr(64));
  };
  int64_t inBlocks = std::max<int64_t>(inChunk / perBlock, 1);
  wordMemory = memory(inChunk * inChain, b.getI32Type());
  scaleMemory = memory(inBlocks, b.getF32Type());
  if (zeros)
    zeroMemory = memory(inBlocks, b.getF32Type());
}

void PackedProductTasks::run() {
  Value given[] = {op.getOut(), op.getWords(), op.getScales(), op.getZeros()};
  Value *taken[] = {&out, &weights, &scales, &zeros};
  SmallVector<Value> copies;
  for (auto [operand, place] : llvm::zip_equal(given, taken)) {
    if (!operand)
      continue;
    *place = withNeighbours(operand);
    if (*place == operand)
      continue;
    copies.push_back(*place);
    if (operand != op.getOut())
      linalg::CopyOp::create(b, operand, *place);
  }
  Value count = memref::DimOp::create(b, out, 0);
  int64_t panels = llvm::divideCeil(columns, kParts * lanes);
  Value runs = divide(add(count, c(kTaskRows - 1)), kTaskRows);
  auto tasks = scf::ParallelOp::create(b, c(0), mul(runs, c(panels)), c(1));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(tasks.getBody());
    takeMemory();
    Value task = tasks.getInductionVars()[0];
    column = mul(divideRest(task, panels), c(kParts * lanes));
    Value begin = mul(divide(task, panels), c(kTaskRows));
    Value end = min(add(begin, c(kTaskRows)), count);
    auto mask = VectorType::get({lanes}, b.getI1Type());
    for (int64_t part = 0; part < kParts; ++part) {
      Value left = sub(c(columns), add(column, c(part * lanes)));
      in.push_back(vector::CreateMaskOp::create(b, mask, left));
    }
    auto loop = scf::ForOp::create(b, c(0), c(chains), c(inChunk));
    b.setInsertionPointToStart(loop.getBody());
    chunk(loop.getInductionVar());
    for (int64_t size = rowsAtOnce(lanes); size;
         size = llvm::bit_floor<uint64_t>(size - 1)) {
      Value whole = mul(divide(sub(end, begin), size), c(size));
      Value last = add(begin, whole);
      rows(size, begin, last);
      begin = last;
    }
  }
  if (out != op.getOut())
    linalg::CopyOp::create(b, out, op.getOut());
  for (Value copy : copies)
    memref::DeallocOp::create(b, copy);
  op.erase();
}

/// Has the chains from `first` on in the task's memory, and adds what they
/// give.
void PackedProductTasks::chunk(Value first) {
  firstChain = first;
  Value count = min(c(inChunk), sub(c(chains), first));
  transpose(weights, mul(first, c(inChain)), mul(count, c(inChain)),
            wordMemory);
  Value block = divide(first, perBlock),
        numBlocks = divide(add(count, c(perBlock - 1)), perBlock);
  transpose(scales, block, numBlocks, scaleMemory);
  if (zeros)
    transpose(zeros, block, numBlocks, zeroMemory);
}

/// Columns [first, first + count) of the panel's rows of `from`, as lines.
void PackedProductTasks::transpose(Value from, Value first, Value count,
                                   Value to) {
  OpBuilder::InsertionGuard guard(b);
  auto parts = scf::ForOp::create(b, c(0), c(kParts * lanes), c(lanes));
  b.setInsertionPointToStart(parts.getBody());
  Value part = parts.getInductionVar();
  auto loop = scf::ForOp::create(b, c(0), count, c(lanes));
  b.setInsertionPointToStart(loop.getBody());
  Value line = loop.getInductionVar();
  Value row = add(column, part), at = add(first, line);
  prefetch(from, row, at);
  SmallVector<Value> square = squareOf(from, row, at);
  for (auto [i, vector] : llvm::enumerate(square))
    vector::StoreOp::create(b, vector, to, ValueRange{add(line, c(i)), part});
}

/// Asks for the same of the next panel, which the next task has: few rows take
/// less time than memory to answer.
void PackedProductTasks::prefetch(Value from, Value row, Value column) {
  row = min(add(row, c(kParts * lanes)),
            c(std::max<int64_t>(columns - lanes, 0)));
  for (int64_t i = 0; i < std::min(lanes, columns); ++i)
    memref::PrefetchOp::create(b, from, ValueRange{add(row, c(i)), column},
                               /*isWrite=*/false, /*localityHint=*/2,
                               /*isDataCache=*/true);
}

/// As many columns of `from` as there are lanes, each a vector of as many rows.
/// Beyond the last row there are others, and beyond the last column zeros.
SmallVector<Value> PackedProductTasks::squareOf(Value from, Value row,
                                                Value column) {
  Type element = cast<MemRefType>(from.getType()).getElementType();
  auto type = VectorType::get({lanes}, element);
  Value left = sub(c(sizeOf(from, 1)), column);
  Value mask = vector::CreateMaskOp::create(
      b, VectorType::get({lanes}, b.getI1Type()), left);
  Value nothing = arith::ConstantOp::create(b, b.getZeroAttr(type));
  bool isWhole = from == weights && words % lanes == 0 &&
                 (inChunk * inChain % lanes == 0 || inChunk == chains);
  SmallVector<Value> square;
  for (int64_t i = 0; i < lanes; ++i) {
    Value at[] = {add(row, c(i)), column};
    if (columns % (kParts * lanes) != 0)
      at[0] = min(at[0], c(columns - 1));
    Value line = isWhole ? Value(vector::LoadOp::create(b, type, from, at))
                         : vector::MaskedLoadOp::create(b, type, from, at, mask,
                                                        nothing);
    auto real = VectorType::get({lanes}, b.getF32Type());
    if (element.isInteger(8))
      line = arith::SIToFPOp::create(
          b, real, arith::ExtUIOp::create(b, real.clone(b.getI32Type()), line));
    else if (isa<FloatType>(element) && !element.isF32())
      line = arith::ExtFOp::create(b, real, line);
    square.push_back(line);
  }
  transposeSquare(square);
  return square;
}

/// In steps that machines have an instruction for: neighbours within 128 bits
/// are interleaved, first single words, then pairs, and then groups of 128 bits
/// are every other one of two vectors.
void PackedProductTasks::transposeSquare(SmallVector<Value> &square) {
  constexpr int64_t kGroup = 4;
  auto step = [&](int64_t bit, function_ref<int64_t(int64_t)> low,
                  int64_t distance) {
    SmallVector<int64_t> first, second;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      first.push_back(low(lane));
      second.push_back(low(lane) + distance);
    }
    for (int64_t i = 0; i < lanes; ++i) {
      if (i & bit)
        continue;
      Value a = square[i], other = square[i | bit];
      square[i] = vector::ShuffleOp::create(b, a, other, first);
      square[i | bit] = vector::ShuffleOp::create(b, a, other, second);
    }
  };
  step(1, [&](int64_t l) { return l / 4 * 4 + l % 4 / 2 + l % 2 * lanes; }, 2);
  step(2, [&](int64_t l) { return l / 4 * 4 + l % 2 + l % 4 / 2 * lanes; }, 2);
  // The first step's bit is the upper one of the columns in a group.
  for (int64_t i = 0; i < lanes; i += kGroup)
    std::swap(square[i + 1], square[i + 2]);
  for (int64_t bit = kGroup; bit < lanes; bit *= 2)
    step(
        bit, [&](int64_t l) { return l / 4 * 2 * kGroup + l % kGroup; },
        kGroup);
}

/// A loop of `count` rows at a time.
void PackedProductTasks::rows(int64_t count, Value begin, Value end) {
  OpBuilder::InsertionGuard guard(b);
  auto loop = scf::ForOp::create(b, begin, end, c(count));
  b.setInsertionPointToStart(loop.getBody());
  tile(count, loop.getInductionVar());
}

/// Adds what the chains that are transposed give to some rows of the panel,
/// which the first ones start.
void PackedProductTasks::tile(int64_t count, Value row) {
  auto type = VectorType::get({lanes}, b.getF32Type());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value isLater = vectorOf(
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, firstChain, c(0)));
  auto forEach =
      [&](function_ref<void(Value row, Value column, int64_t part)> inside) {
        for (int64_t i = 0; i < count; ++i)
          for (int64_t part = 0; part < kParts; ++part)
            inside(add(row, c(i)), add(column, c(part * lanes)), part);
      };
  SmallVector<Value> sums;
  forEach([&](Value row, Value column, int64_t part) {
    Value mask = arith::AndIOp::create(b, in[part], isLater);
    sums.push_back(vector::MaskedLoadOp::create(
        b, type, out, ValueRange{row, column}, mask, zero));
  });
  auto loop = scf::ForOp::create(
      b, c(0), min(c(inChunk), sub(c(chains), firstChain)), c(1), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(
        b, chain(count, row, loop.getInductionVar(), loop.getRegionIterArgs()));
  }
  ResultRange results = loop.getResults();
  forEach([&](Value row, Value column, int64_t part) {
    vector::MaskedStoreOp::create(b, out, ValueRange{row, column}, in[part],
                                  results.front());
    results = results.drop_front();
  });
}

/// A line of the task's memory.
Value PackedProductTasks::lanesAt(Value memory, Value line, int64_t part) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  return vector::LoadOp::create(b, VectorType::get({lanes}, element), memory,
                                ValueRange{line, c(part * lanes)});
}

/// The sums and what chain `number` of those that are transposed adds to them.
SmallVector<Value> PackedProductTasks::chain(int64_t count, Value row,
                                             Value number, ValueRange sums) {
  SmallVector<Value> terms = dots(count, row, number), next;
  auto type = VectorType::get({lanes}, b.getF32Type());
  Value block = divide(number, perBlock), global = add(firstChain, number);
  SmallVector<Value> scale, zero;
  for (int64_t part = 0; part < kParts; ++part) {
    scale.push_back(lanesAt(scaleMemory, block, part));
    if (zeros)
      zero.push_back(lanesAt(zeroMemory, block, part));
  }
  for (int64_t i = 0; i < count; ++i) {
    Value at[] = {add(row, c(i)), global};
    Value ofRow = vectorOf(memref::LoadOp::create(b, op.getRowScales(), at));
    Value total;
    if (zeros)
      total = arith::SIToFPOp::create(
          b, type, vectorOf(memref::LoadOp::create(b, op.getRowSums(), at)));
    for (int64_t part = 0; part < kParts; ++part) {
      int64_t place = i * kParts + part;
      Value term = arith::SIToFPOp::create(b, type, terms[place]);
      if (zeros)
        term = arith::SubFOp::create(
            b, term, arith::MulFOp::create(b, zero[part], total, kAnyOrder),
            kAnyOrder);
      Value factor = arith::MulFOp::create(b, scale[part], ofRow);
      term = arith::MulFOp::create(b, term, factor, kAnyOrder);
      next.push_back(arith::AddFOp::create(b, sums[place], term, kAnyOrder));
    }
  }
  return next;
}

/// What the numbers of a chain have times those of the rows; less their zero
/// point, where all have one.
SmallVector<Value> PackedProductTasks::dots(int64_t count, Value row,
                                            Value number) {
  int64_t bits = op.getBits(), mask = (int64_t(1) << bits) - 1;
  SmallVector<Value> first;
  for (int64_t i = 0; i < count; ++i) {
    Value start = splat(0);
    if (!zeros) {
      Value at[] = {add(row, c(i)), add(firstChain, number)};
      Value zero =
          arith::ConstantIntOp::create(b, -(int64_t(1) << (bits - 1)), 32);
      start =
          vectorOf(mul(memref::LoadOp::create(b, op.getRowSums(), at), zero));
    }
    first.append(kParts, start);
  }
  OpBuilder::InsertionGuard guard(b);
  auto loop = scf::ForOp::create(b, c(0), c(inChain), c(1), first);
  b.setInsertionPointToStart(loop.getBody());
  Value line = add(mul(number, c(inChain)), loop.getInductionVar());
  Value word = add(mul(firstChain, c(inChain)), line);
  SmallVector<Value> packed, sums(loop.getRegionIterArgs());
  for (int64_t part = 0; part < kParts; ++part)
    packed.push_back(lanesAt(wordMemory, line, part));
  for (int64_t pair = 0; pair < 16 / bits; ++pair) {
    SmallVector<Value> numbers;
    for (Value some : packed) {
      if (pair)
        some = arith::ShRUIOp::create(b, some, splat(pair * bits));
      numbers.push_back(
          arith::AndIOp::create(b, some, splat(mask << 16 | mask)));
    }
    for (int64_t i = 0; i < count; ++i) {
      Value at[] = {add(row, c(i)), word, c(pair)};
      Value x = vectorOf(memref::LoadOp::create(b, op.getRows(), at));
      for (int64_t part = 0; part < kParts; ++part) {
        Value &sum = sums[i * kParts + part];
        sum = DotPairsOp::create(b, numbers[part], x, sum);
      }
    }
  }
  scf::YieldOp::create(b, sums);
  return SmallVector<Value>(loop.getResults());
}
