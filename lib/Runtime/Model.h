//===- Model.h - artifacts as models ----------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_MODEL_H
#define MEGACTX_LIB_RUNTIME_MODEL_H

#include "Cuda.h"
#include "Library.h"
#include "megactx/Runtime/Runtime.h"
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace megactx {

/// Raised whenever older runtimes could misread an artifact.
constexpr int kArtifactVersion = 1;

void setError(const std::string &text);

/// Ends the model's run, after mctx_rt_fail; returns where this thread is in
/// none or within a task of the pool.
void leaveRun();

/// Bytes of an element, 0 for no dtype of ONNX's.
int64_t widthOf(const std::string &dtype);

/// Sizes are those of memory that exists: their product has no overflow.
uint64_t bytesOf(const mctx_tensor &tensor);

/// The words of a memref descriptor: two pointers, offset, sizes, strides.
std::vector<int64_t> descriptor(void *data, const std::vector<int64_t> &shape);

/// What the manifest records of each file.
uint64_t checksum(const void *data, size_t size);

/// A file mapped for reading.
struct MappedFile {
  ~MappedFile();
  bool open(const std::string &path, std::string &error);
  void *data = nullptr;
  size_t size = 0;
};

} // namespace megactx

struct mctx_model {
  ~mctx_model();
  bool load(const std::string &path, std::string &error);
  bool run(void *stream, const mctx_tensor *inputs, size_t inputCount,
           mctx_tensor *outputs, size_t outputCount, std::string &error);

  std::string manifestText;

private:
  bool verify(const std::string &path, std::string &error);
  bool bind(const std::string &path, std::string &error);
  std::string checkInput(
      size_t i, const mctx_tensor &input,
      std::map<std::string, std::pair<int64_t, std::string>> &symbols) const;
  bool isForGPU() const { return manifest.at("target").at("kind") == "cuda"; }
  bool canRunOn(const megactx::cuda::Device &device, std::string &error) const;
  megactx::cuda::Device *deviceFor(const mctx_tensor *inputs, size_t count,
                                   std::string &error) const;
  bool enter(void **arguments) const;
  bool start(std::vector<void *> &arguments, std::string &error) const;
  bool isUpdated(size_t input) const;
  void freeOutputs(const mctx_tensor *outputs, size_t count) const;
  bool takeAll(const std::vector<int64_t> &results, const mctx_tensor *inputs,
               mctx_tensor *outputs, std::string &error) const;
  std::vector<std::vector<int64_t>> *weightsAt(std::string &error);
  bool reportEarlier(std::string &error);
  bool keepChecks(megactx::cuda::Run &run, const mctx_tensor *outputs,
                  size_t inherited, std::string &error);

  nlohmann::json manifest;
  megactx::MappedFile weights;
  std::vector<std::vector<int64_t>> weightDescriptors;
  /// Weights on a device: where they are, and their descriptors.
  struct DeviceWeights {
    void *block = nullptr;
    std::vector<std::vector<int64_t>> descriptors;
  };
  std::mutex deviceWeightsMutex;
  std::map<megactx::cuda::Device *, DeviceWeights> deviceWeights;
  std::mutex checksMutex;
  megactx::cuda::CheckList checks; ///< of runs that may not be over
  std::string place;               ///< the artifact's folder, for messages
  std::unique_ptr<megactx::Library> library;
  void (*entry)(void **) = nullptr;
};

#endif
