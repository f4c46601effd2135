//===- OneDNN.h - calls of oneDNN from tasks --------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_ONEDNN_H
#define MEGACTX_LIB_RUNTIME_ONEDNN_H

#include "megactx/Runtime/KernelABI.h"
#include <dlfcn.h>
#include <exception>

namespace megactx {

/// Debian's oneDNN brings OpenMP; within the pool's tasks it must not start
/// threads of its own.
inline void singleThreaded() {
  thread_local bool done = [] {
    using SetThreads = void (*)(int);
    if (auto set = reinterpret_cast<SetThreads>(
            dlsym(RTLD_DEFAULT, "omp_set_num_threads")))
      set(1);
    return true;
  }();
  (void)done;
}

/// oneDNN throws; generated code does not catch.
template <typename F> void guarded(F body) {
  try {
    body();
  } catch (const std::exception &e) {
    mctx_rt_fail(e.what());
  }
}

} // namespace megactx

#endif
