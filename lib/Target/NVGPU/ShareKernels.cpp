//===- ShareKernels.cpp - one module of a program's kernels ---------------===//

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

struct ShareKernels : impl::ShareKernelsPassBase<ShareKernels> {
  void runOnOperation() override {
    SmallVector<gpu::GPUModuleOp> modules(
        getOperation().getOps<gpu::GPUModuleOp>());
    if (modules.empty())
      return;
    OpBuilder b(modules.front());
    auto shared =
        gpu::GPUModuleOp::create(b, getOperation().getLoc(), "mctx_kernels");
    SymbolTable table(shared);
    for (gpu::GPUModuleOp module : modules) {
      // What kernels refer to first, so that equal kernels refer to the same.
      Renamed renamed;
      moveOps(module, /*areKernels=*/false, table, renamed);
      rename(module, renamed);
      moveOps(module, /*areKernels=*/true, table, renamed);
      module.erase();
    }
    SymbolTable(getOperation()).insert(shared);
    redirect(shared.getSymNameAttr());
  }

  using Renamed = llvm::DenseMap<Attribute, StringAttr>;

  void moveOps(gpu::GPUModuleOp from, bool areKernels, SymbolTable &table,
               Renamed &renamed) {
    for (Operation &op : llvm::make_early_inc_range(*from.getBody()))
      if (isa<gpu::GPUFuncOp>(op) == areKernels) {
        StringAttr old = SymbolTable::getSymbolName(&op);
        renamed[old] = move(op, table);
        if (areKernels)
          names[{from.getSymNameAttr(), old}] = renamed[old];
      }
  }

  /// Moves an op to the shared module, or finds its equal there; gives its
  /// name.
  StringAttr move(Operation &op, SymbolTable &table) {
    SmallVector<Operation *> &alike = known[factsOf(&op)];
    auto equal = llvm::find_if(
        alike, [&](Operation *other) { return isEqual(other, &op); });
    if (equal != alike.end())
      return SymbolTable::getSymbolName(*equal);
    StringAttr name = freshName(op, table);
    SymbolTable::setSymbolName(&op, name);
    op.remove();
    table.insert(&op);
    alike.push_back(&op);
    numKernels += isa<gpu::GPUFuncOp>(op);
    return name;
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

  StringAttr freshName(Operation &op, SymbolTable &table) {
    StringRef name = SymbolTable::getSymbolName(&op).getValue();
    if (!table.lookup(name))
      return StringAttr::get(&getContext(), name);
    unsigned number = 0;
    SmallString<64> fresh = SymbolTable::generateSymbolName<64>(
        name, [&](StringRef other) { return table.lookup(other) != nullptr; },
        number);
    return StringAttr::get(&getContext(), fresh);
  }

  void redirect(StringAttr container) {
    getOperation().walk([&](gpu::LaunchFuncOp launch) {
      StringAttr name =
          names.lookup({launch.getKernelModuleName(), launch.getKernelName()});
      // Kernels that are compiled already are in a gpu.binary.
      if (!name)
        return;
      launch.setKernelAttr(
          SymbolRefAttr::get(container, FlatSymbolRefAttr::get(name)));
      ++numLaunches;
    });
  }

  /// By what is not their names, ops of the shared module.
  llvm::DenseMap<Attribute, SmallVector<Operation *>> known;
  /// Module and name of kernels before, name now.
  llvm::DenseMap<std::pair<Attribute, Attribute>, StringAttr> names;
};
} // namespace
} // namespace mlir::megactx
