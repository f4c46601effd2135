//===- RouteOps.cpp - clusters of rows: verifiers, results ----------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace mlir::megactx;

constexpr int64_t kAny = ShapedType::kDynamic;

/// The product of sizes; dynamic where one is, or where it is absurd.
static int64_t product(ArrayRef<int64_t> sizes) {
  int64_t result = 1;
  for (int64_t size : sizes) {
    auto next = llvm::checkedMul(result, size);
    if (ShapedType::isDynamic(size) || !next)
      return kAny;
    result = *next;
  }
  return result;
}

static LogicalResult checkElement(Operation *op, StringRef what,
                                  RankedTensorType type, StringRef other,
                                  RankedTensorType as) {
  if (type.getElementType() == as.getElementType())
    return success();
  return op->emitOpError("expected ")
         << what << " of element type " << as.getElementType() << ", as "
         << other << ", but got " << type;
}

/// Clusters, dim 0 of members, are as many for each batch row and head.
static LogicalResult checkClusters(Operation *op, RankedTensorType members,
                                   RankedTensorType rows) {
  int64_t clusters = members.getDimSize(0);
  int64_t groups = product(rows.getShape().take_front(2));
  if (ShapedType::isDynamic(clusters) || ShapedType::isDynamic(groups) ||
      (groups ? clusters % groups : clusters) == 0)
    return success();
  return op->emitOpError("expected as many clusters for each batch row and "
                         "head, but got ")
         << clusters << " for " << rows.getDimSize(0) << " x "
         << rows.getDimSize(1);
}

//===----------------------------------------------------------------------===//
// route
//===----------------------------------------------------------------------===//

LogicalResult RouteOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location> loc, Adaptor op,
                                        SmallVectorImpl<Type> &results) {
  RankedTensorType rows = ranked(loc, "rows", op.getRows(), 4);
  RankedTensorType centroids = ranked(loc, "centroids", op.getCentroids(), 3);
  if (!rows || !centroids)
    return failure();
  int64_t clusters = product(
      {rows.getDimSize(0), rows.getDimSize(1), centroids.getDimSize(1)});
  int64_t members = rows.isDynamicDim(2)
                        ? kAny
                        : std::min<int64_t>(op.getWindow(), rows.getDimSize(2));
  Type index = IndexType::get(context);
  results.append({RankedTensorType::get({clusters, members}, index),
                  RankedTensorType::get({clusters}, index)});
  return success();
}

LogicalResult RouteOp::verify() {
  RankedTensorType rows = getRows().getType(),
                   centroids = getCentroids().getType();
  if (failed(checkElement(*this, "centroids", centroids, "rows", rows)) ||
      failed(checkDim(*this, "centroids", centroids, 0, rows, 1, "rows")) ||
      failed(checkDim(*this, "centroids", centroids, 2, rows, 3, "rows")))
    return failure();
  return getLengths() ? checkDim(*this, "lengths", getLengths().getType(), 0,
                                 rows, 0, "rows")
                      : success();
}

LogicalResult RouteOp::reifyResultShapes(OpBuilder &builder,
                                         ReifiedRankedShapedTypeDims &out) {
  Emitter b(getLoc(), builder);
  auto known = [&](int64_t size, llvm::function_ref<Value()> emit) {
    return ShapedType::isDynamic(size) ? OpFoldResult(emit())
                                       : OpFoldResult(b.getIndexAttr(size));
  };
  OpFoldResult clusters = known(getCounts().getType().getDimSize(0), [&] {
    return b.mul(b.mul(b.dim(getRows(), 0), b.dim(getRows(), 1)),
                 b.dim(getCentroids(), 1));
  });
  OpFoldResult members = known(getMembers().getType().getDimSize(1), [&] {
    return b.min(b.index(getWindow()), b.dim(getRows(), 2));
  });
  out = {{clusters, members}, {clusters}};
  return success();
}

//===----------------------------------------------------------------------===//
// gather_rows
//===----------------------------------------------------------------------===//

LogicalResult GatherRowsOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> loc,
                                             Adaptor op,
                                             SmallVectorImpl<Type> &results) {
  RankedTensorType rows = ranked(loc, "rows", op.getRows(), 4);
  RankedTensorType members = ranked(loc, "members", op.getMembers(), 2);
  if (!rows || !members)
    return failure();
  results.push_back(RankedTensorType::get(
      {members.getDimSize(0), 1, members.getDimSize(1), rows.getDimSize(3)},
      rows.getElementType()));
  return success();
}

LogicalResult GatherRowsOp::verify() {
  return checkClusters(*this, getMembers().getType(), getRows().getType());
}

LogicalResult
GatherRowsOp::reifyResultShapes(OpBuilder &b,
                                ReifiedRankedShapedTypeDims &out) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, getLoc(), getMembers());
  sizes.insert(sizes.begin() + 1, b.getIndexAttr(1));
  sizes.push_back(tensor::getMixedSize(b, getLoc(), getRows(), 3));
  out.push_back(sizes);
  return success();
}

//===----------------------------------------------------------------------===//
// scatter_mean
//===----------------------------------------------------------------------===//

LogicalResult ScatterMeanOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location>,
                                              Adaptor op,
                                              SmallVectorImpl<Type> &results) {
  results.push_back(op.getInit().getType());
  return success();
}

LogicalResult ScatterMeanOp::verify() {
  RankedTensorType rows = getRows().getType(), members = getMembers().getType(),
                   init = getInit().getType();
  if (failed(checkElement(*this, "rows", rows, "init", init)) ||
      failed(checkDim(*this, "rows", rows, 0, members, 0, "members")) ||
      failed(checkDim(*this, "rows", rows, 2, members, 1, "members")) ||
      failed(checkDim(*this, "rows", rows, 3, init, 3, "init")))
    return failure();
  if (!agree(rows.getDimSize(1), 1))
    return emitOpError("expected rows of one head, but got ") << rows;
  return checkClusters(*this, members, init);
}

LogicalResult
ScatterMeanOp::reifyResultShapes(OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &out) {
  out.push_back(tensor::getMixedSizes(b, getLoc(), getInit()));
  return success();
}
