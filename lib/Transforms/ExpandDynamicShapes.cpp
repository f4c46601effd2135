//===- ExpandDynamicShapes.cpp - expand_shape by explicit sizes -----------===//
//
// Upstream's expand-strided-metadata derives the sizes of a group from the
// source and fails where two of them are dynamic, although the op says them.
//
//===----------------------------------------------------------------------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_EXPANDDYNAMICSHAPESPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct ExpandDynamicShapes
    : impl::ExpandDynamicShapesPassBase<ExpandDynamicShapes> {
  void runOnOperation() override {
    SmallVector<memref::ExpandShapeOp> ops;
    getOperation()->walk([&](memref::ExpandShapeOp op) {
      if (hasDynamicGroup(op))
        ops.push_back(op);
    });
    for (memref::ExpandShapeOp op : ops)
      expand(op);
  }

  static bool hasDynamicGroup(memref::ExpandShapeOp op) {
    MemRefType type = op.getResultType();
    return llvm::any_of(op.getReassociationIndices(), [&](auto &group) {
      return llvm::count_if(
                 group, [&](int64_t i) { return type.isDynamicDim(i); }) > 1;
    });
  }

  void expand(memref::ExpandShapeOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    auto source = memref::ExtractStridedMetadataOp::create(b, op.getSrc());
    SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
    SmallVector<OpFoldResult> strides(sizes.size());
    auto valueOf = [&](OpFoldResult x) {
      return getValueOrCreateConstantIndexOp(b, b.getLoc(), x);
    };
    auto [known, offset] = op.getResultType().getStridesAndOffset();
    for (auto [group, stride] :
         llvm::zip(op.getReassociationIndices(), source.getStrides())) {
      Value step = stride;
      for (int64_t i : llvm::reverse(group)) {
        // Strides that the type states must be stated as constants.
        strides[i] = ShapedType::isDynamic(known[i])
                         ? OpFoldResult(step)
                         : OpFoldResult(b.getIndexAttr(known[i]));
        step = arith::MulIOp::create(b, step, valueOf(sizes[i]));
      }
    }
    OpFoldResult start = ShapedType::isDynamic(offset)
                             ? OpFoldResult(source.getOffset())
                             : OpFoldResult(b.getIndexAttr(offset));
    Value result = memref::ReinterpretCastOp::create(
        b, op.getResultType(), source.getBaseBuffer(), start, sizes, strides);
    op.replaceAllUsesWith(result);
    op.erase();
  }
};
} // namespace
} // namespace mlir::megactx
