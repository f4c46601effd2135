//===- PatternOptions.h - which patterns a model gets -----------*- C++ -*-===//

#ifndef MEGACTX_TOOLS_PATTERNOPTIONS_H
#define MEGACTX_TOOLS_PATTERNOPTIONS_H

#include "megactx/Pipelines/Pipelines.h"
#include "llvm/Support/CommandLine.h"

namespace mlir::megactx {

/// --pattern, --policy and --step, as several tools take them.
struct PatternOptions {
  explicit PatternOptions(llvm::cl::OptionCategory &category)
      : pattern("pattern",
                llvm::cl::desc("Sparse pattern for all self-attention"),
                llvm::cl::value_desc("EXPR"), llvm::cl::cat(category)),
        policy("policy", llvm::cl::desc("Patterns by layer and head, JSON"),
               llvm::cl::value_desc("file"), llvm::cl::cat(category)),
        step("step", llvm::cl::desc("Training step of a policy's schedule"),
             llvm::cl::init(0), llvm::cl::cat(category)),
        floatScores(
            "float-scores",
            llvm::cl::desc("Leave scores and probabilities of quantized "
                           "attention unrounded, so that it can be sparse"),
            llvm::cl::cat(category)) {}

  /// Nothing, with the fault printed, where there can be no such choice.
  std::optional<PatternChoice> choice() const {
    // An empty pattern is a faulty one, not the absence of one.
    if (pattern.getNumOccurrences() && pattern.empty()) {
      llvm::errs() << "error: pattern: expected a pattern\n  \n  ^\n";
      return std::nullopt;
    }
    if (step < 0) {
      llvm::errs() << "error: expected --step of at least 0, but got " << step
                   << "\n";
      return std::nullopt;
    }
    if (step.getNumOccurrences() && policy.empty()) {
      llvm::errs() << "error: expected --policy with --step, which chooses in "
                      "its schedules\n";
      return std::nullopt;
    }
    return PatternChoice{pattern, policy, step, floatScores};
  }

private:
  llvm::cl::opt<std::string> pattern, policy;
  llvm::cl::opt<int64_t> step;
  llvm::cl::opt<bool> floatScores;
};

} // namespace mlir::megactx

#endif
