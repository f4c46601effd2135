//===- Connectivity.cpp - what a stack of layers reaches ------------------===//

#include "megactx/Pattern/Connectivity.h"
#include "RowRuns.h"
#include "Spans.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir::megactx::pattern;
using llvm::BitVector;

Layer mlir::megactx::pattern::layerOf(const Pattern &pattern, int64_t heads) {
  Layer layer;
  layer.heads = heads;
  for (int64_t step : pattern.keySteps())
    layer.sources.push_back({pattern.formula(step), step});
  return layer;
}

namespace {
/// The tokens that each row of a layer sees, in any head.
std::vector<BitVector> adjacencyOf(const Layer &layer, int64_t rows) {
  std::vector<BitVector> seen(rows, BitVector(rows));
  for (const LayerSource &source : layer.sources) {
    int64_t step = source.keyStep;
    Rows at{rows, rows / step, 1, 0, step, step - 1};
    std::vector<RowRuns> heads;
    for (int64_t h = 0; h < layer.heads; ++h) {
      RowRuns head(source.formula, at, h);
      if (!llvm::is_contained(heads, head))
        heads.push_back(std::move(head));
    }
    for (RowRuns &head : heads)
      for (int64_t p = 0; p < rows; ++p)
        head.forEach(p, [&](int64_t begin, int64_t end) {
          seen[p].set(begin * step, end * step);
        });
  }
  return seen;
}

/// Applies layers to what rows have reached so far.
class Closure {
public:
  Closure(llvm::ArrayRef<Layer> stack, int64_t rows)
      : reached(rows, BitVector(rows)), changed(rows, 0), complete(rows),
        count(stack.size()) {
    for (auto [index, layer] : llvm::enumerate(stack)) {
      // Equal layers share what they see.
      size_t same = 0;
      while (!isSame(stack[same], layer))
        ++same;
      seen.push_back(same < index ? seen[same]
                                  : std::make_shared<std::vector<BitVector>>(
                                        adjacencyOf(layer, rows)));
    }
    for (int64_t p = 0; p < rows; ++p)
      reached[p].set(p);
    causal = llvm::all_of(seen, [](const auto &layer) {
      for (auto [p, keys] : llvm::enumerate(*layer))
        if (keys.find_last() > int64_t(p))
          return false;
      return true;
    });
    for (int64_t p = 0; p < rows; ++p)
      complete[p] = isComplete(p);
  }

  /// One more layer. False where it changed nothing.
  bool step();
  bool done() const { return complete.all(); }
  /// The layers that have been applied.
  int64_t layers() const { return round; }

  /// What row p should reach and has not.
  BitVector missing(int64_t p) const {
    BitVector rest(reached.size(), !causal);
    if (causal)
      rest.set(0, p + 1);
    return rest.reset(reached[p]);
  }
  bool isComplete(int64_t p) const {
    int gap = reached[p].find_first_unset();
    return gap < 0 || (causal && gap > p);
  }
  /// Numbers of sets of rows that no layer connects.
  llvm::IntEqClasses components() const;

  bool causal;

private:
  static bool isSame(const Layer &a, const Layer &b) {
    auto same = [](const LayerSource &s, const LayerSource &t) {
      return s.keyStep == t.keyStep && s.formula == t.formula;
    };
    return a.heads == b.heads && a.sources.size() == b.sources.size() &&
           std::equal(a.sources.begin(), a.sources.end(), b.sources.begin(),
                      same);
  }

  std::vector<std::shared_ptr<std::vector<BitVector>>> seen;
  std::vector<BitVector> reached;
  std::vector<int64_t> changed; ///< the last round that changed a row
  BitVector complete;
  int64_t round = 0, count;
};
} // namespace

bool Closure::step() {
  const std::vector<BitVector> &layer = *seen[round % count];
  int64_t before = round - count;
  ++round;
  // Rows that have not changed since this layer was last applied give nothing
  // new.
  BitVector fresh(reached.size());
  for (size_t k = 0; k < reached.size(); ++k)
    fresh[k] = changed[k] > before;
  std::vector<std::pair<size_t, BitVector>> rows;
  BitVector keys, row;
  for (size_t p = 0; p < reached.size(); ++p) {
    if (complete[p] || !layer[p].anyCommon(fresh))
      continue;
    keys = layer[p];
    keys &= fresh;
    row = reached[p];
    for (unsigned k : keys.set_bits())
      row |= reached[k];
    if (row != reached[p])
      rows.emplace_back(p, row);
  }
  for (auto &[p, row] : rows) {
    reached[p] = std::move(row);
    changed[p] = round;
    complete[p] = isComplete(p);
  }
  return !rows.empty();
}

llvm::IntEqClasses Closure::components() const {
  llvm::IntEqClasses classes(reached.size());
  for (const auto &layer : seen)
    for (auto [p, keys] : llvm::enumerate(*layer))
      for (unsigned k : keys.set_bits())
        classes.join(p, k);
  classes.compress();
  return classes;
}

/// What rows of one component miss within it, counted among its positions.
static std::vector<Gap> gapsOf(const Closure &closure, int64_t component,
                               llvm::ArrayRef<int64_t> positions) {
  GapCollector collector(component);
  for (auto [row, p] : llvm::enumerate(positions)) {
    BitVector missing = closure.missing(p), within(positions.size());
    for (auto [key, k] : llvm::enumerate(positions))
      within[key] = missing[k];
    collector.add(row, spansOf(within));
  }
  std::vector<Gap> gaps = collector.take();
  for (Gap &gap : gaps)
    for (Span *span : {&gap.rows, &gap.ofFirst, &gap.ofLast}) {
      span->first = positions[span->first];
      span->last = positions[span->last];
    }
  return gaps;
}

/// Describes what is missing now.
static void describe(const Closure &closure, Reach &reach) {
  reach.layers = closure.layers();
  reach.reached = closure.done();
  llvm::IntEqClasses classes = closure.components();
  reach.componentCount = classes.getNumClasses();
  std::vector<std::vector<int64_t>> members(reach.componentCount);
  for (int64_t p = 0; p < reach.rows; ++p)
    members[classes[p]].push_back(p);
  for (auto [index, positions] : llvm::enumerate(members)) {
    BitVector component(reach.rows);
    for (int64_t p : positions)
      component.set(p);
    if (reach.components.size() < kMaxComponents)
      reach.components.push_back(spansOf(component));
    for (int64_t p : positions) {
      BitVector missing = closure.missing(p);
      reach.missingPairs += missing.count();
      reach.missingBetweenComponents += missing.reset(component).count();
    }
    for (const Gap &gap : gapsOf(closure, index, positions)) {
      if (reach.gaps.size() < kMaxGaps)
        reach.gaps.push_back(gap);
      else
        ++reach.gapsLeftOut;
    }
  }
}

Reach mlir::megactx::pattern::reach(llvm::ArrayRef<Layer> stack, int64_t tokens,
                                    std::optional<int64_t> layers) {
  Reach result;
  result.rows = std::min(tokens, kMaxReachRows);
  Closure closure(stack, result.rows);
  result.causalGoal = closure.causal;
  bool described = false;
  // Nothing changes any more once no layer of the stack changes anything.
  int64_t idle = 0;
  while (true) {
    if (layers && closure.layers() == *layers) {
      describe(closure, result);
      described = true;
    }
    if (closure.done() || idle == int64_t(stack.size()))
      break;
    idle = closure.step() ? 0 : idle + 1;
  }
  if (closure.done())
    result.hops = closure.layers();
  if (!described) {
    describe(closure, result);
    result.layers = layers.value_or(closure.layers() - idle);
  }
  return result;
}
