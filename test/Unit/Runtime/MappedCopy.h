//===- MappedCopy.h - data in a file of its own, mapped ---------*- C++ -*-===//

#ifndef MEGACTX_TEST_UNIT_RUNTIME_MAPPEDCOPY_H
#define MEGACTX_TEST_UNIT_RUNTIME_MAPPEDCOPY_H

#include "gtest/gtest.h"
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace megactx::test {
/// The numbers as a model's weights are: pages that may be given back.
template <typename T> struct MappedCopy {
  size_t bytes;
  T *data;

  explicit MappedCopy(const std::vector<T> &contents)
      : bytes(contents.size() * sizeof(T)) {
    char path[] = "/tmp/megactx-weights-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    EXPECT_EQ(write(fd, contents.data(), bytes), ssize_t(bytes));
    data =
        static_cast<T *>(mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0));
    close(fd);
  }
  MappedCopy(const MappedCopy &) = delete;
  ~MappedCopy() { munmap(data, bytes); }
};
} // namespace megactx::test

#endif
