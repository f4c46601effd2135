//===- NodeLoc.h - the nodes of a model as locations ------------*- C++ -*-===//
//
// Owns how a location says which node of a model an op comes from. It stays
// with the op, whatever the op becomes.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_SUPPORT_NODELOC_H
#define MEGACTX_SUPPORT_NODELOC_H

#include "mlir/IR/Location.h"
#include "llvm/Support/JSON.h"

namespace mlir::megactx {

/// The location of a node in a file: its name around its operator, or the
/// operator alone where it has no name.
inline Location nodeLoc(StringRef name, StringRef type, Location file) {
  MLIRContext *context = file.getContext();
  Location node = NameLoc::get(StringAttr::get(context, type), file);
  return name.empty() ? node
                      : NameLoc::get(StringAttr::get(context, name), node);
}

/// A message about a node: "node 'encoder/Add_3' (Add): message". Without a
/// node at the location it is the message. Names hold any bytes, messages are
/// UTF-8 in strings of C.
inline std::string atNode(Location loc, StringRef message) {
  auto name = loc->findInstanceOf<NameLoc>();
  if (!name)
    return message.str();
  std::string text =
      "node '" +
      llvm::json::fixUTF8(name.getName().getValue().split('\0').first) + "'";
  if (auto type = dyn_cast<NameLoc>(name.getChildLoc()))
    text += " (" + type.getName().str() + ")";
  return text + ": " + message.str();
}

} // namespace mlir::megactx

#endif
