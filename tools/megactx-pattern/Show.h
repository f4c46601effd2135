//===- Show.h - what megactx-pattern prints ---------------------*- C++ -*-===//

#ifndef MEGACTX_TOOLS_PATTERN_SHOW_H
#define MEGACTX_TOOLS_PATTERN_SHOW_H

#include "megactx/Pattern/Pattern.h"
#include "megactx/Pattern/TileClasses.h"

namespace mlir::megactx::pattern {

enum class Print { Relation, Pieces, Stats, Ascii, Svg, Reach, Proof };

/// What to show of one pattern. -1 keys are as many as queries.
struct Request {
  std::string text;
  Rows rows;
  int64_t heads = 1;
  Print print = Print::Ascii;
  /// Layers of a stack; -1: as many as change anything.
  int64_t layers = -1;
  /// Tokens that a gist stands for, where the pattern has none of its own.
  int64_t gist = 1;
  /// A file of pieces, one a line, to prove in place of the pattern's own.
  std::string pieces;
  /// Of keys and of values, for FLOPs.
  int64_t headDim = 64;
  TileShape tile = {};
};

/// Called with the offset in the pattern's text (npos: all of it) and the
/// message.
using OnFault = llvm::function_ref<void(size_t, const llvm::Twine &)>;

/// False where `onFault` was called.
bool show(Request request, llvm::raw_ostream &os, OnFault onFault);

/// Writes JSON: how far layers of the pattern reach, and which of its strides
/// and blocks cut gists. Returns the fault, or nothing.
std::string showReach(const Pattern &pattern, const Request &request,
                      llvm::raw_ostream &os);

/// Answers each line of a file, `size=value ...: pattern`, for sizes that are
/// not those of `defaults`. An empty line follows each answer. Errors name file
/// and line. False where there was one.
bool showBatch(llvm::StringRef path, const Request &defaults,
               llvm::raw_ostream &os);

/// A line for each name: its parameters, and what it selects.
void showNames(llvm::raw_ostream &os);

} // namespace mlir::megactx::pattern

#endif
