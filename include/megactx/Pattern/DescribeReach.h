//===- DescribeReach.h - reach and misalignment in words and JSON *- C++
//-*-===//
//
// Owns the report on a model's stack of layers: what they reach one after
// another, what would mend it, and which of their periods cut gists.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_DESCRIBEREACH_H
#define MEGACTX_PATTERN_DESCRIBEREACH_H

#include "megactx/Pattern/Alignment.h"
#include "megactx/Pattern/Connectivity.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx::pattern {

/// {checked_at, goal, layers, reached, hops, never_reached, components}.
llvm::json::Object describeReach(const Reach &reach);

/// [{pattern, period, gist, common_divisor, crossed_at_multiples_of,
/// but_not_of, nearest_aligned}].
llvm::json::Array
describeMisalignments(llvm::ArrayRef<Misalignment> misalignments);

/// The self-attentions of a model, or some in turn, and what the report calls
/// them.
struct NumberedStack {
  std::vector<Layer> layers;
  std::vector<int64_t> numbers;
  std::vector<std::pair<int64_t, Misalignment>> misaligned;

  void addLayer(int64_t number, int64_t heads);
  /// A source of the layer added last; its periods are compared with gists of
  /// so many tokens (pattern::misalignments).
  void addSource(const Pattern &pattern, int64_t keyStep, int64_t gist);
};

struct StackReach {
  NumberedStack stack;
  Reach reach;
  std::optional<Mend> mend;
  int64_t mendRows; ///< at which the mend was checked
};

/// Checked on `tokens` rows, as pattern::reach and pattern::mend say.
StackReach reachOf(NumberedStack stack, int64_t tokens);

/// What describeReach gives, and {of_layers, misaligned, mend: {layer, add,
/// hops, pairs_per_head, checked_at} or null}.
llvm::json::Object describe(const StackReach &report);

/// In words, without line ends: the verdict; what is never reached, which is
/// empty where all is; the mend; a misalignment.
std::string verdictOf(const StackReach &report);
std::vector<std::string> describeMissing(const StackReach &report);
std::string describeMend(const StackReach &report);
std::string describe(const Misalignment &misalignment);

} // namespace mlir::megactx::pattern

#endif
