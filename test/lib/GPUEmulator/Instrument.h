//===- Instrument.h - from a kernel's LLVM IR to the host's -----*- C++ -*-===//
//
// Owns the rewriting of the IR that NVPTX gets into one that the host runs:
// intrinsics become calls of the machine, and every access is announced to it.
// Nothing else changes.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_INSTRUMENT_H
#define MEGACTX_TEST_GPUEMULATOR_INSTRUMENT_H

#include "Machine.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

namespace megactx::emulator {

/// Symbols that the rewritten module expects.
constexpr const char *kCall = "emulator_call", *kAccess = "emulator_access",
                     *kShared = "emulator_shared";

struct Instrumented {
  /// Instructions as text, by number.
  std::vector<std::string> sites;
  /// Constant tables, by symbol, and their bytes.
  std::vector<std::pair<std::string, uint64_t>> constants;
};

/// Each kernel `name` gets an `emulator_name(ptr arguments)` that takes the
/// addresses of its arguments.
llvm::Expected<Instrumented> instrument(llvm::Module &module,
                                        const llvm::DataLayout &host,
                                        llvm::Triple triple);

} // namespace megactx::emulator

#endif
