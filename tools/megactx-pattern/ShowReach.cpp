//===- ShowReach.cpp - what layers of a pattern reach, as JSON ------------===//

#include "Show.h"
#include "megactx/Pattern/Alignment.h"
#include "megactx/Pattern/Connectivity.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

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

static json::Array describeMisalignments(const Pattern &pattern, int64_t gist) {
  json::Array result;
  for (const Misalignment &m : misalignments(pattern, gist))
    result.push_back(json::Object{{"pattern", m.pattern},
                                  {"period", m.period},
                                  {"gist", m.gist},
                                  {"common_divisor", m.divisor},
                                  {"crossed_at_multiples_of", m.boundary},
                                  {"but_not_of", m.repeats},
                                  {"nearest_aligned", m.nearest}});
  return result;
}

std::string mlir::megactx::pattern::showReach(const Pattern &pattern,
                                              const Request &request,
                                              llvm::raw_ostream &os) {
  const Rows &rows = request.rows;
  if (rows.keys != rows.queries || rows.queryStep != 1 || rows.keyStep != 1 ||
      rows.queryOffset != 0 || rows.keyOffset != 0)
    return "layers compose where every position is a query and a key: give "
           "--queries alone";
  std::optional<int64_t> layers;
  if (request.layers >= 0)
    layers = request.layers;
  Reach found = reach(layerOf(pattern, request.heads), rows.queries, layers);
  json::Object missing{{"pairs", found.missingPairs},
                       {"between_components", found.missingBetweenComponents},
                       {"within_components", describeGaps(found)},
                       {"ranges_left_out", found.gapsLeftOut}};
  json::Object components{{"count", found.componentCount},
                          {"positions", describeComponents(found)}};
  json::Object report{
      {"queries", rows.queries},
      {"checked_at", found.rows},
      {"goal", found.causalGoal ? "every past position" : "every position"},
      {"layers", found.layers},
      {"reached", found.reached},
      {"hops", found.hops ? json::Value(*found.hops) : json::Value(nullptr)},
      {"never_reached", std::move(missing)},
      {"components", std::move(components)},
      {"misaligned", describeMisalignments(pattern, request.gist)}};
  os << llvm::formatv("{0:2}\n", json::Value(std::move(report)));
  return "";
}
