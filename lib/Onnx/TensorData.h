//===- TensorData.h - tensors and attributes of messages --------*- C++ -*-===//

#ifndef MEGACTX_LIB_ONNX_TENSORDATA_H
#define MEGACTX_LIB_ONNX_TENSORDATA_H

#include "Proto.h"
#include <optional>

namespace mlir::onnx {

/// The contents of a tensor: up to kSmallTensor bytes as a dense attribute,
/// more as a resource that refers into `owner` or maps the external file. Null
/// and an error text where the message contradicts itself.
/// Whether numbers of the type (INT4, UINT4) are two in a byte in files.
bool hasHalfBytes(int32_t dataType);

/// Those are read as numbers of 8 bits.
ElementsAttr elementsOf(const ::ONNX_NAMESPACE::TensorProto &tensor,
                        ModelPtr owner, llvm::StringRef file,
                        MLIRContext *context, std::string &error);
constexpr int64_t kSmallTensor = 1024;

/// Fills type, dims and raw data; nothing but type and dims where the contents
/// have more than `inlineLimit` bytes (then returns false).
bool tensorFromElements(ElementsAttr value,
                        ::ONNX_NAMESPACE::TensorProto &tensor,
                        int64_t inlineLimit);

/// Any attribute but graphs. Null and an error text where there is no such.
Attribute attributeFromProto(const ::ONNX_NAMESPACE::AttributeProto &attr,
                             ModelPtr owner, llvm::StringRef file,
                             MLIRContext *context, std::string &error);
/// The reverse; false for an attribute that ONNX has no form for.
bool protoFromAttribute(Attribute value,
                        ::ONNX_NAMESPACE::AttributeProto &attr);

/// What the values above do not show: a tensor's name and properties; an
/// attribute's documentation or the name of a function's attribute.
std::string restOf(const ::ONNX_NAMESPACE::TensorProto &tensor);
std::optional<::ONNX_NAMESPACE::AttributeProto>
restOf(const ::ONNX_NAMESPACE::AttributeProto &attr);

} // namespace mlir::onnx

#endif
