//===- DescribeReach.cpp - reach and misalignment in words and JSON -------===//

#include "megactx/Pattern/DescribeReach.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir::megactx::pattern;
namespace json = llvm::json;

static json::Object describe(const Span &span) {
  json::Object result{{"first", span.first}, {"last", span.last}};
  if (span.every) {
    result["every"] = span.every;
    result["run"] = span.run;
  }
  return result;
}

/// `0 to 62 every 2`, `3 to 9`, `5`.
static std::string inWords(const Span &span) {
  if (span.first == span.last)
    return std::to_string(span.first);
  std::string text = llvm::formatv("{0} to {1}", span.first, span.last);
  if (span.every && span.run == 1)
    text += llvm::formatv(" every {0}", span.every).str();
  else if (span.every)
    text += llvm::formatv(", {0} every {1}", span.run, span.every).str();
  return text;
}

static json::Array describeGaps(const Reach &reach) {
  json::Array gaps;
  for (const Gap &gap : reach.gaps)
    gaps.push_back(json::Object{{"component", gap.component},
                                {"queries", describe(gap.rows)},
                                {"keys_of_first", describe(gap.ofFirst)},
                                {"keys_of_last", describe(gap.ofLast)}});
  return gaps;
}

static json::Array describeComponents(const Reach &reach) {
  json::Array components;
  for (const std::vector<Span> &component : reach.components) {
    json::Array spans;
    for (const Span &span : component)
      spans.push_back(describe(span));
    components.push_back(std::move(spans));
  }
  return components;
}

json::Object mlir::megactx::pattern::describeReach(const Reach &reach) {
  json::Object missing{{"pairs", reach.missingPairs},
                       {"between_components", reach.missingBetweenComponents},
                       {"within_components", describeGaps(reach)},
                       {"ranges_left_out", reach.gapsLeftOut}};
  json::Object components{{"count", reach.componentCount},
                          {"positions", describeComponents(reach)}};
  return json::Object{
      {"checked_at", reach.rows},
      {"goal", reach.causalGoal ? "every past position" : "every position"},
      {"layers", reach.layers},
      {"reached", reach.reached},
      {"hops", reach.hops ? json::Value(*reach.hops) : json::Value(nullptr)},
      {"never_reached", std::move(missing)},
      {"components", std::move(components)}};
}

json::Array mlir::megactx::pattern::describeMisalignments(
    llvm::ArrayRef<Misalignment> misalignments) {
  json::Array result;
  for (const Misalignment &m : misalignments)
    result.push_back(json::Object{{"pattern", m.pattern},
                                  {"period", m.period},
                                  {"gist", m.gist},
                                  {"common_divisor", m.divisor},
                                  {"crossed_at_multiples_of", m.boundary},
                                  {"but_not_of", m.repeats},
                                  {"nearest_aligned", m.nearest}});
  return result;
}

//===----------------------------------------------------------------------===//
// Stacks
//===----------------------------------------------------------------------===//

void NumberedStack::addLayer(int64_t number, int64_t heads) {
  layers.push_back({{}, heads});
  numbers.push_back(number);
}

void NumberedStack::addSource(const Pattern &pattern, int64_t keyStep,
                              int64_t gist) {
  layers.back().sources.push_back({pattern.formula(keyStep), keyStep});
  for (Misalignment &found : misalignments(pattern, gist))
    misaligned.push_back({numbers.back(), std::move(found)});
}

StackReach mlir::megactx::pattern::reachOf(NumberedStack stack,
                                           int64_t tokens) {
  Reach found = reach(stack.layers, tokens);
  std::optional<Mend> mended = mend(stack.layers, tokens);
  return {std::move(stack), std::move(found), std::move(mended),
          std::min(tokens, kMaxMendRows)};
}

json::Object mlir::megactx::pattern::describe(const StackReach &report) {
  json::Object result = describeReach(report.reach);
  json::Array misaligned;
  for (const auto &[layer, found] : report.stack.misaligned) {
    json::Array one = describeMisalignments(found);
    (*one[0].getAsObject())["layer"] = layer;
    misaligned.push_back(std::move(one[0]));
  }
  result["of_layers"] = json::Array(report.stack.numbers);
  result["misaligned"] = std::move(misaligned);
  result["mend"] = nullptr;
  if (const std::optional<Mend> &mend = report.mend)
    result["mend"] = json::Object{{"layer", report.stack.numbers[mend->layer]},
                                  {"add", mend->addition.str()},
                                  {"hops", mend->hops},
                                  {"pairs_per_head", mend->pairs},
                                  {"checked_at", report.mendRows}};
  return result;
}

std::string mlir::megactx::pattern::verdictOf(const StackReach &report) {
  const Reach &reach = report.reach;
  int64_t layers = report.stack.layers.size();
  std::string text = llvm::formatv(
      "reach of {0} self-attention{1}, every {2}position, at {3} rows: ",
      layers, layers == 1 ? "" : "s", reach.causalGoal ? "past " : "",
      reach.rows);
  if (!reach.hops)
    return text + "not reached, however many layers";
  return text +
         llvm::formatv("reached after {0} layer{1}{2}", *reach.hops,
                       *reach.hops == 1 ? "" : "s",
                       *reach.hops > layers ? ", more than there are" : "")
             .str();
}

std::vector<std::string>
mlir::megactx::pattern::describeMissing(const StackReach &report) {
  const Reach &reach = report.reach;
  std::vector<std::string> lines;
  if (reach.hops)
    return lines;
  if (reach.componentCount > 1) {
    lines.push_back(llvm::formatv("{0} sets of positions that no layer "
                                  "connects:",
                                  reach.componentCount));
    for (const std::vector<Span> &component : reach.components)
      lines.push_back("  positions " +
                      llvm::join(llvm::map_range(component, inWords), ", "));
    if (int64_t more = reach.componentCount - int64_t(reach.components.size()))
      lines.push_back("  and " + std::to_string(more) + " more");
  }
  for (const Gap &gap : reach.gaps)
    lines.push_back(llvm::formatv("queries {0}: the first never reaches {1}, "
                                  "the last never {2}",
                                  inWords(gap.rows), inWords(gap.ofFirst),
                                  inWords(gap.ofLast)));
  return lines;
}

std::string mlir::megactx::pattern::describeMend(const StackReach &report) {
  if (!report.mend)
    return "";
  const Mend &mend = *report.mend;
  return llvm::formatv("mended by `or {0}` in layer {1}: reached after {2}, "
                       "{3} more pairs a head at {4} rows",
                       mend.addition.str(), report.stack.numbers[mend.layer],
                       mend.hops, mend.pairs, report.mendRows);
}

std::string mlir::megactx::pattern::describe(const Misalignment &m) {
  return llvm::formatv("{0} cuts gists of {1} tokens; {2} would not", m.pattern,
                       m.gist, m.nearest);
}
