//===- Placement.h - tensors where a model wants them -----------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_PLACEMENT_H
#define MEGACTX_LIB_RUNTIME_PLACEMENT_H

#include "Cuda.h"
#include "megactx/Runtime/Runtime.h"
#include <string>
#include <vector>

namespace megactx {

/// Memory of the host or of the device that this thread's run is on.
class Memory {
public:
  static Memory host() { return {}; }
  static Memory device() { return Memory(cuda::Run::current()); }

  /// Null with the reason.
  void *allocate(uint64_t bytes, std::string &error) const;
  void free(void *block) const;
  /// Copies what is in the same memory.
  bool copy(void *to, const void *from, uint64_t bytes,
            std::string &error) const;
  /// Writes where a tensor is.
  void label(mctx_tensor &tensor) const;

private:
  Memory() = default;
  explicit Memory(cuda::Run *run) : run(run) {}
  cuda::Run *run = nullptr;
};

/// Copies of inputs, for as long as it lives: a model of a GPU takes inputs
/// from wherever they are.
class Copies {
public:
  ~Copies();
  /// The input's data in the memory that the model wants it in, at a multiple
  /// of 16 bytes on a device. False with the reason.
  bool bring(const mctx_tensor &input, uint64_t bytes, bool toDevice,
             void *&data, std::string &error);

private:
  std::vector<std::pair<Memory, void *>> blocks;
};

} // namespace megactx

#endif
