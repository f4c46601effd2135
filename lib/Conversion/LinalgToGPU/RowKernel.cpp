//===- RowKernel.cpp - ops on the same rows as a kernel -------------------===//

#include "RowKernel.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

/// A row that is known to be no longer is a warp's, not a block's.
static constexpr int64_t kWarpRow = 1024;
/// Elements of a row that a lane holds in registers, of one operand, at most.
static constexpr int64_t kHeld = 32;
/// Bytes of shared memory for each warp's partial result.
static constexpr int64_t kPartialBytes = 8;

//===----------------------------------------------------------------------===//
// One op
//===----------------------------------------------------------------------===//

void RowOp::findLoops(unsigned numRows) {
  findExtents();
  for (auto [i, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    bool isReduction = kind == utils::IteratorType::reduction;
    (isReduction || i >= numRows ? inRow : rows).push_back(i);
  }
  fills.resize(op.getNumDpsInits());
  if (op.getNumReductionLoops())
    combiners = combinersOf(op);
}

void RowOp::findFills() {
  for (auto [fill, out] : llvm::zip_equal(fills, op.getDpsInits()))
    for (Operation *before = op->getPrevNode(); before;
         before = before->getPrevNode()) {
      if (!llvm::is_contained(before->getOperands(), out))
        continue;
      // What another op has written there is not the filled value.
      if (auto zeros = dyn_cast<linalg::FillOp>(before))
        fill = zeros.value();
      break;
    }
}

Place RowOp::place(OpOperand &operand) {
  return {operand.get(), op.getMatchingIndexingMap(&operand)};
}

Value RowOp::load(OpOperand &operand) {
  if (operand.getOwner() != op)
    return KernelLoops::load(operand);
  if (Value sum = row.sums.lookup(place(operand)))
    return sum;
  if (tile && isVector(operand))
    if (auto held = row.held.find(place(operand)); held != row.held.end())
      return unpack(operand, held->second[*tile]);
  return KernelLoops::load(operand);
}

/// Emits `inside` where the tile lies in the row, and sets the loops' point.
SmallVector<Value> RowOp::inTile(int64_t number, ValueRange otherwise,
                                 function_ref<SmallVector<Value>()> inside) {
  int64_t points = row.lanes * width;
  tile = number;
  Value at = add(mul(row.lane, c(width)), c(number * points));
  indices[inRow.back()] = at;
  SmallVector<Value> values;
  if ((number + 1) * points <= *constantOf(extents[inRow.back()])) {
    values = inside();
  } else {
    auto part = scf::IfOp::create(b, otherwise.getTypes(),
                                  less(at, extents[inRow.back()]),
                                  /*withElseRegion=*/!otherwise.empty());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(part.thenBlock());
    values = inside();
    if (!otherwise.empty()) {
      scf::YieldOp::create(b, values);
      b.setInsertionPointToStart(part.elseBlock());
      scf::YieldOp::create(b, otherwise);
    }
    values.assign(part.result_begin(), part.result_end());
  }
  tile.reset();
  return values;
}

/// What a lane without points of the tile has of an operand.
SmallVector<Value> RowOp::zeros(OpOperand &operand) {
  SmallVector<Value> values;
  for (Type type : vectorTypes(operand))
    values.push_back(arith::ConstantOp::create(b, b.getZeroAttr(type)));
  return values;
}

/// Loads what the op reads of the whole row, before it waits for any of it.
void RowOp::hold() {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isVector(operand) || !op.payloadUsesValueFromOperand(&operand) ||
        row.held.contains(place(operand)))
      continue;
    SmallVector<SmallVector<Value>> tiles;
    for (int64_t i = 0; i < *row.tiles; ++i)
      tiles.push_back(
          inTile(i, zeros(operand), [&] { return loadVectors(operand); }));
    row.held[place(operand)] = std::move(tiles);
  }
}

void RowOp::map() {
  auto points = [&](int64_t count) {
    SmallVector<SmallVector<Value>> values(count);
    forNeighbours(count, [&](int64_t i) { values[i] = body(loadOutputs()); });
    return values;
  };
  if (!row.tiles) {
    auto store = [&](int64_t count, ValueRange) {
      storeNeighbours(points(count));
      return SmallVector<Value>();
    };
    nest(ArrayRef(inRow).drop_back(), {}, [&](ValueRange) {
      return along(c(0), extents[inRow.back()], row.lane, row.lanes, {}, store);
    });
    return;
  }
  hold();
  SmallVector<OpOperand *> vectors;
  for (OpOperand &init : op.getDpsInitsMutable())
    if (isVector(init))
      vectors.push_back(&init);
  SmallVector<SmallVector<SmallVector<Value>>> made(vectors.size());
  for (int64_t i = 0; i < *row.tiles; ++i) {
    SmallVector<Value> otherwise;
    for (OpOperand *init : vectors)
      llvm::append_range(otherwise, zeros(*init));
    SmallVector<Value> all =
        inTile(i, otherwise, [&] { return storeTile(points(width)); });
    ArrayRef<Value> left = all;
    for (auto [init, tiles] : llvm::zip_equal(vectors, made)) {
      size_t count = vectorTypes(*init).size();
      tiles.emplace_back(left.take_front(count));
      left = left.drop_front(count);
    }
  }
  for (auto [init, tiles] : llvm::zip_equal(vectors, made))
    row.held[place(*init)] = std::move(tiles);
}

/// Stores the outputs at the neighbours, but for vectors of scratch; returns
/// all vectors.
SmallVector<Value> RowOp::storeTile(ArrayRef<SmallVector<Value>> values) {
  SmallVector<Value> all;
  for (auto [out, init] : llvm::enumerate(op.getDpsInitsMutable())) {
    SmallVector<Value> elements;
    for (const SmallVector<Value> &here : values)
      elements.push_back(here[out]);
    if (!isVector(init)) {
      storeElements(init, elements);
      continue;
    }
    SmallVector<Value> vectors = pack(init, elements);
    if (!row.scratch.contains(init.get()))
      storeVectors(init, vectors);
    llvm::append_range(all, vectors);
  }
  return all;
}

/// What a lane's partial results start from. Where every lane is to have the
/// sum, the first one starts from what is in memory, which it will store to: no
/// other one reads it.
SmallVector<Value> RowOp::start(bool isRead, Value first) {
  SmallVector<Value> partial;
  for (auto [combine, init, fill] :
       llvm::zip_equal(*combiners, op.getDpsInitsMutable(), fills)) {
    partial.push_back(arith::ConstantOp::create(b, combine.neutral));
    if (fill || !isRead)
      continue;
    auto choice = scf::IfOp::create(b, partial.back().getType(), first,
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, partial.back());
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, load(init));
    partial.back() = choice.getResult(0);
  }
  return partial;
}

void RowOp::reduce(bool isRead) {
  Value first =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row.lane, c(0));
  SmallVector<Value> partial = start(isRead, first);
  auto points = [&](int64_t count, ValueRange sofar) {
    SmallVector<Value> values(sofar);
    forNeighbours(count, [&](int64_t) { values = body(values); });
    return values;
  };
  if (row.tiles) {
    hold();
    for (int64_t i = 0; i < *row.tiles; ++i)
      partial = inTile(i, partial, [&] { return points(width, partial); });
  } else {
    partial = nest(ArrayRef(inRow).drop_back(), partial, [&](ValueRange sofar) {
      return along(c(0), extents[inRow.back()], row.lane, row.lanes, sofar,
                   points);
    });
  }
  for (auto [combine, value] : llvm::zip_equal(*combiners, partial))
    value =
        nvx::reduceInWarp(b, value, [&, &combine = combine](Value x, Value y) {
          return combine(b, x, y);
        });
  if (row.lanes > kWarp)
    exchange(partial);
  if (!isRead)
    return when(first, [&] {
      SmallVector<Value> results = initialValues();
      for (auto [combine, result, value] :
           llvm::zip_equal(*combiners, results, partial))
        result = combine(b, result, value);
      storeOutputs(results);
    });
  SmallVector<Value> results = partial;
  for (auto [combine, result, fill] :
       llvm::zip_equal(*combiners, results, fills))
    if (fill)
      result = combine(b, fill, result);
  when(first, [&] {
    for (auto [init, result] :
         llvm::zip_equal(op.getDpsInitsMutable(), results))
      if (!row.scratch.contains(init.get()))
        memref::StoreOp::create(b, result, init.get(), point(init));
  });
  for (auto [init, result] : llvm::zip_equal(op.getDpsInitsMutable(), results))
    row.sums[place(init)] = result;
}

/// Combines what the block's warps have; every thread gets the result. Memory
/// is the op's own: no warp waits for those that still read another one's.
void RowOp::exchange(MutableArrayRef<Value> partial) {
  constexpr int64_t warps = kThreads / kWarp, bytes = kPartialBytes * warps;
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  auto memory = [&](int64_t count, Type type) {
    return MemRefType::get({count}, type, MemRefLayoutAttrInterface(), space);
  };
  int64_t begin = row.sharedBytes;
  row.sharedBytes += bytes * partial.size();
  Value all =
      nvx::SharedMemoryOp::create(b, memory(row.sharedBytes, b.getI8Type()));
  SmallVector<Value> places;
  for (auto [i, value] : llvm::enumerate(partial))
    places.push_back(memref::ViewOp::create(b, memory(warps, value.getType()),
                                            all, c(begin + i * bytes),
                                            ValueRange()));
  Value warp = arith::DivUIOp::create(b, thread, c(kWarp));
  Value lane = arith::RemUIOp::create(b, thread, c(kWarp));
  Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, lane, c(0));
  when(first, [&] {
    for (auto [place, value] : llvm::zip_equal(places, partial))
      memref::StoreOp::create(b, value, place, warp);
  });
  gpu::BarrierOp::create(b);
  for (auto [combine, place, value] :
       llvm::zip_equal(*combiners, places, partial)) {
    value = memref::LoadOp::create(b, place, c(0));
    for (int64_t i = 1; i < warps; ++i)
      value = combine(b, value, memref::LoadOp::create(b, place, c(i)));
  }
}

void RowOp::emit(bool isRead) {
  if (combiners)
    reduce(isRead);
  else
    map();
}

//===----------------------------------------------------------------------===//
// All of them
//===----------------------------------------------------------------------===//

RowKernel::RowKernel(linalg::GenericOp op) {
  ops.push_back(std::make_unique<RowOp>(op, row));
  ops.front()->takeFollower();
  ops.front()->remarkFollower();
  ops.front()->findLoops(op.getNumLoops());
  ops.front()->fills = ops.front()->takeFills();
}

RowKernel::RowKernel(FusedRowsOp op) : fused(op) {
  row.scratch.insert_range(op.getScratch());
  for (linalg::GenericOp inside : op.getRowOps()) {
    ops.push_back(std::make_unique<RowOp>(inside, row));
    RowOp &here = *ops.back();
    here.b.setInsertionPoint(op);
    here.findLoops(op.getNumRowLoops());
    here.findFills();
  }
  RowOp::shareExtents(llvm::map_to_vector(
      ops, [](auto &op) -> LinalgLoops * { return op.get(); }));
}

/// How many lanes a row has, and tiles where it is one loop of a known, short
/// extent.
void RowKernel::shareLanes() {
  RowOp &lead = *ops.front();
  std::optional<int64_t> extent =
      RowOp::constantOf(lead.extents[lead.inRow.back()]);
  if (!extent)
    return;
  if (*extent <= kWarpRow)
    row.lanes = kWarp;
  int64_t tiles = llvm::divideCeil(*extent, row.lanes * lead.width);
  if (lead.inRow.size() == 1 && !lead.misaligned && tiles * lead.width <= kHeld)
    row.tiles = tiles;
}

/// Whether a later op reads what this one reduces.
bool RowKernel::isReadLater(size_t number) {
  for (Value out : ops[number]->op.getDpsInits())
    for (auto &later : ArrayRef(ops).drop_front(number + 1))
      if (llvm::is_contained(later->op->getOperands(), out))
        return true;
  return false;
}

void RowKernel::inside(int64_t rowsOfBlock, Value rows) {
  RowOp &lead = *ops.front();
  auto emit = [&] {
    row.lane =
        lead.b.createOrFold<arith::RemUIOp>(lead.thread, lead.c(row.lanes));
    for (auto [i, here] : llvm::enumerate(ops)) {
      for (unsigned loop : lead.rows)
        here->indices[loop] = lead.indices[loop];
      here->thread = lead.thread;
      here->b.restoreInsertionPoint(lead.b.saveInsertionPoint());
      here->emit(isReadLater(i));
      lead.b.restoreInsertionPoint(here->b.saveInsertionPoint());
    }
  };
  Value number = lead.block;
  if (rowsOfBlock > 1)
    number = lead.add(
        lead.mul(lead.block, lead.c(rowsOfBlock)),
        lead.b.createOrFold<arith::DivUIOp>(lead.thread, lead.c(row.lanes)));
  lead.unflatten(number, lead.rows);
  if (rowsOfBlock == 1)
    return emit();
  // A warp's lanes have one row: they leave together.
  lead.when(lead.less(number, rows), emit);
}

void RowKernel::run() {
  RowOp &lead = *ops.front();
  SmallVector<VectorLoops *> loops;
  int64_t shared = 0;
  for (auto &here : ops) {
    loops.push_back(here.get());
    if (here->combiners)
      shared += here->combiners->size() * kPartialBytes * (kThreads / kWarp);
  }
  RowOp::findWidth(loops, lead.inRow.back());
  shareLanes();
  int64_t rowsOfBlock = kThreads / row.lanes;
  Value rows = lead.product(lead.rows);
  lead.launch(fused ? "fused_rows" : "reduce_rows",
              lead.blocksFor(rows, rowsOfBlock), row.lanes > kWarp ? shared : 0,
              [&] { inside(rowsOfBlock, rows); });
  if (fused)
    fused.erase();
  else
    lead.erase();
}
