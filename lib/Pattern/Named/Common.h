//===- Common.h - what the named patterns share -----------------*- C++ -*-===//

#ifndef MEGACTX_LIB_PATTERN_NAMED_COMMON_H
#define MEGACTX_LIB_PATTERN_NAMED_COMMON_H

#include "megactx/Pattern/Pattern.h"

namespace mlir::megactx::pattern {

/// Access to parsed arguments. Required ones are known to be there.
inline int64_t integerOf(const Arguments &arguments, llvm::StringRef name,
                         int64_t otherwise = 0) {
  auto found = arguments.find(name);
  return found == arguments.end() ? otherwise : found->second.integer;
}
inline llvm::ArrayRef<int64_t> listOf(const Arguments &arguments,
                                      llvm::StringRef name) {
  auto found = arguments.find(name);
  if (found == arguments.end())
    return {};
  return found->second.list;
}

/// The relation of `window`: p - left <= k <= p + right, -1 = open.
Formula windowFormula(int64_t left, int64_t right);
/// The relation of `strided`: (p - k) mod stride = 0.
Formula stridedFormula(int64_t stride);
/// The relation of `block_local`: k in p's block, or in one of so many before
/// or after it, -1 = open.
Formula blockLocalFormula(int64_t block, int64_t left = 0, int64_t right = 0);
/// The relation of `columns`: first <= k mod block < first + count.
Formula columnsFormula(int64_t block, int64_t first, int64_t count);

/// x in `sorted or unsorted list`, or x < first.
Formula firstOrListed(const Arguments &arguments, bool ofKeys,
                      std::string &error);

#define NAMED_PATTERN(stem) const NamedPattern &stem##Pattern();
#include "Names.def"

} // namespace mlir::megactx::pattern

#endif
