//===- VectorLoops.cpp - neighbouring points of a linalg op ---------------===//

#include "VectorLoops.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

/// Bytes of the widest elements that a thread holds of one operand at once.
static constexpr int64_t kNeighbourBytes = 2 * kVectorBytes;

static int64_t bytesOf(Value memref) {
  return getElementTypeOrSelf(memref).getIntOrFloatBitWidth() / 8;
}

//===----------------------------------------------------------------------===//
// Which operands, and how many elements
//===----------------------------------------------------------------------===//

/// The numbers that are to be multiples of what is moved at once, in elements:
/// the offset, and the strides of what is at more than one place.
static SmallVector<unsigned> movedDims(AffineMap map, MemRefType type,
                                       unsigned inner) {
  SmallVector<unsigned> dims;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    auto constant = dyn_cast<AffineConstantExpr>(expr);
    if (!expr.isFunctionOfDim(inner) && type.getDimSize(i) != 1 &&
        !(constant && constant.getValue() == 0))
      dims.push_back(i);
  }
  return dims;
}

/// No more at once than are known to be too many.
int64_t VectorLoops::narrow(OpOperand &operand, int64_t count) {
  Layout layout = alignment.ofLayout(operand.get());
  auto limit = [&](const Multiple &number) {
    if (number.isExact)
      count = std::min(count, number.divisor);
  };
  limit(layout.offset);
  for (unsigned dim :
       movedDims(op.getMatchingIndexingMap(&operand),
                 cast<MemRefType>(operand.get().getType()), *inner))
    limit(layout.strides[dim]);
  return count;
}

/// Not 0 where an address of a vector is no multiple of its bytes; null where
/// that cannot be.
Value VectorLoops::addressBits(OpOperand &operand) {
  Value memref = operand.get(), bits;
  int64_t count = accesses.lookup(&operand).count;
  auto demand = [&](Value number, int64_t multiple) {
    Value rest = arith::AndIOp::create(b, number, c(multiple - 1));
    bits = bits ? b.createOrFold<arith::OrIOp>(bits, rest) : rest;
  };
  int64_t bytes = count * bytesOf(memref);
  if (alignment.ofBase(memref) < bytes)
    demand(memref::ExtractAlignedPointerAsIndexOp::create(b, memref), bytes);
  Layout layout = alignment.ofLayout(memref);
  auto isUnknown = [&](const Multiple &number) {
    return !number.isExact && number.divisor < count;
  };
  SmallVector<unsigned> dims =
      movedDims(op.getMatchingIndexingMap(&operand),
                cast<MemRefType>(memref.getType()), *inner);
  llvm::erase_if(dims,
                 [&](unsigned i) { return !isUnknown(layout.strides[i]); });
  if (dims.empty() && !isUnknown(layout.offset))
    return bits;
  auto data = memref::ExtractStridedMetadataOp::create(b, memref);
  if (isUnknown(layout.offset))
    demand(data.getOffset(), count);
  for (unsigned dim : dims)
    demand(data.getStrides()[dim], count);
  return bits;
}

/// The most elements of an operand that are moved at once.
int64_t VectorLoops::narrow(int64_t wanted) {
  int64_t most = 1;
  for (OpOperand &operand : op->getOpOperands()) {
    Access &access = accesses[&operand];
    if (access.kind != Neighbours::Next)
      continue;
    access.count = narrow(
        operand, std::min(wanted, kVectorBytes / bytesOf(operand.get())));
    most = std::max(most, access.count);
  }
  return most;
}

void VectorLoops::findWidth(unsigned loop) { findWidth({this}, loop); }

void VectorLoops::findWidth(ArrayRef<VectorLoops *> ops, unsigned loop) {
  int64_t least = kVectorBytes, most = 0, width = 1;
  for (VectorLoops *here : ops) {
    here->inner = loop;
    for (OpOperand &operand : here->op->getOpOperands()) {
      Access &access =
          here->accesses[&operand] = {here->neighboursOf(operand, loop)};
      if (access.kind != Neighbours::Next)
        continue;
      least = std::min(least, bytesOf(operand.get()));
      most = std::max(most, bytesOf(operand.get()));
    }
  }
  if (!most)
    return;
  int64_t wanted = std::min(kVectorBytes / least, kNeighbourBytes / most);
  VectorLoops &one = *ops.front();
  if (std::optional<int64_t> extent = constantOf(one.extents[loop]))
    wanted = std::min(wanted, one.alignment.of(*extent).divisor);
  // What none has next to one another at once, threads are better apart for.
  for (VectorLoops *here : ops)
    width = std::max(width, here->narrow(wanted));
  Value misaligned;
  for (VectorLoops *here : ops)
    for (OpOperand &operand : here->op->getOpOperands())
      if (here->isVector(operand))
        if (Value bits = here->addressBits(operand))
          misaligned =
              misaligned ? here->b.createOrFold<arith::OrIOp>(misaligned, bits)
                         : bits;
  for (VectorLoops *here : ops) {
    here->width = width;
    here->misaligned = misaligned;
  }
}

//===----------------------------------------------------------------------===//
// Loops of threads
//===----------------------------------------------------------------------===//

SmallVector<Value>
VectorLoops::loop(Value from, Value to, int64_t step, ValueRange carried,
                  function_ref<SmallVector<Value>(ValueRange carried)> inside) {
  auto loop = scf::ForOp::create(b, from, to, c(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  indices[*inner] = loop.getInductionVar();
  SmallVector<Value> results = inside(loop.getRegionIterArgs());
  // Without values to carry the loop has its terminator already.
  if (!results.empty())
    scf::YieldOp::create(b, results);
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value> VectorLoops::along(
    Value begin, Value end, Value lane, int64_t lanes, ValueRange carried,
    function_ref<SmallVector<Value>(int64_t count, ValueRange carried)>
        inside) {
  SmallVector<Value> values(carried);
  auto one = [&](ValueRange sofar) { return inside(1, sofar); };
  auto several = [&](ValueRange sofar) { return inside(width, sofar); };
  if (width == 1)
    return loop(add(begin, lane), end, lanes, values, one);
  bool isMultiple = alignment.of(end) >= width;
  Value last = isMultiple ? end : b.createOrFold<arith::AndIOp>(end, c(-width));
  if (misaligned) {
    Value aligned =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, misaligned, c(0));
    last = arith::SelectOp::create(b, aligned, last, begin);
  }
  values = loop(add(begin, mul(lane, c(width))), last, lanes * width, values,
                several);
  if (isMultiple && !misaligned)
    return values;
  return loop(add(last, lane), end, lanes, values, one);
}

//===----------------------------------------------------------------------===//
// Neighbours
//===----------------------------------------------------------------------===//

Value VectorLoops::position() { return inner ? indices[*inner] : Value(); }

void VectorLoops::moveTo(Value first, int64_t number) {
  if (inner)
    indices[*inner] = number ? add(first, c(number)) : first;
}

bool VectorLoops::isVector(OpOperand &operand) {
  return accesses.lookup(&operand).count > 1;
}

SmallVector<Type> VectorLoops::vectorTypes(OpOperand &operand) {
  int64_t count = accesses.lookup(&operand).count;
  Type element = getElementTypeOrSelf(operand.get());
  return SmallVector<Type>(width / count, VectorType::get({count}, element));
}

SmallVector<Value> VectorLoops::loadVectors(OpOperand &operand) {
  int64_t count = accesses.lookup(&operand).count;
  llvm::Align bytes(count * bytesOf(operand.get()));
  Value begin = position();
  SmallVector<Value> vectors;
  for (auto [i, type] : llvm::enumerate(vectorTypes(operand))) {
    moveTo(begin, i * count);
    vectors.push_back(vector::LoadOp::create(b, cast<VectorType>(type),
                                             operand.get(), point(operand),
                                             /*nontemporal=*/false, bytes));
  }
  moveTo(begin, 0);
  return vectors;
}

void VectorLoops::storeVectors(OpOperand &operand, ArrayRef<Value> vectors) {
  int64_t count = accesses.lookup(&operand).count;
  llvm::Align bytes(count * bytesOf(operand.get()));
  Value begin = position();
  for (auto [i, vector] : llvm::enumerate(vectors)) {
    moveTo(begin, i * count);
    vector::StoreOp::create(b, vector, operand.get(), point(operand),
                            /*nontemporal=*/false, bytes);
  }
  moveTo(begin, 0);
}

void VectorLoops::storeElements(OpOperand &operand, ArrayRef<Value> elements) {
  Value begin = position();
  for (auto [i, element] : llvm::enumerate(elements)) {
    moveTo(begin, i);
    memref::StoreOp::create(b, element, operand.get(), point(operand));
  }
  moveTo(begin, 0);
}

SmallVector<Value> VectorLoops::pack(OpOperand &operand,
                                     ArrayRef<Value> elements) {
  SmallVector<Value> vectors;
  for (auto [i, type] : llvm::enumerate(vectorTypes(operand))) {
    int64_t count = cast<VectorType>(type).getDimSize(0);
    vectors.push_back(vector::FromElementsOp::create(
        b, type, elements.slice(i * count, count)));
  }
  return vectors;
}

Value VectorLoops::unpack(OpOperand &operand, ArrayRef<Value> vectors) {
  int64_t count = accesses.lookup(&operand).count;
  return vector::ExtractOp::create(b, vectors[number / count], number % count);
}

Value VectorLoops::load(OpOperand &operand) {
  Access access = accesses.lookup(&operand);
  bool isSame = access.kind == Neighbours::Same;
  if (together == 1 || !(isSame || isVector(operand)))
    return LinalgLoops::load(operand);
  SmallVector<Value> &values = loaded[&operand];
  if (isSame) {
    if (values.empty())
      values = {LinalgLoops::load(operand)};
    return values.front();
  }
  if (values.empty()) {
    Value here = position();
    moveTo(first, 0);
    values = loadVectors(operand);
    indices[*inner] = here;
  }
  return unpack(operand, values);
}

void VectorLoops::forNeighbours(int64_t count,
                                function_ref<void(int64_t number)> inside) {
  first = position();
  together = count;
  loaded.clear();
  for (number = 0; number < count; ++number) {
    moveTo(first, number);
    inside(number);
  }
  together = 1;
  number = 0;
  moveTo(first, 0);
}

void VectorLoops::storeNeighbours(ArrayRef<SmallVector<Value>> values) {
  Value begin = position();
  SmallVector<SmallVector<Value>> mapped(op.getNumDpsInits());
  for (auto [i, here] : llvm::enumerate(values)) {
    moveTo(begin, i);
    for (auto [out, value] : llvm::enumerate(followed(here)))
      mapped[out].push_back(value);
  }
  moveTo(begin, 0);
  for (auto [init, elements] :
       llvm::zip_equal(op.getDpsInitsMutable(), mapped)) {
    if (values.size() > 1 && isVector(init))
      storeVectors(init, pack(init, elements));
    else
      storeElements(init, elements);
  }
}
