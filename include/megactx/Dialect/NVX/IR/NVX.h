//===- NVX.h - the nvx dialect ----------------------------------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_NVX_IR_NVX_H
#define MEGACTX_DIALECT_NVX_IR_NVX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "megactx/Dialect/NVX/IR/NVXDialect.h.inc"
#include "megactx/Dialect/NVX/IR/NVXEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "megactx/Dialect/NVX/IR/NVXAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/NVX/IR/NVXTypes.h.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/NVX/IR/NVXOps.h.inc"

#endif
