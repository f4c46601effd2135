//===- Pool.h - the one thread pool -----------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_POOL_H
#define MEGACTX_LIB_RUNTIME_POOL_H

namespace megactx {

/// The number of threads, the calling one included.
int poolSize();

/// Whether this thread is within a task.
bool insideTask();

} // namespace megactx

#endif
