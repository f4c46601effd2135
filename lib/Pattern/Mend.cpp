//===- Mend.cpp - what connects layers that are not connected -------------===//

#include "megactx/Pattern/Connectivity.h"
#include "megactx/Pattern/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <limits>

using namespace mlir::megactx::pattern;

/// Relations that are worth trying, as text. What connects residues of a stride
/// is a window, or columns, of its period; what connects distant blocks is a
/// column of each, or a few keys that all see. None that would hold for most
/// pairs of so many rows.
static std::vector<Pattern> additions(bool causal, int64_t tokens) {
  std::vector<Pattern> result;
  auto add = [&](const std::string &text) {
    std::string whole = (causal ? "causal and " : "") + text;
    if (auto pattern =
            Pattern::parse(whole, [](size_t, const llvm::Twine &) {}))
      result.push_back(*pattern);
  };
  for (int64_t size = 1; size <= std::min<int64_t>(128, tokens / 2);
       size *= 2) {
    add(llvm::formatv("window<left = {0}, right = {1}>", size,
                      causal ? 0 : size));
    if (size > 1)
      add(llvm::formatv("columns<block = {0}, first = {1}, count = 1>", size,
                        size - 1));
  }
  add("global_keys<first = 1>");
  if (!causal)
    add("global_keys<first = 1> or global_queries<first = 1>");
  return result;
}

/// Pairs of the relation that the formula does not hold yet.
static int64_t pairsAdded(const Formula &formula, const Formula &addition,
                          int64_t tokens) {
  std::string error;
  auto pieces = expand(addition.minus(formula), error);
  auto counts =
      pieces ? countPairsPerHead(*pieces, {tokens, tokens}, 1) : std::nullopt;
  return counts ? counts->front() : std::numeric_limits<int64_t>::max();
}

/// The source of tokens, or null.
static const LayerSource *tokensOf(const Layer &layer) {
  for (const LayerSource &source : layer.sources)
    if (source.keyStep == 1)
      return &source;
  return nullptr;
}

/// Every addition to every layer, those with the fewest pairs first.
static std::vector<Mend> candidates(llvm::ArrayRef<Layer> stack, bool causal,
                                    int64_t tokens) {
  std::vector<Mend> result;
  for (const Pattern &addition : additions(causal, tokens))
    for (auto [index, layer] : llvm::enumerate(stack))
      if (const LayerSource *source = tokensOf(layer))
        result.push_back(
            {index, addition, 0,
             pairsAdded(source->formula, addition.formula(), tokens)});
  llvm::stable_sort(
      result, [](const Mend &a, const Mend &b) { return a.pairs < b.pairs; });
  return result;
}

std::optional<Mend> mlir::megactx::pattern::mend(llvm::ArrayRef<Layer> stack,
                                                 int64_t tokens) {
  tokens = std::min(tokens, kMaxMendRows);
  const int64_t depth = stack.size();
  Reach now = reach(stack, tokens);
  if (now.hops && *now.hops <= depth)
    return std::nullopt;
  std::optional<Mend> best;
  for (Mend &candidate : candidates(stack, now.causalGoal, tokens)) {
    std::vector<Layer> changed(stack);
    Layer &layer = changed[candidate.layer];
    LayerSource &source = layer.sources[tokensOf(layer) - layer.sources.data()];
    source.formula = source.formula || candidate.addition.formula();
    Reach then = reach(changed, tokens);
    if (!then.hops)
      continue;
    candidate.hops = *then.hops;
    if (candidate.hops <= depth)
      return candidate;
    if (!best || candidate.hops < best->hops)
      best = candidate;
  }
  if (best && now.hops && best->hops >= *now.hops)
    return std::nullopt;
  return best;
}
