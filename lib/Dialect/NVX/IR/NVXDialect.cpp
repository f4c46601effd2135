//===- NVXDialect.cpp - the dialect and its verifiers ---------------------===//

#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::nvx;

#include "megactx/Dialect/NVX/IR/NVXDialect.cpp.inc"
#include "megactx/Dialect/NVX/IR/NVXEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "megactx/Dialect/NVX/IR/NVXAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/NVX/IR/NVXTypes.cpp.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/NVX/IR/NVXOps.cpp.inc"

void NVXDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "megactx/Dialect/NVX/IR/NVXAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "megactx/Dialect/NVX/IR/NVXTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "megactx/Dialect/NVX/IR/NVXOps.cpp.inc"
      >();
}

LogicalResult NVXDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  if (attribute.getName() != ScheduleAttr::name)
    return op->emitError("unknown attribute ") << attribute.getName();
  if (!isa<ScheduleAttr>(attribute.getValue()))
    return op->emitError("expected '")
           << ScheduleAttr::name << "' to be a #nvx.schedule, but got "
           << attribute.getValue();
  return success();
}

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t rows, int64_t columns, int64_t warps,
                                   int64_t stages, Product, bool,
                                   int64_t blocks, bool grouped, int64_t split,
                                   Loads loads, bool producer,
                                   bool persistent) {
  // Larger ones fit no machine, and products of sizes would not be exact.
  constexpr int64_t mostOfTile = 4096, mostBlocks = 32, mostSplit = 1 << 20;
  if (warps < 1 || warps > 16)
    return emitError() << "expected 1 to 16 warps, but got " << warps;
  if (rows < 1 || rows % (16 * warps))
    return emitError() << "expected rows to be a positive multiple of 16 for "
                       << "each of " << warps << " warps, but got " << rows;
  if (columns < 1 || columns % 16)
    return emitError() << "expected columns to be a positive multiple of 16, "
                       << "but got " << columns;
  if (std::max(rows, columns) > mostOfTile)
    return emitError() << "expected at most " << mostOfTile
                       << " rows and columns, but got " << rows << " and "
                       << columns;
  if (stages < 2 || stages > 8)
    return emitError() << "expected 2 to 8 stages, but got " << stages;
  if (blocks < 1 || blocks > mostBlocks)
    return emitError() << "expected 1 to " << mostBlocks << " blocks, but got "
                       << blocks;
  if (split < 0 || split > mostSplit)
    return emitError() << "expected to split for 0 to " << mostSplit
                       << " blocks, but got " << split;
  if (producer && loads != Loads::tma)
    return emitError() << "expected loads = tma with producer = true";
  if (producer && (warps % 4 || warps > 12))
    return emitError() << "expected 4, 8 or 12 warps beside the producer's, "
                       << "but got " << warps;
  if (producer && grouped)
    return emitError() << "expected producer = true without grouped";
  if (persistent && !producer)
    return emitError() << "expected producer = true with persistent = true";
  return success();
}

LogicalResult SharedMemoryOp::verify() {
  auto type = cast<MemRefType>(getMemory().getType());
  auto space = dyn_cast_or_null<gpu::AddressSpaceAttr>(type.getMemorySpace());
  if (type.getRank() != 1 || !type.hasStaticShape() ||
      !type.getElementType().isInteger(8) || !type.getLayout().isIdentity() ||
      !space || space.getValue() != gpu::AddressSpace::Workgroup)
    return emitOpError("expected a static memref of rank 1 of i8 in workgroup "
                       "memory, but got ")
           << type;
  return success();
}

LogicalResult MmaSyncOp::verify() {
  if (getA().getType().getElementType() != getB().getType().getElementType())
    return emitOpError("expected a and b of one element type, but got ")
           << getA().getType() << " and " << getB().getType();
  return success();
}

static bool isShared(MemRefType type) {
  auto space = dyn_cast_or_null<gpu::AddressSpaceAttr>(type.getMemorySpace());
  return type.hasStaticShape() && type.getLayout().isIdentity() && space &&
         space.getValue() == gpu::AddressSpace::Workgroup;
}

/// Of wgmma_descriptor_c1.
static LogicalResult verifySwizzledTile(Operation *op, MemRefType type) {
  Type element = type.getElementType();
  if (isShared(type) && type.getRank() == 3 && type.getDimSize(1) % 8 == 0 &&
      type.getDimSize(2) == 64 && (element.isF16() || element.isBF16()))
    return success();
  return op->emitOpError("expected a static memref of panels, rows (a multiple "
                         "of 8) and 64 columns of f16 or bf16 in workgroup "
                         "memory, but got ")
         << type;
}

LogicalResult WgmmaDescriptorOp::verify() {
  return verifySwizzledTile(*this, cast<MemRefType>(getTile().getType()));
}

LogicalResult EncodeTensorMapOp::verify() {
  auto type = cast<MemRefType>(getMemory().getType());
  auto [strides, offset] = type.getStridesAndOffset();
  Type element = type.getElementType();
  if (type.getRank() != 4 || strides.back() != 1 ||
      !(element.isF16() || element.isBF16()))
    return emitOpError("expected a memref of rank 4 of f16 or bf16 with "
                       "contiguous rows, but got ")
           << type;
  return success();
}

LogicalResult LoadBoxOp::verify() {
  auto barriers = cast<MemRefType>(getBarriers().getType());
  if (!isShared(barriers) || barriers.getRank() != 1 ||
      !barriers.getElementType().isInteger(64))
    return emitOpError("expected barriers in a static memref of rank 1 of i64 "
                       "in workgroup memory, but got ")
           << barriers;
  return verifySwizzledTile(*this, cast<MemRefType>(getTile().getType()));
}

LogicalResult AtomicAddOp::verify() {
  auto type = cast<MemRefType>(getMemory().getType());
  if (type.getMemorySpace())
    return emitOpError("expected device memory, but got ") << type;
  if (type.getRank() == static_cast<int64_t>(getIndices().size()))
    return success();
  return emitOpError("expected ")
         << type.getRank() << " indices, but got " << getIndices().size();
}

LogicalResult WgmmaOp::verify() {
  int64_t tiles = getD().getType().getDimSize(0);
  if (tiles < 1 || tiles > 32)
    return emitOpError("expected 1 to 32 tiles of 8 columns, but got ")
           << tiles;
  if (getC() && getC().getType() != getD().getType())
    return emitOpError("expected c and d of one type, but got ")
           << getC().getType() << " and " << getD().getType();
  Type element = getElement();
  if (!element.isF16() && !element.isBF16())
    return emitOpError("expected elements of f16 or bf16, but got ") << element;
  auto fragment = dyn_cast<VectorType>(getA().getType());
  if (fragment && fragment.getElementType() != element)
    return emitOpError("expected a fragment of ")
           << element << ", but got " << fragment;
  return success();
}

LogicalResult WgmmaWaitOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  llvm::append_range(results, adaptor.getValues().getTypes());
  return success();
}
