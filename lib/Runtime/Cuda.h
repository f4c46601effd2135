//===- Cuda.h - CUDA devices through the driver API -------------*- C++ -*-===//
//
// Owns everything that talks to the driver: finding libcuda.so.1 at run time,
// devices, their memory, and the launches of compiled code (the mgpu* functions
// of MLIR's CUDA runtime, in CudaLaunch.cpp). Nothing of CUDA is needed to
// build it, nor to run models of the CPU.
//
// A run has a device and a stream. All work of compiled code goes to that
// stream and is waited for nowhere: callers wait, or use the stream.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_CUDA_H
#define MEGACTX_LIB_RUNTIME_CUDA_H

#include "Checks.h"
#include "TensorMap.h"
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace megactx::cuda {

using Result = int; ///< CUresult
using Stream = void *;
using Context = void *;
using Module = void *;
using Function = void *;
using Event = void *;
using Pointer = unsigned long long; ///< CUdeviceptr

constexpr Result kSuccess = 0, kOutOfMemory = 2, kNoBinaryForGpu = 209,
                 kInvalidPtx = 218, kUnsupportedPtxVersion = 222,
                 kNotReady = 600;

/// The driver's functions; F(name in libcuda.so.1, its parameters).
#define MEGACTX_CUDA_FUNCTIONS(F)                                              \
  F(cuInit, (unsigned flags))                                                  \
  F(cuDriverGetVersion, (int *version))                                        \
  F(cuGetErrorName, (Result error, const char **name))                         \
  F(cuGetErrorString, (Result error, const char **text))                       \
  F(cuDeviceGetCount, (int *count))                                            \
  F(cuDeviceGet, (int *device, int ordinal))                                   \
  F(cuDeviceGetName, (char *name, int size, int device))                       \
  F(cuDeviceGetAttribute, (int *value, int attribute, int device))             \
  F(cuDevicePrimaryCtxRetain, (Context * context, int device))                 \
  F(cuCtxGetCurrent, (Context * context))                                      \
  F(cuCtxGetDevice, (int *device))                                             \
  F(cuCtxSynchronize, (void))                                                  \
  F(cuCtxPushCurrent_v2, (Context context))                                    \
  F(cuCtxPopCurrent_v2, (Context * context))                                   \
  F(cuModuleLoadDataEx, (Module * module, const void *image, unsigned options, \
                         int *names, void **values))                           \
  F(cuModuleUnload, (Module module))                                           \
  F(cuModuleGetFunction,                                                       \
    (Function * function, Module module, const char *name))                    \
  F(cuFuncSetAttribute, (Function function, int attribute, int value))         \
  F(cuLaunchKernel,                                                            \
    (Function function, unsigned gridX, unsigned gridY, unsigned gridZ,        \
     unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,  \
     Stream stream, void **arguments, void **extra))                           \
  F(cuMemAlloc_v2, (Pointer * memory, size_t bytes))                           \
  F(cuMemFree_v2, (Pointer memory))                                            \
  F(cuMemAllocHost_v2, (void **memory, size_t bytes))                          \
  F(cuMemcpyAsync, (Pointer to, Pointer from, size_t bytes, Stream stream))    \
  F(cuMemsetD8Async,                                                           \
    (Pointer to, unsigned char value, size_t count, Stream stream))            \
  F(cuMemsetD16Async,                                                          \
    (Pointer to, unsigned short value, size_t count, Stream stream))           \
  F(cuMemsetD32Async,                                                          \
    (Pointer to, unsigned value, size_t count, Stream stream))                 \
  F(cuStreamSynchronize, (Stream stream))                                      \
  F(cuStreamWaitEvent, (Stream stream, Event event, unsigned flags))           \
  F(cuEventCreate, (Event * event, unsigned flags))                            \
  F(cuEventRecord, (Event event, Stream stream))                               \
  F(cuEventQuery, (Event event))                                               \
  F(cuEventDestroy_v2, (Event event))

struct Driver {
#define MEGACTX_FIELD(name, parameters) Result(*name) parameters = nullptr;
  MEGACTX_CUDA_FUNCTIONS(MEGACTX_FIELD)
#undef MEGACTX_FIELD
  /// Null where the driver has none: sm_90's tensor maps. CUDA 12 and later.
  EncodeTiled cuTensorMapEncodeTiled = nullptr;

  /// Loads the driver, once; null with the reason where there is none that
  /// works, or no device.
  static const Driver *open(std::string &error);

  /// "cuX failed: NAME (text)"
  std::string explain(const char *what, Result result) const;
};

/// A device's primary context, which PyTorch and CUDA's runtime use too.
class Device {
public:
  /// One object per device; lives as long as the process. Null with the reason.
  static Device *open(int ordinal, std::string &error);
  /// The device of this thread's current context, 0 where there is none.
  static int preferred();

  const Driver &driver;
  const int ordinal;
  std::string name;   ///< as the driver says
  int capability = 0; ///< 10 major + minor
  int multiprocessors = 0;

  /// "CUDA device 0 (NVIDIA H100)"
  std::string title() const;

  /// Memory for work on a stream, aligned to 256 bytes. A block that was freed
  /// is given out again to the stream that it was made for, whose work is in
  /// order, and to no other. Null with the reason.
  void *allocate(uint64_t bytes, Stream stream, std::string &error);
  /// One holder of a block of `allocate` less; after the last it is free.
  void free(void *block);
  /// One holder more.
  void retain(void *block);
  /// Lets a stream use a block after all that its own stream has to do so far;
  /// once freed, it is given out again after what that stream had to do then.
  bool lend(void *block, Stream stream, std::string &error);
  /// Gives a block to the driver, which waits for all work with it.
  void release(void *block);
  /// The device that made a block, null for other memory.
  static Device *of(void *block);
  /// The stream that a block was made for.
  Stream streamOf(void *block);
  /// The checks of the runs that a block's values come from, until it is free.
  SharedChecks checksOf(void *block);
  void setChecks(void *block, SharedChecks checks);
  /// A place that no copy is on its way to; false with the reason.
  bool takePlace(Checks::Place &place, std::string &error);
  void givePlace(const Checks::Place &place);
  /// Those that were opened.
  static std::vector<Device *> all();

  /// From now on blocks are given out between zones of so many bytes, rounded
  /// up to the alignment, of a byte 0xff, and filled with it; 0: without any,
  /// as at first. Freed ones are not given out again.
  static void guard(uint64_t bytes);
  /// Waits for the device, and looks at the zones of all blocks. False with the
  /// first fault since the last call, also of blocks that were freed meanwhile.
  bool checkGuards(std::string &error);

  Context context = nullptr;

private:
  Device(const Driver &driver, int ordinal)
      : driver(driver), ordinal(ordinal) {}
  bool start(std::string &error);
  void releaseCached();

  static constexpr uint64_t kBlockAlignment = 256;
  struct Block {
    uint64_t bytes; ///< of all, with zones
    Stream stream;
    int holders;
    std::vector<Stream> borrowers;
    uint64_t zone = 0;  ///< bytes before it
    uint64_t asked = 0; ///< where there are zones: bytes between them
    SharedChecks checks = {};
  };
  // Guard.cpp. The mutex is held, the device's context is this thread's.
  static uint64_t zone();
  void *allocateGuarded(uint64_t bytes, Stream stream, uint64_t zone,
                        Result &result);
  void checkZones(const void *block, const Block &its);
  void freeGuarded(void *block, const Block &its);
  std::string fault; ///< the first that was found in zones
  /// Makes one stream wait for what another has to do so far.
  Result order(Stream first, Stream then);
  std::mutex mutex;
  std::map<void *, Block> blocks;
  std::map<std::pair<Stream, uint64_t>, std::vector<void *>> cached;
  std::deque<Checks::Place> places; ///< given back, the oldest first
  int32_t *nextPlace = nullptr;     ///< of a page that the driver knows
  size_t placesLeft = 0;            ///< there
};

/// While it lives, the device's context is this thread's, and compiled code
/// runs on the stream.
class Run {
public:
  Run(Device &device, Stream stream);
  ~Run();
  Run(const Run &) = delete;
  /// This thread's innermost run, null in none.
  static Run *current();

  /// Copies between host and device; to pageable host memory it waits.
  bool copy(void *to, const void *from, uint64_t bytes, std::string &error);
  /// Waits for all work of the stream; reports what failed in it.
  bool wait(std::string &error);

  Device &device;
  const Stream stream;
  CheckList checks; ///< its own and those of its inputs

private:
  Run *outer;
};

/// For what compiled code calls: the run that this thread is in. In none, ends
/// as endRunIf does.
Run &currentRun();
/// For what compiled code calls: ends the model's run with this error, unless
/// it is empty. Callers hold nothing that would need to be destroyed.
void endRunIf(std::string &error);

} // namespace megactx::cuda

#endif
