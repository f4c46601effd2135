//===- megactx-pattern.cpp - the pattern algebra from the command line ----===//

#include "megactx/Pattern/Statistics.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"

using namespace mlir::megactx::pattern;
namespace cl = llvm::cl;

namespace {
enum class Print { Relation, Pieces, Stats, Ascii };

/// Which rows to show, by position.
struct Grid {
  int64_t queries, keys, heads, queryStep, queryOffset, keyStep, keyOffset;

  bool holds(const Formula &formula, int64_t h, int64_t i, int64_t j) const {
    Point point;
    point.h = h;
    point.p = i * queryStep + queryOffset;
    point.k = j * keyStep + keyOffset;
    int64_t end = (keys - 1) * keyStep + keyOffset + 1;
    auto symbol = [&](llvm::StringRef) { return end; };
    point.symbol = symbol;
    return formula.holds(point);
  }
};
} // namespace

/// `h i: a-b,c,d-e`: the key rows of each query row.
static void printRelation(const Formula &formula, const Grid &grid) {
  for (int64_t h = 0; h < grid.heads; ++h)
    for (int64_t i = 0; i < grid.queries; ++i) {
      llvm::outs() << h << ' ' << i << ':';
      const char *separator = " ";
      for (int64_t j = 0; j < grid.keys; ++j) {
        if (!grid.holds(formula, h, i, j))
          continue;
        int64_t first = j;
        while (j + 1 < grid.keys && grid.holds(formula, h, i, j + 1))
          ++j;
        llvm::outs() << separator << first;
        if (j > first)
          llvm::outs() << '-' << j;
        separator = ",";
      }
      llvm::outs() << '\n';
    }
}

/// Pairs of rows in all and per head, and their share of all pairs.
static void printStats(llvm::ArrayRef<Piece> pieces, const Grid &grid) {
  Rows rows{grid.queries,     grid.keys,    grid.queryStep,
            grid.queryOffset, grid.keyStep, grid.keyOffset};
  llvm::json::Array perHead;
  int64_t total = 0;
  for (int64_t h = 0; h < grid.heads; ++h) {
    int64_t pairs = countPairs(pieces, rows, h);
    perHead.push_back(pairs);
    total += pairs;
  }
  double all = double(grid.queries) * double(grid.keys) * double(grid.heads);
  llvm::json::Object report{{"queries", grid.queries},
                            {"keys", grid.keys},
                            {"heads", grid.heads},
                            {"pieces", int64_t(pieces.size())},
                            {"pairs", total},
                            {"pairs_per_head", std::move(perHead)},
                            {"density", all > 0 ? total / all : 0.0}};
  llvm::outs() << llvm::formatv("{0:2}\n",
                                llvm::json::Value(std::move(report)));
}

static void printAscii(const Formula &formula, const Grid &grid) {
  for (int64_t h = 0; h < grid.heads; ++h) {
    if (grid.heads > 1)
      llvm::outs() << "head " << h << '\n';
    for (int64_t i = 0; i < grid.queries; ++i) {
      for (int64_t j = 0; j < grid.keys; ++j)
        llvm::outs() << (grid.holds(formula, h, i, j) ? "# " : ". ");
      llvm::outs() << '\n';
    }
  }
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::OptionCategory category("megactx-pattern options");
  cl::opt<std::string> text(cl::Positional, cl::desc("<pattern>"), cl::Required,
                            cl::cat(category));
  auto number = [&](llvm::StringRef name, const char *what, int64_t otherwise) {
    return std::make_unique<cl::opt<int64_t>>(
        name, cl::desc(what), cl::init(otherwise), cl::cat(category));
  };
  auto queries = number("queries", "Query rows", 16);
  auto keys = number("keys", "Key rows (default: as many as queries)", -1);
  auto heads = number("heads", "Heads", 1);
  auto queryStep = number("query-step", "Tokens between query rows", 1);
  auto queryOffset = number("query-offset", "Position of query row 0", 0);
  auto keyStep = number("key-step", "Tokens between key rows", 1);
  auto keyOffset = number("key-offset", "Position of key row 0", 0);
  cl::opt<Print> print(
      "print", cl::desc("What to print"), cl::init(Print::Ascii),
      cl::values(clEnumValN(Print::Relation, "relation",
                            "head and query row: key rows"),
                 clEnumValN(Print::Pieces, "pieces", "the disjoint pieces"),
                 clEnumValN(Print::Stats, "stats", "pairs and density, JSON"),
                 clEnumValN(Print::Ascii, "ascii", "a picture in text")),
      cl::cat(category));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Shows which keys a sparse attention pattern selects.\n\n"
      "  megactx-pattern 'causal and window<left = 3, right = 0>' --queries 8\n"
      "  megactx-pattern 'strided<stride = 4>' --queries 8 --print=relation\n");
  auto onError = [&](size_t offset, const llvm::Twine &message) {
    llvm::errs() << "error: " << message << "\n  " << text << "\n  "
                 << std::string(offset, ' ') << "^\n";
  };
  std::optional<Pattern> pattern = Pattern::parse(text, onError);
  if (!pattern)
    return 1;
  Grid grid{*queries,     *keys < 0 ? *queries : *keys,
            *heads,       *queryStep,
            *queryOffset, *keyStep,
            *keyOffset};
  for (int64_t size : {grid.queries, grid.keys, grid.heads, grid.queryStep,
                       grid.keyStep, grid.queryOffset, grid.keyOffset})
    if (size < 0 || size > kMaxPosition) {
      llvm::errs() << "error: expected sizes, steps and offsets between 0 and "
                   << kMaxPosition << ", but got " << size << "\n";
      return 1;
    }
  if (grid.queryStep < 1 || grid.keyStep < 1) {
    llvm::errs() << "error: expected steps of at least 1\n";
    return 1;
  }
  Formula formula = pattern->formula(grid.keyStep);
  if (print == Print::Relation) {
    printRelation(formula, grid);
  } else if (print == Print::Ascii) {
    printAscii(formula, grid);
  } else {
    std::string error;
    auto pieces = expand(formula, error);
    if (!pieces) {
      llvm::errs() << "error: " << error << "\n";
      return 1;
    }
    if (print == Print::Stats)
      printStats(*pieces, grid);
    else
      for (const Piece &piece : *pieces)
        llvm::outs() << piece.str() << '\n';
  }
  return 0;
}
