//===- Magnitudes.h - how large numbers are ---------------------*- C++ -*-===//
//
// Owns what is known of the size of numbers, and what they do not change.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_MAGNITUDES_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_MAGNITUDES_H

#include "Element.h"

namespace mlir::megactx::raise {

/// The largest magnitude of an element that is one of numbers which the model
/// has, wherever nodes move them; infinite of others.
double magnitudeOf(const Element &element);

/// Whether a number of the type stays the same when numbers of up to this
/// magnitude are added to it.
bool swallows(double number, double magnitude, const llvm::fltSemantics &type);

} // namespace mlir::megactx::raise

#endif
