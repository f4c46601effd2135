//===- ConnectivityTest.cpp - reach against brute force -------------------===//

#include "megactx/Pattern/Connectivity.h"
#include "RandomPatterns.h"
#include "megactx/Pattern/Alignment.h"
#include "gtest/gtest.h"
#include <set>

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;

namespace {
using Pairs = std::set<std::pair<int64_t, int64_t>>;

/// The slow reference: pairs (row, position) and their composition.
struct Reference {
  int64_t n;
  std::vector<Pairs> layers;

  Pairs after(int64_t count) const {
    Pairs now;
    for (int64_t p = 0; p < n; ++p)
      now.insert({p, p});
    for (int64_t i = 0; i < count; ++i) {
      Pairs next = now;
      for (auto [p, k] : layers[i % layers.size()])
        for (int64_t j = 0; j < n; ++j)
          if (now.count({k, j}))
            next.insert({p, j});
      now = next;
    }
    return now;
  }
  Pairs goal() const {
    bool causal = true;
    for (const Pairs &layer : layers)
      for (auto [p, k] : layer)
        causal &= k <= p;
    Pairs all;
    for (int64_t p = 0; p < n; ++p)
      for (int64_t k = 0; k < (causal ? p + 1 : n); ++k)
        all.insert({p, k});
    return all;
  }
  Pairs missing(int64_t count) const {
    Pairs rest = goal();
    for (auto pair : after(count))
      rest.erase(pair);
    return rest;
  }
};

Reference referenceOf(llvm::ArrayRef<Sample> stack, int64_t n, int64_t heads) {
  Reference reference{n, {}};
  for (const Sample &sample : stack) {
    Pairs pairs;
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t p = 0; p < n; ++p)
        for (int64_t k = 0; k < n; ++k)
          if (sample.holds({p, k, h, n, 1}))
            pairs.insert({p, k});
    reference.layers.push_back(pairs);
  }
  return reference;
}

std::set<int64_t> positionsOf(llvm::ArrayRef<Span> spans) {
  std::set<int64_t> positions;
  for (const Span &span : spans)
    for (int64_t x = span.first; x <= span.last; ++x)
      if (!span.every || (x - span.first) % span.every < span.run)
        positions.insert(x);
  return positions;
}

/// Between the first and the last, evenly.
int64_t between(int64_t first, int64_t last, int64_t i, int64_t steps) {
  return steps ? first + (last - first) / steps * i : first;
}

/// The pairs that gaps and components say are missing.
Pairs described(const Reach &reach) {
  Pairs missing;
  std::vector<std::vector<int64_t>> members;
  for (const auto &component : reach.components) {
    std::set<int64_t> positions = positionsOf(component);
    for (int64_t p : positions)
      for (int64_t k = 0; k < (reach.causalGoal ? p + 1 : reach.rows); ++k)
        if (!positions.count(k))
          missing.insert({p, k});
    members.emplace_back(positions.begin(), positions.end());
  }
  for (const Gap &gap : reach.gaps) {
    const std::vector<int64_t> &at = members[gap.component];
    auto number = [&](int64_t x) {
      return std::lower_bound(at.begin(), at.end(), x) - at.begin();
    };
    int64_t begin = number(gap.rows.first),
            steps = number(gap.rows.last) - begin;
    for (int64_t i = 0; i <= steps; ++i) {
      Span keys = gap.ofFirst;
      keys.first = between(number(gap.ofFirst.first), number(gap.ofLast.first),
                           i, steps);
      keys.last =
          between(number(gap.ofFirst.last), number(gap.ofLast.last), i, steps);
      for (int64_t key : positionsOf(keys))
        EXPECT_TRUE(missing.insert({at[begin + i], at[key]}).second);
    }
  }
  return missing;
}

TEST(Reach, IsBruteForceOnRandomStacks) {
  int complete = 0, partial = 0;
  for (unsigned seed = 0; seed < 600 && !testing::Test::HasFailure(); ++seed) {
    Random random(seed);
    std::vector<Sample> stack(random.between(1, 2));
    std::vector<Layer> layers;
    int64_t n = random.between(0, 14), heads = random.between(1, 3);
    std::string texts;
    for (Sample &sample : stack) {
      sample = random.expression(1);
      texts += sample.text + "; ";
      layers.push_back({{{parsed(sample.text).formula(), 1}}, heads});
    }
    SCOPED_TRACE(texts + std::to_string(n) + " rows");
    Reference reference = referenceOf(stack, n, heads);
    // Nothing new can come after n layers of each.
    int64_t most = (n + 1) * stack.size(), hops = 0;
    while (hops <= most && !reference.missing(hops).empty())
      ++hops;
    int64_t asked = random.between(0, 4);
    Reach found = reach(layers, n, asked);
    EXPECT_EQ(found.hops.value_or(-1), hops > most ? -1 : hops);
    EXPECT_EQ(found.layers, asked);
    Pairs missing = reference.missing(asked);
    EXPECT_EQ(found.missingPairs, int64_t(missing.size()));
    EXPECT_EQ(found.reached, missing.empty());
    if (found.gapsLeftOut == 0)
      EXPECT_EQ(described(found), missing);
    Reach closed = reach(layers, n);
    EXPECT_EQ(closed.missingPairs, int64_t(reference.missing(most).size()));
    (found.reached ? complete : partial) += 1;
  }
  EXPECT_GT(complete, 50);
  EXPECT_GT(partial, 50);
}

TEST(Reach, SparseTransformersAndPyramids) {
  auto of = [](const char *text, int64_t heads = 1) {
    return reach(layerOf(parsed(text), heads), 2000);
  };
  EXPECT_EQ(of("causal and (window<left = 44, right = 0> or "
               "strided<stride = 45>)")
                .hops,
            2);
  EXPECT_EQ(of("causal and fixed<block = 50, count = 1>").hops, 2);
  EXPECT_EQ(of("pyramid<ratio = 8, windows = [2, 3]>").hops, 1);
  EXPECT_EQ(of("window<left = 100, right = 0>").hops, 20);
  Reach strided = of("causal and strided<stride = 3>");
  EXPECT_EQ(strided.hops, std::nullopt);
  EXPECT_EQ(strided.componentCount, 3);
  EXPECT_EQ(strided.missingPairs, strided.missingBetweenComponents);
  // Windows and strides as heads of their own reach as much.
  EXPECT_EQ(of("causal and per_head<[window<left = 44, right = 0>, "
               "strided<stride = 45>]>",
               2)
                .hops,
            2);
}

TEST(Reach, LongStacksAreCheckedAtFewerRows) {
  Reach found = reach(layerOf(parsed("causal"), 1), int64_t(1) << 30);
  EXPECT_EQ(found.rows, kMaxReachRows);
}

/// Aligned: gists fall on the same places of every period, or the other way.
bool isAligned(int64_t period, int64_t gist) {
  return period % gist == 0 || gist % period == 0;
}

TEST(Alignment, NearestIsNearest) {
  for (int64_t period = 1; period < 300; ++period) {
    auto found = misalignments(
        parsed("pyramid<ratio = 6, windows = [2, 2]> and strided<stride = " +
               std::to_string(period) + ">"));
    auto fits = [](int64_t x) { return isAligned(x, 6) && isAligned(x, 36); };
    ASSERT_EQ(found.empty(), fits(period)) << period;
    if (found.empty())
      continue;
    int64_t distance = 0;
    while (!fits(period + distance) && !fits(period - distance))
      ++distance;
    EXPECT_EQ(found[0].nearest,
              period + (fits(period + distance) ? distance : -distance));
    // Where the larger begins inside the smaller, up to the first place where
    // both begin.
    int64_t gist = found[0].gist;
    for (int64_t x = 1; x <= found[0].repeats; ++x) {
      bool crossed =
          x % std::max(period, gist) == 0 && x % std::min(period, gist) != 0;
      EXPECT_EQ(crossed,
                x % found[0].boundary == 0 && x % found[0].repeats != 0);
    }
  }
}

TEST(Alignment, NamesPeriodsOfEveryPattern) {
  auto periods = [](const std::string &text) {
    std::vector<int64_t> result;
    for (const Misalignment &m : misalignments(parsed(text), 32))
      result.push_back(m.period);
    return result;
  };
  using List = std::vector<int64_t>;
  EXPECT_EQ(periods("causal and window<left = 47, right = 0>"), List{});
  EXPECT_EQ(periods("strided<stride = 64> or block_local<block = 8>"), List{});
  EXPECT_EQ(periods("causal and (strided<stride = 48> or "
                    "block_local<block = 24>)"),
            (List{48, 24}));
  EXPECT_EQ(periods("fixed<block = 100, count = 4>"), List{100});
  EXPECT_EQ(periods("random<block = 33, count = 2, seed = 1> minus "
                    "dilated<left = 3, right = 0, dilation = 3>"),
            (List{33, 3}));
  EXPECT_EQ(periods("blocks<block = 20, row_ptr = [0, 1], col_idx = [0]>"),
            List{20});
}
/// What is added makes the stack reach its goal, in its own layers where that
/// can be, and nothing cheaper of what was tried does.
TEST(Mend, AddsWhatConnects) {
  struct {
    const char *text;
    int64_t layers;
    bool found;
  } cases[] = {
      {"causal and strided<stride = 8>", 2, true},
      {"strided<stride = 3>", 3, true},
      {"causal and block_local<block = 16>", 2, true},
      {"causal and window<left = 7, right = 0>", 2, true},
      {"causal and (window<left = 15, right = 0> or strided<stride = 16>)", 2,
       false},
      {"dense", 1, false}};
  for (const auto &[text, layers, found] : cases) {
    std::vector<Layer> stack(layers, layerOf(parsed(text), 2));
    std::optional<Mend> mended = mend(stack, 128);
    ASSERT_EQ(bool(mended), found) << text;
    if (!mended)
      continue;
    LayerSource &source = stack[mended->layer].sources[0];
    int64_t before = 0, after = 0;
    for (int64_t p = 0; p < 128; ++p)
      for (int64_t k = 0; k < 128; ++k) {
        Point point{p, k};
        before += source.formula.holds(point);
        after += (source.formula || mended->addition.formula()).holds(point);
      }
    EXPECT_EQ(after - before, mended->pairs) << text;
    source.formula = source.formula || mended->addition.formula();
    Reach then = reach(stack, 128);
    ASSERT_TRUE(then.hops) << text;
    EXPECT_EQ(*then.hops, mended->hops) << text;
    EXPECT_LE(mended->hops, layers) << text;
  }
}
} // namespace
