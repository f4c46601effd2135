//===- Registration.h - every dialect and pass of ours ----------*- C++ -*-===//

#ifndef MEGACTX_PIPELINES_REGISTRATION_H
#define MEGACTX_PIPELINES_REGISTRATION_H

#include "mlir/IR/DialectRegistry.h"

namespace mlir::megactx {

/// Our dialects and their interfaces, not upstream's.
void registerAllDialects(DialectRegistry &registry);

/// Our passes, and our pipelines as --megactx-<phase>-pipeline.
void registerAllPasses();

} // namespace mlir::megactx

#endif
