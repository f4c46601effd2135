//===- OneDNN.h - calls of oneDNN from tasks --------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_ONEDNN_H
#define MEGACTX_LIB_RUNTIME_ONEDNN_H

#include "Guarded.h"
#include <dlfcn.h>
#include <map>

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

/// What is made of shapes, by these. They vary with run-time lengths: what is
/// kept is bounded.
template <typename Key, typename T> class Bounded {
public:
  template <typename F> T &get(const Key &key, F make) {
    constexpr size_t kMost = 256;
    auto found = all.find(key);
    if (found == all.end()) {
      if (all.size() >= kMost)
        all.clear();
      found = all.emplace(key, make()).first;
    }
    return found->second;
  }

private:
  std::map<Key, T> all;
};

} // namespace megactx

#endif
