//===- megactx-pattern.cpp - the pattern algebra from the command line ----===//

#include "Show.h"
#include "megactx/Support/Output.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

using namespace mlir::megactx::pattern;
namespace cl = llvm::cl;

static cl::OptionCategory category("megactx-pattern options");

namespace {
struct Options {
  template <typename T> struct Opt : cl::opt<T> {
    Opt(llvm::StringRef name, const char *what, T otherwise)
        : cl::opt<T>(name, cl::desc(what), cl::init(otherwise),
                     cl::cat(category)) {}
  };
  cl::opt<std::string> text{cl::Positional, cl::desc("<pattern>"),
                            cl::cat(category)};
  Opt<int64_t> queries{"queries", "Query rows (16)", 16};
  Opt<int64_t> keys{"keys", "Key rows (default: as many as queries)", -1};
  Opt<int64_t> heads{"heads", "Heads (1)", 1};
  Opt<int64_t> queryStep{"query-step", "Tokens between query rows (1)", 1};
  Opt<int64_t> queryOffset{"query-offset", "Position of query row 0 (0)", 0};
  Opt<int64_t> keyStep{"key-step", "Tokens between key rows (1)", 1};
  Opt<int64_t> keyOffset{"key-offset", "Position of key row 0 (0)", 0};
  Opt<int64_t> layers{"layers", "Layers of a stack (--print=reach)", -1};
  Opt<int64_t> gist{
      "gist",
      "Tokens that a gist stands for, to align with (--print=reach; 1, or "
      "those of the pattern's pyramid)",
      1};
  Opt<int64_t> headDim{"head-dim", "Dim of keys and of values, for FLOPs (64)",
                       64};
  Opt<std::string> tile{
      "tile", "Queries x keys of a tile, for --print=stats (16x16)", "16x16"};
  Opt<std::string> batch{
      "batch", "A file of lines 'queries=4 key-step=2: pattern', each answered",
      ""};
  cl::opt<Print> print{
      "print", cl::desc("What to print (ascii)"), cl::init(Print::Ascii),
      cl::values(
          clEnumValN(Print::Relation, "relation",
                     "head and query row: key rows"),
          clEnumValN(Print::Pieces, "pieces", "the disjoint pieces"),
          clEnumValN(Print::Stats, "stats",
                     "pairs, density, FLOPs and tiles, JSON"),
          clEnumValN(Print::Ascii, "ascii", "a picture in text"),
          clEnumValN(Print::Svg, "svg", "a picture as SVG"),
          clEnumValN(Print::Reach, "reach", "what layers of it reach, JSON"),
          clEnumValN(Print::Proof, "proof",
                     "whether the pieces are the relation")),
      cl::cat(category)};
  Opt<std::string> pieces{
      "pieces", "A file of pieces, one a line, for --print=proof", ""};
  cl::opt<bool> names{"names", cl::desc("Print the names and what they select"),
                      cl::cat(category)};
  cl::opt<std::string> output{
      "o", cl::desc("Where to write to (standard output)"),
      cl::value_desc("file"), cl::init("-"), cl::cat(category)};

  Request request(TileShape tile) const {
    Rows rows{queries, keys, queryStep, queryOffset, keyStep, keyOffset};
    return {text, rows, heads, print, layers, gist, pieces, headDim, tile};
  }
};
} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  Options options;
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Shows which keys a sparse attention pattern selects.\n\n"
      "  megactx-pattern 'causal and window<left = 3, right = 0>' --queries 8\n"
      "  megactx-pattern 'strided<stride = 4>' --queries 8 --print=relation\n");
  if (options.names) {
    showNames(llvm::outs());
    return 0;
  }
  if (options.batch.empty() == (options.text.getNumOccurrences() == 0)) {
    llvm::errs() << "error: expected a pattern, --batch or --names\n";
    return 1;
  }
  std::optional<TileShape> tile = TileShape::parse(options.tile);
  if (!tile) {
    llvm::errs() << "error: expected --tile=QUERIESxKEYS, each from 1 to "
                 << TileShape::kMax << ", but got '" << options.tile << "'\n";
    return 1;
  }
  Request request = options.request(*tile);
  auto onFault = [&](size_t offset, const llvm::Twine &message) {
    llvm::errs() << "error: " << message << "\n";
    if (offset == llvm::StringRef::npos)
      return;
    auto [before, after] =
        std::pair(llvm::StringRef(options.text).take_front(offset),
                  llvm::StringRef(options.text).drop_front(offset));
    llvm::StringRef begin = before.substr(before.rfind('\n') + 1);
    llvm::errs() << "  " << begin
                 << after.take_until([](char c) { return c == '\n'; }) << "\n  "
                 << std::string(begin.size(), ' ') << "^\n";
  };
  std::string text;
  llvm::raw_string_ostream os(text);
  bool ok = options.batch.empty() ? show(request, os, onFault)
                                  : showBatch(options.batch, request, os);
  // A file is whole or absent; the terminal gets what there is.
  if (!ok && options.output != "-")
    return 1;
  if (llvm::Error error = mlir::megactx::writeOutput(
          options.output, [&](llvm::raw_ostream &out) { out << text; })) {
    llvm::errs() << "error: cannot write " << options.output << ": "
                 << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  return !ok;
}
