//===- Model.cpp - artifacts as models ------------------------------------===//
//
// An artifact is a folder: manifest.json, model.so, weights.bin. The entry is
// `mctx_main(void **)`: a place for the results' memref descriptors, then
// pointers to the descriptors of inputs and of weights.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "Pool.h"
#include "Weights.h"
#include "megactx/Runtime/KernelABI.h"
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace megactx;
using nlohmann::json;

namespace {
thread_local std::string lastError;
std::mutex failureMutex;
std::string failure;
/// Where a failed check of the model that this thread runs goes on.
thread_local std::jmp_buf *runningModel = nullptr;

int64_t widthOf(const std::string &dtype) {
  static const std::map<std::string, int64_t> widths = {
      {"float", 4}, {"double", 8}, {"float16", 2}, {"bfloat16", 2},
      {"int8", 1},  {"int16", 2},  {"int32", 4},   {"int64", 8},
      {"uint8", 1}, {"uint16", 2}, {"uint32", 4},  {"uint64", 8},
      {"bool", 1}};
  auto found = widths.find(dtype);
  return found == widths.end() ? 0 : found->second;
}

/// The words of a memref descriptor: two pointers, offset, sizes, strides.
std::vector<int64_t> descriptor(void *data, const std::vector<int64_t> &shape) {
  auto word = reinterpret_cast<int64_t>(data);
  std::vector<int64_t> words = {word, word, 0};
  words.insert(words.end(), shape.begin(), shape.end());
  int64_t stride = 1;
  std::vector<int64_t> strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  words.insert(words.end(), strides.begin(), strides.end());
  return words;
}

} // namespace

void megactx::setError(const std::string &text) { lastError = text; }

uint64_t megactx::checksum(const void *data, size_t size) {
  // FNV-1a over words, then over the rest.
  uint64_t hash = 0xcbf29ce484222325u;
  auto *bytes = static_cast<const unsigned char *>(data);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    hash = (hash ^ word) * 0x100000001b3u;
  }
  for (; i < size; ++i)
    hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

MappedFile::~MappedFile() {
  if (data)
    munmap(data, size);
}

bool MappedFile::open(const std::string &path, std::string &error) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    error = "cannot read '" + path + "': " + std::strerror(errno);
    if (fd >= 0)
      close(fd);
    return false;
  }
  size = info.st_size;
  if (size > 0) {
    void *map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      error = "cannot map '" + path + "': " + std::strerror(errno);
      close(fd);
      return false;
    }
    data = map;
  }
  close(fd);
  return true;
}

/// The features that the artifact's code uses and this CPU lacks.
static std::string missingFeature(const json &target) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, flags;
  while (std::getline(cpuinfo, line))
    if (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0) {
      flags = line.substr(line.find(':') + 1) + " ";
      break;
    }
  if (flags.empty())
    return "";
  for (const json &feature : target.at("features"))
    if (flags.find(" " + feature.get<std::string>() + " ") == std::string::npos)
      return feature.get<std::string>();
  return "";
}

/// The manifest's own checksum is of its text with zeros in the checksum's
/// place.
static bool isIntact(std::string text, const json &manifest) {
  std::string recorded = manifest.at("checksum");
  size_t at = text.rfind("\"" + recorded + "\"");
  if (recorded.size() != 16 || at == std::string::npos)
    return false;
  text.replace(at + 1, 16, 16, '0');
  char expected[17];
  std::snprintf(
      expected, sizeof(expected), "%016llx",
      static_cast<unsigned long long>(checksum(text.data(), text.size())));
  return recorded == expected;
}

/// What a run reads of the manifest is there and of its type; throws otherwise.
static void checkInterface(const json &manifest) {
  for (const char *list : {"inputs", "outputs"})
    for (const json &value : manifest.at(list).get<std::vector<json>>()) {
      value.at("name").get_ref<const std::string &>();
      const auto &dtype = value.at("dtype").get_ref<const std::string &>();
      if (widthOf(dtype) == 0)
        throw json::other_error::create(501, "unknown dtype '" + dtype + "'",
                                        &value);
      if (value.at("shape").get<std::vector<json>>().size() > 8)
        throw json::other_error::create(501, "more than 8 dimensions", &value);
      for (const json &size : value.at("shape"))
        if (!size.is_number_integer())
          size.get_ref<const std::string &>();
    }
}

bool mctx_model::load(const std::string &path, std::string &error) {
  std::ifstream file(path + "/manifest.json");
  if (!file) {
    error = "cannot read '" + path + "/manifest.json': not an artifact";
    return false;
  }
  std::stringstream text;
  text << file.rdbuf();
  manifestText = text.str();
  manifest = json::parse(manifestText, nullptr, /*allow_exceptions=*/false);
  if (manifest.is_discarded() || !manifest.is_object() ||
      manifest.value("format", "") != "megactx-artifact") {
    error = "'" + path + "/manifest.json' is damaged";
    return false;
  }
  if (manifest.at("version") != kArtifactVersion) {
    error = "'" + path + "' has artifact version " +
            manifest.at("version").dump() + ", but this runtime reads " +
            std::to_string(kArtifactVersion);
    return false;
  }
  if (!isIntact(manifestText, manifest)) {
    error = "'" + path +
            "/manifest.json' is damaged: its checksum is not the recorded one";
    return false;
  }
  if (!verify(path, error))
    return false;
  std::string feature = missingFeature(manifest.at("target"));
  if (!feature.empty()) {
    error = "'" + path + "' was compiled for CPU '" +
            manifest.at("target").at("cpu").get<std::string>() +
            "': this one has no " + feature;
    return false;
  }
  checkInterface(manifest);
  return bind(path, error);
}

bool mctx_model::verify(const std::string &path, std::string &error) {
  MappedFile code;
  if (!weights.open(path + "/weights.bin", error) ||
      !code.open(path + "/model.so", error))
    return false;
  auto intact = [&](const char *name, const MappedFile &file) {
    const json &want = manifest.at("files").at(name);
    if (want.at("bytes") == file.size &&
        want.at("checksum") == std::to_string(checksum(file.data, file.size)))
      return true;
    error = "'" + path + "/" + name +
            "' is damaged: its size or checksum is "
            "not the manifest's";
    return false;
  };
  return intact("weights.bin", weights) && intact("model.so", code);
}

bool mctx_model::bind(const std::string &path, std::string &error) {
  // Compiled code looks the runtime's symbols up: make them visible to it.
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&mctx_load), &self) && self.dli_fname)
    dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_GLOBAL | RTLD_NOW);
  std::string code = path + "/model.so";
  if (code.find('/') != 0)
    code = "./" + code;
  library = dlopen(code.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error = std::string("cannot load: ") + dlerror();
    return false;
  }
  entry = reinterpret_cast<void (*)(void **)>(dlsym(library, "mctx_main"));
  if (!entry) {
    error = "'" + code + "' has no entry";
    return false;
  }
  addWeights(weights.data, weights.size);
  for (const json &weight : manifest.at("weights")) {
    int64_t offset = weight.at("offset");
    if (offset < 0 || size_t(offset) > weights.size) {
      error = "'" + path + "/manifest.json' places a weight beyond weights.bin";
      return false;
    }
    weightDescriptors.push_back(
        descriptor(static_cast<char *>(weights.data) + offset,
                   weight.at("shape").get<std::vector<int64_t>>()));
  }
  return true;
}

mctx_model::~mctx_model() {
  removeWeights(weights.data);
  if (library)
    dlclose(library);
}

/// Checks an input against the manifest; symbolic sizes are bound by name.
std::string mctx_model::checkInput(
    size_t i, const mctx_tensor &input,
    std::map<std::string, std::pair<int64_t, std::string>> &symbols) const {
  const json &want = manifest.at("inputs").at(i);
  std::string name = want.at("name");
  auto here = [&] { return "input '" + name + "': "; };
  std::string dtype = want.at("dtype");
  if (!input.dtype || dtype != input.dtype)
    return here() + "expected dtype " + dtype + ", but got " +
           (input.dtype ? input.dtype : "none");
  const json &shape = want.at("shape");
  if (input.rank < 0 || input.rank > 8 || shape.size() != size_t(input.rank))
    return here() + "expected rank " + std::to_string(shape.size()) +
           ", but got " + std::to_string(input.rank);
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t size = input.shape[d];
    std::string place = here() + "dim " + std::to_string(d) + ": ";
    if (size < 0)
      return place + "negative size";
    if (shape[d].is_number()) {
      if (shape[d] != size)
        return place + "expected " + shape[d].dump() + ", but got " +
               std::to_string(size);
      continue;
    }
    std::string symbol = shape[d];
    if (symbol.empty())
      continue;
    auto [known, isNew] =
        symbols.try_emplace(symbol, size, "input '" + name + "'");
    if (!isNew && known->second.first != size)
      return place + "expected '" + symbol + "' to be " +
             std::to_string(known->second.first) + " as in " +
             known->second.second + ", but got " + std::to_string(size);
  }
  return "";
}

bool mctx_model::run(const mctx_tensor *inputs, size_t inputCount,
                     mctx_tensor *outputs, size_t outputCount,
                     std::string &error) {
  const json &wantIn = manifest.at("inputs"), &wantOut = manifest.at("outputs");
  if (inputCount != wantIn.size() || outputCount != wantOut.size()) {
    error = "expected " + std::to_string(wantIn.size()) + " inputs and " +
            std::to_string(wantOut.size()) + " outputs, but got " +
            std::to_string(inputCount) + " and " + std::to_string(outputCount);
    return false;
  }
  std::map<std::string, std::pair<int64_t, std::string>> symbols;
  std::vector<std::vector<int64_t>> descriptors;
  for (size_t i = 0; i < inputCount; ++i) {
    error = checkInput(i, inputs[i], symbols);
    if (!error.empty())
      return false;
    descriptors.push_back(
        descriptor(inputs[i].data,
                   std::vector<int64_t>(inputs[i].shape,
                                        inputs[i].shape + inputs[i].rank)));
  }
  size_t resultWords = 0;
  for (const json &output : wantOut)
    resultWords += 3 + 2 * output.at("shape").size();
  std::vector<int64_t> results(resultWords);
  std::vector<void *> arguments = {results.data()};
  for (auto *list : {&descriptors, &weightDescriptors})
    for (std::vector<int64_t> &words : *list)
      arguments.push_back(words.data());
  {
    std::lock_guard<std::mutex> lock(failureMutex);
    failure.clear();
  }
  if (!enter(arguments.data())) {
    std::lock_guard<std::mutex> lock(failureMutex);
    error = failure;
    return false;
  }
  size_t at = 0;
  std::map<int64_t, bool> blocks;
  for (size_t i = 0; i < outputCount; ++i) {
    bool &givenAway = blocks[results[at]];
    at += take(wantOut[i], &results[at], givenAway, outputs[i]);
  }
  for (auto [block, givenAway] : blocks)
    if (!givenAway)
      _mlir_memref_to_llvm_free(reinterpret_cast<void *>(block));
  std::lock_guard<std::mutex> lock(failureMutex);
  if (failure.empty())
    return true;
  error = failure;
  for (size_t i = 0; i < outputCount; ++i)
    mctx_free(outputs[i].data);
  return false;
}

/// Runs the entry; false where a check ended it. Holds nothing that would need
/// to be destroyed.
bool mctx_model::enter(void **arguments) const {
  std::jmp_buf here;
  runningModel = &here;
  bool ended = setjmp(here) != 0;
  if (!ended)
    entry(arguments);
  runningModel = nullptr;
  return !ended;
}

/// Reads one result's descriptor; returns its words. The block is given to the
/// caller where it holds this result alone.
size_t mctx_model::take(const json &want, const int64_t *words, bool &givenAway,
                        mctx_tensor &output) const {
  size_t rank = want.at("shape").size();
  output.dtype = want.at("dtype").get_ref<const std::string &>().c_str();
  output.rank = rank;
  int64_t count = 1;
  for (size_t d = 0; d < rank; ++d)
    count *= output.shape[d] = words[3 + d];
  int64_t bytes = count * widthOf(output.dtype);
  auto *data = reinterpret_cast<char *>(words[1]);
  if (!givenAway && words[0] == words[1] && words[2] == 0) {
    output.data = data;
    givenAway = true;
    return 3 + 2 * rank;
  }
  output.data = _mlir_memref_to_llvm_alloc(bytes ? bytes : 1);
  if (bytes)
    std::memcpy(output.data, data + words[2] * widthOf(output.dtype), bytes);
  return 3 + 2 * rank;
}

//===----------------------------------------------------------------------===//
// C API
//===----------------------------------------------------------------------===//

extern "C" void mctx_rt_fail(const char *message) {
  std::lock_guard<std::mutex> lock(failureMutex);
  if (failure.empty())
    failure = message;
}

/// Ends the run that this thread is in; returns where it is in none.
void megactx::leaveRun() {
  if (runningModel && !insideTask())
    std::longjmp(*runningModel, 1);
}

/// A check of the model's own code failed: what follows relies on it, so the
/// run ends here. Checks stand outside of parallel loops; memory that the run
/// holds is not given back.
extern "C" void _mlir_ciface_mctx_rt_fail(mctx_memref1 *text) {
  {
    std::string message(static_cast<const char *>(text->aligned) + text->offset,
                        text->sizes[0]);
    mctx_rt_fail(message.c_str());
  }
  leaveRun();
}

extern "C" const char *mctx_error(void) { return lastError.c_str(); }

extern "C" mctx_model *mctx_load(const char *path) {
  auto model = std::make_unique<mctx_model>();
  std::string error;
  try {
    if (model->load(path, error))
      return model.release();
  } catch (const json::exception &e) {
    error = std::string("'") + path + "/manifest.json' is damaged: " + e.what();
  }
  setError(error);
  return nullptr;
}

extern "C" void mctx_unload(mctx_model *model) { delete model; }

extern "C" const char *mctx_describe(const mctx_model *model) {
  return model->manifestText.c_str();
}

extern "C" int mctx_run(mctx_model *model, const mctx_tensor *inputs,
                        size_t inputCount, mctx_tensor *outputs,
                        size_t outputCount) {
  std::string error;
  if (model->run(inputs, inputCount, outputs, outputCount, error))
    return 0;
  setError(error);
  return 1;
}
