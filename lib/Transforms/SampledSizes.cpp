//===- SampledSizes.cpp - what sizes are for some choices -----------------===//

#include "SampledSizes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::megactx;

/// What the op's result is where its operands are constants.
static std::optional<int64_t> folded(Operation *op,
                                     ArrayRef<Attribute> operands) {
  SmallVector<OpFoldResult> results;
  if (failed(op->fold(operands, results)) || results.size() != 1)
    return std::nullopt;
  auto attribute = dyn_cast<Attribute>(results[0]);
  if (auto value = dyn_cast<Value>(results[0]))
    for (auto [operand, constant] :
         llvm::zip_equal(op->getOperands(), operands))
      if (operand == value)
        attribute = constant;
  auto number = dyn_cast_or_null<IntegerAttr>(attribute);
  if (!number || number.getValue().getSignificantBits() > 64)
    return std::nullopt;
  return number.getInt();
}

SampledSizes::Numbers SampledSizes::compute(Value size) {
  Numbers numbers;
  APInt constant;
  if (matchPattern(size, m_ConstantInt(&constant))) {
    numbers.fill(constant.getSExtValue());
    return numbers;
  }
  Operation *op = size.getDefiningOp();
  bool isComputed =
      op && op->getNumResults() == 1 &&
      (isa<affine::AffineDialect, arith::ArithDialect>(op->getDialect())) &&
      llvm::all_of(op->getOperandTypes(),
                   llvm::IsaPred<IndexType, IntegerType>);
  if (!isComputed || op->getNumOperands() == 0) {
    for (int64_t &number : numbers)
      number = int64_t(1) << (random() % 14);
    return numbers;
  }
  SmallVector<Numbers> operands;
  for (Value operand : op->getOperands())
    operands.push_back(of(operand));
  for (unsigned choice = 0; choice < kChoices; ++choice) {
    SmallVector<Attribute> constants;
    for (auto [type, given] : llvm::zip_equal(op->getOperandTypes(), operands))
      constants.push_back(IntegerAttr::get(type, given[choice]));
    numbers[choice] = folded(op, constants).value_or(1);
  }
  return numbers;
}

const SampledSizes::Numbers &SampledSizes::of(Value size) {
  auto it = known.find(size);
  if (it == known.end()) {
    Numbers numbers = compute(size);
    it = known.try_emplace(size, numbers).first;
  }
  return it->second;
}
