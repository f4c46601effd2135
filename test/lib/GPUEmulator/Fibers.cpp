//===- Fibers.cpp - many cooperative threads on one -----------------------===//

#include "Fibers.h"
#include "llvm/Support/Error.h"
#include <cstdlib>
#include <ucontext.h>
#include <utility>

using namespace megactx::emulator;
using llvm::sys::Memory;
using llvm::sys::OwningMemoryBlock;

/// Kernels of very many pieces have frames of megabytes. Only pages that are
/// touched are memory.
static constexpr size_t kStackBytes = 16 << 20;
/// Below a stack: what overflows it ends the program.
static constexpr size_t kGuardBytes = 1 << 20;

/// makecontext passes only integers.
static Fibers *entering;

static OwningMemoryBlock makeStack() {
  std::error_code error;
  OwningMemoryBlock stack(Memory::allocateMappedMemory(
      kStackBytes, nullptr, Memory::MF_READ | Memory::MF_WRITE, error));
  if (!error)
    error = Memory::protectMappedMemory({stack.base(), kGuardBytes},
                                        Memory::MF_READ);
  llvm::cantFail(llvm::errorCodeToError(error));
  return stack;
}

void Fibers::enter() {
  Fibers &self = *entering;
  while (true) {
    self.body();
    --self.left;
    Fiber &own = self.fibers[self.running];
    own.hasEnded = true;
    if (!_setjmp(own.place))
      self.next();
  }
}

void Fibers::next() {
  if (ready.empty())
    _longjmp(runner, 1);
  running = ready.front();
  ready.pop_front();
  Fiber &fiber = fibers[running];
  if (fiber.started)
    _longjmp(fiber.place, 1);
  fiber.started = true;
  entering = this;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.base();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, &Fibers::enter, 0);
  setcontext(&context);
  std::abort();
}

void Fibers::wait() {
  if (!_setjmp(fibers[running].place))
    next();
}

void Fibers::stop() {
  ready.clear();
  _longjmp(runner, 1);
}

unsigned Fibers::run(unsigned count, llvm::function_ref<void()> run) {
  body = run;
  left = count;
  fibers.resize(count);
  for (auto &fiber : fibers) {
    if (!fiber.stack.base())
      fiber.stack = makeStack();
    // One that has ended goes on to the next body; one that was abandoned
    // within a body starts anew.
    fiber.started = std::exchange(fiber.hasEnded, false);
  }
  ready.clear();
  for (unsigned i = 0; i < count; ++i)
    ready.push_back(i);
  if (!_setjmp(runner))
    next();
  return left;
}
