//===- RemarkCollector.h - remarks of a compilation -------------*- C++ -*-===//
//
// Owns how the tools listen to the context's remark engine: remarks on what was
// left as it was, as a list for reports and manifests, and printing.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PIPELINES_REMARKCOLLECTOR_H
#define MEGACTX_LIB_PIPELINES_REMARKCOLLECTOR_H

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/JSON.h"
#include <memory>

namespace mlir::megactx {

/// Collects the remarks of a context from here on, until either is gone.
class RemarkCollector {
public:
  /// Prints those whose whole category matches `filter`, too; none where it is
  /// empty. An error, already printed, where it is no regular expression.
  static FailureOr<RemarkCollector> listen(MLIRContext &context,
                                           StringRef filter = "");

  /// {name, node, what, reason} for each that missed: the remark's name, the
  /// node's, what the remark is on (may be empty), and why.
  const llvm::json::Array &missed() const { return *collected; }

private:
  std::shared_ptr<llvm::json::Array> collected =
      std::make_shared<llvm::json::Array>();
};

} // namespace mlir::megactx

#endif
