//===- Onnx.cpp - the onnx dialect ----------------------------------------===//

#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::onnx;

#include "megactx/Dialect/Onnx/IR/OnnxDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/Onnx/IR/OnnxTypes.cpp.inc"
#define GET_OP_CLASSES
#include "megactx/Dialect/Onnx/IR/OnnxOps.cpp.inc"

void OnnxDialect::initialize() {
  // Operators that nothing here understands pass through as they are.
  allowUnknownOperations();
  addTypes<
#define GET_TYPEDEF_LIST
#include "megactx/Dialect/Onnx/IR/OnnxTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "megactx/Dialect/Onnx/IR/OnnxOps.cpp.inc"
      >();
}
