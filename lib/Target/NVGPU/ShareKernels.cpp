//===- ShareKernels.cpp - a program's kernels in few modules --------------===//

#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_SHAREKERNELSPASS
#include "megactx/Target/NVGPU/Passes.h.inc"

namespace {
/// What of an op is not its name.
DictionaryAttr factsOf(Operation *op) {
  NamedAttrList facts(op->getAttrDictionary());
  facts.erase(SymbolTable::getSymbolAttrName());
  return facts.getDictionary(op->getContext());
}

/// Whether they differ in their names only.
bool isEqual(Operation *x, Operation *y) {
  return x->getName() == y->getName() &&
         llvm::all_of_zip(x->getRegions(), y->getRegions(),
                          [](Region &p, Region &q) {
                            return OperationEquivalence::isRegionEquivalentTo(
                                &p, &q, OperationEquivalence::IgnoreLocations);
                          });
}

int64_t sizeOf(Operation *op) {
  int64_t size = 0;
  op->walk([&](Operation *) { ++size; });
  return size;
}

struct ShareKernels : impl::ShareKernelsPassBase<ShareKernels> {
  using ShareKernelsPassBase::ShareKernelsPassBase;

  void runOnOperation() override {
    SmallVector<gpu::GPUModuleOp> modules(
        getOperation().getOps<gpu::GPUModuleOp>());
    for (gpu::GPUModuleOp module : modules) {
      if (shared.empty() || filled >= moduleSize)
        begin(module);
      // What kernels refer to first, so that equal kernels refer to the same.
      Renamed renamed;
      moveOps(module, /*areKernels=*/false, renamed);
      rename(module, renamed);
      moveOps(module, /*areKernels=*/true, renamed);
    }
    SymbolTable all(getOperation());
    for (gpu::GPUModuleOp module : modules)
      all.erase(module);
    for (gpu::GPUModuleOp module : shared)
      all.insert(module);
    redirect();
  }

  using Renamed = llvm::DenseMap<Attribute, StringAttr>;

  /// The next shared module, before another.
  void begin(gpu::GPUModuleOp before) {
    OpBuilder b(before);
    shared.push_back(
        gpu::GPUModuleOp::create(b, getOperation().getLoc(), "mctx_kernels"));
    filled = 0;
    ++numModules;
  }

  void moveOps(gpu::GPUModuleOp from, bool areKernels, Renamed &renamed) {
    for (Operation &op : llvm::make_early_inc_range(*from.getBody())) {
      if (isa<gpu::GPUFuncOp>(op) != areKernels)
        continue;
      StringAttr old = SymbolTable::getSymbolName(&op);
      Operation *moved = move(op);
      renamed[old] = SymbolTable::getSymbolName(moved);
      if (areKernels)
        kernels[{from.getSymNameAttr(), old}] = moved;
    }
  }

  /// Moves an op to the last shared module, or finds its equal in any.
  Operation *move(Operation &op) {
    SmallVector<Operation *> &alike = known[factsOf(&op)];
    auto equal = llvm::find_if(
        alike, [&](Operation *other) { return isEqual(other, &op); });
    if (equal != alike.end())
      return *equal;
    SymbolTable::setSymbolName(&op, freshName(op));
    op.remove();
    add(&op);
    alike.push_back(&op);
    byName[SymbolTable::getSymbolName(&op)] = &op;
    numKernels += isa<gpu::GPUFuncOp>(op);
    return &op;
  }

  /// With what it refers to, which an earlier module may have.
  void add(Operation *op) {
    Block *body = shared.back().getBody();
    body->push_back(op);
    filled += sizeOf(op);
    auto uses = SymbolTable::getSymbolUses(op);
    if (!uses)
      return;
    for (const SymbolTable::SymbolUse &use : *uses) {
      StringAttr name = use.getSymbolRef().getRootReference();
      Operation *found = byName.lookup(name);
      if (found && !SymbolTable::lookupSymbolIn(shared.back(), name))
        add(found->clone());
    }
  }

  /// All at once: one's new name may be another's old one.
  static void rename(gpu::GPUModuleOp module, const Renamed &renamed) {
    AttrTypeReplacer replacer;
    replacer.addReplacement([&](FlatSymbolRefAttr symbol) -> Attribute {
      StringAttr name = renamed.lookup(symbol.getAttr());
      return name ? FlatSymbolRefAttr::get(name) : symbol;
    });
    replacer.recursivelyReplaceElementsIn(module);
  }

  /// The same name says the same in all shared modules.
  StringAttr freshName(Operation &op) {
    StringAttr name = SymbolTable::getSymbolName(&op);
    auto isTaken = [&](StringRef other) {
      return byName.contains(StringAttr::get(&getContext(), other));
    };
    if (!isTaken(name))
      return name;
    unsigned number = 0;
    return StringAttr::get(&getContext(), SymbolTable::generateSymbolName<64>(
                                              name, isTaken, number));
  }

  void redirect() {
    getOperation().walk([&](gpu::LaunchFuncOp launch) {
      Operation *kernel = kernels.lookup(
          {launch.getKernelModuleName(), launch.getKernelName()});
      // Kernels that are compiled already are in a gpu.binary.
      if (!kernel)
        return;
      launch.setKernelAttr(SymbolRefAttr::get(
          kernel->getParentOfType<gpu::GPUModuleOp>().getSymNameAttr(),
          FlatSymbolRefAttr::get(SymbolTable::getSymbolName(kernel))));
      ++numLaunches;
    });
  }

  SmallVector<gpu::GPUModuleOp> shared;
  int64_t filled = 0; ///< operations of the last one
  /// By what is not their names, ops of shared modules.
  llvm::DenseMap<Attribute, SmallVector<Operation *>> known;
  llvm::DenseMap<StringAttr, Operation *> byName;
  /// By their module and name before.
  llvm::DenseMap<std::pair<Attribute, Attribute>, Operation *> kernels;
};
} // namespace
} // namespace mlir::megactx
