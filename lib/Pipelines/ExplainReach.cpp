//===- ExplainReach.cpp - what a model's layers reach ---------------------===//

#include "megactx/Pipelines/Explain.h"
#include "llvm/ADT/DenseSet.h"
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

static int64_t integerOf(const json::Object &from, StringRef name) {
  // What is not known at compile time counts once.
  return std::max<int64_t>(1, from.getInteger(name).value_or(1));
}

/// Adds an attention; false where it is not one of ours.
static bool addTo(pattern::NumberedStack &stack, int64_t number,
                  const json::Object &attention, int64_t gist) {
  const json::Array *sources = attention.getArray("sources");
  if (!sources)
    return false;
  stack.addLayer(number, integerOf(attention, "heads"));
  for (const json::Value &value : *sources) {
    const json::Object *source = value.getAsObject();
    auto text = source ? source->getString("pattern") : std::nullopt;
    auto found =
        text ? pattern::Pattern::parse(*text, [](size_t, const Twine &) {})
             : std::nullopt;
    if (!found)
      return false;
    stack.addSource(*found, integerOf(*source, "key_step"), gist);
  }
  return true;
}

std::optional<pattern::StackReach>
mlir::megactx::explainReach(const json::Array &attentions,
                            const ExplainOptions &options, std::string &error) {
  pattern::NumberedStack stack;
  auto layerOf = [](const json::Value &attention) {
    const json::Object *object = attention.getAsObject();
    return object ? object->getInteger("layer").value_or(-1) : -1;
  };
  int64_t count = 0;
  for (const json::Value &attention : attentions)
    count = std::max(count, layerOf(attention) + 1);
  int64_t end = options.lastLayer < 0 ? count : options.lastLayer + 1;
  llvm::DenseSet<int64_t> seen;
  for (const json::Value &value : attentions) {
    int64_t layer = layerOf(value);
    const json::Object *attention = value.getAsObject();
    // Of a layer that branches have, the first is taken.
    if (layer < options.firstLayer || layer >= end || !attention ||
        attention->getString("kind") != StringRef("self") ||
        !seen.insert(layer).second)
      continue;
    if (!addTo(stack, layer, *attention, options.gist))
      return error = "expected attentions with patterns", std::nullopt;
  }
  if (stack.layers.empty() || end > count)
    return error = llvm::formatv("no self-attention in layers {0} to {1}, the "
                                 "model has {2} layers",
                                 options.firstLayer, end - 1, count)
                       .str(),
           std::nullopt;
  return pattern::reachOf(std::move(stack), options.queries);
}

void mlir::megactx::printReach(const pattern::StackReach &reach,
                               llvm::raw_ostream &os) {
  os << verdictOf(reach) << "\n";
  for (const std::string &line : describeMissing(reach))
    os << "  " << line << "\n";
  if (reach.mend)
    os << "  " << describeMend(reach) << "\n";
  for (const auto &[layer, misaligned] : reach.stack.misaligned)
    os << "  layer " << layer << ": " << describe(misaligned) << "\n";
}
