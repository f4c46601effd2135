//===- FakeCuda.cpp - a libcuda.so.1 without a GPU ------------------------===//
//
// Owns the functions of the CUDA driver that the runtime calls, on the host's
// memory, with the GPU emulator for kernels: module images are LLVM IR as text
// that ends in a zero byte. Streams run at once. Settings are FakeCalls.h's.
//
//===----------------------------------------------------------------------===//

#include "FakeCalls.h"
#include <atomic>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <sys/mman.h>

using megactx::fake::called;
using megactx::fake::number;
using megactx::fake::setting;

namespace {
using Result = int;
constexpr Result kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100,
                 kInvalidDevice = 101, kInvalidImage = 200,
                 kInvalidContext = 201, kNotFound = 500, kNotReady = 600,
                 kLaunchFailed = 719;

using EncodeTiled = int(void *, int, unsigned, void *, const uint64_t *,
                        const uint64_t *, const unsigned *, const unsigned *,
                        int, int, int, int);

/// The emulator's functions: by handle, as the runtime has some of the names.
struct Emulator {
  void *library = dlopen("libmegactx_gpu_emulator.so", RTLD_NOW | RTLD_LOCAL);
  template <typename Function> Function *find(const char *name) {
    return reinterpret_cast<Function *>(dlsym(library, name));
  }
  void *(*load)(void *,
                size_t) = find<void *(void *, size_t)>("mgpuModuleLoad");
  void (*unload)(void *) = find<void(void *)>("mgpuModuleUnload");
  void *(*function)(void *, const char *) =
      find<void *(void *, const char *)>("mgpuModuleGetFunction");
  void (*launch)(void *, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                 intptr_t, int32_t, void *, void **, void **, size_t) =
      find<void(void *, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                intptr_t, int32_t, void *, void **, void **, size_t)>(
          "mgpuLaunchKernel");
  void (*add)(const char *, char *, size_t, int) =
      find<void(const char *, char *, size_t, int)>("emulator_add");
  EncodeTiled *encodeTiled = find<EncodeTiled>("emulator_encode_tiled");
  void (*remove)(char *) = find<void(char *)>("emulator_remove");
  const char *(*error)() = find<const char *()>("emulator_error");
};
Emulator &emulator() {
  static auto *it = new Emulator();
  return *it;
}

std::mutex mutex;
/// By address: bytes, and where the allocation begins.
std::map<uint64_t, std::pair<size_t, void *>> &blocks() {
  static auto *all = new std::map<uint64_t, std::pair<size_t, void *>>();
  return *all;
}
/// Of the host, by address: bytes.
std::map<uint64_t, size_t> &pinned() {
  static auto *all = new std::map<uint64_t, size_t>();
  return *all;
}
bool isPinned(uint64_t address) {
  std::lock_guard<std::mutex> lock(mutex);
  auto after = pinned().upper_bound(address);
  if (after == pinned().begin())
    return false;
  auto [begin, bytes] = *std::prev(after);
  return address < begin + bytes;
}
size_t used = 0;
std::atomic<uint64_t> now{0}; ///< ns, by the clock of events
/// An event knows its stream, and when it was.
struct Event {
  size_t stream = 0;
  uint64_t when = 0;
  int waits = -1; ///< for a stream, when it was recorded
};
std::atomic<int> waits{0};
bool runsKernels() { return setting("kernels", "") != "none"; }
thread_local uintptr_t current = 0; ///< device + 1, 0: no context

constexpr int kInOut = 2; ///< the emulator's Use
} // namespace

extern "C" {
bool fake_cuda_owns(uint64_t address, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  auto after = blocks().upper_bound(address);
  if (after == blocks().begin())
    return false;
  auto [begin, block] = *std::prev(after);
  return address + bytes <= begin + block.first;
}

Result cuInit(unsigned) {
  Result result = called("cuInit");
  return result ? result : number("devices", "1") ? kOk : kNoDevice;
}
Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return called("cuDriverGetVersion");
}
Result cuGetErrorName(Result error, const char **name) {
  static const std::map<Result, const char *> names = {
      {1, "CUDA_ERROR_INVALID_VALUE"},
      {2, "CUDA_ERROR_OUT_OF_MEMORY"},
      {100, "CUDA_ERROR_NO_DEVICE"},
      {200, "CUDA_ERROR_INVALID_IMAGE"},
      {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
      {218, "CUDA_ERROR_INVALID_PTX"},
      {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {719, "CUDA_ERROR_LAUNCH_FAILED"}};
  auto found = names.find(error);
  *name = found == names.end() ? nullptr : found->second;
  return found == names.end() ? kInvalidValue : kOk;
}
Result cuGetErrorString(Result, const char **text) {
  *text = "as the fake says";
  return kOk;
}
Result cuDeviceGetCount(int *count) {
  *count = number("devices", "1");
  return called("cuDeviceGetCount");
}
Result cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal < number("devices", "1") ? called("cuDeviceGet")
                                          : kInvalidDevice;
}
Result cuDeviceGetName(char *name, int size, int) {
  std::snprintf(name, size, "Fake GPU");
  return called("cuDeviceGetName");
}
Result cuDeviceGetAttribute(int *value, int attribute, int) {
  int capability = number("capability", "80");
  *value = attribute == 16   ? number("multiprocessors", "3")
           : attribute == 75 ? capability / 10
           : attribute == 76 ? capability % 10
                             : 0;
  return called("cuDeviceGetAttribute");
}
Result cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = reinterpret_cast<void *>(uintptr_t(device) + 1);
  return called("cuDevicePrimaryCtxRetain");
}
Result cuCtxGetCurrent(void **context) {
  *context = reinterpret_cast<void *>(current);
  return called("cuCtxGetCurrent");
}
Result cuCtxSetCurrent(void *context) {
  current = reinterpret_cast<uintptr_t>(context);
  return called("cuCtxSetCurrent");
}
Result cuCtxGetDevice(int *device) {
  *device = int(current) - 1;
  return current ? called("cuCtxGetDevice") : kInvalidContext;
}
Result cuCtxSynchronize() {
  ++waits;
  return called("cuCtxSynchronize");
}
thread_local uintptr_t stack[64];
thread_local int depth = 0;
Result cuCtxPushCurrent_v2(void *context) {
  stack[depth++] = current;
  current = reinterpret_cast<uintptr_t>(context);
  return kOk;
}
Result cuCtxPopCurrent_v2(void **context) {
  *context = reinterpret_cast<void *>(current);
  current = stack[--depth];
  return kOk;
}
Result cuModuleLoadDataEx(void **module, const void *image, unsigned count,
                          int *names, void **values) {
  Result result = called("cuModuleLoadDataEx");
  std::string text;
  if (result == kOk && !runsKernels()) {
    *module = &now;
    return kOk;
  }
  if (result == kOk) {
    auto *ir = static_cast<const char *>(image);
    *module = emulator().load(const_cast<char *>(ir), std::strlen(ir));
    if (*module)
      return kOk;
    text = emulator().error();
    result = kInvalidImage;
  } else {
    text = "the fake's compiler does not like it";
  }
  for (unsigned i = 0; i < count; ++i)
    if (names[i] == 5) // CU_JIT_ERROR_LOG_BUFFER, its size comes next
      std::snprintf(static_cast<char *>(values[i]),
                    reinterpret_cast<size_t>(values[i + 1]), "%s",
                    text.c_str());
  return result;
}
Result cuModuleUnload(void *module) {
  if (module != &now)
    emulator().unload(module);
  return called("cuModuleUnload");
}
Result cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = module == &now ? module : emulator().function(module, name);
  if (*function)
    return called("cuModuleGetFunction", " %s", name);
  emulator().error();
  return kNotFound;
}
Result cuFuncSetAttribute(void *, int attribute, int value) {
  return called("cuFuncSetAttribute", " %d %d", attribute, value);
}
Result cuLaunchKernel(void *function, unsigned gridX, unsigned gridY,
                      unsigned gridZ, unsigned blockX, unsigned blockY,
                      unsigned blockZ, unsigned sharedBytes, void *stream,
                      void **arguments, void **extra) {
  Result result =
      called("cuLaunchKernel", " grid %u %u %u shared %u stream %zu", gridX,
             gridY, gridZ, sharedBytes, reinterpret_cast<size_t>(stream));
  if (result != kOk)
    return result;
  if (!current)
    return kInvalidContext;
  if (!gridX || !gridY || !gridZ)
    return kInvalidValue;
  now += uint64_t(gridX) * gridY * gridZ * sharedBytes;
  if (function == &now)
    return kOk;
  emulator().launch(function, gridX, gridY, gridZ, blockX, blockY, blockZ,
                    sharedBytes, stream, arguments, extra, 0);
  if (const char *error = emulator().error()) {
    std::fprintf(stderr, "emulator: %s\n", error);
    return kLaunchFailed;
  }
  return kOk;
}
Result cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *memory,
                              const uint64_t *sizes, const uint64_t *strides,
                              const unsigned *box,
                              const unsigned *elementStrides, int interleave,
                              int swizzle, int promotion, int fill) {
  Result result = called("cuTensorMapEncodeTiled", " rank %u", rank);
  if (result != kOk)
    return result;
  return emulator().encodeTiled(map, type, rank, memory, sizes, strides, box,
                                elementStrides, interleave, swizzle, promotion,
                                fill);
}
Result cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
  Result result = called("cuMemAlloc", " %zu", bytes);
  if (result != kOk)
    return result;
  if (!current)
    return kInvalidContext;
  std::lock_guard<std::mutex> lock(mutex);
  size_t most =
      std::strtoull(setting("memory", "4000000000").c_str(), nullptr, 10);
  if (used + bytes > most)
    return kOutOfMemory;
  used += bytes;
  // Nothing that was not written is a number, where there are numbers.
  void *block = runsKernels()
                    ? std::aligned_alloc(256, (bytes + 255) / 256 * 256)
                    : mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (runsKernels())
    std::memset(block, 0xff, bytes);
  *memory = reinterpret_cast<uint64_t>(block);
  blocks()[*memory] = {bytes, block};
  if (runsKernels())
    emulator().add("memory of the device", static_cast<char *>(block), bytes,
                   kInOut);
  return kOk;
}
Result cuMemFree_v2(uint64_t memory) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks().find(memory);
  if (found == blocks().end())
    return kInvalidValue;
  used -= found->second.first;
  if (runsKernels()) {
    emulator().remove(static_cast<char *>(found->second.second));
    std::free(found->second.second);
  } else {
    munmap(found->second.second, found->second.first);
  }
  blocks().erase(found);
  return called("cuMemFree");
}
/// Memory that copies do not wait for.
Result cuMemAllocHost_v2(void **memory, size_t bytes) {
  *memory = std::calloc(bytes, 1);
  std::lock_guard<std::mutex> lock(mutex);
  pinned()[reinterpret_cast<uint64_t>(*memory)] = bytes;
  return called("cuMemAllocHost", " %zu", bytes);
}
Result cuMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, void *stream) {
  bool toDevice = fake_cuda_owns(to, bytes);
  bool fromDevice = fake_cuda_owns(from, bytes);
  std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from),
              bytes);
  return called("cuMemcpyAsync", " %s to %s %zu stream %zu",
                fromDevice ? "device" : "host",
                toDevice       ? "device"
                : isPinned(to) ? "pinned"
                               : "host",
                bytes, reinterpret_cast<size_t>(stream));
}
Result cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, void *) {
  if (runsKernels())
    std::memset(reinterpret_cast<void *>(to), value, count);
  return called("cuMemsetD8Async");
}
Result cuMemsetD16Async(uint64_t to, unsigned short value, size_t count,
                        void *) {
  for (size_t i = 0; i < count; ++i)
    reinterpret_cast<uint16_t *>(to)[i] = value;
  return called("cuMemsetD16Async");
}
Result cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void *) {
  for (size_t i = 0; i < count; ++i)
    reinterpret_cast<uint32_t *>(to)[i] = value;
  return called("cuMemsetD32Async");
}
Result cuStreamSynchronize(void *stream) {
  ++waits;
  return called("cuStreamSynchronize", " %zu",
                reinterpret_cast<size_t>(stream));
}
Result cuStreamWaitEvent(void *stream, void *event, unsigned) {
  return called("cuStreamWaitEvent", " stream %zu for %zu",
                reinterpret_cast<size_t>(stream),
                static_cast<Event *>(event)->stream);
}
Result cuEventCreate(void **event, unsigned) {
  *event = new Event();
  return called("cuEventCreate");
}
Result cuEventRecord(void *event, void *stream) {
  *static_cast<Event *>(event) = {reinterpret_cast<size_t>(stream), now, waits};
  return called("cuEventRecord", " %zu", reinterpret_cast<size_t>(stream));
}
Result cuEventQuery(void *event) {
  Result result = called("cuEventQuery");
  bool isLate =
      number("late", "0") && static_cast<Event *>(event)->waits == waits;
  return result == kOk && isLate ? kNotReady : result;
}
Result cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  *milliseconds = 1e-6f * float(static_cast<Event *>(to)->when -
                                static_cast<Event *>(from)->when);
  return called("cuEventElapsedTime");
}
Result cuEventDestroy_v2(void *event) {
  delete static_cast<Event *>(event);
  return kOk;
}
}
