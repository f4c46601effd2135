//===- Model.cpp - artifacts as models ------------------------------------===//
//
// Owns loading: an artifact is a folder of manifest.json, model.so,
// weights.bin.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "Processor.h"
#include "Weights.h"
#include <cerrno>
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
} // namespace

int64_t megactx::widthOf(const std::string &dtype) {
  static const std::map<std::string, int64_t> widths = {
      {"float", 4}, {"double", 8}, {"float16", 2}, {"bfloat16", 2},
      {"int8", 1},  {"int16", 2},  {"int32", 4},   {"int64", 8},
      {"uint8", 1}, {"uint16", 2}, {"uint32", 4},  {"uint64", 8},
      {"bool", 1}};
  auto found = widths.find(dtype);
  return found == widths.end() ? 0 : found->second;
}

uint64_t megactx::bytesOf(const mctx_tensor &tensor) {
  uint64_t bytes = widthOf(tensor.dtype);
  for (int64_t d = 0; d < tensor.rank; ++d)
    bytes *= tensor.shape[d];
  return bytes;
}

std::vector<int64_t> megactx::descriptor(void *data,
                                         const std::vector<int64_t> &shape) {
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
      if (value.at("shape").get<std::vector<json>>().size() > MCTX_MAX_RANK)
        throw json::other_error::create(501, "more than 8 dimensions", &value);
      for (const json &size : value.at("shape"))
        if (!size.is_number_integer())
          size.get_ref<const std::string &>();
    }
}

/// Why a path cannot be opened as an artifact, after its manifest could not.
static std::string faultOfArtifact(const std::string &path, int reason) {
  std::string cannot = "cannot read '" + path;
  if (reason == ENOTDIR)
    return cannot + "': a file, not an artifact, the folder that "
                    "megactx-compile makes of a model";
  if (reason == ENOENT && access(path.c_str(), F_OK) == 0)
    return cannot + "': not an artifact, it has no manifest.json";
  return cannot + "/manifest.json': " + std::strerror(reason);
}

bool mctx_model::load(const std::string &path, std::string &error) {
  std::ifstream file(path + "/manifest.json");
  if (!file) {
    error = faultOfArtifact(path, errno);
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
  const json &features = manifest.at("target").at("features");
  std::string feature = missingFeature(features);
  if (!feature.empty()) {
    error = "'" + path + "' was compiled for CPU '" +
            manifest.at("target").at("cpu").get<std::string>() +
            "': this one has no " + feature;
    return false;
  }
  if (!requestTiles(features)) {
    error = "the system lets no process use AMX's tiles, for which '" + path +
            "' was compiled: compile it here";
    return false;
  }
  checkInterface(manifest);
  place = path;
  if (isForGPU()) {
    cuda::Device *device = cuda::Device::open(cuda::Device::preferred(), error);
    if (!device || !canRunOn(*device, error))
      return false;
  }
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

namespace {
/// The library of matrix products by oneDNN: models of the CPU call it, and one
/// that calls none of it runs where it, or oneDNN, is missing.
struct Products {
  decltype(&mctx_products_add_weights) addWeights = nullptr;
  decltype(&mctx_products_remove_weights) removeWeights = nullptr;
  std::string missing; ///< why it could not be loaded
};
} // namespace

/// The path of this library, as it was loaded.
static std::string ownPath() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&mctx_load), &self) && self.dli_fname)
    return self.dli_fname;
  return "";
}

static const Products &products() {
  static const Products *loaded = [] {
    auto *products = new Products();
    std::string path = ownPath();
    path = path.substr(0, path.rfind('/') + 1) + "libmegactx_matmul.so";
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
      products->missing = dlerror();
      return products;
    }
    auto find = [&](const char *name, auto &function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(
          dlsym(library, name));
    };
    find("mctx_products_add_weights", products->addWeights);
    find("mctx_products_remove_weights", products->removeWeights);
    return products;
  }();
  return *loaded;
}

bool mctx_model::bind(const std::string &path, std::string &error) {
  // Compiled code looks the runtime's symbols up: make them visible to it.
  dlopen(ownPath().c_str(), RTLD_NOLOAD | RTLD_GLOBAL | RTLD_NOW);
  if (!isForGPU())
    products();
  std::string code = path + "/model.so";
  if (code.find('/') != 0)
    code = "./" + code;
  library = Library::open(code, error);
  if (!library) {
    error = "cannot load: " + error;
    if (!isForGPU() && !products().missing.empty())
      error += "; " + products().missing;
    return false;
  }
  entry = reinterpret_cast<void (*)(void **)>(library->find("mctx_main"));
  if (!entry) {
    error = "'" + code + "' has no entry";
    return false;
  }
  if (!isForGPU() && products().addWeights)
    products().addWeights(weights.data, weights.size);
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
  for (auto &[device, held] : deviceWeights) {
    {
      // Kernels of the library that goes may still run.
      cuda::Run here(*device, nullptr);
      device->driver.cuCtxSynchronize();
    }
    device->release(held.block);
  }
  if (library && !isForGPU() && products().removeWeights)
    products().removeWeights(weights.data);
}

//===----------------------------------------------------------------------===//
// C API
//===----------------------------------------------------------------------===//

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
