//===- Proto.h - modules and messages ---------------------------*- C++ -*-===//
//
// Owns the two directions between ONNX's protobuf messages and the dialect, as
// reader, writer and normalization share them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_PROTO_H
#define MEGACTX_LIB_ONNX_PROTO_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <memory>
#include <onnx/onnx_pb.h>
#include <string>

namespace mlir::onnx {

using ModelPtr = std::shared_ptr<::ONNX_NAMESPACE::ModelProto>;

/// Builds the module. `file` is for messages and, by its folder, for external
/// data. Weights refer into `model`, which lives as long as they do.
OwningOpRef<ModuleOp> moduleFromProto(ModelPtr model, StringRef file,
                                      MLIRContext *context);

/// Builds the message. Weights of more than `inlineLimit` bytes are left empty
/// and their attributes are given to `left` under the tensor's name.
LogicalResult
protoFromModule(ModuleOp module, ::ONNX_NAMESPACE::ModelProto &model,
                int64_t inlineLimit = INT64_MAX,
                llvm::function_ref<void(StringRef, ElementsAttr)> left = {});

/// The MLIR element type of an ONNX data type, or null.
Type elementTypeOf(int32_t onnxType, MLIRContext *context);
/// The ONNX data type of an MLIR element type, or 0 (undefined).
int32_t dataTypeOf(Type elementType);
/// The MLIR type of an ONNX type; !onnx.untyped where tensors cannot say it.
Type typeOf(const ::ONNX_NAMESPACE::TypeProto &type, MLIRContext *context);

/// Bytes of a protobuf message in its text format.
std::string textOf(const google::protobuf::Message &message);
bool parseText(llvm::StringRef text, google::protobuf::Message &message);

} // namespace mlir::onnx

#endif
