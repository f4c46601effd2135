//===- ShowReach.cpp - what layers of a pattern reach, as JSON ------------===//

#include "Show.h"
#include "megactx/Pattern/DescribeReach.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir::megactx::pattern;
namespace json = llvm::json;

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
  json::Object report = describeReach(
      reach(layerOf(pattern, request.heads), rows.queries, layers));
  report["queries"] = rows.queries;
  report["misaligned"] =
      describeMisalignments(misalignments(pattern, request.gist));
  os << llvm::formatv("{0:2}\n", json::Value(std::move(report)));
  return "";
}
