//===- Model.h - artifacts as models ----------------------------*- C++ -*-===//

#ifndef MEGACTX_LIB_RUNTIME_MODEL_H
#define MEGACTX_LIB_RUNTIME_MODEL_H

#include "megactx/Runtime/Runtime.h"
#include <map>
#include <memory>
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
  bool run(const mctx_tensor *inputs, size_t inputCount, mctx_tensor *outputs,
           size_t outputCount, std::string &error);

  std::string manifestText;

private:
  bool verify(const std::string &path, std::string &error);
  bool bind(const std::string &path, std::string &error);
  std::string checkInput(
      size_t i, const mctx_tensor &input,
      std::map<std::string, std::pair<int64_t, std::string>> &symbols) const;
  bool enter(void **arguments) const;
  size_t take(const nlohmann::json &want, const int64_t *words, bool &givenAway,
              mctx_tensor &output) const;

  nlohmann::json manifest;
  megactx::MappedFile weights;
  std::vector<std::vector<int64_t>> weightDescriptors;
  void *library = nullptr;
  void (*entry)(void **) = nullptr;
};

#endif
