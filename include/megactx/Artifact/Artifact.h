//===- Artifact.h - writing compiled models ---------------------*- C++ -*-===//
//
// Owns the artifact's form on disk: a folder with manifest.json, model.so and
// weights.bin. The runtime reads it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_ARTIFACT_ARTIFACT_H
#define MEGACTX_ARTIFACT_ARTIFACT_H

#include "megactx/Artifact/CPUTarget.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/CodeGen.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx {

/// Argument attribute: the contents of a weight that the runtime maps.
constexpr llvm::StringLiteral kWeightAttr = "megactx.weight";
/// Attribute of arguments and results of a model for a GPU: "host" where host
/// code reads or writes them; the others are in the device's memory.
constexpr llvm::StringLiteral kMemoryAttr = "megactx.memory";

/// On a result of `main`: the number of the argument that it is, with what was
/// written into it.
constexpr llvm::StringLiteral kUpdatesAttr = "megactx.updates";

/// On `main`, where such results are gone: a list of {attrs, result, type}, the
/// attributes, number and type that each had.
constexpr llvm::StringLiteral kUpdatedAttr = "megactx.updated";
/// Module attributes: the manifest's inputs, outputs and weights (JSON), and
/// the weights' contents, once `main` is LLVM code.
constexpr llvm::StringLiteral kInterfaceAttr = "megactx.interface";
constexpr llvm::StringLiteral kContentsAttr = "megactx.contents";

/// What an artifact is for: a CPU, or an NVIDIA GPU by way of code on a CPU.
struct ArtifactTarget {
  CPUTarget host;
  /// The GPU's architecture, sm_90 for instance; empty: none.
  std::string device;
  /// How far LLVM optimizes the host's code.
  llvm::CodeGenOptLevel optimization = llvm::CodeGenOptLevel::Default;

  std::string name() const { return device.empty() ? host.cpu : device; }
};

/// What the entry function takes and gives.
class Interface {
public:
  /// Reads inputs, outputs and weights of the module's `main` on tensors or
  /// memrefs, or, in the LLVM dialect, what `keep` left there.
  static FailureOr<Interface> of(ModuleOp module);

  /// Before types are lost to LLVM: keeps inputs, outputs and weights as
  /// attributes of the module and gives `main` a C interface.
  static LogicalResult keep(ModuleOp module);

  llvm::json::Object manifest() const;
  ArrayRef<ElementsAttr> weights() const { return contents; }
  /// Those that the artifact holds: of several that are the same bytes, as
  /// tensors of other types, the first one.
  SmallVector<ElementsAttr> storedWeights() const;

private:
  static FailureOr<Interface> kept(ModuleOp module, StringAttr text);
  /// `inputOf`: of each argument, the number of the input that it is.
  LogicalResult describeOutputs(func::FuncOp function,
                                ArrayRef<int64_t> inputOf);

  llvm::json::Array inputs, outputs, weightEntries;
  SmallVector<ElementsAttr> contents;
};

/// Adds `mctx_main(void **)` to a module in the LLVM dialect whose `main` has a
/// C interface.
LogicalResult addEntry(ModuleOp module);

/// Whether a manifest's text has the checksum that is recorded in it.
bool isIntactManifest(StringRef text);

/// Why no artifact can be written to the path; empty where one can. What is
/// there may only be an older one.
std::string faultOfPlace(StringRef path);

/// Writes the artifact: compiles the module (LLVM dialect), links, and renames
/// the whole folder to `path` when it is complete. `notes` join the manifest.
LogicalResult writeArtifact(ModuleOp module, const Interface &interface,
                            const ArtifactTarget &target,
                            llvm::json::Object notes, StringRef path);

} // namespace mlir::megactx

#endif
