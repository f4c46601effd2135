//===- Check.h - what a run checks ------------------------------*- C++ -*-===//
//
// Owns how lowerings make checks that a run fails by.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_SUPPORT_CHECK_H
#define MEGACTX_SUPPORT_CHECK_H

#include "megactx/Support/NodeLoc.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// A check whose message names the node that it is for. The text has the name,
/// which levels that are printed without locations would lose.
inline void createCheck(OpBuilder &b, Location loc, Value ok,
                        const Twine &message) {
  cf::AssertOp::create(b, loc, ok, atNode(loc, message.str()));
}

inline void createCheck(ImplicitLocOpBuilder &b, Value ok,
                        const Twine &message) {
  createCheck(b, b.getLoc(), ok, message);
}

} // namespace mlir::megactx

#endif
