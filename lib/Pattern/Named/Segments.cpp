//===- Segments.cpp - the pattern `segments` ------------------------------===//

#include "Common.h"
#include "megactx/Pattern/SegmentBounds.h"

using namespace mlir::megactx::pattern;

namespace {
struct Segments : NamedPattern {
  llvm::StringRef name() const override { return "segments"; }
  llvm::StringRef description() const override {
    return "query and key have the same segment id (document masking)";
  }
  llvm::ArrayRef<Parameter> parameters() const override { return {}; }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    return Formula::test(sameSegment());
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::segmentsPattern() {
  static const Segments pattern;
  return pattern;
}
