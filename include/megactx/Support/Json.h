//===- Json.h - files that a user writes as JSON ----------------*- C++ -*-===//

#ifndef MEGACTX_SUPPORT_JSON_H
#define MEGACTX_SUPPORT_JSON_H

#include "llvm/Support/JSON.h"
#include <optional>

namespace mlir::megactx {

/// The value in a file. Where there is none, `error` says so and why; `kind` is
/// what the file is, such as "policy".
std::optional<llvm::json::Value>
readJson(llvm::StringRef path, llvm::StringRef kind, std::string &error);

} // namespace mlir::megactx

#endif
