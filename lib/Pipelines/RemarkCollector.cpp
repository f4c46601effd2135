//===- RemarkCollector.cpp - remarks of a compilation ---------------------===//

#include "RemarkCollector.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
using namespace mlir::megactx;
namespace json = llvm::json;

namespace {
class Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  Streamer(std::shared_ptr<json::Array> collected, StringRef filter)
      : collected(std::move(collected)) {
    // A whole category, as mlir-opt's --remarks-filter.
    if (!filter.empty())
      printed.emplace(("^(" + filter + ")$").str());
  }

  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    if (printed && printed->match(remark.getCombinedCategoryName()))
      emitRemark(remark.getLocation(), remark.getMsg());
    if (remark.getRemarkType() != llvm::remarks::Type::Missed)
      return;
    auto argument = [&](StringRef key) {
      for (const auto &arg : remark.getArgs())
        if (arg.key == key)
          return json::fixUTF8(arg.val); // of names, which hold any bytes
      return std::string();
    };
    collected->push_back(json::Object{{"name", remark.getRemarkName().str()},
                                      {"node", argument("Node")},
                                      {"what", argument("Remark")},
                                      {"reason", argument("Reason")}});
  }

private:
  std::shared_ptr<json::Array> collected;
  std::optional<llvm::Regex> printed;
};
} // namespace

FailureOr<RemarkCollector> RemarkCollector::listen(MLIRContext &context,
                                                   StringRef filter) {
  std::string error;
  if (!filter.empty() && !llvm::Regex(filter).isValid(error)) {
    llvm::errs() << "error: --remarks-filter: " << error << "\n";
    return failure();
  }
  RemarkCollector collector;
  remark::RemarkCategories every;
  every.passed = every.missed = every.analysis = every.failed = ".*";
  if (failed(remark::enableOptimizationRemarks(
          context, std::make_unique<Streamer>(collector.collected, filter),
          std::make_unique<remark::RemarkEmittingPolicyAll>(), every)))
    return failure();
  return collector;
}
