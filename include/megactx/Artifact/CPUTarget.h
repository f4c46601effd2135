//===- CPUTarget.h - the CPU that code is for -------------------*- C++ -*-===//
//
// Owns what is known of CPUs: their names, which are LLVM's, what code for one
// may use of it, and which of that a runtime has to find.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_ARTIFACT_CPUTARGET_H
#define MEGACTX_ARTIFACT_CPUTARGET_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/TargetParser/Triple.h"
#include <optional>
#include <string>

namespace mlir::megactx {

/// The CPU that code is made for, by LLVM's names.
struct CPUTarget {
  llvm::Triple triple;
  std::string cpu, features;
  /// Hardware vector width in bits: 128, 256 or 512.
  int64_t vectorBits;
  /// How many such vectors code can name.
  int64_t vectorRegisters;
  /// Whether it multiplies matrix tiles of bf16.
  bool amx = false;
};

/// The CPU that this process runs on.
CPUTarget hostTarget();

/// What every CPU of this process's kind has, of the last ten years: for code
/// that launches kernels on machines of others.
CPUTarget genericTarget();

/// The CPU of that name (x86-64-v3, znver4, neoverse-v1), of this process's
/// architecture or of another one; Linux runs on it. Nullopt: LLVM has none.
std::optional<CPUTarget> cpuNamed(StringRef name);

/// The CPU's name that differs least from a word, where it differs little: what
/// it begins with does not.
std::optional<std::string> nearestCPU(StringRef name);

/// What code for the target uses and a CPU of its architecture may lack, by the
/// names that Linux gives in /proc/cpuinfo.
SmallVector<StringRef> requiredFeatures(const CPUTarget &target);

} // namespace mlir::megactx

#endif // MEGACTX_ARTIFACT_CPUTARGET_H
