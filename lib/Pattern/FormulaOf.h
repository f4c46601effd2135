//===- FormulaOf.h - conditions as formulas ---------------------*- C++ -*-===//
//
// Owns the way from any condition on p, k, h and b to the atoms that kernels
// know best: what bounds keys or rows is a cut, what residues decide is a
// digit, and only the rest is tested.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_FORMULAOF_H
#define MEGACTX_LIB_PATTERN_FORMULAOF_H

#include "megactx/Pattern/Formula.h"

namespace mlir::megactx::pattern {

/// Holds where `condition` is not 0.
Formula formulaOf(const Expr &condition);

} // namespace mlir::megactx::pattern

#endif
