//===- CacheRows.cpp - rows of caches -------------------------------------===//

#include "CacheRows.h"
#include "Heads.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

Value raise::firstRows(ImplicitLocOpBuilder &b, Value cache, int64_t axis,
                       Value count) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), cache);
  SmallVector<OpFoldResult> zeros(sizes.size(), b.getIndexAttr(0)),
      ones(sizes.size(), b.getIndexAttr(1));
  sizes[axis] = count;
  return tensor::ExtractSliceOp::create(b, cache, zeros, sizes, ones);
}

void raise::requireSizes(ImplicitLocOpBuilder &b, Value cache, Value rows,
                         int64_t axis, const Twine &message) {
  auto known = cast<RankedTensorType>(cache.getType()).getShape(),
       given = cast<RankedTensorType>(rows.getType()).getShape();
  for (int64_t i = 0, rank = known.size(); i < rank; ++i)
    if (i != axis && (known[i] != given[i] || ShapedType::isDynamic(known[i])))
      createCheck(b,
                  arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                        tensor::DimOp::create(b, cache, i),
                                        tensor::DimOp::create(b, rows, i)),
                  message);
}

Value raise::withSizesOf(ImplicitLocOpBuilder &b, Value cache, Value rows,
                         int64_t axis) {
  auto type = cast<RankedTensorType>(cache.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (auto [i, size] : llvm::enumerate(shape))
    if (int64_t(i) != axis && ShapedType::isDynamic(size))
      size = cast<RankedTensorType>(rows.getType()).getDimSize(i);
  return withKnownType(b, cache, type.clone(shape));
}
