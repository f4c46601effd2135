//===- Output.h - files that are whole or absent ----------------*- C++ -*-===//

#ifndef MEGACTX_SUPPORT_OUTPUT_H
#define MEGACTX_SUPPORT_OUTPUT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir::megactx {

/// Writes the file at `path`, whole or not at all: contents go to a file beside
/// it that is renamed at the end, and removed where anything fails. "-" is
/// standard output. What is there and no regular file (a device, a pipe) is
/// written to and never replaced.
llvm::Error writeOutput(llvm::StringRef path,
                        llvm::function_ref<void(llvm::raw_ostream &)> write);

} // namespace mlir::megactx

#endif // MEGACTX_SUPPORT_OUTPUT_H
