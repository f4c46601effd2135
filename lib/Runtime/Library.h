//===- Library.h - compiled code of models ----------------------*- C++ -*-===//
//
// Owns the shared libraries of artifacts. The loader knows a library by its
// file and by every name that it was asked for it by, until it is unloaded:
// one that is opened again, or a name that is given out again too early, would
// get a model the code of another one.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_LIBRARY_H
#define MEGACTX_LIB_RUNTIME_LIBRARY_H

#include <map>
#include <memory>
#include <string>
#include <sys/types.h>

namespace megactx {

class Library {
public:
  /// The library of a file, which is that of all who have it open; null, and
  /// what the loader says, where it cannot be loaded.
  static std::unique_ptr<Library> open(const std::string &path,
                                       std::string &error);
  ~Library();
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;

  /// Null where it has no such symbol.
  void *find(const char *symbol) const;

private:
  struct Loaded;
  explicit Library(Loaded &loaded) : loaded(loaded) {}
  /// By device and number of their files.
  static std::map<std::pair<dev_t, ino_t>, Loaded> &all();

  Loaded &loaded;
};

} // namespace megactx

#endif
