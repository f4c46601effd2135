//===- Warp.cpp - values that the lanes of a warp share -------------------===//

#include "megactx/Dialect/NVX/Utils/Warp.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

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

/// Of `kWarp` indices that are equally far apart, those for which the condition
/// holds are the first ones: the index is between the last of them and the
/// next.
Value nvx::firstNotInWarp(ImplicitLocOpBuilder &b, Value lane, Value begin,
                          Value end, function_ref<Value(Value)> holds) {
  Type index = b.getIndexType();
  auto c = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(b, x, y);
  };
  auto mul = [&](Value x, Value y) -> Value {
    return arith::MulIOp::create(b, x, y);
  };
  auto isLess = [&](Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
  };
  auto loop = scf::WhileOp::create(
      b, TypeRange{index, index}, ValueRange{begin, end},
      [&](OpBuilder &, Location, ValueRange range) {
        scf::ConditionOp::create(b, isLess(range[0], range[1]), range);
      },
      [&](OpBuilder &, Location, ValueRange range) {
        Value from = range[0], to = range[1];
        Value left = arith::SubIOp::create(b, to, from);
        Value step =
            arith::DivUIOp::create(b, add(left, c(kWarp - 1)), c(kWarp));
        Value own = add(from, mul(lane, step));
        Value last = arith::SubIOp::create(b, to, c(1));
        Value isBefore = arith::AndIOp::create(
            b, isLess(own, to), holds(arith::MinSIOp::create(b, own, last)));
        Value ballot = NVVM::VoteSyncOp::create(
            b, b.getI32Type(), arith::ConstantIntOp::create(b, -1, 32),
            isBefore, NVVM::VoteSyncKind::ballot);
        Value count = arith::IndexCastUIOp::create(
            b, index, LLVM::CtPopOp::create(b, b.getI32Type(), ballot));
        Value next = add(from, mul(count, step));
        Value before = add(arith::SubIOp::create(b, next, step), c(1));
        Value none =
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, c(0));
        scf::YieldOp::create(
            b, ValueRange{arith::SelectOp::create(b, none, from, before),
                          arith::MinSIOp::create(b, next, to)});
      });
  return loop.getResult(0);
}
