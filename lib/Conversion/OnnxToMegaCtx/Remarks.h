//===- Remarks.h - remarks on nodes -----------------------------*- C++ -*-===//
//
// Owns how the raising of attention tells what became of a node. Nothing is
// built where the context has no remark engine.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_REMARKS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_REMARKS_H

#include "megactx/Conversion/Remarks.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::megactx::raise {

inline remark::RemarkOpts optionsOf(Operation *node, StringRef name) {
  auto function = node->getParentOfType<FunctionOpInterface>();
  return remark::RemarkOpts::name(name)
      .category(kRaiseCategory)
      .function(function ? function.getName() : StringRef());
}

/// Adds the node's name, which a printed location does not show.
inline remark::detail::InFlightRemark
named(remark::detail::InFlightRemark remark, Operation *node) {
  if (auto place = node->getLoc()->findInstanceOf<NameLoc>())
    remark << remark::metric("Node", place.getName().getValue());
  return remark;
}

inline remark::detail::InFlightRemark passed(Operation *node, StringRef name) {
  return named(remark::passed(node->getLoc(), optionsOf(node, name)), node);
}

inline remark::detail::InFlightRemark missed(Operation *node, StringRef name) {
  return named(remark::missed(node->getLoc(), optionsOf(node, name)), node);
}

} // namespace mlir::megactx::raise

#endif
