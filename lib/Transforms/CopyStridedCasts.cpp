//===- CopyStridedCasts.cpp - no cast to a layout that memory has not -----===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_COPYSTRIDEDCASTSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct CopyStridedCasts : impl::CopyStridedCastsPassBase<CopyStridedCasts> {
  void runOnOperation() override {
    getOperation()->walk([&](memref::CastOp op) {
      auto from = dyn_cast<MemRefType>(op.getSource().getType());
      auto to = dyn_cast<MemRefType>(op.getType());
      if (from && to && to.getLayout().isIdentity() && !isContiguous(from))
        copy(op, to);
    });
  }

  /// Whether each row begins where the one before ends, as far as types say.
  static bool isContiguous(MemRefType type) {
    int64_t others = type.getRank() - type.getNumContiguousTrailingDims();
    return type.getStridesAndOffset().second == 0 &&
           llvm::all_of(type.getShape().take_front(others),
                        [](int64_t size) { return size == 1; });
  }

  void copy(memref::CastOp op, MemRefType type) {
    OpBuilder b(op);
    SmallVector<Value> sizes;
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (type.isDynamicDim(i))
        sizes.push_back(
            memref::DimOp::create(b, op.getLoc(), op.getSource(), i));
    constexpr int64_t alignment = 64; // bytes, as bufferization's own
    Value memory = memref::AllocOp::create(b, op.getLoc(), type, sizes,
                                           b.getI64IntegerAttr(alignment));
    memref::CopyOp::create(b, op.getLoc(), op.getSource(), memory);
    op.replaceAllUsesWith(memory);
    op.erase();
    ++numCopies;
  }
};
} // namespace
} // namespace mlir::megactx
