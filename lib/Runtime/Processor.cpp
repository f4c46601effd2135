//===- Processor.cpp - what this CPU has ----------------------------------===//

#include "Processor.h"
#if defined(__linux__) && defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__linux__)
#include <fstream>
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace megactx;
using nlohmann::json;

/// The CPU's features between spaces; empty where nobody says which.
static std::string presentFeatures() {
#if defined(__linux__) && defined(__aarch64__)
  struct Feature {
    const char *name;
    unsigned long type, bit;
  };
  // The kernel's list in /proc/cpuinfo has more, and emulators the host's.
  static const Feature features[] = {
      {"asimd", AT_HWCAP, HWCAP_ASIMD},
      {"atomics", AT_HWCAP, HWCAP_ATOMICS},
      {"asimdhp", AT_HWCAP, HWCAP_ASIMDHP},
      {"asimdrdm", AT_HWCAP, HWCAP_ASIMDRDM},
      {"lrcpc", AT_HWCAP, HWCAP_LRCPC},
      {"jscvt", AT_HWCAP, HWCAP_JSCVT},
      {"fcma", AT_HWCAP, HWCAP_FCMA},
      {"asimddp", AT_HWCAP, HWCAP_ASIMDDP},
      {"asimdfhm", AT_HWCAP, HWCAP_ASIMDFHM},
      {"sve", AT_HWCAP, HWCAP_SVE},
      {"sve2", AT_HWCAP2, HWCAP2_SVE2},
      {"bf16", AT_HWCAP2, HWCAP2_BF16},
      {"i8mm", AT_HWCAP2, HWCAP2_I8MM},
  };
  std::string present = " ";
  for (const Feature &feature : features)
    if (getauxval(feature.type) & feature.bit)
      present += std::string(feature.name) + " ";
  return present;
#elif defined(__linux__)
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.rfind("flags", 0) == 0)
      return line.substr(line.find(':') + 1) + " ";
#endif
  return "";
}

std::string megactx::missingFeature(const json &features) {
  std::string present = presentFeatures();
  if (present.empty())
    return "";
  for (const json &feature : features) {
    std::string name = feature;
    if (present.find(" " + name + " ") == std::string::npos)
      return name;
  }
  return "";
}

bool megactx::requestTiles([[maybe_unused]] const json &features) {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int request = 0x1023, tileData = 18; // ARCH_REQ_XCOMP_PERM
  for (const json &feature : features)
    if (feature == "amx_bf16")
      return syscall(SYS_arch_prctl, request, tileData) == 0;
#endif
  return true;
}
