//===- Objects.h - object code of a module ----------------------*- C++ -*-===//
//
// Owns the way from a module in the LLVM dialect to object files' bytes. The
// artifact's writer puts them into files and links them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ARTIFACT_OBJECTS_H
#define MEGACTX_LIB_ARTIFACT_OBJECTS_H

#include "megactx/Artifact/Artifact.h"
#include <vector>

namespace mlir::megactx {

using ObjectCode = SmallVector<char, 0>;

/// Object files that make up the module's library. How many there are depends
/// on the code alone, so that artifacts do not differ from machine to machine;
/// the context's threads compile them side by side.
FailureOr<std::vector<ObjectCode>>
compileToObjects(ModuleOp module, const CPUTarget &target,
                 llvm::CodeGenOptLevel level);

} // namespace mlir::megactx

#endif // MEGACTX_LIB_ARTIFACT_OBJECTS_H
