//===- Onnx.h - the onnx dialect --------------------------------*- C++ -*-===//
//
// Owns the C++ declarations of the `onnx` dialect; OnnxOps.td says how nodes
// become ops.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_ONNX_IR_ONNX_H
#define MEGACTX_DIALECT_ONNX_IR_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "megactx/Dialect/Onnx/IR/OnnxDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/Onnx/IR/OnnxTypes.h.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/Onnx/IR/OnnxOps.h.inc"

#endif
