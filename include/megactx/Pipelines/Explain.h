//===- Explain.h - what a model's attentions are and cost -------*- C++ -*-===//
//
// Owns the description of attentions that artifacts carry, and the report that
// is made of it for given lengths. It compiles nothing.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PIPELINES_EXPLAIN_H
#define MEGACTX_PIPELINES_EXPLAIN_H

#include "megactx/Pattern/DescribeReach.h"
#include "megactx/Pattern/TileClasses.h"
#include "megactx/Pipelines/Pipelines.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx {

/// The module's attentions in graph order, each {layer, kind, type, batch,
/// heads, query_step, softcap where there is one, sources: [{key_heads, dim,
/// value_dim, key_step, pattern, bias, bias_per_key: the same for all
/// queries}]}; sizes are -1 where only known at run time.
llvm::json::Array describeAttentions(ModuleOp module);

/// A line for each run of layers with the same attention: heads of queries and
/// keys, dims of keys and values (`?`: known at run time), pattern.
void printAttentions(const llvm::json::Array &attentions,
                     llvm::raw_ostream &os);

struct ExplainOptions {
  /// An artifact's folder, or a file of ONNX (by its ending) or of MLIR.
  std::string input;
  /// Not for artifacts, whose patterns are chosen.
  PatternChoice patterns;
  /// Rows to count pairs for; -1 keys are as many as queries.
  int64_t queries = 4096, keys = -1;
  /// What tiles are counted in.
  pattern::TileShape tile;
  bool json = false;
  /// Whether to say what a stack of self-attentions reaches: those of the
  /// layers first to last, -1: to the end.
  bool reach = false;
  int64_t firstLayer = 0, lastLayer = -1;
  /// Tokens of a gist, to align strides and blocks with.
  int64_t gist = 1;

  /// Reads `all`, `3` or `0-5`. False where the text is none of these.
  bool readLayers(StringRef text);
};

/// What the self-attentions of a range of layers reach one after another, each
/// row being a query and a key. `attentions` as describeAttentions gives them.
/// Nothing, with `error`, where there is no such layer.
std::optional<pattern::StackReach>
explainReach(const llvm::json::Array &attentions, const ExplainOptions &options,
             std::string &error);
/// In words.
void printReach(const pattern::StackReach &reach, llvm::raw_ostream &os);

/// Writes, per attention: pattern, pieces, pairs of query and key of all heads,
/// their share of all pairs, FLOPs (2 (D + Dv) per pair and batch row), full,
/// partial and empty tiles in the views of pieces and FLOPs when each tile that
/// is not empty is computed whole, and the bytes of queries, keys, values and
/// results moved once; then what was not raised to attention, which masks and
/// terms stayed a bias, and why, as remarked by megactx-raise-onnx-attention.
/// Errors are printed with their place.
LogicalResult explain(const ExplainOptions &options, llvm::raw_ostream &os);

} // namespace mlir::megactx

#endif
