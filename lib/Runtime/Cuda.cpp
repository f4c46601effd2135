//===- Cuda.cpp - driver, devices and their memory ------------------------===//

#include "Cuda.h"
#include "Memory.h"
#include <algorithm>
#include <dlfcn.h>
#include <memory>

using namespace megactx;
using namespace megactx::cuda;

namespace {
/// Where the driver is, or why not. Never destroyed: models may be unloaded
/// after it would be.
struct Opened {
  Driver driver;
  std::string error;
};

thread_local Run *innermost = nullptr;

std::mutex devicesMutex;
std::map<int, Device *> &devices() {
  static auto *all = new std::map<int, Device *>();
  return *all;
}
} // namespace

static bool findFunctions(void *library, Driver &driver, std::string &error) {
  auto find = [&](const char *name, auto &function) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(
        dlsym(library, name));
    if (!function && error.empty())
      error = std::string("the CUDA driver is too old: libcuda.so.1 has no ") +
              name;
  };
#define MEGACTX_FIND(name, parameters) find(#name, driver.name);
  MEGACTX_CUDA_FUNCTIONS(MEGACTX_FIND)
#undef MEGACTX_FIND
  if (!error.empty())
    return false;
  std::string optional = "is not needed";
  std::swap(error, optional);
  find("cuTensorMapEncodeTiled", driver.cuTensorMapEncodeTiled);
  std::swap(error, optional);
  return true;
}

static Opened *openDriver() {
  auto *opened = new Opened();
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    opened->error = std::string("this model needs an NVIDIA GPU, and there is "
                                "no CUDA driver: ") +
                    dlerror();
    return opened;
  }
  Driver &driver = opened->driver;
  if (!findFunctions(library, driver, opened->error))
    return opened;
  int count = 0;
  Result result = driver.cuInit(0);
  if (result == kSuccess)
    result = driver.cuDeviceGetCount(&count);
  if (result != kSuccess)
    opened->error = "this model needs an NVIDIA GPU, and the CUDA driver has "
                    "none: " +
                    driver.explain("cuInit", result);
  else if (count == 0)
    opened->error = "this model needs an NVIDIA GPU, and the CUDA driver has "
                    "none";
  return opened;
}

const Driver *Driver::open(std::string &error) {
  static Opened *opened = openDriver();
  if (opened->error.empty())
    return &opened->driver;
  error = opened->error;
  return nullptr;
}

std::string Driver::explain(const char *what, Result result) const {
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  return std::string(what) + " failed: " + (name ? name : "unknown error") +
         (text ? std::string(" (") + text + ")" : "");
}

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

Device *Device::open(int ordinal, std::string &error) {
  const Driver *driver = Driver::open(error);
  if (!driver)
    return nullptr;
  std::lock_guard<std::mutex> lock(devicesMutex);
  auto known = devices().find(ordinal);
  if (known != devices().end())
    return known->second;
  std::unique_ptr<Device> device(new Device(*driver, ordinal));
  if (!device->start(error))
    return nullptr;
  return devices()[ordinal] = device.release();
}

bool Device::start(std::string &error) {
  int count = 0, device = 0, major = 0, minor = 0;
  driver.cuDeviceGetCount(&count);
  if (ordinal < 0 || ordinal >= count) {
    error = "there is no CUDA device " + std::to_string(ordinal) +
            ": the driver has " + std::to_string(count);
    return false;
  }
  auto check = [&](const char *what, Result result) {
    if (result != kSuccess && error.empty())
      error = title() + ": " + driver.explain(what, result);
  };
  constexpr int kMultiprocessors = 16, kMajor = 75, kMinor = 76;
  char text[256] = "";
  check("cuDeviceGet", driver.cuDeviceGet(&device, ordinal));
  check("cuDeviceGetName", driver.cuDeviceGetName(text, sizeof(text), device));
  name = text;
  check("cuDeviceGetAttribute",
        driver.cuDeviceGetAttribute(&major, kMajor, device));
  check("cuDeviceGetAttribute",
        driver.cuDeviceGetAttribute(&minor, kMinor, device));
  capability = 10 * major + minor;
  check(
      "cuDeviceGetAttribute",
      driver.cuDeviceGetAttribute(&multiprocessors, kMultiprocessors, device));
  check("cuDevicePrimaryCtxRetain",
        driver.cuDevicePrimaryCtxRetain(&context, device));
  return error.empty();
}

int Device::preferred() {
  std::string error;
  int device = 0;
  Context current = nullptr;
  const Driver *driver = Driver::open(error);
  bool isSet = driver && driver->cuCtxGetCurrent(&current) == kSuccess &&
               current && driver->cuCtxGetDevice(&device) == kSuccess;
  return isSet ? device : 0;
}

std::string Device::title() const {
  return "CUDA device " + std::to_string(ordinal) +
         (name.empty() ? "" : " (" + name + ")");
}

void *Device::allocate(uint64_t bytes, Stream stream, std::string &error) {
  Run here(*this, stream);
  std::lock_guard<std::mutex> lock(mutex);
  if (uint64_t guarded = bytes < kMostBytes ? zone() : 0) {
    Result result = kSuccess;
    if (void *block = allocateGuarded(bytes, stream, guarded, result))
      return block;
    if (result != kOutOfMemory) {
      error = title() + ": " + driver.explain("cuMemAlloc", result);
      return nullptr;
    }
  } else if (bytes < kMostBytes) {
    uint64_t rounded = sizeClass(bytes);
    std::vector<void *> &free = cached[{stream, rounded}];
    if (!free.empty()) {
      void *block = free.back();
      free.pop_back();
      blocks[block].holders = 1;
      return block;
    }
    Pointer memory = 0;
    Result result = driver.cuMemAlloc_v2(&memory, rounded);
    if (result == kOutOfMemory) {
      releaseCached();
      result = driver.cuMemAlloc_v2(&memory, rounded);
    }
    if (result == kSuccess) {
      auto *block = reinterpret_cast<void *>(memory);
      blocks[block] = {rounded, stream, 1, {}, 0, 0};
      return block;
    }
    if (result != kOutOfMemory) {
      error = title() + ": " + driver.explain("cuMemAlloc", result);
      return nullptr;
    }
  }
  error = "out of memory: " + std::to_string(bytes) +
          " bytes for a tensor on " + title();
  return nullptr;
}

/// Gives what nobody holds back to the driver, which waits for its work.
void Device::releaseCached() {
  for (auto &[key, free] : cached)
    for (void *block : free) {
      driver.cuMemFree_v2(reinterpret_cast<Pointer>(block));
      blocks.erase(block);
    }
  cached.clear();
}

void Device::free(void *block) {
  SharedChecks checks; // what they hold is given back without the lock
  std::unique_lock<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  if (found == blocks.end() || --found->second.holders > 0)
    return;
  Block &its = found->second;
  checks.swap(its.checks);
  if (its.zone) {
    Run here(*this, its.stream);
    return freeGuarded(block, its);
  }
  if (!its.borrowers.empty()) {
    Run here(*this, its.stream);
    for (Stream borrower : its.borrowers)
      order(borrower, its.stream);
    its.borrowers.clear();
  }
  cached[{its.stream, its.bytes}].push_back(block);
}

void Device::retain(void *block) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  if (found != blocks.end())
    ++found->second.holders;
}

Result Device::order(Stream first, Stream then) {
  constexpr unsigned kWithoutTime = 2;
  Event event = nullptr;
  Result result = driver.cuEventCreate(&event, kWithoutTime);
  if (result != kSuccess)
    return result;
  result = driver.cuEventRecord(event, first);
  if (result == kSuccess)
    result = driver.cuStreamWaitEvent(then, event, 0);
  driver.cuEventDestroy_v2(event);
  return result;
}

bool Device::lend(void *block, Stream stream, std::string &error) {
  Run here(*this, stream);
  std::lock_guard<std::mutex> lock(mutex);
  Block &its = blocks.at(block);
  if (its.stream == stream)
    return true;
  Result result = order(its.stream, stream);
  if (result != kSuccess) {
    error = title() + ": " + driver.explain("waiting for a stream", result);
    return false;
  }
  if (std::find(its.borrowers.begin(), its.borrowers.end(), stream) ==
      its.borrowers.end())
    its.borrowers.push_back(stream);
  return true;
}

void Device::release(void *block) {
  Run here(*this, nullptr);
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  if (found == blocks.end())
    return;
  if (found->second.zone)
    return freeGuarded(block, found->second);
  driver.cuMemFree_v2(reinterpret_cast<Pointer>(block));
  blocks.erase(found);
}

std::vector<Device *> Device::all() {
  std::lock_guard<std::mutex> lock(devicesMutex);
  std::vector<Device *> opened;
  for (auto &[ordinal, device] : devices())
    opened.push_back(device);
  return opened;
}

Device *Device::of(void *block) {
  std::lock_guard<std::mutex> lock(devicesMutex);
  for (auto &[ordinal, device] : devices()) {
    std::lock_guard<std::mutex> its(device->mutex);
    if (device->blocks.count(block))
      return device;
  }
  return nullptr;
}

SharedChecks Device::checksOf(void *block) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  return found == blocks.end() ? nullptr : found->second.checks;
}

void Device::setChecks(void *block, SharedChecks checks) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  if (found != blocks.end())
    found->second.checks.swap(checks);
}

Stream Device::streamOf(void *block) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = blocks.find(block);
  return found == blocks.end() ? nullptr : found->second.stream;
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

Run::Run(Device &device, Stream stream)
    : device(device), stream(stream), outer(innermost) {
  device.driver.cuCtxPushCurrent_v2(device.context);
  innermost = this;
}

Run::~Run() {
  Context popped;
  device.driver.cuCtxPopCurrent_v2(&popped);
  innermost = outer;
}

Run *Run::current() { return innermost; }

bool Run::copy(void *to, const void *from, uint64_t bytes, std::string &error) {
  if (bytes == 0)
    return true;
  Result result = device.driver.cuMemcpyAsync(reinterpret_cast<Pointer>(to),
                                              reinterpret_cast<Pointer>(from),
                                              bytes, stream);
  if (result != kSuccess)
    error = device.title() + ": " + device.driver.explain("a copy", result);
  return result == kSuccess;
}

bool Run::wait(std::string &error) {
  Result result = device.driver.cuStreamSynchronize(stream);
  if (result != kSuccess)
    error = device.title() + ": " +
            device.driver.explain("the model's run", result);
  return result == kSuccess;
}
