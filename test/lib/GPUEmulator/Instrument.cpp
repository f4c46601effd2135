//===- Instrument.cpp - from a kernel's LLVM IR to the host's -------------===//

#include "Instrument.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/ModuleSlotTracker.h"

using namespace llvm;
using namespace megactx;
using namespace megactx::emulator;

namespace {
constexpr unsigned kSharedSpace = 3;

class Rewriter {
public:
  explicit Rewriter(Module &module)
      : module(module), b(module.getContext()),
        slot(ArrayType::get(b.getInt8Ty(), sizeof(Slot))),
        call(module.getOrInsertFunction(kCall, b.getVoidTy(), b.getPtrTy(),
                                        b.getInt32Ty(), b.getPtrTy(),
                                        b.getPtrTy())),
        access(module.getOrInsertFunction(kAccess, b.getVoidTy(), b.getPtrTy(),
                                          b.getInt64Ty(), b.getInt64Ty(),
                                          b.getInt32Ty(), b.getInt32Ty())) {}

  Error run(Instrumented &result) {
    if (Error error = rewriteGlobals(result))
      return error;
    nameSites(result);
    // Entries are added behind; they stay as they are.
    SmallVector<Function *> functions;
    for (Function &function : module)
      if (!function.isDeclaration())
        functions.push_back(&function);
    for (Function *function : functions) {
      if (Error error = rewriteBody(*function))
        return error;
      if (function->getCallingConv() == CallingConv::PTX_Kernel)
        addEntry(*function);
    }
    return Error::success();
  }

private:
  static bool isEmulated(const CallInst &call) {
    return call.isInlineAsm() ||
           (call.getCalledFunction() &&
            call.getCalledFunction()->getName().starts_with("llvm.nvvm."));
  }
  static unsigned numResults(const CallInst &call) {
    auto *results = dyn_cast<StructType>(call.getType());
    return results ? results->getNumElements() : 1;
  }

  /// Numbered before anything changes, so that the text is what was given.
  void nameSites(Instrumented &result) {
    ModuleSlotTracker names(&module);
    for (Function &function : module) {
      if (function.isDeclaration())
        continue;
      names.incorporateFunction(function);
      for (Instruction &i : instructions(function)) {
        auto *called = dyn_cast<CallInst>(&i);
        if (!isa<LoadInst, StoreInst, AtomicRMWInst>(i) &&
            !(called && isEmulated(*called)))
          continue;
        sites[&i] = result.sites.size();
        raw_string_ostream text(result.sites.emplace_back());
        i.print(text, names);
        StringRef whole = StringRef(result.sites.back()).trim();
        // Assembly with a hundred operands says no more than with a few.
        constexpr size_t most = 400;
        result.sites.back() = whole.size() > most
                                  ? (whole.take_front(most) + "...").str()
                                  : whole.str();
      }
    }
  }

  Error rewriteGlobals(Instrumented &result) {
    for (GlobalVariable &global : make_early_inc_range(module.globals())) {
      if (global.getAddressSpace() == kSharedSpace) {
        if (!global.isDeclaration())
          return createStringError("static shared memory is not emulated: " +
                                   global.getName());
        global.setName(kShared);
        continue;
      }
      if (!global.isConstant() || global.isDeclaration())
        return createStringError("expected constant tables, but got " +
                                 global.getName());
      global.setLinkage(GlobalValue::ExternalLinkage);
      result.constants.emplace_back(
          global.getName(),
          module.getDataLayout().getTypeAllocSize(global.getValueType()));
    }
    return Error::success();
  }

  Value *slotAt(Value *slots, unsigned i) {
    return b.CreateConstInBoundsGEP1_64(slot, slots, i);
  }
  Value *generic(Value *pointer) {
    return b.CreateAddrSpaceCast(pointer, b.getPtrTy());
  }

  Error rewriteBody(Function &function) {
    b.SetInsertPoint(&*function.getEntryBlock().getFirstInsertionPt());
    size_t count = 0;
    for (Instruction &i : instructions(function))
      if (auto *called = dyn_cast<CallInst>(&i); called && sites.count(&i))
        count =
            std::max<size_t>(count, called->arg_size() + numResults(*called));
    auto *slots = b.CreateAlloca(slot, b.getInt32(count));
    slots->setAlignment(Align(alignof(Slot)));
    for (Instruction &i : make_early_inc_range(instructions(function))) {
      auto found = sites.find(&i);
      if (found == sites.end())
        continue;
      unsigned site = found->second;
      // A later instruction may have the address of one that is erased.
      sites.erase(found);
      b.SetInsertPoint(&i);
      if (auto *called = dyn_cast<CallInst>(&i)) {
        if (Error error = rewriteCall(*called, site, slots))
          return error;
        continue;
      }
      if (auto *update = dyn_cast<AtomicRMWInst>(&i))
        announce(update->getPointerOperand(), update->getType(),
                 update->getAlign(), Access::Update, site);
      else
        announce(getLoadStorePointerOperand(&i), getLoadStoreType(&i),
                 getLoadStoreAlignment(&i),
                 isa<StoreInst>(i) ? Access::Write : Access::Read, site);
    }
    return Error::success();
  }

  void announce(Value *pointer, Type *type, Align alignment, Access how,
                unsigned site) {
    // The thread's own memory.
    if (isa<AllocaInst>(getUnderlyingObject(pointer)))
      return;
    TypeSize bytes = module.getDataLayout().getTypeStoreSize(type);
    b.CreateCall(access,
                 {generic(pointer), b.getInt64(bytes),
                  b.getInt64(alignment.value()),
                  b.getInt32(static_cast<uint32_t>(how)), b.getInt32(site)});
  }

  Error rewriteCall(CallInst &old, unsigned site, Value *slots) {
    unsigned count = numResults(old);
    auto *assembly = dyn_cast<InlineAsm>(old.getCalledOperand());
    StringRef name = assembly ? StringRef(assembly->getAsmString())
                              : old.getCalledFunction()->getName();
    const emulator::Intrinsic *intrinsic =
        assembly ? findAssembly(name, old.arg_size(), count)
                 : findIntrinsic(name);
    if (!intrinsic)
      return createStringError("the emulator does not know " + name);
    auto *results = dyn_cast<StructType>(old.getType());
    for (auto [i, operand] : enumerate(old.args())) {
      Value *value = operand;
      if (value->getType()->isPointerTy())
        value = generic(value);
      b.CreateStore(value, slotAt(slots, i));
    }
    Value *given = slotAt(slots, old.arg_size());
    Value *callee = b.CreateIntToPtr(
        b.getInt64(reinterpret_cast<uintptr_t>(intrinsic)), b.getPtrTy());
    b.CreateCall(call, {callee, b.getInt32(site), slots, given});
    if (results) {
      Value *all = PoisonValue::get(results);
      for (unsigned i = 0; i < count; ++i)
        all = b.CreateInsertValue(
            all, b.CreateLoad(results->getElementType(i), slotAt(given, i)), i);
      old.replaceAllUsesWith(all);
    } else if (!old.getType()->isVoidTy()) {
      old.replaceAllUsesWith(b.CreateLoad(old.getType(), given));
    }
    old.eraseFromParent();
    return Error::success();
  }

  void addEntry(Function &kernel) {
    kernel.setCallingConv(CallingConv::C);
    auto type = FunctionType::get(b.getVoidTy(), b.getPtrTy(), false);
    auto *entry = Function::Create(type, GlobalValue::ExternalLinkage,
                                   "emulator_" + kernel.getName(), module);
    b.SetInsertPoint(BasicBlock::Create(b.getContext(), "", entry));
    SmallVector<Value *> arguments;
    for (auto [i, argument] : enumerate(kernel.args())) {
      Value *at =
          b.CreateLoad(b.getPtrTy(),
                       b.CreateConstGEP1_64(b.getPtrTy(), entry->getArg(0), i));
      // What is passed by value is where the launch has it.
      arguments.push_back(
          argument.hasByValAttr() ? at : b.CreateLoad(argument.getType(), at));
      argument.removeAttr(Attribute::ByVal);
    }
    b.CreateCall(&kernel, arguments);
    b.CreateRetVoid();
  }

  Module &module;
  IRBuilder<> b;
  Type *slot;
  FunctionCallee call, access;
  DenseMap<Instruction *, unsigned> sites;
};
} // namespace

Expected<Instrumented> megactx::emulator::instrument(Module &module,
                                                     const DataLayout &host,
                                                     Triple triple) {
  Instrumented result;
  if (Error error = Rewriter(module).run(result))
    return error;
  module.setTargetTriple(triple);
  module.setDataLayout(host);
  return result;
}
