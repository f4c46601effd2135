//===- Artifact.h - writing compiled models ---------------------*- C++ -*-===//
//
// Owns the artifact's form on disk: a folder with manifest.json, model.so and
// weights.bin. The runtime reads it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_ARTIFACT_ARTIFACT_H
#define MEGACTX_ARTIFACT_ARTIFACT_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx {

/// Argument attribute: the contents of a weight that the runtime maps.
constexpr llvm::StringLiteral kWeightAttr = "megactx.weight";

/// The CPU that code is made for, by LLVM's names.
struct CPUTarget {
  std::string cpu, features;
  /// Hardware vector width in bits: 128, 256 or 512.
  int64_t vectorBits;
};
/// The CPU that this process runs on.
CPUTarget hostTarget();

/// What the entry function takes and gives; made before lowering, while types
/// and weights are still there.
class Interface {
public:
  /// Reads inputs, outputs and weights of the module's `main`, and drops the
  /// weights' contents from its attributes.
  static FailureOr<Interface> take(ModuleOp module);

  llvm::json::Object manifest() const;
  ArrayRef<ElementsAttr> weights() const { return contents; }

private:
  llvm::json::Array inputs, outputs, weightEntries;
  SmallVector<ElementsAttr> contents;
};

/// Adds `mctx_main(void **)` to a module in the LLVM dialect whose `main` has a
/// C interface.
LogicalResult addEntry(ModuleOp module);

/// Writes the artifact: compiles the module (LLVM dialect), links, and renames
/// the whole folder to `path` when it is complete. `notes` join the manifest.
LogicalResult writeArtifact(ModuleOp module, const Interface &interface,
                            const CPUTarget &target, llvm::json::Object notes,
                            StringRef path);

} // namespace mlir::megactx

#endif
