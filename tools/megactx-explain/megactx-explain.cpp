//===- megactx-explain.cpp - what a model's attentions are and cost -------===//

#include "../PatternOptions.h"
#include "megactx/Pipelines/Explain.h"
#include "megactx/Support/Output.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

namespace cl = llvm::cl;

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::OptionCategory category("megactx-explain options");
  cl::opt<std::string> input(cl::Positional,
                             cl::desc("<model.mctx|model.onnx|model.mlir>"),
                             cl::Required, cl::cat(category));
  mlir::megactx::PatternOptions patterns(category);
  cl::opt<int64_t> queries("queries", cl::init(4096), cl::value_desc("rows"),
                           cl::desc("Query rows to count pairs for (4096)"),
                           cl::cat(category));
  cl::opt<int64_t> keys("keys", cl::init(-1), cl::value_desc("rows"),
                        cl::desc("Key rows (default: as many as queries)"),
                        cl::cat(category));
  cl::opt<std::string> tile(
      "tile", cl::init("16x16"), cl::value_desc("QUERIESxKEYS"),
      cl::desc("Tiles to count, in the views of pieces (16x16)"),
      cl::cat(category));
  cl::opt<std::string> reach(
      "reach", cl::value_desc("all|FIRST-LAST"),
      cl::desc("Also say what the self-attentions of these layers reach one "
               "after another, and what would mend it"),
      cl::cat(category));
  cl::opt<int64_t> gist(
      "gist", cl::init(1), cl::value_desc("tokens"),
      cl::desc("Tokens that a gist stands for, to align with (--reach)"),
      cl::cat(category));
  cl::opt<bool> json("json", cl::desc("Write JSON"), cl::cat(category));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Says what a model's attentions are and what they cost.\n\n"
      "  megactx-explain model.onnx\n"
      "  megactx-explain model.onnx --pattern 'window<left = 127, right = 0>' "
      "--queries 65536\n"
      "  megactx-explain model.mctx --json\n");
  auto choice = patterns.choice();
  if (!choice)
    return 1;
  mlir::megactx::ExplainOptions options;
  options.input = input;
  options.patterns = *choice;
  options.queries = queries;
  options.keys = keys;
  options.json = json;
  options.gist = gist;
  options.reach = !reach.empty();
  if (!reach.empty() && !options.readLayers(reach)) {
    llvm::errs() << "error: expected --reach=all or --reach=FIRST-LAST, but "
                    "got '"
                 << reach << "'\n";
    return 1;
  }
  if (gist < 1) {
    llvm::errs() << "error: expected --gist of at least 1, but got " << gist
                 << "\n";
    return 1;
  }
  auto shape = mlir::megactx::pattern::TileShape::parse(tile);
  if (!shape) {
    llvm::errs() << "error: expected --tile=QUERIESxKEYS, each from 1 to "
                 << mlir::megactx::pattern::TileShape::kMax << ", but got '"
                 << tile << "'\n";
    return 1;
  }
  options.tile = *shape;
  std::string text;
  llvm::raw_string_ostream os(text);
  if (failed(mlir::megactx::explain(options, os)))
    return 1;
  if (llvm::Error error = mlir::megactx::writeOutput(
          "-", [&](llvm::raw_ostream &out) { out << text; })) {
    llvm::errs() << "error: cannot write to standard output: "
                 << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}
