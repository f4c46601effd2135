//===- FakeCalls.h - settings and the log of CUDA's fakes -------*- C++ -*-===//
//
// What is called is written to the file that MEGACTX_FAKE_CUDA_LOG names, one
// call a line. MEGACTX_FAKE_CUDA holds settings, "devices=2 capability=80
// memory=1000000 fail=cuModuleLoadDataEx:218": how many devices, which compute
// capability, how many bytes each has, and a function that fails with an error.
// "late=1": what is recorded is over when somebody has waited for a stream.
// "lost=20": after 20 launches the context is lost, and every call fails.
// With "kernels=none" any code is taken and none is run; memory is zeros then.
// The clock of events is 1 ns further for each byte of shared memory of each
// block that is launched.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_LIB_FAKECUDA_FAKECALLS_H
#define MEGACTX_TEST_LIB_FAKECUDA_FAKECALLS_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace megactx::fake {

/// A setting's text, or the default.
inline std::string setting(const std::string &name, const char *otherwise) {
  const char *all = std::getenv("MEGACTX_FAKE_CUDA");
  std::string text = std::string(" ") + (all ? all : "") + " ";
  size_t at = text.find(" " + name + "=");
  if (at == std::string::npos)
    return otherwise;
  at += name.size() + 2;
  return text.substr(at, text.find(' ', at) - at);
}

inline int number(const std::string &name, const char *otherwise) {
  return std::atoi(setting(name, otherwise).c_str());
}

inline int launches = 0;

/// Writes the call down, with its operands as printf writes them, and says
/// whether it shall fail: 0 or the error.
template <typename... Values>
int called(const char *function, const char *format = nullptr,
           Values... values) {
  char operands[160] = "";
  if constexpr (sizeof...(values) > 0)
    std::snprintf(operands, sizeof(operands), format, values...);
  if (const char *path = std::getenv("MEGACTX_FAKE_CUDA_LOG"))
    if (std::FILE *log = std::fopen(path, "a")) {
      std::fprintf(log, "%s%s\n", function, operands);
      std::fclose(log);
    }
  constexpr int kIllegalAddress = 700;
  launches += std::string(function) == "cuLaunchKernel";
  if (launches > number("lost", "2000000000"))
    return kIllegalAddress;
  std::string fail = setting("fail", "");
  size_t colon = fail.find(':');
  if (colon != std::string::npos && fail.substr(0, colon) == function)
    return std::atoi(fail.c_str() + colon + 1);
  return 0;
}

} // namespace megactx::fake

/// Whether memory is one of the fake device's, for as many bytes.
extern "C" bool fake_cuda_owns(uint64_t address, size_t bytes);

#endif
