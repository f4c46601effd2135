//===- Checks.h - what ONNX's library does not look at ----------*- C++ -*-===//
//
// Owns checks of models that ONNX's own code relies on. They throw.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_CHECKS_H
#define MEGACTX_LIB_ONNX_CHECKS_H

#include <onnx/onnx_pb.h>

namespace mlir::onnx {

/// Of ai.onnx, 0 where the model imports none.
int64_t opsetOf(const ::ONNX_NAMESPACE::ModelProto &model);

/// ONNX's shape inference divides by the number of heads without a look at it,
/// and never ends for equations of other characters.
void checkAttributes(const ::ONNX_NAMESPACE::GraphProto &graph);

/// Converter and inliner index and read what a node's schema demands without a
/// look at whether it is there.
void checkNodes(::ONNX_NAMESPACE::ModelProto &model);

} // namespace mlir::onnx

#endif
