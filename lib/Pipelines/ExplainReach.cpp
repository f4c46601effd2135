//===- ExplainReach.cpp - what a model's layers reach ---------------------===//

#include "megactx/Pattern/DescribeReach.h"
#include "megactx/Pipelines/Explain.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace mlir::megactx;
namespace json = llvm::json;

bool ExplainOptions::readLayers(StringRef text) {
  if (text == "all")
    return true;
  auto [first, last] = text.split('-');
  if (first.getAsInteger(10, firstLayer) || firstLayer < 0)
    return false;
  lastLayer = firstLayer;
  return !text.contains('-') ||
         (!last.getAsInteger(10, lastLayer) && lastLayer >= firstLayer);
}

namespace {
/// The layers that are stacked, and what they are called.
struct Stack {
  std::vector<pattern::Layer> layers;
  json::Array numbers, misaligned;
};
} // namespace

static int64_t integerOf(const json::Object &from, StringRef name) {
  // What is not known at compile time counts once.
  return std::max<int64_t>(1, from.getInteger(name).value_or(1));
}

/// Adds an attention; false where it is not one of ours.
static bool addTo(Stack &stack, int64_t number, const json::Object &attention,
                  int64_t gist) {
  const json::Array *sources = attention.getArray("sources");
  if (!sources)
    return false;
  pattern::Layer layer;
  layer.heads = integerOf(attention, "heads");
  for (const json::Value &value : *sources) {
    const json::Object *source = value.getAsObject();
    auto text = source ? source->getString("pattern") : std::nullopt;
    auto found =
        text ? pattern::Pattern::parse(*text, [](size_t, const Twine &) {})
             : std::nullopt;
    if (!found)
      return false;
    int64_t step = integerOf(*source, "key_step");
    layer.sources.push_back({found->formula(step), step});
    for (json::Value &m :
         pattern::describeMisalignments(pattern::misalignments(*found, gist))) {
      (*m.getAsObject())["layer"] = number;
      stack.misaligned.push_back(std::move(m));
    }
  }
  stack.layers.push_back(std::move(layer));
  stack.numbers.push_back(number);
  return true;
}

static json::Value describeMend(const Stack &stack, int64_t tokens) {
  std::optional<pattern::Mend> found = pattern::mend(stack.layers, tokens);
  if (!found)
    return nullptr;
  return json::Object{{"layer", stack.numbers[found->layer]},
                      {"add", found->addition.str()},
                      {"hops", found->hops},
                      {"pairs_per_head", found->pairs},
                      {"checked_at", std::min(tokens, pattern::kMaxMendRows)}};
}

std::optional<json::Object>
mlir::megactx::explainReach(const json::Array &attentions,
                            const ExplainOptions &options, std::string &error) {
  Stack stack;
  int64_t end = options.lastLayer < 0 ? int64_t(attentions.size())
                                      : options.lastLayer + 1;
  for (int64_t i = options.firstLayer;
       i < std::min<int64_t>(end, attentions.size()); ++i) {
    const json::Object *attention = attentions[i].getAsObject();
    if (!attention || attention->getString("kind") != StringRef("self"))
      continue;
    if (!addTo(stack, i, *attention, options.gist))
      return error = "expected attentions with patterns", std::nullopt;
  }
  if (stack.layers.empty() || end > int64_t(attentions.size()))
    return error = llvm::formatv("no self-attention in layers {0} to {1}, the "
                                 "model has {2} attentions",
                                 options.firstLayer, end - 1, attentions.size())
                       .str(),
           std::nullopt;
  json::Object report =
      pattern::describeReach(pattern::reach(stack.layers, options.queries));
  report["mend"] = describeMend(stack, options.queries);
  report["of_layers"] = std::move(stack.numbers);
  report["misaligned"] = std::move(stack.misaligned);
  return report;
}

//===----------------------------------------------------------------------===//
// In words
//===----------------------------------------------------------------------===//

static std::string spanOf(const json::Object *object) {
  pattern::Span span{};
  if (object) {
    span.first = object->getInteger("first").value_or(0);
    span.last = object->getInteger("last").value_or(0);
    span.every = object->getInteger("every").value_or(0);
    span.run = object->getInteger("run").value_or(0);
  }
  return pattern::describeInWords(span);
}

static void printMissing(const json::Object &reach, llvm::raw_ostream &os) {
  const json::Object &components = *reach.getObject("components");
  int64_t count = components.getInteger("count").value_or(0);
  if (count > 1) {
    os << "  " << count << " sets of positions that no layer connects:\n";
    for (const json::Value &positions : *components.getArray("positions")) {
      os << "    positions";
      StringRef comma = " ";
      for (const json::Value &span : *positions.getAsArray()) {
        os << comma << spanOf(span.getAsObject());
        comma = ", ";
      }
      os << "\n";
    }
  }
  const json::Object &missing = *reach.getObject("never_reached");
  for (const json::Value &value : *missing.getArray("within_components")) {
    const json::Object &gap = *value.getAsObject();
    os << "  queries " << spanOf(gap.getObject("queries"))
       << ": the first never reaches " << spanOf(gap.getObject("keys_of_first"))
       << ", the last never " << spanOf(gap.getObject("keys_of_last")) << "\n";
  }
}

void mlir::megactx::printReach(const json::Object &reach,
                               llvm::raw_ostream &os) {
  const json::Array &layers = *reach.getArray("of_layers");
  os << "reach of " << layers.size()
     << (layers.size() == 1 ? " self-attention" : " self-attentions") << ", "
     << reach.getString("goal").value_or("") << ", at "
     << reach.getInteger("checked_at").value_or(0) << " rows: ";
  std::optional<int64_t> hops = reach.getInteger("hops");
  if (!hops)
    os << "not reached, however many layers\n";
  else
    os << "reached after " << *hops << (*hops == 1 ? " layer" : " layers")
       << (*hops > int64_t(layers.size()) ? ", more than there are\n" : "\n");
  if (!hops)
    printMissing(reach, os);
  if (const json::Object *mend = reach.getObject("mend"))
    os << llvm::formatv(
        "  mended by `or {0}` in layer {1}: reached after {2}, {3} more pairs "
        "a head at {4} rows\n",
        mend->getString("add").value_or(""),
        mend->getInteger("layer").value_or(0),
        mend->getInteger("hops").value_or(0),
        mend->getInteger("pairs_per_head").value_or(0),
        mend->getInteger("checked_at").value_or(0));
  for (const json::Value &value : *reach.getArray("misaligned")) {
    const json::Object &m = *value.getAsObject();
    os << llvm::formatv("  layer {0}: {1} cuts gists of {2} tokens; {3} would "
                        "not\n",
                        m.getInteger("layer").value_or(0),
                        m.getString("pattern").value_or(""),
                        m.getInteger("gist").value_or(0),
                        m.getInteger("nearest_aligned").value_or(0));
  }
}
