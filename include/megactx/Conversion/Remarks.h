//===- Remarks.h - what passes between levels remark ------------*- C++ -*-===//
//
// Owns the names of remarks, for those who emit them and for those who collect
// them from the context's remark engine (mlir/IR/Remarks.h).
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_REMARKS_H
#define MEGACTX_CONVERSION_REMARKS_H

#include "llvm/ADT/StringRef.h"

namespace mlir::megactx {

/// The category of all remarks of megactx-raise-onnx-attention. Arguments:
/// "Node", the node's name; "Remark", the pattern, or the term that stays;
/// "Reason", why something was missed.
constexpr llvm::StringLiteral kRaiseCategory = "raise-onnx-attention";

/// Passed, at the node whose result an attention replaces.
constexpr llvm::StringLiteral kAttentionRaised = "attention-raised";
/// Missed, at the Softmax, or the operator of attention, that stays.
constexpr llvm::StringLiteral kAttentionNotRaised = "attention-not-raised";
/// Missed, at the node that applies a mask or another term to the scores of a
/// raised attention, of which a bias is left.
constexpr llvm::StringLiteral kTermStaysBias = "term-stays-bias";

/// Missed, at the same node as the first, of attention within one sequence
/// whose queries and keys have no known positions in it: it is raised as
/// `cross`.
constexpr llvm::StringLiteral kPositionsUnknown = "positions-unknown";

/// Attribute of an operator of attention that stays: why. Where nothing lowers
/// it, the error says so.
constexpr llvm::StringLiteral kReasonAttr = "megactx.reason";

} // namespace mlir::megactx

#endif
