//===- KernelEmitter.cpp - a linalg op as a kernel ------------------------===//

#include "KernelEmitter.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

/// Elements that a thread computes at least, where rows are long enough.
static constexpr int64_t kPerThread = 4;
/// A row that is known to be no longer is reduced by a warp, not a block.
static constexpr int64_t kWarpRow = 1024;
/// Reductions that are known to be shorter run within a thread.
static constexpr int64_t kThreadReduction = 8;
/// Bytes of shared memory for each warp's partial result.
static constexpr int64_t kPartialBytes = 8;

Value KernelEmitter::less(Value x, Value y) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, y);
}

/// In 32 bits, which the numbers of blocks and rows fit: several times faster,
/// and right. (Of a quotient by multiplication, mul.hi.u32, ptxas 12.9 to 13.4
/// subtracts a 64-bit number whose lower half is 0 wrongly by 2^32, which a
/// remainder of a quotient would have it do.)
std::pair<Value, Value> KernelEmitter::divide(Value x, Value y) {
  auto cast = [&](Value value, Type type) {
    return b.createOrFold<arith::IndexCastUIOp>(type, value);
  };
  x = cast(x, b.getI32Type());
  y = cast(y, b.getI32Type());
  return {cast(b.createOrFold<arith::DivUIOp>(x, y), b.getIndexType()),
          cast(b.createOrFold<arith::RemUIOp>(x, y), b.getIndexType())};
}

/// Rows that do not fit 32 bits are more blocks than can be launched, which
/// the runtime reports.
Value KernelEmitter::blocksFor(Value rows, int64_t rowsOfBlock) {
  Value tooMany = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ugt, rows,
                                                c(UINT32_MAX));
  return b.createOrFold<arith::SelectOp>(tooMany, c(int64_t(1) << 31),
                                         ceilDiv(rows, c(rowsOfBlock)));
}

void KernelEmitter::when(Value condition, function_ref<void()> inside) {
  auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  inside();
}

void KernelEmitter::run() {
  takeFollower();
  remarkFollower();
  findExtents();
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? parallel : reductions)
        .push_back(dim);
  fills.resize(op.getNumDpsInits());
  if (!reductions.empty())
    fills = takeFills();
  std::optional<SmallVector<Combiner>> combiners;
  if (isLongReduction())
    combiners = combinersOf(op);
  if (combiners)
    rows(*combiners);
  else
    elements();
  erase();
}

bool KernelEmitter::isLongReduction() {
  if (reductions.empty() || reductions.back() + 1 != extents.size())
    return false;
  std::optional<int64_t> extent = constantOf(extents.back());
  return !extent || *extent >= kThreadReduction;
}

void KernelEmitter::launch(StringRef kind, Value blocks, int64_t sharedBytes,
                           function_ref<void()> inside) {
  Value one = c(1), bytes;
  if (sharedBytes)
    bytes = arith::ConstantIntOp::create(b, sharedBytes, 32);
  auto launch =
      gpu::LaunchOp::create(b, blocks, one, one, c(kThreads), one, one, bytes);
  launch->setAttr("megactx.kernel", b.getStringAttr(kind));
  b.setInsertionPointToStart(&launch.getBody().front());
  block = launch.getBlockIds().x;
  thread = launch.getThreadIds().x;
  inside();
  b.setInsertionPointToEnd(&launch.getBody().back());
  gpu::TerminatorOp::create(b);
}

/// What reductions start from: the filled value or what is in memory.
SmallVector<Value> KernelEmitter::initialValues() {
  SmallVector<Value> values;
  for (auto [init, fill] : llvm::zip_equal(op.getDpsInitsMutable(), fills))
    values.push_back(fill ? fill : load(init));
  return values;
}

//===----------------------------------------------------------------------===//
// A thread for each element
//===----------------------------------------------------------------------===//

void KernelEmitter::elements() {
  SmallVector<unsigned> outer = parallel;
  std::optional<unsigned> inner;
  if (!outer.empty())
    inner = outer.pop_back_val();
  if (inner)
    findWidth(*inner);
  Value length = inner ? extents[*inner] : c(1);
  // Threads along the innermost loop, and how many of its elements each takes.
  int64_t lanes = kThreads, each = std::max(kPerThread, width);
  if (std::optional<int64_t> extent = constantOf(length)) {
    int64_t needed = llvm::divideCeil(*extent, width);
    lanes = llvm::PowerOf2Ceil(std::clamp<int64_t>(needed, 1, kThreads));
    needed = llvm::divideCeil(needed, lanes) * width;
    each = std::clamp(needed, width, each);
  }
  int64_t rowsOfBlock = kThreads / lanes;
  Value rows = product(outer), parts = ceilDiv(length, c(lanes * each));
  Value blocks = mul(parts, blocksFor(rows, rowsOfBlock));
  launch(reductions.empty() ? "elements" : "reduce_columns", blocks, 0, [&] {
    Value row, part;
    std::tie(row, part) = divide(block, parts);
    Value lane = b.createOrFold<arith::RemUIOp>(thread, c(lanes));
    row = add(mul(row, c(rowsOfBlock)),
              b.createOrFold<arith::DivUIOp>(thread, c(lanes)));
    Value begin = mul(part, c(lanes * each));
    Value end =
        b.createOrFold<arith::MinUIOp>(add(begin, c(lanes * each)), length);
    when(less(row, rows), [&] {
      unflatten(row, outer);
      if (!inner)
        return neighbours(1);
      along(begin, end, lane, lanes, {}, [&](int64_t count, ValueRange) {
        neighbours(count);
        return SmallVector<Value>();
      });
    });
  });
}

/// Computes and stores the outputs of so many points.
void KernelEmitter::neighbours(int64_t count) {
  SmallVector<SmallVector<Value>> values(count);
  if (reductions.empty()) {
    forNeighbours(count, [&](int64_t i) { values[i] = body(loadOutputs()); });
    return storeNeighbours(values);
  }
  SmallVector<Value> all;
  forNeighbours(count,
                [&](int64_t) { llvm::append_range(all, initialValues()); });
  size_t outputs = fills.size();
  all = nest(reductions, all, [&](ValueRange sofar) {
    SmallVector<Value> next;
    forNeighbours(count, [&](int64_t i) {
      llvm::append_range(next, body(sofar.slice(i * outputs, outputs)));
    });
    return next;
  });
  for (auto [i, here] : llvm::enumerate(values))
    here.append(all.begin() + i * outputs, all.begin() + (i + 1) * outputs);
  storeNeighbours(values);
}

//===----------------------------------------------------------------------===//
// A warp or a block for each row
//===----------------------------------------------------------------------===//

void KernelEmitter::rows(ArrayRef<Combiner> combiners) {
  std::optional<int64_t> extent = constantOf(extents.back());
  int64_t threads = extent && *extent <= kWarpRow ? kWarp : kThreads;
  int64_t rowsOfBlock = kThreads / threads;
  findWidth(reductions.back());
  Value rows = product(parallel);
  int64_t shared = threads > kWarp
                       ? combiners.size() * kPartialBytes * (kThreads / kWarp)
                       : 0;
  launch("reduce_rows", blocksFor(rows, rowsOfBlock), shared, [&] {
    Value row = block;
    if (rowsOfBlock > 1)
      row = add(mul(block, c(rowsOfBlock)),
                b.createOrFold<arith::DivUIOp>(thread, c(threads)));
    unflatten(row, parallel);
    if (rowsOfBlock == 1)
      return reduceRow(combiners, threads);
    // A warp's lanes have one row: they leave together.
    when(less(row, rows), [&] { reduceRow(combiners, threads); });
  });
}

void KernelEmitter::reduceRow(ArrayRef<Combiner> combiners, int64_t threads) {
  Value lane = b.createOrFold<arith::RemUIOp>(thread, c(threads));
  SmallVector<Value> partial;
  for (const Combiner &combine : combiners)
    partial.push_back(arith::ConstantOp::create(b, combine.neutral));
  auto several = [&](int64_t count, ValueRange sofar) {
    SmallVector<Value> values(sofar);
    forNeighbours(count, [&](int64_t) { values = body(values); });
    return values;
  };
  auto row = [&](ValueRange sofar) {
    return along(c(0), extents.back(), lane, threads, sofar, several);
  };
  partial = nest(ArrayRef(reductions).drop_back(), partial, row);
  for (auto [combine, value] : llvm::zip_equal(combiners, partial))
    value = reduceInWarp(b, combine, value);
  if (threads > kWarp)
    exchange(combiners, partial);
  Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lane, c(0));
  when(first, [&] {
    SmallVector<Value> results = initialValues();
    for (auto [combine, result, value] :
         llvm::zip_equal(combiners, results, partial))
      result = combine(b, result, value);
    storeOutputs(results);
  });
}

/// Combines what the block's warps have; every thread gets the result.
void KernelEmitter::exchange(ArrayRef<Combiner> combiners,
                             MutableArrayRef<Value> partial) {
  constexpr int64_t warps = kThreads / kWarp, bytes = kPartialBytes * warps;
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  auto memory = [&](int64_t count, Type type) {
    return MemRefType::get({count}, type, MemRefLayoutAttrInterface(), space);
  };
  Value all = nvx::SharedMemoryOp::create(
      b, memory(bytes * combiners.size(), b.getI8Type()));
  SmallVector<Value> places;
  for (auto [i, value] : llvm::enumerate(partial))
    places.push_back(memref::ViewOp::create(b, memory(warps, value.getType()),
                                            all, c(i * bytes), ValueRange()));
  Value warp = arith::DivUIOp::create(b, thread, c(kWarp));
  Value lane = arith::RemUIOp::create(b, thread, c(kWarp));
  Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lane, c(0));
  when(first, [&] {
    for (auto [place, value] : llvm::zip_equal(places, partial))
      memref::StoreOp::create(b, value, place, warp);
  });
  gpu::BarrierOp::create(b);
  for (auto [combine, place, value] :
       llvm::zip_equal(combiners, places, partial)) {
    value = memref::LoadOp::create(b, place, c(0));
    for (int64_t i = 1; i < warps; ++i)
      value = combine(b, value, memref::LoadOp::create(b, place, c(i)));
  }
}
