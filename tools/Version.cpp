//===- Version.cpp - what --version prints --------------------------------===//
//
// Linked into every tool.
//
//===----------------------------------------------------------------------===//

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

[[maybe_unused]] static bool isSet = [] {
  llvm::cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "megactx " MEGACTX_VERSION ", LLVM " LLVM_VERSION_STRING "\n";
  });
  return true;
}();
