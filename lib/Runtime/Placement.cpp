//===- Placement.cpp - tensors where a model wants them -------------------===//

#include "Placement.h"
#include "Model.h"
#include "megactx/Runtime/KernelABI.h"
#include <cstdint>
#include <cstring>

using namespace megactx;

void *Memory::allocate(uint64_t bytes, std::string &error) const {
  if (run)
    return run->device.allocate(bytes, run->stream, error);
  return _mlir_memref_to_llvm_alloc(bytes ? bytes : 1);
}

void Memory::free(void *block) const {
  if (run)
    run->device.free(block);
  else
    _mlir_memref_to_llvm_free(block);
}

bool Memory::copy(void *to, const void *from, uint64_t bytes,
                  std::string &error) const {
  if (run)
    return run->copy(to, from, bytes, error);
  if (bytes)
    std::memcpy(to, from, bytes);
  return true;
}

void Memory::label(mctx_tensor &tensor) const {
  tensor.device_type = run ? MCTX_CUDA : MCTX_HOST;
  tensor.device = run ? run->device.ordinal : 0;
}

Copies::~Copies() {
  for (auto [memory, block] : blocks)
    memory.free(block);
}

bool Copies::bring(const mctx_tensor &input, uint64_t bytes, bool toDevice,
                   void *&data, std::string &error) {
  data = input.data;
  bool onDevice = input.device_type == MCTX_CUDA;
  // Others' tensors may be parts of larger ones and start anywhere.
  bool isAligned =
      reinterpret_cast<uintptr_t>(data) % MCTX_DEVICE_ALIGNMENT == 0;
  if (onDevice == toDevice && (isAligned || !toDevice))
    return true;
  Memory memory = toDevice ? Memory::device() : Memory::host();
  data = memory.allocate(bytes, error);
  if (!data)
    return false;
  blocks.emplace_back(memory, data);
  cuda::Run &run = *cuda::Run::current();
  // The model's own code reads what comes to the host at once.
  return run.copy(data, input.data, bytes, error) &&
         (toDevice || run.wait(error));
}

extern "C" int mctx_to_device(mctx_tensor *tensor, int ordinal, void *stream) {
  std::string error;
  cuda::Device *device = nullptr;
  void *data = nullptr;
  if (!tensor->dtype || !widthOf(tensor->dtype))
    error = std::string("expected a dtype of ONNX, but got '") +
            (tensor->dtype ? tensor->dtype : "") + "'";
  else
    device = cuda::Device::open(
        ordinal < 0 ? cuda::Device::preferred() : ordinal, error);
  if (device) {
    cuda::Run here(*device, stream);
    Memory memory = Memory::device();
    uint64_t bytes = bytesOf(*tensor);
    data = memory.allocate(bytes, error);
    if (data && !here.copy(data, tensor->data, bytes, error)) {
      memory.free(data);
      data = nullptr;
    }
    if (data)
      memory.label(*tensor);
  }
  if (!data) {
    setError(error);
    return 1;
  }
  tensor->data = data;
  return 0;
}
