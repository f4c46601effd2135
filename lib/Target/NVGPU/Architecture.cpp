//===- Architecture.cpp - which GPUs there is code for --------------------===//

#include "megactx/Target/NVGPU/Architecture.h"
#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::megactx::nvgpu;

namespace {
struct Known {
  StringLiteral arch;
  int64_t kilobytes;       ///< of shared memory that one block may have
  int64_t multiprocessors; ///< of the largest device
  int64_t threads;         ///< of a multiprocessor
  StringLiteral ptx; ///< the least version that has the architecture, 8.0 else
};

/// Suffixes name features of an architecture alone (a) or of its family (f).
constexpr Known kKnown[] = {{"sm_80", 163, 108, 2048, "+ptx80"},
                            {"sm_86", 99, 84, 1536, "+ptx80"},
                            {"sm_87", 163, 16, 1536, "+ptx80"},
                            {"sm_89", 99, 142, 1536, "+ptx80"},
                            {"sm_90", 227, 132, 2048, "+ptx80"},
                            {"sm_90a", 227, 132, 2048, "+ptx80"},
                            {"sm_100", 227, 148, 2048, "+ptx86"},
                            {"sm_100a", 227, 148, 2048, "+ptx86"},
                            {"sm_100f", 227, 148, 2048, "+ptx88"},
                            {"sm_103", 227, 148, 2048, "+ptx88"},
                            {"sm_103a", 227, 148, 2048, "+ptx88"},
                            {"sm_103f", 227, 148, 2048, "+ptx88"},
                            {"sm_120", 99, 188, 1536, "+ptx87"},
                            {"sm_120a", 99, 188, 1536, "+ptx87"},
                            {"sm_120f", 99, 188, 1536, "+ptx88"},
                            {"sm_121", 99, 48, 1536, "+ptx88"},
                            {"sm_121a", 99, 48, 1536, "+ptx88"},
                            {"sm_121f", 99, 48, 1536, "+ptx88"}};
} // namespace

std::optional<Machine> mlir::megactx::nvgpu::machineOf(StringRef arch) {
  for (const Known &known : kKnown)
    if (known.arch == arch)
      return Machine{known.arch,
                     known.kilobytes << 10,
                     known.ptx,
                     known.multiprocessors,
                     known.threads,
                     /*hasWgmma=*/arch == "sm_90a"};
  return std::nullopt;
}

SmallVector<StringRef> mlir::megactx::nvgpu::architectures() {
  return llvm::map_to_vector(
      kKnown, [](const Known &k) -> StringRef { return k.arch; });
}

/// What of a name tells architectures apart: sm_90a, SM90A, compute_90a and 90a
/// are alike. Empty where a name is not of an architecture at all.
static std::string essence(StringRef name) {
  std::string text;
  for (char c : name)
    if (llvm::isAlnum(c))
      text += llvm::toLower(c);
  StringRef rest = text;
  if (!rest.consume_front("sm"))
    rest.consume_front("compute");
  return !rest.empty() && llvm::isDigit(rest.front()) ? rest.str() : "";
}

std::optional<StringRef>
mlir::megactx::nvgpu::nearestArchitecture(StringRef name) {
  std::optional<StringRef> nearest;
  unsigned best = 2;
  std::string wanted = essence(name);
  if (wanted.empty())
    return nearest;
  for (const Known &known : kKnown) {
    unsigned distance =
        StringRef(wanted).edit_distance(essence(known.arch), true, best);
    if (distance < best) {
      best = distance;
      nearest = known.arch;
    }
  }
  return nearest;
}
