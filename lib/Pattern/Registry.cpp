//===- Registry.cpp - the named patterns ----------------------------------===//

#include "Named/Common.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir::megactx::pattern;

llvm::ArrayRef<const NamedPattern *> mlir::megactx::pattern::namedPatterns() {
  static const NamedPattern *const all[] = {
#define NAMED_PATTERN(stem) &stem##Pattern(),
#include "Named/Names.def"
  };
  return all;
}

const NamedPattern *
mlir::megactx::pattern::findNamedPattern(llvm::StringRef name) {
  const auto *found =
      llvm::find_if(namedPatterns(), [&](const NamedPattern *pattern) {
        return pattern->name() == name;
      });
  return found == namedPatterns().end() ? nullptr : *found;
}
