//===- Onnx.h - reading and writing ONNX files ------------------*- C++ -*-===//
//
// Owns the way between ONNX files and the `onnx` dialect, and normalization to
// the one opset that lowerings know. Knows no attention.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_ONNX_ONNX_H
#define MEGACTX_ONNX_ONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/MemoryBufferRef.h"
#include <string>
#include <vector>

namespace mlir::onnx {

/// The opset of ai.onnx that normalization converts to.
constexpr int64_t kOpset = 28;

/// Reads a model verbatim. Weights stay where they are: in the parsed file, or
/// mapped from external data next to it. Emits `file: node 'x' (Op, opset n):
/// reason` and returns null for a file that is not a model.
OwningOpRef<ModuleOp> importOnnx(StringRef path, MLIRContext *context);

/// The same of what was read; `path` is for messages, and where external data
/// is beside.
OwningOpRef<ModuleOp> importOnnx(llvm::MemoryBufferRef file, StringRef path,
                                 MLIRContext *context);

/// Writes what `importOnnx` read, or what passes made of it. The file appears
/// under its name only when it is whole.
LogicalResult exportOnnx(ModuleOp module, StringRef path);

/// Whether the module is a model of ONNX's nodes alone, as `importOnnx` reads.
bool isGraph(ModuleOp module);

/// An operator of ai.onnx at kOpset.
struct Operator {
  std::string name;
  /// Whether normalization replaces its nodes by others: the body that ONNX
  /// gives, or those of a rule.
  bool isInlined;
};

/// All of them, by name.
std::vector<Operator> standardOperators();

/// Brings the module to opset kOpset, with the types that ONNX's shape
/// inference gives and with functions inlined.
LogicalResult normalizeOnnx(ModuleOp module);

} // namespace mlir::onnx

#endif
