//===- PictureSvg.cpp - patterns as SVG -----------------------------------===//

#include "RowRuns.h"
#include "megactx/Pattern/Picture.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir::megactx::pattern;

namespace {
/// Cells along an axis: more rows than this share cells.
constexpr int64_t kMaxCells = 256;
/// Shades of a cell that holds some pairs; the last is a full one.
constexpr int kShades = 8;
// Pixels.
constexpr int64_t kPlot = 384, kMaxCell = 40, kGap = 24, kDigit = 7, kLine = 16;

/// Draws the grids of all heads, one beside the other.
class Painter {
public:
  Painter(const Formula &formula, const Rows &rows, int64_t heads,
          llvm::StringRef title, llvm::raw_ostream &os)
      : formula(formula), rows(rows), heads(heads), title(title), os(os) {
    int64_t longest = std::max({rows.queries, rows.keys, int64_t(1)});
    while (llvm::divideCeil(longest, block) > kMaxCells)
      block *= 2;
    cellsDown = llvm::divideCeil(rows.queries, block);
    cellsAcross = llvm::divideCeil(rows.keys, block);
    int64_t size = std::clamp<int64_t>(
        kPlot / int64_t(llvm::divideCeil(longest, block)), 2, kMaxCell);
    // A few rows against many are not a thread.
    auto atLeast = [&](int64_t cells) {
      return std::max(
          size, std::min(kMaxCell, kPlot / 4 / std::max<int64_t>(cells, 1)));
    };
    wide = atLeast(cellsAcross);
    high = atLeast(cellsDown);
    digits = std::to_string(std::max({rows.query(rows.queries), rows.keyEnd(),
                                      int64_t(0)}))
                 .size();
    // A label has room beside the next.
    while (tick * size < std::max<int64_t>(32, digits * kDigit + 8) * block)
      tick *= 2;
    tick = std::max(tick, block);
    left = digits * kDigit + 2 * kLine;
    panelWidth = std::max<int64_t>(left + cellsAcross * wide, 160);
    panelHeight = kTop + cellsDown * high;
    while (columns < 4 && columns * columns < heads)
      ++columns;
    width = std::max<int64_t>(columns * (panelWidth + kGap) + kGap, 400);
  }

  void paint();

private:
  static constexpr int64_t kTop = 4 * kLine; // head, axis, labels
  /// Pairs in each cell of a head, row by row.
  std::vector<int64_t> countCells(int64_t head) const;
  /// 0: no pair, kShades: every pair.
  int shade(llvm::ArrayRef<int64_t> counts, int64_t x, int64_t y) const;
  void paintHead(int64_t head, int64_t x, int64_t y);
  void paintCells(llvm::ArrayRef<int64_t> counts);
  void paintAxes();
  void paintLegend(int64_t y);
  void paintStyle();
  llvm::SmallVector<std::string> titleLines() const;

  const Formula &formula;
  const Rows &rows;
  int64_t heads;
  llvm::StringRef title;
  llvm::raw_ostream &os;
  int64_t block = 1, tick = 1; ///< rows
  int64_t cellsDown, cellsAcross, wide, high, left, panelWidth, panelHeight,
      width;
  int64_t columns = 1, digits;
};
} // namespace

std::vector<int64_t> Painter::countCells(int64_t head) const {
  std::vector<int64_t> counts(cellsDown * cellsAcross);
  RowRuns runs(formula, rows, head);
  for (int64_t i = 0; i < rows.queries; ++i) {
    int64_t *row = counts.data() + i / block * cellsAcross;
    runs.forEach(i, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        int64_t next = std::min(end, (begin / block + 1) * block);
        row[begin / block] += next - begin;
        begin = next;
      }
    });
  }
  return counts;
}

int Painter::shade(llvm::ArrayRef<int64_t> counts, int64_t x, int64_t y) const {
  int64_t pairs = counts[y * cellsAcross + x];
  int64_t all = std::min(block, rows.queries - y * block) *
                std::min(block, rows.keys - x * block);
  if (pairs == 0 || pairs == all)
    return pairs == 0 ? 0 : kShades;
  return 1 + int((pairs - 1) * (kShades - 1) / (all - 1));
}

/// A path for each shade: runs of cells of a row are strokes.
void Painter::paintCells(llvm::ArrayRef<int64_t> counts) {
  for (int wanted = 1; wanted <= kShades; ++wanted) {
    bool open = false;
    for (int64_t y = 0; y < cellsDown; ++y) {
      int64_t pen = -1;
      for (int64_t x = 0; x < cellsAcross; ++x) {
        if (shade(counts, x, y) != wanted)
          continue;
        int64_t begin = x;
        while (x + 1 < cellsAcross && shade(counts, x + 1, y) == wanted)
          ++x;
        if (!open)
          os << "<path class=\"s" << wanted << "\" d=\"";
        open = true;
        if (pen < 0)
          os << 'M' << begin << ' ' << y << ".5";
        else
          os << 'm' << begin - pen << " 0";
        pen = x + 1;
        os << 'h' << pen - begin;
      }
    }
    if (open)
      os << "\"/>\n";
  }
}

void Painter::paintAxes() {
  for (int64_t j = 0; j < rows.keys; j += tick)
    os << "<text class=\"n\" x=\""
       << j / block * wide + (block == 1 ? wide / 2 : 0)
       << "\" y=\"-5\" text-anchor=\"middle\">" << rows.key(j) << "</text>\n";
  for (int64_t i = 0; i < rows.queries; i += tick)
    os << "<text class=\"n\" x=\"-5\" y=\""
       << i / block * high + (block == 1 ? high / 2 : 0) + 4
       << "\" text-anchor=\"end\">" << rows.query(i) << "</text>\n";
  os << "<text class=\"n\" x=\"" << cellsAcross * wide / 2 << "\" y=\""
     << -kLine - 5 << "\" text-anchor=\"middle\">key position</text>\n";
  os << "<text class=\"n\" transform=\"translate(" << -digits * kDigit - 12
     << ' ' << cellsDown * high / 2
     << ") rotate(-90)\" text-anchor=\"middle\">query position</text>\n";
}

void Painter::paintHead(int64_t head, int64_t x, int64_t y) {
  std::vector<int64_t> counts = countCells(head);
  int64_t pairs = 0;
  for (int64_t count : counts)
    pairs += count;
  double all = double(rows.queries) * double(rows.keys);
  os << "<g transform=\"translate(" << x + left << ' ' << y + kTop << ")\">\n";
  os << "<text x=\"0\" y=\"" << -2 * kLine - 8 << "\">";
  if (heads > 1)
    os << "head " << head << ": ";
  os << pairs << " pairs"
     << llvm::formatv(", {0:f1} %", all > 0 ? 100 * pairs / all : 0.0)
     << "</text>\n";
  int64_t across = cellsAcross * wide, down = cellsDown * high;
  os << "<rect class=\"e\" width=\"" << across << "\" height=\"" << down
     << "\"/>\n<g class=\"c\" transform=\"scale(" << wide << ' ' << high
     << ")\">\n";
  paintCells(counts);
  os << "</g>\n";
  // Lines between cells where there is room for them.
  if (std::min(wide, high) >= 5) {
    os << "<path class=\"l\" d=\"";
    for (int64_t i = 1; i < cellsAcross; ++i)
      os << 'M' << i * wide << " 0v" << down;
    for (int64_t i = 1; i < cellsDown; ++i)
      os << "M0 " << i * high << 'h' << across;
    os << "\"/>\n";
  }
  os << "<rect class=\"f\" width=\"" << across << "\" height=\"" << down
     << "\"/>\n";
  paintAxes();
  os << "</g>\n";
}

/// Breaks the pattern at spaces into lines that fit.
llvm::SmallVector<std::string> Painter::titleLines() const {
  size_t fits = (width - 2 * kGap) / (kDigit + 1);
  llvm::SmallVector<std::string> lines(1);
  llvm::SmallVector<llvm::StringRef> words;
  llvm::SplitString(title, words);
  for (llvm::StringRef word : words) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > fits)
      lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word.str();
  }
  return lines;
}

void Painter::paintLegend(int64_t y) {
  os << "<g transform=\"translate(" << kGap << ' ' << y << ")\">\n";
  for (int i = 1; i <= kShades; ++i)
    os << "<rect class=\"b" << i << "\" x=\"" << (i - 1) * 12
       << "\" width=\"12\" height=\"12\"/>\n";
  os << "<text class=\"n\" x=\"" << kShades * 12 + 8
     << "\" y=\"10\">few to all pairs of a cell, " << block << " x " << block
     << " rows</text>\n</g>\n";
}

void Painter::paintStyle() {
  os << "<style>text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:"
        "#2b2f36}.n{font-size:11px;fill:#5c636e}.e{fill:#fff}.c{fill:none;"
        "shape-rendering:crispEdges}.l{stroke:#f4f4f1;fill:none}.f{fill:none;"
        "stroke:#9aa1ab}";
  // From a light to a dark grey-blue, ever darker: also readable in print.
  const int light[] = {0xb4, 0xc3, 0xd6}, dark[] = {0x1f, 0x3a, 0x5f};
  for (int shade = 1; shade <= kShades; ++shade) {
    std::string colour = "#";
    for (int channel = 0; channel < 3; ++channel)
      colour +=
          llvm::utohexstr(light[channel] + (dark[channel] - light[channel]) *
                                               (shade - 1) / (kShades - 1),
                          /*LowerCase=*/true, /*Width=*/2);
    os << ".s" << shade << "{stroke:" << colour << "}.b" << shade
       << "{fill:" << colour << '}';
  }
  os << "</style>\n";
}

void Painter::paint() {
  auto lines = titleLines();
  int64_t top = kGap + kLine * int64_t(lines.size());
  int64_t down = llvm::divideCeil(heads, columns);
  int64_t legend = top + down * (panelHeight + kGap);
  int64_t height = legend + (block > 1 ? kGap : 0);
  os << "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\""
     << width << "\" height=\"" << height << "\" viewBox=\"0 0 " << width << ' '
     << height << "\">\n<title>";
  llvm::printHTMLEscaped(title, os);
  os << "</title>\n";
  paintStyle();
  os << "<rect width=\"" << width << "\" height=\"" << height
     << "\" rx=\"6\" fill=\"#f4f4f1\"/>\n";
  for (size_t i = 0; i < lines.size(); ++i) {
    os << "<text x=\"" << kGap << "\" y=\"" << kGap + kLine * i << "\">";
    llvm::printHTMLEscaped(lines[i], os);
    os << "</text>\n";
  }
  for (int64_t h = 0; h < heads; ++h)
    paintHead(h, kGap + h % columns * (panelWidth + kGap),
              top + h / columns * (panelHeight + kGap));
  if (block > 1)
    paintLegend(legend);
  os << "</svg>\n";
}

void mlir::megactx::pattern::printSvg(const Formula &formula, const Rows &rows,
                                      int64_t heads, llvm::StringRef title,
                                      llvm::raw_ostream &os) {
  Painter(formula, rows, heads, title, os).paint();
}
