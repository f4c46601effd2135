//===- Trigonometry.h - functions of any angle, and angles -----*- C++ -*-===//

#ifndef MEGACTX_LIB_TRANSFORMS_TRIGONOMETRY_H
#define MEGACTX_LIB_TRANSFORMS_TRIGONOMETRY_H

#include "mlir/IR/PatternMatch.h"

namespace mlir::megactx {

/// sin, cos and atan of f32, scalars and vectors, as arithmetic.
void populateTrigonometryPatterns(RewritePatternSet &patterns);

} // namespace mlir::megactx

#endif
