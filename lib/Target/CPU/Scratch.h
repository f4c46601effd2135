//===- Scratch.h - a task's memory ------------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_TARGET_CPU_SCRATCH_H
#define MEGACTX_LIB_TARGET_CPU_SCRATCH_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::cpu {

/// One run of bytes on a task's stack, cut into buffers.
class Scratch {
public:
  /// A buffer to be cut, which `buffer` then is.
  void add(Value &buffer, ArrayRef<int64_t> dims, Type type);
  /// Buffers of these types, one each.
  void add(SmallVectorImpl<Value> &buffers, ArrayRef<MemRefType> types);
  /// Cuts them out of the bytes given, memref<?xi8>; without any, out of new
  /// ones on the stack. Returns the bytes.
  Value cut(ImplicitLocOpBuilder &b, Value given);

private:
  struct Field {
    Value &buffer;
    MemRefType type;
    int64_t at;
  };
  SmallVector<Field> fields;
  int64_t bytes = 0;
};

} // namespace mlir::megactx::cpu

#endif
