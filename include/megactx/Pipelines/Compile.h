//===- Compile.h - from a model file to an artifact -------------*- C++ -*-===//

#ifndef MEGACTX_PIPELINES_COMPILE_H
#define MEGACTX_PIPELINES_COMPILE_H

#include "megactx/Pipelines/Pipelines.h"
#include "llvm/Support/CodeGen.h"

namespace mlir::megactx {

struct CompileOptions {
  /// A file of ONNX (by its ending) or of MLIR.
  std::string input;
  /// The artifact's folder, or the MLIR file where `level` stops earlier.
  std::string output;
  /// input, attention, linalg, pieces, fused, memref, loops, llvm or artifact.
  std::string level = "artifact";
  /// cpu, or an NVIDIA GPU's architecture, such as sm_90.
  std::string target = "cpu";
  /// How far LLVM optimizes code for the CPU.
  llvm::CodeGenOptLevel optimization = llvm::CodeGenOptLevel::Default;
  /// #nvx.schedule of a GPU's attention kernels; empty: by rule.
  std::string schedule;
  /// File of schedules that were measured, for those; empty: none.
  std::string schedules;
  /// Lower attention through linalg instead of kernels: slow, for comparison.
  bool generic = false;
  /// Fuse pooling and rotary embedding with attention (megactx-fuse-lod).
  bool fuseLod = true;
  /// Write new rows into the caches that come in, which go out as they are.
  bool cachesInPlace = false;
  PatternChoice patterns;
  /// A line per phase, on standard error, when it is done.
  bool progress = true;
  /// Remarks of these categories are printed (a regular expression; empty:
  /// none). The artifact's manifest keeps those on what was missed in any case.
  std::string remarksFilter;
};

/// Compiles; says on standard error what became of the attentions, and what is
/// wrong, where.
LogicalResult compile(const CompileOptions &options);

/// Prints a line per operator of ai.onnx: its name and `compiled` (it has a
/// lowering), `raised` (it becomes megactx.attention), `inlined` (others take
/// its place) or `refused`.
void printOperators(llvm::raw_ostream &os);

} // namespace mlir::megactx

#endif
