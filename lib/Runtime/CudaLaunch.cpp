//===- CudaLaunch.cpp - what compiled GPU code calls ----------------------===//
//
// Owns the mgpu* functions that gpu-to-llvm and gpu.binary's translation emit
// calls of. Here they have no stream of their own: what compiled code calls a
// stream is the run's, and waiting for it is the caller's business. Device code
// is loaded when its first kernel is launched, once per device.
//
//===----------------------------------------------------------------------===//

#include "Cuda.h"
#include "Model.h"
#include "megactx/Runtime/KernelABI.h"
#include <cstdio>
#include <cstdlib>
#include <tuple>

using namespace megactx;
using namespace megactx::cuda;

namespace {
/// Device code within a model's library; `jit`: PTX that the driver compiles.
struct Code {
  const void *image;
  bool jit;
  int level;
  std::mutex mutex;
  std::map<Device *, cuda::Module> modules;
};

/// A kernel on a device.
struct Kernel {
  Function function;
  std::string name;
  int sharedBytes = 0; ///< that it may be launched with
};

struct KernelKey {
  Code *code;
  Device *device;
  std::string name;
  bool operator<(const KernelKey &other) const {
    return std::tie(code, device, name) <
           std::tie(other.code, other.device, other.name);
  }
};

std::mutex kernelsMutex;
std::map<KernelKey, Kernel> &kernels() {
  static auto *all = new std::map<KernelKey, Kernel>();
  return *all;
}

constexpr int kDynamicSharedBytes = 8; ///< CU_FUNC_ATTRIBUTE_...
} // namespace

/// Ends the run. Callers hold nothing that would need to be destroyed.
[[noreturn]] static void end(const char *message) {
  mctx_rt_fail(message);
  leaveRun();
  // No run that could end: generated code does not look at results.
  std::fprintf(stderr, "megactx: %s\n", message);
  std::exit(1);
}

void megactx::cuda::endRunIf(std::string &error) {
  if (error.empty())
    return;
  thread_local char text[4096];
  std::snprintf(text, sizeof(text), "%s", error.c_str());
  std::string().swap(error);
  end(text);
}

Run &megactx::cuda::currentRun() {
  if (Run *current = Run::current())
    return *current;
  end("GPU code outside of a run on a CUDA device");
}

static void check(const char *what, Result result) {
  if (result == kSuccess)
    return;
  Device &device = currentRun().device;
  std::string error =
      device.title() + ": " + device.driver.explain(what, result);
  endRunIf(error);
}

/// Loads device code; what the driver's compiler says is part of the error.
static cuda::Module load(Code &code, Device &device, std::string &error) {
  std::lock_guard<std::mutex> lock(code.mutex);
  cuda::Module &module = code.modules[&device];
  if (module)
    return module;
  constexpr int kErrorLog = 5, kErrorLogBytes = 6, kLevel = 7;
  char log[2048] = "";
  int names[] = {kErrorLog, kErrorLogBytes, kLevel};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log)),
                    reinterpret_cast<void *>(intptr_t(code.level))};
  Result result = device.driver.cuModuleLoadDataEx(
      &module, code.image, code.jit ? 3 : 2, names, values);
  if (result == kSuccess)
    return module;
  module = nullptr;
  const char *what = "loading the model's device code";
  if (result == kNoBinaryForGpu)
    what = "the model has no code for this device: loading it";
  else if (result == kInvalidPtx || result == kUnsupportedPtxVersion)
    what = "this driver cannot compile the model's PTX, a newer one is needed: "
           "loading it";
  error = device.title() + " (sm_" + std::to_string(device.capability) +
          "): " + device.driver.explain(what, result);
  if (log[0])
    error += std::string(": ") + log;
  return nullptr;
}

static Kernel *find(Code &code, const char *name, std::string &error) {
  Device &device = currentRun().device;
  std::lock_guard<std::mutex> lock(kernelsMutex);
  auto [place, isNew] = kernels().try_emplace({&code, &device, name});
  Kernel &kernel = place->second;
  if (!isNew)
    return &kernel;
  kernel.name = name;
  cuda::Module module = load(code, device, error);
  if (module) {
    Result result =
        device.driver.cuModuleGetFunction(&kernel.function, module, name);
    if (result == kSuccess)
      return &kernel;
    error = device.title() + ": kernel '" + name +
            "': " + device.driver.explain("cuModuleGetFunction", result);
  }
  kernels().erase(place);
  return nullptr;
}

static void allowShared(Kernel &kernel, int bytes) {
  // Up to this much needs no leave.
  constexpr int kAlways = 48 << 10;
  if (bytes <= kAlways || bytes <= kernel.sharedBytes)
    return;
  check(kernel.name.c_str(), currentRun().device.driver.cuFuncSetAttribute(
                                 kernel.function, kDynamicSharedBytes, bytes));
  kernel.sharedBytes = bytes;
}

extern "C" {
// Called while a model's library is loaded and unloaded, outside of any run.
Code *mgpuModuleLoad(void *data, size_t) {
  return new Code{data, /*jit=*/false, 0, {}, {}};
}
Code *mgpuModuleLoadJIT(void *data, int level, size_t) {
  return new Code{data, /*jit=*/true, level, {}, {}};
}
void mgpuModuleUnload(Code *code) {
  if (!code)
    return;
  {
    std::lock_guard<std::mutex> lock(kernelsMutex);
    auto &all = kernels();
    for (auto i = all.begin(); i != all.end();)
      i = i->first.code == code ? all.erase(i) : std::next(i);
  }
  for (auto [device, module] : code->modules)
    if (module) {
      Run here(*device, nullptr);
      device->driver.cuModuleUnload(module);
    }
  delete code;
}

Kernel *mgpuModuleGetFunction(Code *code, const char *name) {
  std::string error;
  Kernel *kernel = find(*code, name, error);
  endRunIf(error);
  return kernel;
}

void mgpuLaunchKernel(Kernel *kernel, intptr_t gridX, intptr_t gridY,
                      intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                      intptr_t blockZ, int32_t sharedBytes, void *,
                      void **arguments, void **extra, size_t) {
  // No rows, heads or batches: nothing to do, which the driver calls an error.
  if (gridX == 0 || gridY == 0 || gridZ == 0)
    return;
  constexpr intptr_t kMostX = 0x7fffffff, kMostYZ = 0xffff;
  if (gridX > kMostX)
    end("a tensor of more rows than a GPU launch can have");
  if (gridY > kMostYZ || gridZ > kMostYZ)
    end("more heads or batches than a GPU launch can have, 65535");
  allowShared(*kernel, sharedBytes);
  Run &here = currentRun();
  check(kernel->name.c_str(),
        here.device.driver.cuLaunchKernel(kernel->function, gridX, gridY, gridZ,
                                          blockX, blockY, blockZ, sharedBytes,
                                          here.stream, arguments, extra));
}

void mctx_rt_encode_tensor_map(void *map, void *memory, int64_t isBF16,
                               int64_t rows, int64_t batches, int64_t heads,
                               int64_t tensorRows, int64_t columns,
                               int64_t batchStride, int64_t headStride,
                               int64_t rowStride) {
  EncodeTiled encode = currentRun().device.driver.cuTensorMapEncodeTiled;
  if (!encode)
    end("the CUDA driver is too old: libcuda.so.1 has no "
        "cuTensorMapEncodeTiled");
  const Rows tensor = {memory,
                       isBF16 != 0,
                       {batches, heads, tensorRows, columns},
                       {batchStride, headStride, rowStride}};
  check("cuTensorMapEncodeTiled", encodeTensorMap(encode, map, tensor, rows));
}

int64_t mctx_rt_multiprocessors() {
  return currentRun().device.multiprocessors;
}

void *mgpuStreamCreate() { return currentRun().stream; }
void mgpuStreamDestroy(void *) {}
void mgpuStreamSynchronize(void *) {}

void *mgpuMemAlloc(uint64_t bytes, void *, bool) {
  std::string error;
  Run &here = currentRun();
  void *block = here.device.allocate(bytes, here.stream, error);
  endRunIf(error);
  return block;
}
void mgpuMemFree(void *block, void *) {
  if (block)
    currentRun().device.free(block);
}
void mgpuMemcpy(void *to, void *from, size_t bytes, void *) {
  std::string error;
  currentRun().copy(to, from, bytes, error);
  endRunIf(error);
}
void mgpuMemset32(void *to, unsigned value, size_t count, void *) {
  if (count)
    check("cuMemsetD32Async", currentRun().device.driver.cuMemsetD32Async(
                                  reinterpret_cast<Pointer>(to), value, count,
                                  currentRun().stream));
}
void mgpuMemset16(void *to, unsigned short value, size_t count, void *) {
  if (count)
    check("cuMemsetD16Async", currentRun().device.driver.cuMemsetD16Async(
                                  reinterpret_cast<Pointer>(to), value, count,
                                  currentRun().stream));
}
}
