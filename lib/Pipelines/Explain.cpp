//===- Explain.cpp - what a model's attentions are and cost ---------------===//

#include "megactx/Pipelines/Explain.h"
#include "ModelFile.h"
#include "RemarkCollector.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Remarks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "megactx/Pattern/Statistics.h"
#include "megactx/Pattern/TileClasses.h"
#include "megactx/Support/Json.h"
#include "megactx/Transforms/Layers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include <map>
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;
namespace json = llvm::json;

/// A tensor's size, -1 where it is known at run time.
static int64_t sizeOf(Value tensor, int64_t dim) {
  return constantSize({tensor, dim}).value_or(-1);
}

/// Whether all queries have the same biases.
static bool isBiasPerKey(SourceOp source) {
  return !source.getBiases().empty() &&
         llvm::all_of(source.getBiases(),
                      [](Value bias) { return sizeOf(bias, 2) == 1; });
}

json::Array mlir::megactx::describeAttentions(ModuleOp module) {
  json::Array result;
  for (auto [op, number] : layersOf(module)) {
    json::Array sources;
    for (Value operand : op.getSources()) {
      auto source = operand.getDefiningOp<SourceOp>();
      if (!source)
        continue;
      Value key = source.getKey(), value = source.getValue();
      sources.push_back(
          json::Object{{"key_heads", sizeOf(key, 1)},
                       {"dim", sizeOf(key, 3)},
                       {"value_dim", sizeOf(value, 3)},
                       {"key_step", int64_t(source.getKeyStep())},
                       {"pattern", source.getPattern().getPattern().str()},
                       {"bias", !source.getBiases().empty()},
                       {"bias_per_key", isBiasPerKey(source)}});
    }
    Value query = op.getQuery();
    std::string type;
    llvm::raw_string_ostream(type) << getElementTypeOrSelf(query);
    json::Object attention{{"layer", number},
                           {"kind", op.getKind().str()},
                           {"type", type},
                           {"batch", sizeOf(query, 0)},
                           {"heads", sizeOf(query, 1)},
                           {"query_step", int64_t(op.getQueryStep())},
                           {"sources", std::move(sources)}};
    if (op.getSoftcap())
      attention["softcap"] = op.getSoftcap()->convertToDouble();
    if (std::string branches = branchesOf(op); !branches.empty())
      attention["branch"] = branches;
    result.push_back(std::move(attention));
  }
  return result;
}

namespace {
/// Fills in what depends on lengths: pieces, pairs, density, tiles, FLOPs,
/// bytes.
class Costs {
public:
  explicit Costs(const ExplainOptions &options)
      : queries(options.queries),
        keys(options.keys < 0 ? options.queries : options.keys),
        tile(options.tile) {}

  /// False, with `error` set, where the description is not one of ours.
  bool add(json::Object &attention);
  std::string error;
  int64_t queries, keys;
  pattern::TileShape tile;

private:
  bool addSource(const json::Object &attention, json::Object &source);
};
} // namespace

bool Costs::addSource(const json::Object &attention, json::Object &source) {
  // What is not known at compile time counts once.
  auto of = [&](const json::Object &from, StringRef name) {
    return std::max<int64_t>(1, from.getInteger(name).value_or(1));
  };
  int64_t heads = of(attention, "heads");
  pattern::Rows rows;
  rows.queries = queries;
  rows.keys = keys;
  rows.queryStep = of(attention, "query_step");
  rows.keyStep = of(source, "key_step");
  // Keys of a cache stand before the queries' own.
  if (attention.getString("kind") == "self")
    rows.queryOffset = (keys - queries) * rows.keyStep;
  auto text = source.getString("pattern");
  std::optional<pattern::Pattern> pattern = pattern::Pattern::parse(
      text.value_or(""),
      [&](size_t, const Twine &message) { error = message.str(); });
  if (!pattern)
    return false;
  auto pieces = pattern::expand(pattern->formula(rows.keyStep), error);
  if (!pieces)
    return false;
  source["pieces"] = int64_t(pieces->size());
  int64_t bits = attention.getString("type") == "f32" ? 32 : 16;
  int64_t dims = of(source, "dim") + of(source, "value_dim");
  source["bytes"] =
      bits / 8 * dims * (heads * queries + of(source, "key_heads") * keys);
  auto counts = pattern::countPairsPerHead(*pieces, rows, heads);
  if (!counts)
    return true;
  double pairs = std::accumulate(counts->begin(), counts->end(), 0.0);
  source["pairs"] = pairs;
  double all = double(heads) * queries * keys;
  source["density"] = all > 0 ? pairs / all : 0.0;
  source["flops"] = 2.0 * pairs * dims;
  if (auto tiles = pattern::countTilesOfHeads(*pieces, rows, heads, tile)) {
    pattern::Work work = pattern::workOf(*tiles, tile, dims);
    source["tiles"] = json::Object{
        {"full", work.full}, {"partial", work.partial}, {"empty", work.empty}};
    source["tile_flops"] = work.tileFlops;
  }
  return true;
}

bool Costs::add(json::Object &attention) {
  json::Array *sources = attention.getArray("sources");
  if (!sources)
    return error = "expected sources", false;
  for (json::Value &source : *sources)
    if (!source.getAsObject() || !addSource(attention, *source.getAsObject()))
      return false;
  return true;
}

/// Layers with the same attention, "3" or "0-5".
static std::string rangeOf(const json::Array &attentions, size_t from,
                           size_t end) {
  auto layer = [&](size_t i) {
    return attentions[i].getAsObject()->getInteger("layer").value_or(0);
  };
  std::string first = std::to_string(layer(from));
  return end - from == 1 ? first : first + "-" + std::to_string(layer(end - 1));
}

/// A source's pattern for a line: tables of blocks may have thousands of
/// numbers, which JSON says.
static std::string patternOf(const json::Object &source) {
  constexpr size_t kMost = 1000; // characters
  StringRef text = source.getString("pattern").value_or("");
  return text.size() > kMost ? (text.take_front(kMost) + " ...").str()
                             : text.str();
}

static std::string sizeOf(const json::Object &from, StringRef name) {
  int64_t n = from.getInteger(name).value_or(-1);
  return n < 0 ? std::string("?") : std::to_string(n);
}

/// What a line says behind the pattern.
static std::string marksOf(const json::Object &attention,
                           const json::Object &source) {
  std::string marks;
  if (source.getBoolean("bias").value_or(false))
    marks += ", with a bias";
  if (auto branch = attention.getString("branch"))
    marks += ", in " + branch->str();
  return marks;
}

void mlir::megactx::printAttentions(const json::Array &attentions,
                                    llvm::raw_ostream &os) {
  if (attentions.empty())
    return;
  os << "  layers   kind  heads    dims     pattern\n";
  auto sameBut = [&](size_t i, size_t j) {
    json::Object a = *attentions[i].getAsObject();
    json::Object b = *attentions[j].getAsObject();
    a.erase("layer");
    b.erase("layer");
    return a == b;
  };
  for (size_t i = 0, end; i < attentions.size(); i = end) {
    for (end = i + 1; end < attentions.size() && sameBut(i, end);)
      ++end;
    const json::Object &attention = *attentions[i].getAsObject();
    for (const json::Value &value : *attention.getArray("sources")) {
      const json::Object &source = *value.getAsObject();
      os << llvm::formatv(
          "  {0,-8} {1,-5} {2,-8} {3,-8} {4}{5}\n", rangeOf(attentions, i, end),
          attention.getString("kind").value_or(""),
          sizeOf(attention, "heads") + "/" + sizeOf(source, "key_heads"),
          sizeOf(source, "dim") + "/" + sizeOf(source, "value_dim"),
          patternOf(source), marksOf(attention, source));
    }
  }
}

/// What was left, and why, by the names of remarks: once for all nodes of which
/// the same is said.
static void printMissed(const json::Array &missed, llvm::raw_ostream &os) {
  using Said = std::pair<std::string, std::string>; // before nodes, and after
  llvm::MapVector<Said, SmallVector<StringRef>, std::map<Said, unsigned>> nodes;
  for (const json::Value &value : missed) {
    const json::Object *remark = value.getAsObject();
    if (!remark)
      continue;
    auto text = [&](StringRef key) {
      return remark->getString(key).value_or("");
    };
    StringRef name = text("name");
    const char *before =
        name == kTermStaysBias        ? "stays a bias"
        : name == kAttentionNotRaised ? "not raised to attention"
        : name == kPositionsUnknown   ? "cross, positions unknown"
                                      : nullptr;
    if (!before) {
      os << name << ": " << text("reason") << "\n";
      continue;
    }
    std::string what =
        (text("what") + (name == kTermStaysBias ? ": " : "")).str();
    nodes[{before, what + text("reason").str()}].push_back(text("node"));
  }
  for (const auto &[said, names] : nodes) {
    os << said.first << ": node '" << names.front() << "'";
    if (names.size() > 1)
      os << " and " << names.size() - 1 << " more";
    os << ": " << said.second << "\n";
  }
}

static void printTable(const json::Array &attentions, const json::Array &missed,
                       const Costs &costs, llvm::raw_ostream &os) {
  os << "layer kind  heads   dims     pieces       pairs  density     GFLOP  "
        "tile GFLOP  tiles: full   partial     empty        MB  pattern\n";
  bool isUnknown = false, hasNoKernel = false;
  for (const json::Value &entry : attentions) {
    const json::Object &attention = *entry.getAsObject();
    for (const json::Value &value : *attention.getArray("sources")) {
      const json::Object &source = *value.getAsObject();
      auto whole = [](const json::Object &from, StringRef name) {
        return from.getInteger(name).value_or(0);
      };
      os << llvm::format(
          "%5d %-5s %3s/%-3s %3s/%-4s %7d ", int(whole(attention, "layer")),
          attention.getString("kind").value_or("").str().c_str(),
          sizeOf(attention, "heads").c_str(),
          sizeOf(source, "key_heads").c_str(), sizeOf(source, "dim").c_str(),
          sizeOf(source, "value_dim").c_str(), int(whole(source, "pieces")));
      isUnknown |= sizeOf(attention, "heads") == "?";
      hasNoKernel |=
          sizeOf(source, "dim") == "?" || sizeOf(source, "value_dim") == "?";
      if (auto pairs = source.getNumber("pairs"))
        os << llvm::format("%12.4g %6.2f %% %9.3f ", *pairs,
                           100 * source.getNumber("density").value_or(0),
                           source.getNumber("flops").value_or(0) / 1e9);
      else
        os << llvm::format("%12s %8s %9s ", "-", "-", "-");
      if (const json::Object *tiles = source.getObject("tiles"))
        os << llvm::format(" %10.3f  %11.5g %9.5g %9.5g ",
                           source.getNumber("tile_flops").value_or(0) / 1e9,
                           tiles->getNumber("full").value_or(0),
                           tiles->getNumber("partial").value_or(0),
                           tiles->getNumber("empty").value_or(0));
      else
        os << llvm::format(" %10s  %11s %9s %9s ", "-", "-", "-", "-");
      os << llvm::format("%9.2f  ", whole(source, "bytes") / 1e6)
         << patternOf(source) << marksOf(attention, source) << "\n";
    }
  }
  os << "for each row of the batch, at " << costs.queries << " queries and "
     << costs.keys << " keys, tiles of " << costs.tile.queries
     << " queries and " << costs.tile.keys
     << " keys in the views of pieces; a dash: too many steps to count\n";
  if (isUnknown || hasNoKernel)
    os << "a question mark: not known before a run, counted as one\n";
  if (hasNoKernel)
    os << "where dims stay unknown there is no kernel, but the generic "
          "lowering, which is slow and has all scores in memory\n";
  printMissed(missed, os);
}

/// The attentions that an artifact's manifest describes; `missed` gets what its
/// compiler remarked.
static std::optional<json::Array> ofArtifact(const ExplainOptions &options,
                                             json::Array &missed) {
  auto fail = [&](const Twine &why) {
    llvm::errs() << "error: " << options.input << ": " << why << "\n";
    return std::nullopt;
  };
  if (!options.patterns.pattern.empty() || !options.patterns.policy.empty())
    return fail("an artifact's patterns are chosen; give the model instead");
  std::string error;
  std::optional<json::Value> manifest =
      readJson(options.input + "/manifest.json", "manifest", error);
  if (!manifest)
    return fail(error);
  auto text = llvm::MemoryBuffer::getFile(options.input + "/manifest.json");
  if (!text || !isIntactManifest((*text)->getBuffer()))
    return fail("manifest.json is damaged: its checksum is not the recorded "
                "one");
  json::Array *found = nullptr;
  if (json::Object *object = manifest->getAsObject())
    found = object->getArray("attentions");
  if (!found)
    return fail("manifest.json: expected a list of attentions");
  if (json::Array *remarks = manifest->getAsObject()->getArray("missed"))
    missed = std::move(*remarks);
  return std::move(*found);
}

/// The attentions that a model has once it is sparsified; `missed` gets the
/// remarks on what is none, or not all pattern.
static std::optional<json::Array> ofModel(const ExplainOptions &options,
                                          json::Array &missed) {
  ModelFile file;
  DiagnosticPrinter printing(file);
  FailureOr<RemarkCollector> remarks = RemarkCollector::listen(file.context);
  if (failed(remarks) || failed(file.read(options.input)))
    return std::nullopt;
  PassManager pm(&file.context);
  buildSparsifyPipeline(pm, SparsifyOptions(options.patterns));
  // Head counts and dims that follow from other sizes are found on the way.
  buildOnnxToLinalgPipeline(pm, OnnxToLinalgOptions());
  if (failed(pm.run(*file.module)))
    return std::nullopt;
  missed = remarks->missed();
  return describeAttentions(*file.module);
}

LogicalResult mlir::megactx::explain(const ExplainOptions &options,
                                     llvm::raw_ostream &os) {
  constexpr int64_t longest = int64_t(1) << 31;
  for (auto [what, count] :
       {std::pair("queries", options.queries), std::pair("keys", options.keys)})
    // Without them, keys are as many as queries.
    if (count < (what == StringRef("keys") ? -1 : 0) || count > longest) {
      llvm::errs() << "error: expected 0 to " << longest << " " << what
                   << ", but got " << count << "\n";
      return failure();
    }
  json::Array missed;
  std::optional<json::Array> attentions =
      llvm::sys::fs::is_directory(options.input) ? ofArtifact(options, missed)
                                                 : ofModel(options, missed);
  if (!attentions)
    return failure();
  Costs costs(options);
  for (json::Value &attention : *attentions)
    if (!attention.getAsObject() || !costs.add(*attention.getAsObject())) {
      llvm::errs() << "error: " << options.input << ": " << costs.error << "\n";
      return failure();
    }
  std::optional<pattern::StackReach> reach;
  if (options.reach) {
    std::string error;
    reach = explainReach(*attentions, options, error);
    if (!reach) {
      llvm::errs() << "error: " << options.input << ": " << error << "\n";
      return failure();
    }
  }
  if (!options.json) {
    printTable(*attentions, missed, costs, os);
    if (reach)
      printReach(*reach, os);
    return success();
  }
  std::string tile =
      llvm::formatv("{0}x{1}", costs.tile.queries, costs.tile.keys).str();
  json::Object report{{"queries", costs.queries},
                      {"keys", costs.keys},
                      {"tile", tile},
                      {"attentions", std::move(*attentions)},
                      {"missed", std::move(missed)}};
  if (reach)
    report["reach"] = pattern::describe(*reach);
  os << llvm::formatv("{0:2}\n", json::Value(std::move(report)));
  return success();
}
