//===- Scratch.cpp - a task's memory --------------------------------------===//

#include "Scratch.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::megactx::cpu;

static constexpr int64_t kAlignment = 64; // bytes

void Scratch::add(Value &buffer, ArrayRef<int64_t> dims, Type type) {
  auto memref = MemRefType::get(dims, type);
  fields.push_back({buffer, memref, bytes});
  int64_t size = type.isIndex() ? 8 : type.getIntOrFloatBitWidth() / 8;
  bytes += llvm::alignTo(memref.getNumElements() * size, kAlignment);
}

void Scratch::add(SmallVectorImpl<Value> &buffers, ArrayRef<MemRefType> types) {
  buffers.resize(types.size());
  for (auto [buffer, type] : llvm::zip_equal(buffers, types))
    add(buffer, type.getShape(), type.getElementType());
}

Value Scratch::cut(ImplicitLocOpBuilder &b, Value given) {
  if (!given) {
    auto type = MemRefType::get({bytes}, b.getI8Type());
    given = memref::AllocaOp::create(b, type, b.getI64IntegerAttr(kAlignment));
    type = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
    given = memref::CastOp::create(b, type, given);
  }
  for (const Field &field : fields) {
    Value at = arith::ConstantIndexOp::create(b, field.at);
    field.buffer =
        memref::ViewOp::create(b, field.type, given, at, ValueRange());
  }
  return given;
}
