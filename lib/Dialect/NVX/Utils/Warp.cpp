//===- Warp.cpp - values that the lanes of a warp share -------------------===//

#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;

/// Another lane's value: shuffles move 32 bits.
static Value shuffle(ImplicitLocOpBuilder &b, Value x, int32_t mask) {
  Type type = x.getType();
  unsigned bits = type.getIntOrFloatBitWidth();
  auto move = [&](Value word) -> Value {
    return gpu::ShuffleOp::create(b, word, mask, nvx::kWarp,
                                  gpu::ShuffleMode::XOR)
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

Value nvx::reduceInWarp(ImplicitLocOpBuilder &b, Value x,
                        function_ref<Value(Value, Value)> join, int64_t lanes) {
  for (int64_t mask = lanes / 2; mask > 0; mask /= 2)
    x = join(x, shuffle(b, x, static_cast<int32_t>(mask)));
  return x;
}

Value nvx::sameInWarp(ImplicitLocOpBuilder &b, Value x) {
  return gpu::ShuffleOp::create(b, x, 0, nvx::kWarp, gpu::ShuffleMode::IDX)
      .getShuffleResult();
}

/// Lanes whose numbers differ in one bit exchange halves of two-by-two blocks,
/// bit by bit.
void nvx::transposeInQuads(ImplicitLocOpBuilder &b,
                           MutableArrayRef<Value> words, Value lane) {
  assert(words.size() == 4 && "expected a word of each lane of a quad");
  for (int32_t bit : {1, 2}) {
    Value mask = arith::ConstantIndexOp::create(b, bit);
    Value isHigh = arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                         arith::AndIOp::create(b, lane, mask),
                                         arith::ConstantIndexOp::create(b, 0));
    auto select = [&](Value ofHigh, Value ofLow) -> Value {
      return arith::SelectOp::create(b, isHigh, ofHigh, ofLow);
    };
    for (int32_t i : {0, 1, 2, 3}) {
      if (i & bit)
        continue;
      Value &low = words[i], &high = words[i | bit];
      Value other = shuffle(b, select(low, high), bit);
      low = select(other, low);
      high = select(high, other);
    }
  }
}
