//===- BlockLayouts.cpp - patterns of tables of blocks --------------------===//

#include "BlockLayouts.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::megactx::raise;

namespace {
/// For each row of blocks, its key blocks up to its own, ascending.
using Layout = std::vector<SmallVector<int64_t>>;

/// Blocks near a row's own that it has all of: `count` up to its own, or those
/// of its group of `count`.
struct Near {
  int64_t count;
  bool isGroup;

  int64_t first(int64_t row) const {
    return isGroup ? row / count * count
                   : std::max<int64_t>(0, row - count + 1);
  }
  std::string text(int64_t block) const {
    if (isGroup || count == 1)
      return llvm::formatv("block_local<block = {0}>", count * block);
    return llvm::formatv("block_local<block = {0}, left = {1}>", block,
                         count - 1);
  }
};

/// Columns that all rows have: `count` from `first` on, and again after each
/// `period`. None where `count` is 0.
struct Far {
  int64_t first, count, period;

  bool has(int64_t column) const {
    int64_t place = column % period;
    return first <= place && place < first + count;
  }
  /// Of the columns before one.
  int64_t countBefore(int64_t column) const {
    return column / period * count +
           std::clamp<int64_t>(column % period - first, 0, count);
  }
  std::string text(int64_t block, int64_t rows) const {
    if (first == 0 && period == rows)
      return llvm::formatv("global_keys<first = {0}>", count * block);
    return llvm::formatv("columns<block = {0}, first = {1}, count = {2}>",
                         period * block, first * block, count * block);
  }
};
} // namespace

/// Those of the last row that are not near it, as columns that begin there.
static Far farOf(const Layout &layout, const Near &near) {
  ArrayRef<int64_t> row = layout.back();
  row = row.take_while([end = near.first(layout.size() - 1)](int64_t column) {
    return column < end;
  });
  Far far = {0, 0, int64_t(layout.size())};
  if (row.empty())
    return far;
  far.first = row.front();
  while (far.count < int64_t(row.size()) &&
         row[far.count] == far.first + far.count)
    ++far.count;
  if (far.count < int64_t(row.size()))
    far.period = row[far.count] - far.first;
  return far;
}

static bool isMadeOf(const Layout &layout, const Near &near, const Far &far) {
  if (far.first + far.count > far.period)
    return false;
  for (auto [r, row] : llvm::enumerate(layout)) {
    int64_t first = near.first(r);
    if (int64_t(row.size()) != int64_t(r) + 1 - first + far.countBefore(first))
      return false;
    for (int64_t column : row)
      if (column < first && !far.has(column))
        return false;
  }
  return true;
}

/// How many blocks up to a row's own, without a gap, it has.
static int64_t reachOf(ArrayRef<int64_t> row, int64_t r) {
  int64_t reach = 0;
  for (int64_t column : llvm::reverse(row)) {
    if (column != r - reach)
      break;
    ++reach;
  }
  return reach;
}

/// Empty where no formula says the layout.
static std::string formulaOf(const Layout &layout, int64_t block) {
  int64_t least = INT64_MAX, group = 0;
  for (auto [r, row] : llvm::enumerate(layout)) {
    int64_t reach = reachOf(row, r);
    if (reach > int64_t(r))
      continue; // all there are
    least = std::min(least, reach);
    if (!group)
      group = r;
  }
  if (least == INT64_MAX)
    return "dense";
  for (Near near : {Near{least, false}, Near{group, true}}) {
    if (near.count < 1)
      continue;
    Far far = farOf(layout, near);
    if (isMadeOf(layout, near, far))
      return far.count
                 ? near.text(block) + " or " + far.text(block, layout.size())
                 : near.text(block);
  }
  return "";
}

static std::string tableOf(const Layout &layout, int64_t block) {
  SmallVector<int64_t> starts = {0}, columns;
  for (const SmallVector<int64_t> &row : layout) {
    llvm::append_range(columns, row);
    starts.push_back(columns.size());
  }
  return llvm::formatv(
      "blocks<block = {0}, row_ptr = [{1:$[, ]}], col_idx = [{2:$[, ]}]>",
      block, llvm::make_range(starts.begin(), starts.end()),
      llvm::make_range(columns.begin(), columns.end()));
}

/// A layout of the tables, or nothing where they are none.
static std::optional<Layout> layoutAt(ElementsAttr rows, ElementsAttr columns,
                                      int64_t number) {
  int64_t starts = rows.getShapedType().getDimSize(1),
          entries = columns.getShapedType().getDimSize(1);
  auto startAt = [&](int64_t r) {
    return numberAt(rows, number * starts + r).value_or(-1);
  };
  Layout layout(starts - 1);
  double begin = startAt(0);
  if (begin != 0)
    return std::nullopt;
  for (int64_t r = 0; r + 1 < starts; ++r) {
    double end = startAt(r + 1);
    if (end < begin || end > entries)
      return std::nullopt;
    for (int64_t i = begin; i < int64_t(end); ++i) {
      auto column = numberAt(columns, number * entries + i);
      if (!column || *column < 0 || *column >= starts - 1)
        return std::nullopt;
      if (*column <= r)
        layout[r].push_back(*column);
    }
    llvm::sort(layout[r]);
    layout[r].erase(llvm::unique(layout[r]), layout[r].end());
    begin = end;
  }
  return layout;
}

int64_t BlockLayouts::tokens() const {
  return (cast<ShapedType>(rows.getType()).getDimSize(1) - 1) * block;
}

std::string BlockLayouts::toPattern(std::string &pattern) const {
  ElementsAttr starts = constantOf(rows), entries = constantOf(columns);
  if (!starts || !entries)
    return "its blocks are not known before a run";
  auto isTable = [](ElementsAttr elements) {
    return elements.getShapedType().getRank() == 2 &&
           elements.getElementType().isInteger(32);
  };
  if (!isTable(starts) || !isTable(entries) || block < 1 ||
      starts.getShapedType().getDimSize(1) < 2 ||
      starts.getShapedType().getDimSize(0) < 1 ||
      starts.getShapedType().getDimSize(0) !=
          entries.getShapedType().getDimSize(0))
    return "its blocks are no tables of i32";
  SmallVector<std::string> texts;
  for (int64_t l = 0; l < starts.getShapedType().getDimSize(0); ++l) {
    std::optional<Layout> layout = layoutAt(starts, entries, l);
    if (!layout)
      return "its blocks are no tables in CSR form";
    texts.push_back(formulaOf(*layout, block));
    if (texts.back().empty())
      texts.back() = tableOf(*layout, block);
  }
  if (!llvm::all_equal(texts))
    pattern = "causal and per_head<[" + llvm::join(texts, ", ") + "]>";
  else
    pattern = texts[0] == "dense" ? "causal" : "causal and (" + texts[0] + ")";
  return "";
}
