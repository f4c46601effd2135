//===- Guarded.h - exceptions under generated code --------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_GUARDED_H
#define MEGACTX_LIB_RUNTIME_GUARDED_H

#include "megactx/Runtime/KernelABI.h"
#include <exception>

namespace megactx {

/// Libraries throw; generated code does not catch.
template <typename F> void guarded(F body) {
  try {
    body();
  } catch (const std::exception &e) {
    mctx_rt_fail(e.what());
  }
}

} // namespace megactx

#endif
