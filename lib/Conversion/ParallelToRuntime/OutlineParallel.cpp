//===- OutlineParallel.cpp - parallel loops become functions --------------===//
//
// Each one-dimensional scf.parallel becomes a function of its index and of what
// it reads from outside, and a call of a declared function that stands for
// running it over all indices. DefineLaunches gives that one its body, once
// both are in the LLVM dialect and memrefs are plain arguments.
//
//===----------------------------------------------------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Support/LLVMAttributes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_OUTLINEPARALLELPASS
#define GEN_PASS_DEF_DEFINELAUNCHESPASS
#include "megactx/Conversion/Passes.h.inc"

/// On the declared function: the function that it runs for each index.
static constexpr StringLiteral kLaunches = "megactx.launches";

namespace {
struct OutlineParallel : impl::OutlineParallelPassBase<OutlineParallel> {
  void runOnOperation() override {
    SmallVector<scf::ParallelOp> loops;
    // Outer loops only: what is inside of them runs within one task.
    getOperation()->walk<WalkOrder::PreOrder>([&](scf::ParallelOp loop) {
      if (loop.getNumLoops() == 1 && loop.getInitVals().empty())
        loops.push_back(loop);
      return WalkResult::skip();
    });
    for (scf::ParallelOp loop : loops)
      outline(loop);
  }

  /// What a loop's function names itself. Arrays it is given, so that loops
  /// which differ in nothing else can share one.
  static bool isConstant(Operation *op) {
    auto global = dyn_cast_or_null<memref::GetGlobalOp>(op);
    return isa_and_nonnull<arith::ConstantOp>(op) ||
           (global && global.getType().getNumElements() == 1);
  }

  void outline(scf::ParallelOp loop) {
    ModuleOp module = getOperation();
    auto parent = loop->getParentOfType<func::FuncOp>();
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(loop.getRegion(), captured);
    IRMapping map;
    ImplicitLocOpBuilder b(loop.getLoc(), loop);
    Value extent = arith::SubIOp::create(b, loop.getUpperBound()[0],
                                         loop.getLowerBound()[0]);
    Value count = arith::CeilDivSIOp::create(b, extent, loop.getStep()[0]);
    SmallVector<Value> operands = {count, loop.getLowerBound()[0],
                                   loop.getStep()[0]};
    SmallVector<Operation *> constants;
    for (Value value : captured) {
      if (isConstant(value.getDefiningOp()))
        constants.push_back(value.getDefiningOp());
      else
        operands.push_back(value);
    }
    SmallVector<Type> types(ValueRange(operands).getTypes());
    std::string name;
    do
      name = (parent.getName() + "_parallel_" + Twine(number++)).str();
    while (module.lookupSymbol(name));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(parent);
    // The same arguments in both, but for the first: count there, index here.
    auto body =
        func::FuncOp::create(b, name + "_body", b.getFunctionType(types, {}));
    body.setPrivate();
    if (Attribute attributes = parent->getAttr(kPassthrough))
      body->setAttr(kPassthrough, attributes);
    auto launch = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
    launch.setPrivate();
    launch->setAttr(kLaunches, FlatSymbolRefAttr::get(body.getSymNameAttr()));
    Block *block = body.addEntryBlock();
    b.setInsertionPointToStart(block);
    for (Operation *constant : constants)
      map.map(constant->getResults(), b.clone(*constant)->getResults());
    unsigned at = 3;
    for (Value value : captured)
      if (!isConstant(value.getDefiningOp()))
        map.map(value, block->getArgument(at++));
    Value offset =
        arith::MulIOp::create(b, block->getArgument(0), block->getArgument(2));
    Value index = arith::AddIOp::create(b, block->getArgument(1), offset);
    map.map(loop.getInductionVars()[0], index);
    for (Operation &op : loop.getBody()->without_terminator())
      b.clone(op, map);
    func::ReturnOp::create(b);
    b.setInsertionPoint(loop);
    func::CallOp::create(b, launch, operands);
    loop.erase();
    ++numLoops;
  }

  unsigned number = 0;
};

struct DefineLaunches : impl::DefineLaunchesPassBase<DefineLaunches> {
  void runOnOperation() override {
    SmallVector<LLVM::LLVMFuncOp> launches;
    for (auto function : getOperation().getOps<LLVM::LLVMFuncOp>())
      if (function.isExternal() && function->hasAttr(kLaunches))
        launches.push_back(function);
    for (LLVM::LLVMFuncOp launch : launches)
      if (failed(define(launch)))
        return signalPassFailure();
  }

  /// void mctx_rt_parallel_for(void (*)(void *, i64), void *, i64)
  LLVM::LLVMFuncOp runtimeFunction(OpBuilder &b) {
    StringRef name = "mctx_rt_parallel_for";
    if (auto known = getOperation().lookupSymbol<LLVM::LLVMFuncOp>(name))
      return known;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(getOperation().getBody());
    Type pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                    {pointer, pointer, b.getI64Type()});
    return LLVM::LLVMFuncOp::create(b, getOperation().getLoc(), name, type);
  }

  LogicalResult define(LLVM::LLVMFuncOp launch) {
    auto symbol = launch->getAttrOfType<FlatSymbolRefAttr>(kLaunches);
    auto body =
        symbol
            ? getOperation().lookupSymbol<LLVM::LLVMFuncOp>(symbol.getValue())
            : LLVM::LLVMFuncOp();
    if (!body || body.getFunctionType() != launch.getFunctionType())
      return launch.emitOpError("expected '")
             << kLaunches << "' to name a function of the same type";
    ImplicitLocOpBuilder b(launch.getLoc(), launch);
    LLVM::LLVMFuncOp runtime = runtimeFunction(b);
    MLIRContext *context = &getContext();
    Type pointer = LLVM::LLVMPointerType::get(context), i64 = b.getI64Type();
    auto fields = LLVM::LLVMStructType::getLiteral(
        context, launch.getFunctionType().getParams().drop_front());
    // The task: unpack the fields, call the body.
    auto thunkType = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(context), {pointer, i64});
    auto thunk = LLVM::LLVMFuncOp::create(b, (launch.getName() + "_task").str(),
                                          thunkType);
    thunk.setLinkage(LLVM::Linkage::Internal);
    b.setInsertionPointToStart(thunk.addEntryBlock(b));
    SmallVector<Value> operands = {thunk.getArgument(1)};
    Value packed = LLVM::LoadOp::create(b, fields, thunk.getArgument(0));
    for (size_t i = 0; i < fields.getBody().size(); ++i)
      operands.push_back(
          LLVM::ExtractValueOp::create(b, packed, static_cast<int64_t>(i)));
    LLVM::CallOp::create(b, body, operands);
    LLVM::ReturnOp::create(b, ValueRange());
    // The launch: pack them, hand both to the runtime.
    b.setInsertionPointToStart(launch.addEntryBlock(b));
    Value one = LLVM::ConstantOp::create(b, i64, b.getI64IntegerAttr(1));
    Value context_ = LLVM::AllocaOp::create(b, pointer, fields, one);
    Value value = LLVM::UndefOp::create(b, fields);
    for (auto [i, argument] :
         llvm::enumerate(launch.getArguments().drop_front()))
      value = LLVM::InsertValueOp::create(b, value, argument,
                                          static_cast<int64_t>(i));
    LLVM::StoreOp::create(b, value, context_);
    Value function = LLVM::AddressOfOp::create(b, pointer, thunk.getName());
    LLVM::CallOp::create(b, runtime,
                         ValueRange{function, context_, launch.getArgument(0)});
    LLVM::ReturnOp::create(b, ValueRange());
    launch->removeAttr(kLaunches);
    launch.setLinkage(LLVM::Linkage::Internal);
    return success();
  }
};
} // namespace
} // namespace mlir::megactx
