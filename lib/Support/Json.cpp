//===- Json.cpp - files that a user writes as JSON ------------------------===//

#include "megactx/Support/Json.h"
#include "llvm/Support/MemoryBuffer.h"

using llvm::StringRef;

std::optional<llvm::json::Value>
mlir::megactx::readJson(StringRef path, StringRef kind, std::string &error) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer) {
    error = ("cannot read " + kind + " '" + path +
             "': " + buffer.getError().message())
                .str();
    return std::nullopt;
  }
  llvm::Expected<llvm::json::Value> parsed =
      llvm::json::parse((*buffer)->getBuffer());
  if (parsed)
    return std::move(*parsed);
  error =
      (kind + " '" + path + "': " + llvm::toString(parsed.takeError())).str();
  return std::nullopt;
}
