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

/// Whether vectors have the elements where the memref has them: those of i1 are
/// bits.
static bool isMovable(Type element) {
  return element.isIntOrFloat() &&
         llvm::is_contained({8, 16, 32, 64}, element.getIntOrFloatBitWidth());
}

//===----------------------------------------------------------------------===//
// Which operands, and how many elements
//===----------------------------------------------------------------------===//

Access VectorLoops::accessOf(OpOperand &operand) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return {Access::Same};
  AffineMap map = op.getMatchingIndexingMap(&operand);
  std::optional<unsigned> along;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (!expr.isFunctionOfDim(*inner))
      continue;
    if (along || !isa<AffineDimExpr>(expr))
      return {Access::Apart};
    along = i;
  }
  if (!along)
    return {Access::Same};
  // Vectors are along the last dim.
  bool isNext = int64_t(*along) + 1 == type.getRank() &&
                isMovable(type.getElementType()) && type.isLastDimUnitStride();
  return {isNext ? Access::Next : Access::Apart};
}

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
void VectorLoops::narrow(OpOperand &operand, Access &access) {
  Layout layout = alignment.ofLayout(operand.get());
  auto limit = [&](const Multiple &number) {
    if (number.isExact)
      access.count = std::min(access.count, number.divisor);
  };
  limit(layout.offset);
  for (unsigned dim :
       movedDims(op.getMatchingIndexingMap(&operand),
                 cast<MemRefType>(operand.get().getType()), *inner))
    limit(layout.strides[dim]);
}

/// Not 0 where an address of a vector is no multiple of its bytes; null where
/// that cannot be.
Value VectorLoops::addressBits(OpOperand &operand, const Access &access) {
  Value memref = operand.get(), bits;
  auto demand = [&](Value number, int64_t multiple) {
    Value rest = arith::AndIOp::create(b, number, c(multiple - 1));
    bits = bits ? b.createOrFold<arith::OrIOp>(bits, rest) : rest;
  };
  int64_t bytes = access.count * bytesOf(memref);
  if (alignment.ofBase(memref) < bytes)
    demand(memref::ExtractAlignedPointerAsIndexOp::create(b, memref), bytes);
  Layout layout = alignment.ofLayout(memref);
  auto isUnknown = [&](const Multiple &number) {
    return !number.isExact && number.divisor < access.count;
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
    demand(data.getOffset(), access.count);
  for (unsigned dim : dims)
    demand(data.getStrides()[dim], access.count);
  return bits;
}

void VectorLoops::findWidth(unsigned loop) {
  inner = loop;
  int64_t least = kVectorBytes, most = 0;
  for (OpOperand &operand : op->getOpOperands()) {
    Access &access = accesses[&operand] = accessOf(operand);
    if (access.kind != Access::Next)
      continue;
    least = std::min(least, bytesOf(operand.get()));
    most = std::max(most, bytesOf(operand.get()));
  }
  if (!most)
    return;
  int64_t wanted = std::min(kVectorBytes / least, kNeighbourBytes / most);
  if (std::optional<int64_t> extent = constantOf(extents[loop]))
    wanted = std::min(wanted, alignment.of(*extent).divisor);
  // What none has next to one another at once, threads are better apart for.
  for (auto &[operand, access] : accesses) {
    if (access.kind != Access::Next)
      continue;
    access.count = std::min(wanted, kVectorBytes / bytesOf(operand->get()));
    narrow(*operand, access);
    width = std::max(width, access.count);
  }
  for (OpOperand &operand : op->getOpOperands()) {
    Access &access = accesses[&operand];
    if (access.count == 1)
      continue;
    if (Value bits = addressBits(operand, access))
      misaligned =
          misaligned ? b.createOrFold<arith::OrIOp>(misaligned, bits) : bits;
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

SmallVector<Value> VectorLoops::loadVectors(OpOperand &operand,
                                            const Access &access) {
  auto memref = cast<MemRefType>(operand.get().getType());
  auto type = VectorType::get({access.count}, memref.getElementType());
  llvm::Align bytes(access.count * bytesOf(operand.get()));
  Value here = position();
  SmallVector<Value> vectors;
  for (int64_t i = 0; i < together; i += access.count) {
    moveTo(first, i);
    vectors.push_back(vector::LoadOp::create(b, type, operand.get(),
                                             point(operand),
                                             /*nontemporal=*/false, bytes));
  }
  indices[*inner] = here;
  return vectors;
}

Value VectorLoops::load(OpOperand &operand) {
  Access access = accesses.lookup(&operand);
  bool isNext = access.kind == Access::Next && access.count > 1;
  if (together == 1 || (access.kind != Access::Same && !isNext))
    return LinalgLoops::load(operand);
  SmallVector<Value> &values = loaded[&operand];
  if (!isNext) {
    if (values.empty())
      values = {LinalgLoops::load(operand)};
    return values.front();
  }
  if (values.empty())
    values = loadVectors(operand, access);
  return vector::ExtractOp::create(b, values[number / access.count],
                                   number % access.count);
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
  SmallVector<SmallVector<Value>> mapped;
  for (auto [i, here] : llvm::enumerate(values)) {
    moveTo(begin, i);
    mapped.push_back(followed(here));
  }
  for (auto [out, init] : llvm::enumerate(op.getDpsInitsMutable())) {
    int64_t count = values.size() == 1 ? 1 : accesses.lookup(&init).count;
    for (size_t i = 0; i < values.size(); i += count) {
      moveTo(begin, i);
      if (count == 1) {
        memref::StoreOp::create(b, mapped[i][out], init.get(), point(init));
        continue;
      }
      SmallVector<Value> elements;
      for (ArrayRef<Value> here : ArrayRef(mapped).slice(i, count))
        elements.push_back(here[out]);
      auto type = VectorType::get({count}, elements.front().getType());
      Value vector = vector::FromElementsOp::create(b, type, elements);
      vector::StoreOp::create(b, vector, init.get(), point(init),
                              /*nontemporal=*/false,
                              llvm::Align(count * bytesOf(init.get())));
    }
  }
  moveTo(begin, 0);
}
