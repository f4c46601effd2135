//===- Connectivity.h - what a stack of layers reaches ----------*- C++ -*-===//
//
// Owns the question how far information travels through layers of sparse
// attention. A layer lets a row see the keys of its pattern, in any head, and
// itself (the residual connection); the next layer sees what those rows saw.
// The Sparse Transformer's criterion (arXiv:1904.10509, section 4.1) is that
// after some layers every row has seen every position of the past.
//
// Answers are exact at the rows at which they are checked: sets of positions
// are multiplied as Boolean matrices. They say nothing of other lengths.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_CONNECTIVITY_H
#define MEGACTX_PATTERN_CONNECTIVITY_H

#include "megactx/Pattern/Pattern.h"

namespace mlir::megactx::pattern {

/// Longer stacks of rows are checked at this many.
constexpr int64_t kMaxReachRows = 4096;

/// Keys of one layer. A key row every `keyStep` tokens is a gist: it stands at
/// the last of its tokens, and who sees it sees all of them.
struct LayerSource {
  Formula formula;
  int64_t keyStep = 1;
};
struct Layer {
  std::vector<LayerSource> sources;
  int64_t heads = 1;
};

/// The layer of a pattern, with a source for each of its key steps.
Layer layerOf(const Pattern &pattern, int64_t heads);

/// Positions: `run` ones from `first` on, again `every` so many, up to `last`.
struct Span {
  int64_t first, last;
  int64_t every = 0, run = 0; ///< 0: all from first to last
  bool operator==(const Span &o) const {
    return first == o.first && last == o.last && every == o.every &&
           run == o.run;
  }
};

/// Rows that do not reach keys of their own component. Everything is counted
/// among the positions of the component alone: of its rows from `rows.first` to
/// `rows.last`, the first does not reach `ofFirst`, the last not `ofLast`, and
/// in between the ends of the keys move evenly from row to row.
struct Gap {
  int64_t component;
  Span rows, ofFirst, ofLast;
};

struct Reach {
  int64_t rows;    ///< checked, tokens
  bool causalGoal; ///< every past position, else every position
  /// Layers after which every row reaches what it should; nothing where no
  /// number of layers does.
  std::optional<int64_t> hops;
  /// Layers that were asked for, or after which nothing changes any more. The
  /// rest is what holds then.
  int64_t layers;
  bool reached;
  int64_t missingPairs = 0;
  int64_t missingBetweenComponents = 0;
  /// What is missing within components, the first kMaxGaps; `gapsLeftOut` more.
  std::vector<Gap> gaps;
  int64_t gapsLeftOut = 0;
  /// Sets of positions between which no layer leads, either way; the first
  /// kMaxComponents of `componentCount`.
  std::vector<std::vector<Span>> components;
  int64_t componentCount = 0;
};
constexpr size_t kMaxGaps = 16, kMaxComponents = 16;

/// How far `stack` reaches on `tokens` rows (at most kMaxReachRows) after
/// `layers` of it, taken from the first on and over again; without `layers`,
/// after any number. The goal is every past position where no layer sees the
/// future, else every position.
Reach reach(llvm::ArrayRef<Layer> stack, int64_t tokens,
            std::optional<int64_t> layers = std::nullopt);

/// A relation that one layer of a stack gets as well.
struct Mend {
  size_t layer;
  Pattern addition;
  int64_t hops;  ///< layers that the stack then takes to reach its goal
  int64_t pairs; ///< that it adds in each head, at the rows that were checked
};

/// The least of a few additions (windows, columns, global keys; what the future
/// holds left out where no layer sees it) with which `stack` reaches its goal:
/// the one with the fewest pairs that takes no more layers than there are;
/// where none is, that with the fewest hops. Nothing where the stack reaches
/// its goal in its layers, or no addition makes it. Checked on `tokens` rows,
/// at most kMaxMendRows. A layer gets it in its source of key step 1.
constexpr int64_t kMaxMendRows = 512;
std::optional<Mend> mend(llvm::ArrayRef<Layer> stack, int64_t tokens);

} // namespace mlir::megactx::pattern

#endif
