//===- NVXDialect.cpp - the dialect and its verifiers ---------------------===//

#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::nvx;

#include "megactx/Dialect/NVX/IR/NVXDialect.cpp.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/NVX/IR/NVXOps.cpp.inc"

void NVXDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "megactx/Dialect/NVX/IR/NVXOps.cpp.inc"
      >();
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
