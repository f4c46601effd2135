//===- DescribeReach.cpp - reach and misalignment as JSON -----------------===//

#include "megactx/Pattern/DescribeReach.h"
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

std::string mlir::megactx::pattern::describeInWords(const Span &span) {
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
