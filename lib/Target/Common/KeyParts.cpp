//===- KeyParts.cpp - keys of rows in parts -------------------------------===//

#include "KeyParts.h"

using namespace mlir;
using namespace mlir::megactx;

Value KeyParts::countOf(const Arith &a, Value tasks, int64_t most, Value keys,
                        int64_t least) {
  Value wanted = a.div(a.c(most), a.max(tasks, a.c(1)));
  return a.max(a.min(wanted, a.div(keys, a.c(least))), a.c(1));
}

std::pair<Value, Value> KeyParts::share(const Arith &a, Value begin, Value end,
                                        int64_t block) const {
  Value blocks = a.ceilDiv(a.sub(end, begin), a.c(block));
  Value each = a.mul(a.ceilDiv(blocks, count), a.c(block));
  Value first = a.min(a.add(begin, a.mul(number, each)), end);
  return {first, a.min(a.add(first, each), end)};
}

MemRefType KeyParts::outType(MLIRContext *context, int64_t valueDim) {
  constexpr int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any, any, valueDim}, Float32Type::get(context));
}

MemRefType KeyParts::lseType(MLIRContext *context) {
  constexpr int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any, any}, Float32Type::get(context));
}
