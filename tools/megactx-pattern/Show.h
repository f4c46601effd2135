//===- Show.h - what megactx-pattern prints ---------------------*- C++ -*-===//

#ifndef MEGACTX_TOOLS_PATTERN_SHOW_H
#define MEGACTX_TOOLS_PATTERN_SHOW_H

#include "megactx/Pattern/Pattern.h"
#include "megactx/Pattern/Rows.h"

namespace mlir::megactx::pattern {

enum class Print { Relation, Pieces, Stats, Ascii, Svg };

/// What to show of one pattern. -1 keys are as many as queries.
struct Request {
  std::string text;
  Rows rows;
  int64_t heads = 1;
  Print print = Print::Ascii;
};

/// Called with the offset in the pattern's text (npos: all of it) and the
/// message.
using OnFault = llvm::function_ref<void(size_t, const llvm::Twine &)>;

/// False where `onFault` was called.
bool show(Request request, llvm::raw_ostream &os, OnFault onFault);

/// Answers each line of a file, `size=value ...: pattern`, for sizes that are
/// not those of `defaults`. An empty line follows each answer. Errors name file
/// and line. False where there was one.
bool showBatch(llvm::StringRef path, const Request &defaults,
               llvm::raw_ostream &os);

} // namespace mlir::megactx::pattern

#endif
