//===- Runtime.cpp - the CUDA runtime of MLIR's GPU launches, emulated ----===//
//
// Owns the library's C interface: the functions that gpu.launch_func and
// gpu.binary call (those of MLIR's libmlir_cuda_runtime.so), with LLVM IR in
// place of cubins, and a few that Python calls to load a host program and to
// give it memory. Errors are kept until emulator_error takes them.
//
//===----------------------------------------------------------------------===//

#include "../../../lib/Runtime/TensorMap.h"
#include "Instrument.h"
#include "megactx/Runtime/Bfloat16.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include <map>

using namespace llvm;
using namespace megactx;
using namespace megactx::emulator;

Machine &megactx::emulator::machine() {
  static Machine theMachine;
  return theMachine;
}

namespace {
/// Records what went wrong; the first error is the one that counts.
template <typename T> T *orNull(Expected<std::unique_ptr<T>> result) {
  if (result)
    return result->release();
  std::string text = toString(result.takeError());
  if (machine().error.empty())
    machine().error = text;
  return nullptr;
}

// What instrumented kernels call.
void onCall(const emulator::Intrinsic *intrinsic, uint32_t site,
            const Slot *operands, Slot *results) {
  machine().call(*intrinsic, site, operands, results);
}
void onAccess(const void *at, uint64_t bytes, uint64_t alignment,
              emulator::Access how, uint32_t site) {
  machine().access(at, bytes, alignment, how, site);
}
struct Program {
  std::unique_ptr<orc::LLJIT> jit;
  Instrumented text;
  std::map<std::string, Kernel> kernels;
};

Expected<std::unique_ptr<Module>> parse(StringRef ir, LLVMContext &context) {
  SMDiagnostic diagnostic;
  auto buffer = MemoryBuffer::getMemBufferCopy(ir);
  if (auto module = parseIR(buffer->getMemBufferRef(), diagnostic, context))
    return module;
  std::string text;
  raw_string_ostream stream(text);
  diagnostic.print("", stream, /*ShowColors=*/false);
  return createStringError(text);
}

/// Compiles IR; `prepare` sees it first.
Expected<std::unique_ptr<Program>>
compile(StringRef ir, function_ref<Error(Module &, Program &)> prepare) {
  InitializeNativeTarget();
  InitializeNativeTargetAsmPrinter();
  auto program = std::make_unique<Program>();
  // Compiling takes longer than running, whatever the code.
  auto target = orc::JITTargetMachineBuilder::detectHost();
  if (!target)
    return target.takeError();
  target->setCodeGenOptLevel(CodeGenOptLevel::None);
  auto jit = orc::LLJITBuilder()
                 .setJITTargetMachineBuilder(std::move(*target))
                 .create();
  if (!jit)
    return jit.takeError();
  program->jit = std::move(*jit);
  orc::LLJIT &to = *program->jit;
  auto symbol = [&](auto *at) {
    return orc::ExecutorSymbolDef(orc::ExecutorAddr::fromPtr(at),
                                  JITSymbolFlags::Exported);
  };
  if (Error error = to.getMainJITDylib().define(orc::absoluteSymbols(
          {{to.mangleAndIntern(kCall), symbol(&onCall)},
           {to.mangleAndIntern(kAccess), symbol(&onAccess)},
           {to.mangleAndIntern(kShared), symbol(machine().shared)},
           {to.mangleAndIntern("__truncsfbf2"),
            symbol(&mlir::megactx::truncateToBF16)}})))
    return error;
  auto context = std::make_unique<LLVMContext>();
  auto module = parse(ir, *context);
  if (!module)
    return module.takeError();
  if (Error error = prepare(**module, *program))
    return error;
  if (Error error = to.addIRModule({std::move(*module), std::move(context)}))
    return error;
  return program;
}

/// As many as ptxas gives a thread of a kernel that says how many blocks of how
/// many threads share a multiprocessor; 0 where it does not.
unsigned registersOf(const Function &kernel) {
  constexpr unsigned ofMultiprocessor = 1 << 16, most = 255;
  unsigned blocks, threads;
  StringRef size = kernel.getFnAttribute("nvvm.maxntid").getValueAsString();
  if (kernel.getFnAttribute("nvvm.minctasm")
          .getValueAsString()
          .getAsInteger(10, blocks) ||
      size.split(',').first.getAsInteger(10, threads) || !blocks || !threads)
    return 0;
  return std::min(alignDown(ofMultiprocessor / (blocks * threads), 8u), most);
}

Expected<std::unique_ptr<Program>> compileKernels(StringRef ir) {
  std::vector<std::string> names;
  std::map<std::string, unsigned> registers;
  auto program = compile(ir, [&](Module &module, Program &program) -> Error {
    for (Function &function : module)
      if (function.getCallingConv() == CallingConv::PTX_Kernel)
        names.push_back(function.getName().str());
    for (const std::string &name : names)
      registers[name] = registersOf(*module.getFunction(name));
    auto text = instrument(module, program.jit->getDataLayout(),
                           program.jit->getTargetTriple());
    if (!text)
      return text.takeError();
    program.text = std::move(*text);
    return Error::success();
  });
  if (!program)
    return program;
  orc::LLJIT &jit = *(*program)->jit;
  for (const std::string &name : names) {
    auto entry = jit.lookup("emulator_" + name);
    if (!entry)
      return entry.takeError();
    (*program)->kernels[name] = {entry->toPtr<void (*)(void **)>(),
                                 &(*program)->text.sites, registers[name]};
  }
  for (auto &[name, bytes] : (*program)->text.constants) {
    auto table = jit.lookup(name);
    if (!table)
      return table.takeError();
    machine().memory.add(name, table->toPtr<char *>(), bytes,
                         emulator::Use::In);
  }
  return program;
}
} // namespace

extern "C" {
// MLIR's runtime. Streams run at once.
Program *mgpuModuleLoad(void *data, size_t bytes) {
  return orNull(compileKernels(StringRef(static_cast<char *>(data), bytes)));
}
void mgpuModuleUnload(Program *program) {
  if (!program)
    return;
  for (auto &[name, bytes] : program->text.constants)
    if (auto table = program->jit->lookup(name))
      machine().memory.remove(table->toPtr<char *>());
  delete program;
}
Kernel *mgpuModuleGetFunction(Program *program, const char *name) {
  if (!program)
    return nullptr;
  auto kernel = program->kernels.find(name);
  if (kernel != program->kernels.end())
    return &kernel->second;
  machine().error = std::string("no kernel ") + name;
  return nullptr;
}
void mgpuLaunchKernel(Kernel *kernel, intptr_t gridX, intptr_t gridY,
                      intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                      intptr_t blockZ, int32_t sharedBytes, void *,
                      void **arguments, void **, size_t) {
  if (!kernel || !machine().error.empty())
    return;
  auto dim3 = [](intptr_t x, intptr_t y, intptr_t z) {
    return Dim3{{unsigned(x), unsigned(y), unsigned(z)}};
  };
  machine().launch(*kernel, dim3(gridX, gridY, gridZ),
                   dim3(blockX, blockY, blockZ), sharedBytes, arguments);
}
/// The product's, of megactx/Runtime/KernelABI.h.
void mctx_rt_encode_tensor_map(void *map, void *memory, int64_t isBF16,
                               int64_t rows, int64_t batches, int64_t heads,
                               int64_t tensorRows, int64_t columns,
                               int64_t batchStride, int64_t headStride,
                               int64_t rowStride) {
  const cuda::Rows tensor = {memory,
                             isBF16 != 0,
                             {batches, heads, tensorRows, columns},
                             {batchStride, headStride, rowStride}};
  if (cuda::encodeTensorMap(encodeTiled, map, tensor, rows) &&
      machine().error.empty())
    machine().error = "invalid tensor map";
}
/// Few, so that blocks that stay have several units of work.
int64_t mctx_rt_multiprocessors() { return 3; }
void *mgpuStreamCreate() { return nullptr; }
void mgpuStreamSynchronize(void *) {}
void mgpuStreamDestroy(void *) {}
/// Holds nothing until a kernel writes it. Freed by mgpuMemFree.
void *mgpuMemAlloc(uint64_t bytes, void *, bool) {
  static unsigned number = 0;
  size_t whole = alignTo(std::max<uint64_t>(bytes, 1), 256);
  auto *data = static_cast<char *>(std::aligned_alloc(256, whole));
  memset(data, 0xff, whole);
  machine().memory.add("allocation " + std::to_string(number++), data, bytes,
                       emulator::Use::Out);
  return data;
}
void mgpuMemFree(char *data, void *) {
  machine().memory.remove(data);
  std::free(data);
}
/// From the device to the host.
void mgpuMemcpy(char *to, const char *from, size_t bytes, void *) {
  machine().memory.beginLaunch();
  if (auto wrong = machine().memory.read(from, bytes, 0);
      wrong && machine().error.empty())
    machine().error = "copy to the host: " + *wrong;
  memcpy(to, from, bytes);
}
/// Words in the device's memory.
void mgpuMemset32(char *to, unsigned value, size_t count, void *) {
  machine().memory.beginLaunch();
  for (size_t i = 0; i < count; ++i, to += sizeof(value)) {
    if (auto wrong = machine().memory.write(to, sizeof(value), 0);
        wrong && machine().error.empty())
      machine().error = "words: " + *wrong;
    memcpy(to, &value, sizeof(value));
  }
}

// What Python calls.

/// A host program in LLVM IR, or null.
Program *emulator_load(const char *ir, size_t bytes) {
  auto program = compile(StringRef(ir, bytes),
                         [](Module &, Program &) { return Error::success(); });
  if (program)
    if (Error error =
            (*program)->jit->initialize((*program)->jit->getMainJITDylib()))
      program = std::move(error);
  return orNull(std::move(program));
}
/// The address of one of its functions, or null.
void *emulator_function(Program *program, const char *name) {
  auto function = program->jit->lookup(name);
  if (function)
    return function->toPtr<void *>();
  machine().error = toString(function.takeError());
  return nullptr;
}
void emulator_unload(Program *program) {
  consumeError(program->jit->deinitialize(program->jit->getMainJITDylib()));
  delete program;
}
/// cuTensorMapEncodeTiled.
int emulator_encode_tiled(void *map, int type, unsigned rank, void *memory,
                          const uint64_t *sizes, const uint64_t *strides,
                          const unsigned *box, const unsigned *elementStrides,
                          int interleave, int swizzle, int promotion,
                          int fill) {
  return encodeTiled(map, type, rank, memory, sizes, strides, box,
                     elementStrides, interleave, swizzle, promotion, fill);
}
/// Global memory for kernels; use as in Use.
void emulator_add(const char *name, char *data, size_t bytes, int use) {
  machine().memory.add(name, data, bytes, static_cast<emulator::Use>(use));
}
void emulator_remove(char *data) { machine().memory.remove(data); }
/// The first error since the last call, null where there is none.
const char *emulator_error() {
  static std::string taken;
  taken.clear();
  std::swap(taken, machine().error);
  return taken.empty() ? nullptr : taken.c_str();
}
}
