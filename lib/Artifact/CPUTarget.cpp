//===- CPUTarget.cpp - the CPU that code is for ---------------------------===//

#include "megactx/Artifact/CPUTarget.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace mlir;
using namespace mlir::megactx;
using Subtarget = std::unique_ptr<llvm::MCSubtargetInfo>;

/// Whether Linux lets processes have the registers of AMX's tiles, which they
/// ask for before they use them (as the runtime does): arch_prctl's
/// ARCH_GET_XCOMP_SUPP, a bit for each state.
static bool systemHasTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr int getSupported = 0x1021, tileData = 18;
  uint64_t supported = 0;
  return syscall(SYS_arch_prctl, getSupported, &supported) == 0 &&
         supported >> tileData & 1;
#else
  return false;
#endif
}

static llvm::Triple hostTriple() {
  return llvm::Triple(llvm::sys::getDefaultTargetTriple());
}

/// Of 64 bits, this process's first: what is called alike is its own.
static SmallVector<llvm::Triple> knownTriples() {
  SmallVector<llvm::Triple> triples{hostTriple()};
  for (StringRef other :
       {"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"})
    if (llvm::Triple triple(other); triple.getArch() != triples[0].getArch())
      triples.push_back(triple);
  return triples;
}

/// LLVM's description of a CPU; null where it was built without that
/// architecture.
static Subtarget describe(const llvm::Triple &triple, StringRef cpu,
                          StringRef features) {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Target *backend =
      llvm::TargetRegistry::lookupTarget(triple, error);
  return Subtarget(backend
                       ? backend->createMCSubtargetInfo(triple, cpu, features)
                       : nullptr);
}

static CPUTarget measured(const llvm::Triple &triple, StringRef cpu,
                          StringRef features) {
  CPUTarget target{triple, cpu.str(), features.str(), /*vectorBits=*/128,
                   /*vectorRegisters=*/triple.isAArch64() ? 32 : 16};
  Subtarget subtarget = describe(triple, cpu, features);
  if (!subtarget || !triple.isX86())
    return target;
  target.vectorBits = subtarget->checkFeatures("+avx512f") ? 512
                      : subtarget->checkFeatures("+avx2")  ? 256
                                                           : 128;
  target.vectorRegisters = target.vectorBits == 512 ? 32 : 16;
  target.amx = subtarget->checkFeatures("+avx512bf16,+amx-tile,+amx-bf16");
  return target;
}

CPUTarget mlir::megactx::hostTarget() {
  SmallVector<std::string> list;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    list.push_back((feature.second ? "+" : "-") + feature.first().str());
  llvm::sort(list);
  CPUTarget target = measured(hostTriple(), llvm::sys::getHostCPUName(),
                              llvm::join(list, ","));
  target.amx &= systemHasTiles();
  return target;
}

CPUTarget mlir::megactx::genericTarget() {
  llvm::Triple host = hostTriple();
  return measured(host, host.isX86() ? "x86-64-v2" : "generic", "");
}

/// Whether code for it can be made: LLVM's x86 has CPUs of 32 bits too.
static bool isCPU(const llvm::Triple &triple, StringRef name) {
  Subtarget any = describe(triple, "", "");
  if (!any || !any->isCPUStringValid(name))
    return false;
  return !triple.isX86() || describe(triple, name, "")->checkFeatures("+64bit");
}

std::optional<CPUTarget> mlir::megactx::cpuNamed(StringRef name) {
  for (const llvm::Triple &triple : knownTriples())
    if (isCPU(triple, name))
      return measured(triple, name, "");
  return std::nullopt;
}

std::optional<std::string> mlir::megactx::nearestCPU(StringRef name) {
  std::optional<std::string> nearest;
  if (name.empty())
    return nearest;
  unsigned best = name.size() / 3 + 1;
  for (const llvm::Triple &triple : knownTriples()) {
    Subtarget any = describe(triple, "", "");
    if (!any)
      continue;
    for (const auto &known : any->getAllProcessorDescriptions()) {
      StringRef key(known.Key);
      unsigned distance =
          key.starts_with(name) ? 0 : name.edit_distance(key, true, best);
      if (distance >= best || !isCPU(triple, key))
        continue;
      best = distance;
      nearest = known.Key;
    }
  }
  return nearest;
}

namespace {
struct Feature {
  StringRef llvm, linux;
};
} // namespace

/// Of LLVM's features, those that compiled code has instructions of.
static constexpr Feature kX86Features[] = {
    {"sse3", "pni"},
    {"ssse3", "ssse3"},
    {"sse4.1", "sse4_1"},
    {"sse4.2", "sse4_2"},
    {"popcnt", "popcnt"},
    {"avx", "avx"},
    {"avx2", "avx2"},
    {"fma", "fma"},
    {"f16c", "f16c"},
    {"bmi", "bmi1"},
    {"bmi2", "bmi2"},
    {"lzcnt", "abm"},
    {"movbe", "movbe"},
    {"gfni", "gfni"},
    {"avxvnni", "avx_vnni"},
    {"avx512f", "avx512f"},
    {"avx512bw", "avx512bw"},
    {"avx512cd", "avx512cd"},
    {"avx512dq", "avx512dq"},
    {"avx512vl", "avx512vl"},
    {"avx512ifma", "avx512ifma"},
    {"avx512vbmi", "avx512vbmi"},
    {"avx512vbmi2", "avx512_vbmi2"},
    {"avx512vnni", "avx512_vnni"},
    {"avx512bitalg", "avx512_bitalg"},
    {"avx512vpopcntdq", "avx512_vpopcntdq"},
    {"avx512bf16", "avx512_bf16"},
    {"avx512fp16", "avx512_fp16"},
};
static constexpr Feature kAArch64Features[] = {
    {"neon", "asimd"},     {"lse", "atomics"},     {"fullfp16", "asimdhp"},
    {"rdm", "asimdrdm"},   {"rcpc", "lrcpc"},      {"jsconv", "jscvt"},
    {"complxnum", "fcma"}, {"dotprod", "asimddp"}, {"fp16fml", "asimdfhm"},
    {"bf16", "bf16"},      {"i8mm", "i8mm"},       {"sve", "sve"},
    {"sve2", "sve2"},
};

SmallVector<StringRef>
mlir::megactx::requiredFeatures(const CPUTarget &target) {
  SmallVector<StringRef> required;
  Subtarget subtarget = describe(target.triple, target.cpu, target.features);
  if (!subtarget)
    return required;
  ArrayRef<Feature> known = target.triple.isX86() ? ArrayRef(kX86Features)
                            : target.triple.isAArch64()
                                ? ArrayRef(kAArch64Features)
                                : ArrayRef<Feature>();
  for (const Feature &feature : known)
    if (subtarget->checkFeatures(("+" + feature.llvm).str()))
      required.push_back(feature.linux);
  return required;
}
