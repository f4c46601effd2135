//===- DLPack.cpp - outputs on a GPU for others ---------------------------===//
//
// The structs are DLPack's of its first version, which every library takes:
// https://dmlc.github.io/dlpack/latest/c_api.html
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include <algorithm>

using namespace megactx;

namespace {
enum class Code : uint8_t {
  Int = 0,
  UInt = 1,
  Float = 2,
  BFloat = 4,
  Bool = 6
};

struct DLTensor {
  void *data;
  int32_t deviceType, device;
  int32_t rank;
  Code code;
  uint8_t bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byteOffset;
};

struct DLManagedTensor {
  DLTensor tensor;
  void *context;
  void (*deleter)(DLManagedTensor *);
};

struct Exported : DLManagedTensor {
  int64_t sizes[MCTX_MAX_RANK], steps[MCTX_MAX_RANK];
};

Code codeOf(const std::string &dtype) {
  if (dtype == "bool")
    return Code::Bool;
  if (dtype == "bfloat16")
    return Code::BFloat;
  if (dtype[0] == 'u')
    return Code::UInt;
  return dtype[0] == 'i' ? Code::Int : Code::Float;
}

void destroy(DLManagedTensor *managed) {
  mctx_free(managed->tensor.data);
  delete static_cast<Exported *>(managed);
}
} // namespace

extern "C" void *mctx_to_dlpack(const mctx_tensor *output, void *stream) {
  cuda::Device *device = cuda::Device::of(output->data);
  std::string error = "expected an output in a GPU's memory";
  if (!device || !device->lend(output->data, stream, error)) {
    setError(error);
    return nullptr;
  }
  device->retain(output->data);
  auto *made = new Exported();
  int64_t step = 1;
  for (int64_t d = output->rank; d-- > 0; step *= output->shape[d]) {
    made->sizes[d] = output->shape[d];
    made->steps[d] = step;
  }
  made->tensor = {output->data,          MCTX_CUDA,
                  device->ordinal,       int32_t(output->rank),
                  codeOf(output->dtype), uint8_t(8 * widthOf(output->dtype)),
                  /*lanes=*/1,           made->sizes,
                  made->steps,
                  /*byteOffset=*/0};
  made->deleter = destroy;
  return static_cast<DLManagedTensor *>(made);
}
