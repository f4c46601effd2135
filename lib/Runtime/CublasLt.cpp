//===- CublasLt.cpp - cuBLASLt, found at run time -------------------------===//

#include "CublasLt.h"
#include <cstdlib>
#include <dlfcn.h>

using namespace megactx::cuda;
using namespace megactx::cuda::lt;

/// What dlopen is given, in order.
static std::vector<std::string> candidates(const Driver &driver) {
  std::vector<std::string> names, folders, all;
  int version = 0;
  driver.cuDriverGetVersion(&version);
  if (version >= 13000)
    names.push_back("libcublasLt.so.13");
  names.push_back("libcublasLt.so.12");
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *toolkit = std::getenv(variable))
      folders.push_back(toolkit);
  folders.push_back("/usr/local/cuda");
  all = names;
  for (const std::string &folder : folders)
    for (const char *sub : {"/lib64/", "/lib/"})
      for (const std::string &name : names)
        all.push_back(folder + sub + name);
  return all;
}

static void *load(const Driver &driver, std::string &error) {
  std::vector<std::string> all = candidates(driver);
  // What the process has wins over what could be loaded.
  for (int flags : {RTLD_NOLOAD, 0})
    for (const std::string &name : all)
      if (void *library = dlopen(name.c_str(), flags | RTLD_NOW | RTLD_LOCAL))
        return library;
  error = "this model needs cuBLASLt, of CUDA's libraries, and there is none: "
          "looked for";
  for (const std::string &name : all)
    error += (&name == all.data() ? " " : ", ") + name;
  error += "; LD_LIBRARY_PATH can name its folder";
  return nullptr;
}

const Library *Library::open(const Driver &driver, std::string &error) {
  struct Opened {
    Library library;
    std::string error;
  };
  static const Opened *opened = [&] {
    auto *opened = new Opened();
    void *handle = load(driver, opened->error);
    auto find = [&](const char *name, auto &function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(
          dlsym(handle, name));
      if (!function && opened->error.empty())
        opened->error = std::string("libcublasLt.so has no ") + name;
    };
    if (!handle)
      return opened;
#define MEGACTX_FIND(name, parameters) find(#name, opened->library.name);
    MEGACTX_CUBLASLT_FUNCTIONS(MEGACTX_FIND)
#undef MEGACTX_FIND
    find("cublasLtGetStatusName", opened->library.cublasLtGetStatusName);
    return opened;
  }();
  if (opened->error.empty())
    return &opened->library;
  error = opened->error;
  return nullptr;
}

std::string Library::explain(const char *what, Status status) const {
  const char *name = cublasLtGetStatusName(status);
  return std::string(what) + " failed: " + (name ? name : "unknown error");
}
