//===- Library.cpp - compiled code of models ------------------------------===//

#include "Library.h"
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <sys/stat.h>
#include <unistd.h>

using namespace megactx;

using File = std::pair<dev_t, ino_t>;

/// A file that is loaded. It stays open, so that the name that it was loaded by
/// is no other's; its path may be another file's meanwhile.
struct Library::Loaded {
  File file;
  int descriptor = -1;
  void *handle = nullptr;
  int users = 0;
};

/// Held also while libraries are loaded and unloaded: one that goes has its
/// name until it is gone.
static std::mutex librariesMutex;

std::map<File, Library::Loaded> &Library::all() {
  // Models may go after static variables do.
  static auto &libraries = *new std::map<File, Loaded>();
  return libraries;
}

std::unique_ptr<Library> Library::open(const std::string &path,
                                       std::string &error) {
  std::lock_guard<std::mutex> lock(librariesMutex);
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (descriptor < 0 || fstat(descriptor, &info) != 0) {
    error = "'" + path + "': " + std::strerror(errno);
    if (descriptor >= 0)
      close(descriptor);
    return nullptr;
  }
  File file{info.st_dev, info.st_ino};
  Loaded &its = all()[file];
  if (its.users++) {
    close(descriptor);
    return std::unique_ptr<Library>(new Library(its));
  }
  its.file = file;
  its.descriptor = descriptor;
  std::string name = "/proc/self/fd/" + std::to_string(descriptor);
  its.handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!its.handle)
    its.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (its.handle)
    return std::unique_ptr<Library>(new Library(its));
  error = dlerror();
  close(descriptor);
  all().erase(file);
  return nullptr;
}

Library::~Library() {
  std::lock_guard<std::mutex> lock(librariesMutex);
  if (--loaded.users)
    return;
  dlclose(loaded.handle);
  close(loaded.descriptor);
  all().erase(loaded.file);
}

void *Library::find(const char *symbol) const {
  return dlsym(loaded.handle, symbol);
}
