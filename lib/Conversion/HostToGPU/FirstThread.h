//===- FirstThread.h - sequential code on a GPU -----------------*- C++ -*-===//

#ifndef MEGACTX_LIB_CONVERSION_HOSTTOGPU_FIRSTTHREAD_H
#define MEGACTX_LIB_CONVERSION_HOSTTOGPU_FIRSTTHREAD_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// A launch of `blocks`, one where null, of a warp each, whose first thread
/// runs what `inside` emits for the block's number. `kind` becomes the
/// kernel's.
void launchFirstThreads(ImplicitLocOpBuilder &b, StringRef kind,
                        function_ref<void(Value block)> inside,
                        Value blocks = {});

} // namespace mlir::megactx

#endif
