//===- Split.cpp - one module of LLVM IR as several -----------------------===//

#include "Split.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir::megactx;

Split::Split(llvm::Module &code, size_t partSize) : code(code) {
  assign(partSize);
  exposeShared();
}

/// Groups of functions that call each other go, the largest first, to the part
/// with the fewest instructions.
void Split::assign(size_t partSize) {
  llvm::EquivalenceClasses<const llvm::Function *> groups;
  for (const llvm::Function &function : code) {
    if (function.isDeclaration())
      continue;
    groups.insert(&function);
    for (const llvm::Instruction &instruction : llvm::instructions(function))
      if (auto *call = llvm::dyn_cast<llvm::CallBase>(&instruction))
        if (const llvm::Function *callee = call->getCalledFunction();
            callee && !callee->isDeclaration())
          groups.unionSets(&function, callee);
  }
  struct Group {
    size_t instructions = 0;
    llvm::SmallVector<const llvm::Function *> functions;
  };
  llvm::MapVector<const llvm::Function *, Group> members;
  size_t total = 0;
  for (const llvm::Function &function : code) {
    if (function.isDeclaration())
      continue;
    Group &group = members[groups.getLeaderValue(&function)];
    group.instructions += function.getInstructionCount();
    group.functions.push_back(&function);
    total += function.getInstructionCount();
  }
  llvm::SmallVector<const Group *> sorted;
  for (const auto &[leader, group] : members)
    sorted.push_back(&group);
  // Equal ones in the order of the code.
  llvm::sort(sorted, [](const Group *a, const Group *b) {
    return std::make_pair(b->instructions, a) <
           std::make_pair(a->instructions, b);
  });
  count = std::max<size_t>(1, std::min(total / partSize, sorted.size()));
  llvm::SmallVector<size_t> filled(count);
  for (const Group *group : sorted) {
    size_t least = llvm::min_element(filled) - filled.begin();
    filled[least] += group->instructions;
    for (const llvm::Function *function : group->functions)
      partOf[function] = least;
  }
}

static bool isCopied(const llvm::GlobalVariable &variable) {
  return variable.isConstant() && variable.hasLocalLinkage();
}

/// The parts of functions that use a value, by way of constants too. Variables
/// that are not copied are in part 0.
void Split::collectUsers(const llvm::Value &value, Parts &parts) const {
  for (const llvm::User *user : value.users()) {
    if (auto *instruction = llvm::dyn_cast<llvm::Instruction>(user)) {
      parts.insert(partOf.lookup(instruction->getFunction()));
      continue;
    }
    auto *variable = llvm::dyn_cast<llvm::GlobalVariable>(user);
    if (variable && !isCopied(*variable))
      parts.insert(0);
    else
      collectUsers(*user, parts);
  }
}

void Split::exposeShared() {
  for (llvm::GlobalVariable &variable : code.globals())
    if (isCopied(variable))
      collectUsers(variable, copies[&variable]);
  for (llvm::GlobalValue &value : code.global_values()) {
    auto *variable = llvm::dyn_cast<llvm::GlobalVariable>(&value);
    if (!value.hasLocalLinkage() || (variable && copies.contains(variable)))
      continue;
    Parts users;
    collectUsers(value, users);
    if (llvm::all_of(users,
                     [&](size_t number) { return isDefinedIn(value, number); }))
      continue;
    value.setLinkage(llvm::GlobalValue::ExternalLinkage);
    value.setVisibility(llvm::GlobalValue::HiddenVisibility);
  }
}

bool Split::isDefinedIn(const llvm::GlobalValue &value, size_t number) const {
  if (auto *function = llvm::dyn_cast<llvm::Function>(&value))
    return partOf.lookup(function) == number;
  auto copied = copies.find(llvm::dyn_cast<llvm::GlobalVariable>(&value));
  return copied == copies.end() ? number == 0 : copied->second.contains(number);
}

std::unique_ptr<llvm::Module> Split::part(size_t number) const {
  llvm::ValueToValueMapTy map;
  std::unique_ptr<llvm::Module> part =
      llvm::CloneModule(code, map, [&](const llvm::GlobalValue *value) {
        return isDefinedIn(*value, number);
      });
  // Declarations that nobody uses here.
  for (llvm::Function &function : llvm::make_early_inc_range(*part))
    if (function.isDeclaration() && function.use_empty())
      function.eraseFromParent();
  for (llvm::GlobalVariable &variable :
       llvm::make_early_inc_range(part->globals()))
    if (variable.isDeclaration() && variable.use_empty())
      variable.eraseFromParent();
  return part;
}
