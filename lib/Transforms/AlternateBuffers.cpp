//===- AlternateBuffers.cpp - two buffers for what a loop makes anew ------===//

#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_ALTERNATEBUFFERSPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// What a loop carries in memory that each of its steps allocates.
struct Carried {
  scf::ForOp loop;
  unsigned number;
  memref::AllocOp alloc;
  bool keepsInit; ///< what it starts with is not to be written to

  Value init() { return loop.getInitArgs()[number]; }
  BlockArgument arg() { return loop.getRegionIterArg(number); }
};

class Finder {
public:
  explicit Finder(Operation *function) : aliases(function) {}
  std::optional<Carried> find(scf::ForOp loop, unsigned number);

private:
  bool isCarriedElsewhere(Carried &carried);
  bool keepsInit(Carried &carried);

  BufferViewFlowAnalysis aliases;
};

struct AlternateBuffers : impl::AlternateBuffersPassBase<AlternateBuffers> {
  void runOnOperation() override {
    SmallVector<Carried> all;
    Finder finder(getOperation());
    getOperation()->walk([&](scf::ForOp loop) {
      for (unsigned i = 0; i < loop.getNumRegionIterArgs(); ++i)
        if (std::optional<Carried> found = finder.find(loop, i))
          all.push_back(*found);
    });
    IRRewriter rewriter(&getContext());
    DenseMap<Operation *, scf::ForOp> now; ///< by the loop that was
    for (Carried &carried : all) {
      scf::ForOp &loop =
          now.try_emplace(carried.loop, carried.loop).first->second;
      carried.loop = loop;
      loop = alternate(rewriter, carried);
      ++numAlternated;
    }
  }

  scf::ForOp alternate(IRRewriter &rewriter, Carried &carried);
};
} // namespace

/// Whether the step's memory, or that of the step before, stays in use under
/// another name.
bool Finder::isCarriedElsewhere(Carried &carried) {
  auto yield = cast<scf::YieldOp>(carried.loop.getBody()->getTerminator());
  for (Value buffer :
       {Value(carried.alloc.getMemref()), Value(carried.arg())}) {
    auto names = aliases.resolve(buffer);
    for (auto [i, yielded] : llvm::enumerate(yield.getResults()))
      if (i != carried.number &&
          (names.contains(yielded) ||
           names.contains(carried.loop.getRegionIterArg(i))))
        return true;
  }
  return false;
}

/// Whether what the loop starts with is used by others than the loop, from
/// then on.
bool Finder::keepsInit(Carried &carried) {
  scf::ForOp loop = carried.loop;
  auto alloc = carried.init().getDefiningOp<memref::AllocOp>();
  if (!alloc || alloc->getBlock() != loop->getBlock() ||
      llvm::count(loop.getInitArgs(), carried.init()) != 1)
    return true;
  auto ofLoop = aliases.resolve(carried.arg());
  auto ofResult = aliases.resolve(loop.getResult(carried.number));
  for (Value name : aliases.resolve(carried.init())) {
    if (ofLoop.contains(name) || ofResult.contains(name))
      continue;
    for (Operation *user : name.getUsers()) {
      Operation *ancestor = loop->getBlock()->findAncestorOpInBlock(*user);
      if (user != loop && (!ancestor || !ancestor->isBeforeInBlock(loop)))
        return true;
    }
  }
  return false;
}

std::optional<Carried> Finder::find(scf::ForOp loop, unsigned number) {
  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  auto alloc = yield.getOperand(number).getDefiningOp<memref::AllocOp>();
  if (!alloc || alloc->getBlock() != loop.getBody() ||
      alloc.getType() != loop.getInitArgs()[number].getType() ||
      !llvm::all_of(alloc->getOperands(), [&](Value size) {
        return loop.isDefinedOutsideOfLoop(size);
      }))
    return std::nullopt;
  Carried carried{loop, number, alloc, false};
  if (isCarriedElsewhere(carried))
    return std::nullopt;
  carried.keepsInit = keepsInit(carried);
  return carried;
}

/// Each step writes what comes first of the spare buffers, and gives as such
/// what no later step reads: that of the step before, or, where that may be
/// what the loop starts with, the other spare one.
scf::ForOp AlternateBuffers::alternate(IRRewriter &rewriter, Carried &carried) {
  scf::ForOp loop = carried.loop;
  unsigned number = carried.number, count = loop.getNumRegionIterArgs();
  memref::AllocOp alloc = carried.alloc;
  rewriter.setInsertionPoint(loop);
  SmallVector<Value> spare;
  for (int i = 0; i < (carried.keepsInit ? 2 : 1); ++i)
    spare.push_back(rewriter.clone(*alloc)->getResult(0));
  auto yields = [&](OpBuilder &, Location, ArrayRef<BlockArgument> given) {
    Value before = loop.getRegionIterArg(number);
    return carried.keepsInit ? SmallVector<Value>{given[1], given[0]}
                             : SmallVector<Value>{before};
  };
  auto changed = cast<scf::ForOp>(*loop.replaceWithAdditionalYields(
      rewriter, spare, /*replaceInitOperandUsesInLoop=*/false, yields));
  rewriter.replaceOp(alloc, changed.getRegionIterArg(count));
  return changed;
}
} // namespace mlir::megactx
