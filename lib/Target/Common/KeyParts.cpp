//===- KeyParts.cpp - keys of rows in parts -------------------------------===//

#include "KeyParts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

Value KeyParts::countOf(const Arith &a, Value tasks, int64_t most, Value keys,
                        int64_t least) {
  Value wanted = a.div(a.c(most), a.max(tasks, a.c(1)));
  return a.max(a.min(wanted, a.div(keys, a.c(least))), a.c(1));
}

/// Most launches have one part: divisions, which would hold up their first
/// loads, are for the others.
std::pair<Value, Value> KeyParts::share(const Arith &a, Value begin, Value end,
                                        int64_t block) const {
  auto ifOp = scf::IfOp::create(
      a.b, a.lt(a.c(1), count),
      [&](OpBuilder &, Location) {
        Value blocks = a.ceilDiv(a.sub(end, begin), a.c(block));
        Value each =
            a.mul(a.divRem32(a.add(blocks, a.sub(count, a.c(1))), count).first,
                  a.c(block));
        Value first = a.min(a.add(begin, a.mul(number, each)), end);
        Value last = a.min(a.add(first, each), end);
        scf::YieldOp::create(a.b, ValueRange{first, last});
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(a.b, ValueRange{begin, end});
      });
  return {ifOp.getResult(0), ifOp.getResult(1)};
}

MemRefType KeyParts::outType(MLIRContext *context, int64_t valueDim) {
  constexpr int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any, any, valueDim}, Float32Type::get(context));
}

MemRefType KeyParts::statisticsType(MLIRContext *context) {
  constexpr int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any, any, 2}, Float32Type::get(context));
}
