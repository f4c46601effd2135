//===- ModelFile.h - a model in memory --------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_PIPELINES_MODELFILE_H
#define MEGACTX_LIB_PIPELINES_MODELFILE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/SourceMgr.h"

namespace mlir::megactx {

/// A model's module with the context it lives in, every dialect registered.
struct ModelFile {
  ModelFile();
  /// Reads a file of ONNX (by its ending, on standard input by what it holds)
  /// or of MLIR and verifies it. Errors are reported with their place.
  LogicalResult read(StringRef path);

  MLIRContext context;
  llvm::SourceMgr sources;
  OwningOpRef<ModuleOp> module;

private:
  OwningOpRef<ModuleOp> readStandardInput();
};

/// While it lives, prints a model's diagnostics with their places in files, and
/// with the node's name where they are about a node of ONNX: all nodes have one
/// place in the file.
class DiagnosticPrinter {
public:
  explicit DiagnosticPrinter(ModelFile &file);

private:
  SourceMgrDiagnosticHandler printer;
  ScopedDiagnosticHandler names; ///< called first
};

} // namespace mlir::megactx

#endif
