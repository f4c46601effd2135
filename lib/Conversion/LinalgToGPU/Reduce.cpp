//===- Reduce.cpp - partial results of threads ----------------------------===//

#include "KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::gpukernel;

/// Another lane's value: shuffles move 32 bits.
static Value shuffle(ImplicitLocOpBuilder &b, Value x, int32_t mask) {
  Type type = x.getType();
  unsigned bits = type.getIntOrFloatBitWidth();
  auto move = [&](Value word) -> Value {
    return gpu::ShuffleOp::create(b, word, mask, kWarp, gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  if (bits == 32)
    return move(x);
  Type word = b.getI32Type(), integer = b.getIntegerType(bits);
  Value value = x;
  if (type != integer)
    value = arith::BitcastOp::create(b, integer, value);
  if (bits < 32) {
    value = move(arith::ExtUIOp::create(b, word, value));
    value = arith::TruncIOp::create(b, integer, value);
  } else {
    Value half = arith::ConstantIntOp::create(b, integer, 32);
    Value high = arith::ShRUIOp::create(b, value, half);
    Value low = move(arith::TruncIOp::create(b, word, value));
    high = move(arith::TruncIOp::create(b, word, high));
    high = arith::ShLIOp::create(b, arith::ExtUIOp::create(b, integer, high),
                                 half);
    value =
        arith::OrIOp::create(b, high, arith::ExtUIOp::create(b, integer, low));
  }
  return type == integer ? value
                         : Value(arith::BitcastOp::create(b, type, value));
}

Value gpukernel::reduceInWarp(ImplicitLocOpBuilder &b, const Combiner &combine,
                              Value x) {
  for (int32_t mask = kWarp / 2; mask > 0; mask /= 2)
    x = combine(b, x, shuffle(b, x, mask));
  return x;
}
