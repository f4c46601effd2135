//===- RandomPatterns.h - patterns with a second meaning --------*- C++ -*-===//
//
// Owns random patterns for property tests. Each comes as text and as a
// predicate that is written down once more, straight from the definition, and
// shares nothing with the library.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_UNIT_PATTERN_RANDOMPATTERNS_H
#define MEGACTX_TEST_UNIT_PATTERN_RANDOMPATTERNS_H

#include "megactx/Pattern/Piece.h"
#include "megactx/Pattern/Rows.h"
#include <functional>
#include <random>

namespace mlir::megactx::pattern::test {

/// An element: positions of query and key, the head, one past the last key.
struct Element {
  int64_t p, k, h, keyEnd, keyStep;
};

struct Sample {
  std::string text;
  std::function<bool(const Element &)> holds;
};

class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}
  int64_t between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  }
  int64_t oneOf(std::initializer_list<int64_t> values) {
    return values.begin()[between(0, values.size() - 1)];
  }

  Rows rows();
  /// A name with arguments; without `tests` none whose relation is opaque.
  Sample named(bool tests = true);
  Sample expression(int depth, bool tests = true);

private:
  Sample perHead(int depth, bool tests);
  std::mt19937 engine;
};

/// Parses what must be a pattern.
Pattern parsed(const std::string &text);
std::vector<Piece> piecesOf(const Formula &formula);

/// Calls `visit(Point, Element)` for all rows and `heads` heads.
void forAll(const Rows &rows, int64_t heads,
            llvm::function_ref<void(const Point &, const Element &)> visit);

/// Sizes and offsets, for messages.
std::string describe(const Rows &rows);

} // namespace mlir::megactx::pattern::test

#endif
