//===- Spans.h - sets of positions, described -------------------*- C++ -*-===//
//
// Owns the short description of sets of positions, and of sets that move with
// the row.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_SPANS_H
#define MEGACTX_LIB_PATTERN_SPANS_H

#include "megactx/Pattern/Connectivity.h"
#include "llvm/ADT/BitVector.h"

namespace mlir::megactx::pattern {

/// The set as spans; three or more even runs at even distances are one.
std::vector<Span> spansOf(const llvm::BitVector &set);

/// Collects rows with what they miss into gaps: neighbours whose spans move
/// evenly are described together.
class GapCollector {
public:
  explicit GapCollector(int64_t component) : component(component) {}
  /// Rows come in ascending order.
  void add(int64_t row, std::vector<Span> missing);
  std::vector<Gap> take();

private:
  bool extends(int64_t row, llvm::ArrayRef<Span> missing) const;
  void close();

  int64_t component;
  std::vector<Gap> gaps;
  /// The rows [begin, end) that are being collected, and what the first, the
  /// second and the last of them miss.
  int64_t begin = 0, end = 0;
  std::vector<Span> first, second, last;
};

} // namespace mlir::megactx::pattern

#endif
