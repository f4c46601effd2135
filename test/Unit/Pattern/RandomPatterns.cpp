//===- RandomPatterns.cpp - patterns with a second meaning ----------------===//

#include "RandomPatterns.h"
#include "llvm/ADT/Twine.h"
#include "gtest/gtest.h"
#include <algorithm>

using namespace mlir::megactx::pattern;
using namespace mlir::megactx::pattern::test;
using llvm::Twine;

static int64_t floorOf(int64_t a, int64_t b) {
  return (a - ((a % b + b) % b)) / b;
}
static int64_t modOf(int64_t a, int64_t b) { return (a % b + b) % b; }

Rows Random::rows() {
  Rows rows;
  rows.queries = between(0, 20);
  rows.keys = between(0, 20);
  rows.queryStep = oneOf({1, 1, 1, 2, 3, 4});
  rows.keyStep = oneOf({1, 1, 1, 2, 3, 4});
  rows.queryOffset = oneOf({0, 0, between(0, 60), rows.queryStep - 1});
  rows.keyOffset = oneOf({0, 0, between(0, 30), rows.keyStep - 1});
  return rows;
}

//===----------------------------------------------------------------------===//
// Named patterns
//===----------------------------------------------------------------------===//

static Sample window(Random &r) {
  int64_t left = r.oneOf({-1, 0, 1, 3, 7}), right = r.oneOf({-1, 0, 2, 5});
  return {("window<left = " + Twine(left) + ", right = " + Twine(right) + ">")
              .str(),
          [=](const Element &e) {
            return (left < 0 || e.k >= e.p - left) &&
                   (right < 0 || e.k <= e.p + right);
          }};
}

static Sample strided(Random &r) {
  int64_t stride = r.oneOf({1, 2, 3, 5, 8, 5000});
  return {("strided<stride = " + Twine(stride) + ">").str(),
          [=](const Element &e) { return modOf(e.p - e.k, stride) == 0; }};
}

static Sample dilated(Random &r) {
  int64_t left = r.oneOf({-1, 0, 2, 4}), right = r.oneOf({-1, 0, 3});
  int64_t step = r.between(1, 4);
  return {("dilated<left = " + Twine(left) + ", right = " + Twine(right) +
           ", dilation = " + Twine(step) + ">")
              .str(),
          [=](const Element &e) {
            int64_t distance = e.k - e.p;
            return distance % step == 0 &&
                   (left < 0 || distance >= -left * step) &&
                   (right < 0 || distance <= right * step);
          }};
}

static Sample blockLocal(Random &r) {
  int64_t block = r.between(1, 9);
  int64_t left = r.oneOf({-1, 0, 0, 2}), right = r.oneOf({-1, 0, 0, 1});
  return {("block_local<block = " + Twine(block) + ", left = " + Twine(left) +
           ", right = " + Twine(right) + ">")
              .str(),
          [=](const Element &e) {
            int64_t distance = floorOf(e.k, block) - floorOf(e.p, block);
            return (left < 0 || distance >= -left) &&
                   (right < 0 || distance <= right);
          }};
}

static Sample columns(Random &r) {
  int64_t block = r.oneOf({1, 2, 3, 4, 8, 5000});
  int64_t first = r.between(0, std::min<int64_t>(block - 1, 9));
  int64_t count = r.between(0, std::min<int64_t>(block - first, 9));
  return {("columns<block = " + Twine(block) + ", first = " + Twine(first) +
           ", count = " + Twine(count) + ">")
              .str(),
          [=](const Element &e) {
            int64_t digit = modOf(e.k, block);
            return first <= digit && digit < first + count;
          }};
}

static Sample fixed(Random &r) {
  int64_t block = r.between(1, 9), count = r.between(1, block);
  int64_t slots = block / count;
  bool byHead = r.between(0, 1);
  int64_t slot = r.between(0, slots - 1);
  std::string slotText = byHead ? "head" : std::to_string(slot);
  return {("fixed<block = " + Twine(block) + ", count = " + Twine(count) +
           ", slot = " + slotText + ">")
              .str(),
          [=](const Element &e) {
            int64_t u = byHead ? e.h % slots : slot;
            int64_t digit = modOf(e.k, block);
            return floorOf(e.p, block) == floorOf(e.k, block) ||
                   (digit >= block - count * (u + 1) &&
                    digit < block - count * u);
          }};
}

/// A grid of one to three axes.
static Sample neighborhood(Random &r) {
  int64_t height = r.between(1, 4), width = r.between(1, 5);
  int64_t frames = r.oneOf({0, 0, 0, 1}), rows = r.between(0, 1),
          columns = r.between(0, 3), first = r.oneOf({0, 0, 1, 4});
  bool isVolume = r.between(0, 1);
  std::string sizes = std::to_string(width),
              radii = std::to_string(rows) + ", " + std::to_string(columns);
  if (isVolume) {
    sizes = std::to_string(height) + ", " + sizes;
    radii = std::to_string(frames) + ", " + radii;
  }
  return {("neighborhood<grid = [" + Twine(sizes) + "], radii = [" + radii +
           "], first = " + Twine(first) + ">")
              .str(),
          [=](const Element &e) {
            int64_t p = e.p - first, k = e.k - first;
            if (p < 0 || k < 0)
              return false;
            auto apart = [&](int64_t step, int64_t size) {
              return std::abs(p / step % size - k / step % size);
            };
            constexpr int64_t open = int64_t(1) << 40;
            return apart(1, width) <= columns &&
                   apart(width, isVolume ? height : open) <= rows &&
                   (!isVolume || apart(width * height, open) <= frames);
          }};
}

static Sample global(Random &r, bool tests) {
  bool ofKeys = r.between(0, 1);
  std::string name = ofKeys ? "global_keys" : "global_queries";
  if (!tests || r.between(0, 1)) {
    int64_t first = r.between(0, 9);
    return {(name + "<first = " + Twine(first) + ">").str(),
            [=](const Element &e) { return (ofKeys ? e.k : e.p) < first; }};
  }
  int64_t a = r.between(0, 30), b = r.between(0, 30);
  return {(name + "<indices = [" + Twine(a) + ", " + Twine(b) + "]>").str(),
          [=](const Element &e) {
            int64_t x = ofKeys ? e.k : e.p;
            return x == a || x == b;
          }};
}

static Sample recent(Random &r) {
  int64_t count = r.between(0, 9);
  return {("recent_keys<count = " + Twine(count) + ">").str(),
          [=](const Element &e) { return e.k >= e.keyEnd - count; }};
}

static Sample pyramid(Random &r) {
  int64_t ratio = r.between(2, 4), w0 = r.between(0, 3), w1 = r.between(0, 3);
  return {("pyramid<ratio = " + Twine(ratio) + ", windows = [" + Twine(w0) +
           ", " + Twine(w1) + "]>")
              .str(),
          [=](const Element &e) {
            int64_t a[4] = {e.p + 1, 0, 0, 0}, step = ratio;
            for (int level = 0; level < 2; ++level, step *= ratio)
              a[level + 1] =
                  step * std::max<int64_t>(0, floorOf(a[level], step) -
                                                  (level ? w1 : w0));
            step = 1;
            for (int level = 0; level < 3; ++level, step *= ratio)
              if (step == e.keyStep)
                return a[level + 1] <= e.k && e.k < a[level];
            return false;
          }};
}

static uint32_t mix(uint32_t seed, uint32_t a, uint32_t b) {
  uint32_t x = seed ^ (a * 0x9E3779B1u) ^ (b * 0x85EBCA77u);
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return (x ^ (x >> 16)) / 2;
}

static Sample randomBlocks(Random &r) {
  int64_t block = r.between(1, 5), count = r.between(1, 4);
  int64_t seed = r.between(0, 99);
  return {("random<block = " + Twine(block) + ", count = " + Twine(count) +
           ", seed = " + Twine(seed) + ">")
              .str(),
          [=](const Element &e) {
            int64_t blocks = floorOf(e.keyEnd + block - 1, block);
            if (blocks <= count)
              return true;
            for (int64_t s = 0; s < count; ++s) {
              int64_t begin = s * blocks / count;
              int64_t end = (s + 1) * blocks / count;
              if (e.k / block ==
                  begin + mix(seed, e.p / block, s) % (end - begin))
                return true;
            }
            return false;
          }};
}

static Sample blockTable(Random &r) {
  int64_t block = r.between(1, 6);
  // Query block 0: key block 0; 1: 0 and 2; 2: 1.
  return {("blocks<block = " + Twine(block) +
           ", row_ptr = [0, 1, 3, 4], col_idx = [0, 0, 2, 1]>")
              .str(),
          [=](const Element &e) {
            int64_t row = floorOf(e.p, block), column = floorOf(e.k, block);
            return (row == 0 && column == 0) ||
                   (row == 1 && (column == 0 || column == 2)) ||
                   (row == 2 && column == 1);
          }};
}

namespace {
struct Number {
  std::string text;
  std::function<int64_t(const Element &)> of;
};
} // namespace

static Number number(Random &r, int depth) {
  int64_t kind = r.between(0, depth ? 10 : 4), c = r.between(1, 6);
  if (kind < 2)
    return {"p", [](const Element &e) { return e.p; }};
  if (kind < 4)
    return {"k", [](const Element &e) { return e.k; }};
  if (kind == 4)
    return r.between(0, 3) ? Number{std::to_string(c - 3),
                                    [=](const Element &) { return c - 3; }}
                           : Number{"h", [](const Element &e) { return e.h; }};
  Number a = number(r, depth - 1);
  std::string left = "(" + a.text + ") ", right = " " + std::to_string(c);
  if (kind == 5)
    return {left + "*" + right, [=](const Element &e) { return a.of(e) * c; }};
  if (kind == 6)
    return {left + "floordiv" + right,
            [=](const Element &e) { return floorOf(a.of(e), c); }};
  if (kind == 7)
    return {left + "mod" + right,
            [=](const Element &e) { return modOf(a.of(e), c); }};
  Number b = number(r, depth - 1);
  if (kind == 8)
    return {"max(" + a.text + ", " + b.text + ")",
            [=](const Element &e) { return std::max(a.of(e), b.of(e)); }};
  return kind == 9 ? Number{left + "+ (" + b.text + ")",
                            [=](const Element &e) { return a.of(e) + b.of(e); }}
                   : Number{left + "- (" + b.text + ")", [=](const Element &e) {
                              return a.of(e) - b.of(e);
                            }};
}

static Sample where(Random &r) {
  Number a = number(r, 2), b = number(r, 2);
  switch (r.between(0, 3)) {
  case 0:
    return {"where<condition = " + a.text + " lt " + b.text + ">",
            [=](const Element &e) { return a.of(e) < b.of(e); }};
  case 1:
    return {"where<condition = " + a.text + " ge " + b.text + ">",
            [=](const Element &e) { return a.of(e) >= b.of(e); }};
  case 2:
    return {"where<condition = in([0, 2, 5], " + a.text + ")>",
            [=](const Element &e) {
              int64_t x = a.of(e);
              return x == 0 || x == 2 || x == 5;
            }};
  default:
    return {"where<condition = not(" + a.text + " ne " + b.text + ")>",
            [=](const Element &e) { return a.of(e) == b.of(e); }};
  }
}

Sample Random::named(bool tests) {
  switch (between(0, tests ? 16 : 11)) {
  case 0:
    return {"dense", [](const Element &) { return true; }};
  case 1:
    return {"causal", [](const Element &e) { return e.k <= e.p; }};
  case 2:
  case 3:
    return window(*this);
  case 4:
    return strided(*this);
  case 5:
    return dilated(*this);
  case 6:
    return blockLocal(*this);
  case 7:
    return columns(*this);
  case 8:
    return fixed(*this);
  case 9:
    return pyramid(*this);
  case 10:
    return recent(*this);
  case 11:
    return neighborhood(*this);
  case 12:
    return randomBlocks(*this);
  case 13:
    return blockTable(*this);
  case 14:
  case 15:
    return where(*this);
  default:
    return global(*this, tests);
  }
}

//===----------------------------------------------------------------------===//
// Compound patterns
//===----------------------------------------------------------------------===//

Sample Random::perHead(int depth, bool tests) {
  Sample a = expression(depth, tests), b = expression(depth, tests);
  if (between(0, 1))
    return {
        "per_head<[" + a.text + ", " + b.text + "]>",
        [=](const Element &e) { return e.h % 2 ? b.holds(e) : a.holds(e); }};
  return {"per_head<0-1: " + a.text + ", 2-: " + b.text + ">",
          [=](const Element &e) { return e.h < 2 ? a.holds(e) : b.holds(e); }};
}

Sample Random::expression(int depth, bool tests) {
  int64_t kind = between(0, 9);
  if (depth == 0 || kind < 2)
    return named(tests);
  if (kind == 9)
    return perHead(depth - 1, tests);
  Sample a = expression(depth - 1, tests), b = expression(depth - 1, tests);
  std::string left = "(" + a.text + ")", right = "(" + b.text + ")";
  if (kind < 5)
    return {left + " or " + right,
            [=](const Element &e) { return a.holds(e) || b.holds(e); }};
  if (kind < 7)
    return {left + " and " + right,
            [=](const Element &e) { return a.holds(e) && b.holds(e); }};
  return {left + " minus " + right,
          [=](const Element &e) { return a.holds(e) && !b.holds(e); }};
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

Pattern mlir::megactx::pattern::test::parsed(const std::string &text) {
  auto pattern = Pattern::parse(text, [&](size_t, const Twine &message) {
    ADD_FAILURE() << text << ": " << message.str();
  });
  return pattern.value_or(Pattern());
}

std::vector<Piece>
mlir::megactx::pattern::test::piecesOf(const Formula &formula) {
  std::string error;
  auto pieces = expand(formula, error);
  EXPECT_TRUE(pieces) << error;
  return pieces.value_or(std::vector<Piece>());
}

void mlir::megactx::pattern::test::forAll(
    const Rows &rows, int64_t heads,
    llvm::function_ref<void(const Point &, const Element &)> visit) {
  auto symbol = [&](llvm::StringRef) { return rows.keyEnd(); };
  Point point;
  point.symbol = symbol;
  for (point.h = 0; point.h < heads; ++point.h)
    for (int64_t i = 0; i < rows.queries; ++i)
      for (int64_t j = 0; j < rows.keys; ++j) {
        point.p = rows.query(i);
        point.k = rows.key(j);
        visit(point, {point.p, point.k, point.h, rows.keyEnd(), rows.keyStep});
      }
}

std::string mlir::megactx::pattern::test::describe(const Rows &rows) {
  return (Twine(rows.queries) + " queries at step " + Twine(rows.queryStep) +
          ", offset " + Twine(rows.queryOffset) + "; " + Twine(rows.keys) +
          " keys at step " + Twine(rows.keyStep) + ", offset " +
          Twine(rows.keyOffset))
      .str();
}
