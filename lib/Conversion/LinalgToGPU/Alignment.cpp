//===- Alignment.cpp - what addresses are known to be multiples of --------===//

#include "Alignment.h"
#include "megactx/Runtime/KernelABI.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace mlir::megactx::gpukernel;

Multiple Alignment::of(int64_t number) {
  return {number ? std::min(number & -number, kMost) : kMost, true};
}

int64_t Alignment::of(OpFoldResult number) {
  if (std::optional<int64_t> constant = getConstantIntValue(number))
    return of(*constant).divisor;
  return of(cast<Value>(number));
}

int64_t Alignment::of(Value index) {
  APInt number;
  if (matchPattern(index, m_ConstantInt(&number)))
    return of(number.getSExtValue()).divisor;
  auto found = known.find(index);
  if (found != known.end())
    return found->second;
  Operation *op = index.getDefiningOp();
  int64_t divisor = op ? compute(op, index) : 1;
  known[index] = divisor;
  return divisor;
}

/// Of the sums and products that sizes and offsets are made of.
int64_t Alignment::compute(Operation *op, Value result) {
  if (isa<arith::MulIOp>(op) ||
      (isa<arith::MulUIExtendedOp>(op) && result == op->getResult(0)))
    return std::min(of(op->getOperand(0)) * of(op->getOperand(1)), kMost);
  if (isa<arith::AddIOp, arith::SubIOp, arith::MinUIOp, arith::MaxUIOp,
          arith::MinSIOp, arith::MaxSIOp>(op))
    return std::min(of(op->getOperand(0)), of(op->getOperand(1)));
  if (isa<arith::AndIOp>(op))
    return std::max(of(op->getOperand(0)), of(op->getOperand(1)));
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return std::min(of(select.getTrueValue()), of(select.getFalseValue()));
  return 1;
}

int64_t Alignment::ofBase(Value memref) {
  int64_t divisor = kMost;
  while (Operation *op = memref.getDefiningOp()) {
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      uint64_t bytes = alloc.getAlignment().value_or(1);
      return std::min(divisor, of(int64_t(bytes)).divisor);
    }
    if (auto transposed = dyn_cast<memref::TransposeOp>(op)) {
      memref = transposed.getIn();
      continue;
    }
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view)
      return 1;
    // Others move the offset, not the base.
    if (auto placed = dyn_cast<memref::ViewOp>(op))
      divisor = std::min(divisor, of(placed.getByteShift()));
    memref = view.getViewSource();
  }
  Operation *owner = cast<BlockArgument>(memref).getOwner()->getParentOp();
  return isa<FunctionOpInterface>(owner)
             ? std::min<int64_t>(divisor, MCTX_DEVICE_ALIGNMENT)
             : 1;
}

Layout Alignment::ofLayout(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Layout layout;
  layout.strides.resize(type.getRank());
  if (type.getLayout().isIdentity()) {
    layout.offset = of(int64_t(0));
    Multiple stride = of(int64_t(1));
    for (int64_t i = type.getRank(); i-- > 0;) {
      layout.strides[i] = stride;
      bool isStatic = !type.isDynamicDim(i);
      int64_t size = isStatic ? of(type.getDimSize(i)).divisor : 1;
      stride = {std::min(stride.divisor * size, kMost),
                stride.isExact && isStatic};
    }
    return layout;
  }
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return layout;
  if (ShapedType::isDynamic(offset) ||
      llvm::any_of(strides, ShapedType::isDynamic))
    lookThrough(memref, layout);
  if (ShapedType::isStatic(offset))
    layout.offset = of(offset);
  for (auto [stride, number] : llvm::zip_equal(layout.strides, strides))
    if (ShapedType::isStatic(number))
      stride = of(number);
  return layout;
}

/// What a type leaves open, from what the memref is a view of.
void Alignment::lookThrough(Value memref, Layout &layout) {
  Operation *op = memref.getDefiningOp();
  if (auto part = dyn_cast_or_null<memref::SubViewOp>(op)) {
    Layout whole = ofLayout(part.getSource());
    layout.offset = {whole.offset.divisor, false};
    llvm::SmallBitVector dropped = part.getDroppedDims();
    size_t dim = 0;
    for (auto [i, from] : llvm::enumerate(whole.strides)) {
      int64_t moved =
          std::min(of(part.getMixedOffsets()[i]) * from.divisor, kMost);
      layout.offset.divisor = std::min(layout.offset.divisor, moved);
      if (!dropped[i])
        layout.strides[dim++].divisor =
            std::min(of(part.getMixedStrides()[i]) * from.divisor, kMost);
    }
  } else if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(op)) {
    Layout whole = ofLayout(expand.getSrc());
    layout.offset = {whole.offset.divisor, false};
    for (auto [from, group] :
         llvm::zip_equal(whole.strides, expand.getReassociationIndices())) {
      int64_t stride = from.divisor;
      for (int64_t i : llvm::reverse(group)) {
        layout.strides[i].divisor = stride;
        int64_t size = expand.getResultType().getDimSize(i);
        if (ShapedType::isStatic(size))
          stride = std::min(stride * of(size).divisor, kMost);
      }
    }
  } else if (auto transposed = dyn_cast_or_null<memref::TransposeOp>(op)) {
    Layout whole = ofLayout(transposed.getIn());
    layout.offset = whole.offset;
    for (auto [stride, expr] : llvm::zip_equal(
             layout.strides, transposed.getPermutation().getResults()))
      stride = whole.strides[cast<AffineDimExpr>(expr).getPosition()];
  } else if (auto same = dyn_cast_or_null<memref::CastOp>(op)) {
    layout = ofLayout(same.getSource());
  }
}
