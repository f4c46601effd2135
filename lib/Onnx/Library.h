//===- Library.h - calls into ONNX's own library ----------------*- C++ -*-===//
//
// The library throws; nothing behind this header does.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_LIBRARY_H
#define MEGACTX_LIB_ONNX_LIBRARY_H

#include <onnx/onnx_pb.h>
#include <string>

namespace mlir::onnx {

/// Converts to the opset, inlines functions, composite operators without a
/// lowering and branches that sizes decide, applies rules to other operators,
/// infers types with data propagation. Returns an error text.
std::string runOnnxLibrary(::ONNX_NAMESPACE::ModelProto &model, int64_t opset);

} // namespace mlir::onnx

#endif
