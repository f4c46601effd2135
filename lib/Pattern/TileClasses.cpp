//===- TileClasses.cpp - full, partial and empty tiles --------------------===//
//
// A row of tiles is classified by the bounds of its rows. Bounds are minima and
// maxima of leaves, and some number of rows of tiles further every leaf has
// grown by whole tiles: while no two leaves that grow apart come close to each
// other, the number of tiles of a class grows evenly, and its sum is a series.
// Where leaves cross, rows of tiles are looked at one by one.
//
//===----------------------------------------------------------------------===//

#include "megactx/Pattern/TileClasses.h"
#include "Bounds.h"
#include "TestRuns.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>

using namespace mlir::megactx::pattern;

namespace {
int64_t ceilDivide(int64_t a, int64_t b) { return -floorDivide(-a, b); }

/// Tiles that are full, and that are not empty.
struct Counts {
  Wide full = 0, reached = 0;
  Counts operator+(const Counts &o) const {
    return {full + o.full, reached + o.reached};
  }
};

/// A piece's bounds, ready to be evaluated many times.
struct PieceBounds {
  explicit PieceBounds(const PieceRows &piece)
      : bounds(piece.lo, piece.hi), lower(piece.greatestLo()),
        upper(piece.leastHi()) {
    for (const Expr &leaf : bounds.getLeaves()) {
      leaves.emplace_back(leaf);
      ascending &= ascends(leaf);
    }
    period =
        bounds.period(piece.rows.queryStep, piece.queryPeriod, piece.keyPeriod);
  }

  static bool ascends(const Expr &e) {
    switch (e.kind()) {
    case Expr::Kind::Mul:
      if (e.value() < 0)
        return false;
      [[fallthrough]];
    case Expr::Kind::Add:
    case Expr::Kind::FloorDiv:
      return llvm::all_of(e.args(), ascends);
    default:
      return e.args().empty();
    }
  }

  Bounds bounds;
  FlatExpr lower, upper;
  std::vector<FlatExpr> leaves;
  bool ascending = true; ///< every leaf, not only the bounds
  int64_t period;        ///< rows; see Bounds::period
};

/// The tiles of one view of a piece.
class ViewTiles {
public:
  ViewTiles(const PieceRows &piece, PieceBounds &bounds,
            const PieceRows::View &view, TileShape shape, Budget &budget)
      : piece(piece), bounds(bounds), view(view), shape(shape), budget(budget) {
  }

  std::optional<TileClasses> count() {
    if (view.queries.size() == 0)
      return TileClasses();
    first = view.queries.rank(piece.rowBegin);
    int64_t count = view.queries.rank(piece.rowEnd) - first;
    keyTiles = ceilDivide(keys = view.keys.rank(piece.rows.keys), shape.keys);
    if (count <= 0 || keyTiles == 0)
      return TileClasses();
    int64_t whole = count / shape.queries, rest = count % shape.queries;
    int64_t period = std::min(tilePeriod(whole), whole);
    Counts total;
    for (int64_t u = 0; u < period && !budget.spent(); ++u)
      total = total + sumSeries(u, period, (whole - u + period - 1) / period);
    if (rest)
      total = total + countsAt(whole, rest);
    if (budget.spent())
      return std::nullopt;
    TileClasses tiles;
    tiles.full = piece.piece.test ? 0 : int64_t(total.full);
    tiles.partial = int64_t(total.reached) - tiles.full;
    tiles.empty = (whole + (rest > 0)) * keyTiles - tiles.full - tiles.partial;
    return tiles;
  }

private:
  /// The view's keys that a row sees: [lo, hi), none where hi <= lo.
  struct Span {
    int64_t row, lo, hi;
  };

  int64_t positionOf(int64_t row) const {
    return piece.rows.query(view.queries.unrank(first + row));
  }
  Span spanOf(int64_t row) {
    budget.spend();
    int64_t p = positionOf(row);
    return {row, view.keys.rank(bounds.lower.atRow(p)),
            view.keys.rank(bounds.upper.atRow(p))};
  }

  Counts countsAt(int64_t tile, int64_t rows) {
    int64_t begin = tile * shape.queries;
    Span top = spanOf(begin), bottom = spanOf(begin + rows - 1);
    // Bounds do not descend: all rows see the keys [bottom.lo, top.hi).
    int64_t from = ceilDivide(bottom.lo, shape.keys);
    int64_t to = top.hi == keys ? keyTiles : floorDivide(top.hi, shape.keys);
    int64_t next = 0;
    int64_t reached = reachedBy(top, bottom, next);
    return {std::max<int64_t>(0, to - from), reached};
  }

  /// Tiles from `next` on that have a pair in the rows from top to bottom;
  /// `next` moves behind them.
  int64_t reachedBy(const Span &top, const Span &bottom, int64_t &next) {
    int64_t begin = floorDivide(top.lo, shape.keys);
    int64_t end = ceilDivide(bottom.hi, shape.keys);
    if (bottom.hi <= top.lo || end <= next || budget.spent())
      return 0;
    // Each row sees the key bottom.lo; or each tile has a row at an end.
    bool some = top.lo < top.hi, more = bottom.lo < bottom.hi;
    if (bottom.lo < top.hi || (end - begin == 1 && (some || more)) ||
        (end - begin == 2 && some && more)) {
      begin = std::max(begin, next);
      next = end;
      return end - begin;
    }
    int64_t middle = top.row + (bottom.row - top.row) / 2;
    if (bottom.row - top.row < 2)
      return reachedBy(top, top, next) + reachedBy(bottom, bottom, next);
    Span above = spanOf(middle), below = spanOf(middle + 1);
    int64_t reached = reachedBy(top, above, next);
    return reached + reachedBy(below, bottom, next);
  }

  /// Rows of tiles after which every leaf has grown by whole tiles; `whole` or
  /// more where that does not help.
  int64_t tilePeriod(int64_t whole) {
    if (!bounds.ascending || bounds.period >= kNoPeriod || whole < 4)
      return whole;
    Wide rows = Wide(bounds.period / piece.queryPeriod) * view.queries.size();
    Wide factor = shape.queries / std::gcd(int64_t(rows), shape.queries);
    for (FlatExpr &leaf : bounds.leaves) {
      int64_t growth = rankAt(leaf, int64_t(rows)) - rankAt(leaf, 0);
      int64_t tiles = shape.keys / std::gcd(growth, shape.keys);
      factor = factor / std::gcd(int64_t(factor), tiles) * tiles;
      if (rows * factor / shape.queries >= whole)
        return whole;
    }
    return int64_t(rows * factor / shape.queries);
  }

  int64_t rankAt(FlatExpr &leaf, int64_t row) {
    return view.keys.rank(leaf.atRow(positionOf(row)));
  }

  /// Of the rows of tiles u + period * s, s < length.
  Counts sumSeries(int64_t u, int64_t period, int64_t length) {
    auto at = [&](int64_t s) {
      return countsAt(u + period * s, shape.queries);
    };
    Counts total;
    int64_t done = 0;
    auto evenlyUntil = [&](int64_t end) {
      if (done >= end)
        return;
      Counts a = at(done), b = end - done == 1 ? a : at(end - 1);
      total.full += (a.full + b.full) * (end - done) / 2;
      total.reached += (a.reached + b.reached) * (end - done) / 2;
      done = end;
    };
    std::vector<std::pair<int64_t, int64_t>> crossings =
        length < 4 ? decltype(crossings){{0, length}}
                   : crossingsOf(u, period, length);
    for (auto [begin, end] : crossings) {
      evenlyUntil(begin);
      for (; done < end && !budget.spent(); ++done)
        total = total + at(done);
    }
    evenlyUntil(length);
    return total;
  }

  /// Sorted ranges of s in which two leaves that grow apart may be within two
  /// tiles of each other in some rows.
  std::vector<std::pair<int64_t, int64_t>>
  crossingsOf(int64_t u, int64_t period, int64_t length) {
    struct Line {
      int64_t low, high, growth; ///< in the first and in the last row
    };
    std::vector<Line> lines;
    int64_t begin = u * shape.queries, last = begin + shape.queries - 1;
    for (FlatExpr &leaf : bounds.leaves) {
      int64_t low = rankAt(leaf, begin);
      lines.push_back({low, rankAt(leaf, last),
                       rankAt(leaf, begin + period * shape.queries) - low});
      budget.spend();
    }
    std::vector<std::pair<int64_t, int64_t>> result;
    for (const Line &fast : lines)
      for (const Line &slow : lines) {
        int64_t slope = fast.growth - slow.growth;
        if (slope <= 0)
          continue;
        int64_t margin = 2 * shape.keys;
        int64_t from = ceilDivide(slow.low - fast.high - margin, slope);
        int64_t to = floorDivide(slow.high - fast.low + margin, slope) + 1;
        from = std::clamp<int64_t>(from, 0, length);
        to = std::clamp<int64_t>(to, 0, length);
        // Also where that is no s at all: their order changes there.
        result.push_back({from, to});
      }
    llvm::sort(result);
    return result;
  }

  const PieceRows &piece;
  PieceBounds &bounds;
  const PieceRows::View &view;
  TileShape shape;
  Budget &budget;
  int64_t first = 0;              ///< the piece's first row in the view
  int64_t keys = 0, keyTiles = 0; ///< of the view
};

/// The tiles of a piece whose test is the same for blocks of rows and of keys:
/// rows of tiles one by one, with the keys for which it holds.
class TestedTiles {
public:
  TestedTiles(const PieceRows &piece, TileShape shape, Budget &budget)
      : piece(piece), shape(shape), budget(budget),
        test(piece, piece.bind(piece.piece.test), budget),
        lower(piece.greatestLo()), upper(piece.leastHi()),
        keyTiles(ceilDivide(piece.rows.keys, shape.keys)) {}

  std::optional<TileClasses> count() {
    TileClasses tiles;
    for (int64_t row = piece.rowBegin; row < piece.rowEnd && budget.spend();
         row += shape.queries) {
      rowOfTiles(row, std::min(row + shape.queries, piece.rowEnd));
      tiles.full += sizeOf(full);
      tiles.partial += sizeOf(reached) - sizeOf(full);
      tiles.empty += keyTiles - sizeOf(reached);
    }
    return budget.spent() ? std::nullopt : std::optional(tiles);
  }

private:
  using Runs = TestRuns::Runs; ///< of tiles, or of keys: sorted, none touch

  static int64_t sizeOf(const Runs &runs) {
    int64_t size = 0;
    for (auto [begin, end] : runs)
      size += end - begin;
    return size;
  }
  static Runs sorted(Runs runs) {
    llvm::sort(runs);
    Runs joined;
    for (auto [begin, end] : runs)
      if (!joined.empty() && begin <= joined.back().second)
        joined.back().second = std::max(joined.back().second, end);
      else
        joined.push_back({begin, end});
    return joined;
  }
  static Runs both(const Runs &a, const Runs &b) {
    Runs common;
    for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
      int64_t begin = std::max(a[i].first, b[j].first),
              end = std::min(a[i].second, b[j].second);
      if (begin < end)
        common.push_back({begin, end});
      ++(a[i].second < b[j].second ? i : j);
    }
    return common;
  }

  void rowOfTiles(int64_t begin, int64_t end) {
    reached.clear();
    full = {{0, keyTiles}};
    for (int64_t row = begin, next; row < end; row = next) {
      if (row >= alikeEnd) {
        alikeEnd = test.endOfAlike(row);
        alike = test.at(row, 0, piece.rows.keys);
      }
      next = std::min(alikeEnd, end);
      rowsAlike(row, next);
    }
    reached = sorted(std::move(reached));
  }

  /// Of rows with the same keys but for the bounds, which do not descend.
  void rowsAlike(int64_t begin, int64_t end) {
    auto at = [&](FlatExpr &bound, int64_t row) {
      return bound.atRow(piece.rows.query(row));
    };
    int64_t keys = piece.rows.keys, maxLo = at(lower, end - 1),
            minHi = at(upper, begin);
    auto reach = [&](int64_t first, int64_t last) {
      if (first < last)
        reached.push_back(
            {floorDivide(first, shape.keys), ceilDivide(last, shape.keys)});
    };
    Runs whole;
    for (auto [first, last] : alike) {
      int64_t inAll = std::min(last, minHi);
      int64_t from = ceilDivide(std::max(first, maxLo), shape.keys),
              to = inAll == keys ? keyTiles : floorDivide(inAll, shape.keys);
      if (from < to)
        whole.push_back({from, to});
      if (maxLo <= first && last <= minHi)
        reach(first, last);
      else if (at(lower, begin) < last && first < at(upper, end - 1))
        for (int64_t row = begin; row < end && budget.spend(); ++row)
          reach(std::max(first, at(lower, row)),
                std::min(last, at(upper, row)));
    }
    budget.spend(alike.size());
    full = both(full, whole);
  }

  const PieceRows &piece;
  TileShape shape;
  Budget &budget;
  TestRuns test;
  FlatExpr lower, upper;
  int64_t keyTiles;
  int64_t alikeEnd = 0; ///< of the rows that `alike` is of
  Runs alike;           ///< keys for which the test holds, whatever the bounds
  Runs reached, full;   ///< tiles of the row of tiles at hand
};
} // namespace

static std::optional<TileClasses> tilesOf(const Piece &piece, const Rows &rows,
                                          int64_t head, TileShape shape,
                                          Budget &budget) {
  PieceRows inRows(piece, rows, head);
  if (blocksOfTest(piece) && rows.queryStep == 1 && rows.keyStep == 1)
    return TestedTiles(inRows, shape, budget).count();
  PieceBounds bounds(inRows);
  TileClasses total;
  for (const PieceRows::View &view : inRows.views()) {
    auto tiles = ViewTiles(inRows, bounds, view, shape, budget).count();
    if (!tiles)
      return std::nullopt;
    total.full += tiles->full;
    total.partial += tiles->partial;
    total.empty += tiles->empty;
  }
  return total;
}

std::optional<TileShape> TileShape::parse(llvm::StringRef text) {
  TileShape shape;
  auto [queries, keys] = text.split('x');
  for (auto [part, size] :
       {std::pair(queries, &shape.queries), std::pair(keys, &shape.keys)})
    if (part.getAsInteger(10, *size) || *size < 1 || *size > kMax)
      return std::nullopt;
  return shape;
}

std::optional<std::vector<TileClasses>>
mlir::megactx::pattern::countTiles(llvm::ArrayRef<Piece> pieces,
                                   const Rows &rows, int64_t head,
                                   TileShape shape, uint64_t *steps) {
  Budget budget;
  std::vector<TileClasses> result(pieces.size());
  for (auto [piece, tiles] : llvm::zip(pieces, result)) {
    if (!isChosenFor(piece, head))
      continue;
    auto found = tilesOf(piece, rows, head, shape, budget);
    if (steps)
      *steps = budget.steps;
    if (!found)
      return std::nullopt;
    tiles = *found;
  }
  return result;
}

std::optional<std::vector<TilesOfHeads>>
mlir::megactx::pattern::countTilesOfHeads(llvm::ArrayRef<Piece> pieces,
                                          const Rows &rows, int64_t heads,
                                          TileShape shape) {
  Budget budget;
  std::vector<TilesOfHeads> result(pieces.size());
  for (auto [piece, tiles] : llvm::zip(pieces, result)) {
    std::optional<FlatExpr> choice;
    if (piece.heads)
      choice.emplace(piece.heads);
    Point point;
    int64_t someHead = 0;
    for (; point.h < heads; ++point.h)
      if (!choice || (*choice)(point)) {
        ++tiles.heads;
        someHead = point.h;
      }
    if (tiles.heads == 0)
      continue;
    auto found = tilesOf(piece, rows, someHead, shape, budget);
    if (!found)
      return std::nullopt;
    tiles.perHead = *found;
  }
  return result;
}

Work mlir::megactx::pattern::workOf(llvm::ArrayRef<TilesOfHeads> tiles,
                                    TileShape shape, int64_t dimAndValueDim) {
  Work work;
  for (const TilesOfHeads &of : tiles) {
    work.full += double(of.heads) * of.perHead.full;
    work.partial += double(of.heads) * of.perHead.partial;
    work.empty += double(of.heads) * of.perHead.empty;
  }
  work.tileFlops = 2.0 * (work.full + work.partial) * shape.queries *
                   shape.keys * dimAndValueDim;
  return work;
}
