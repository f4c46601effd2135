//===- ComputedWeights.cpp - what is computed when compiling --------------===//

#include "ComputedWeights.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Pipelines/Pipelines.h"
#include "megactx/Runtime/Runtime.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::megactx;
namespace fs = llvm::sys::fs;

/// An artifact of a module of linalg on tensors without attention, for this
/// process's CPU.
static LogicalResult compileForHost(ModuleOp module, StringRef path) {
  ArtifactTarget target{hostTarget(), /*device=*/""};
  PassManager toLoops(module.getContext());
  toLoops.addPass(createHoistWeightsPass());
  buildBufferizePipeline(toLoops, BufferizeOptions());
  buildCPULoopsPipeline(toLoops,
                        {target.host.vectorBits, target.host.vectorRegisters});
  PassManager toCode(module.getContext());
  buildCPUToLLVMPipeline(toCode);
  if (failed(toLoops.run(module)) || failed(Interface::keep(module)) ||
      failed(toCode.run(module)) || failed(addEntry(module)))
    return failure();
  FailureOr<Interface> interface = Interface::of(module);
  if (failed(interface))
    return failure();
  return writeArtifact(module, *interface, target, {}, path);
}

/// Runs an artifact that has no inputs; its outputs are the caller's.
static LogicalResult runArtifact(StringRef path,
                                 MutableArrayRef<mctx_tensor> outputs) {
  mctx_model *model = mctx_load(path.str().c_str());
  if (!model)
    return failure();
  auto unload = llvm::scope_exit([&] { mctx_unload(model); });
  return failure(mctx_run(model, nullptr, 0, outputs.data(), outputs.size()));
}

/// The contents of an output, which are the attribute's from here on.
static ElementsAttr elementsOf(const mctx_tensor &output, ShapedType type) {
  constexpr size_t kSmall = 1024; // bytes that are folded like other numbers
  size_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  ArrayRef<char> data(static_cast<char *>(output.data), bytes);
  auto free = [](void *data, size_t, size_t) { mctx_free(data); };
  if (bytes > kSmall)
    return DenseResourceElementsAttr::get(
        type, "computed_weight",
        AsmResourceBlob(data, /*dataAlignment=*/64, free,
                        /*dataIsMutable=*/false));
  auto value = DenseElementsAttr::getFromRawBuffer(type, data);
  mctx_free(output.data);
  return value;
}

static FailureOr<SmallVector<ElementsAttr>> valuesOf(func::FuncOp function) {
  Location loc = function.getLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  func::FuncOp main = function.clone();
  module->push_back(main);
  main.setName("main");
  main.setPublic();
  SmallString<256> folder, path;
  if (std::error_code error = fs::createUniqueDirectory("megactx", folder))
    return function.emitError("cannot make a folder to compute weights in: ")
           << error.message();
  auto remove = llvm::scope_exit([&] { fs::remove_directories(folder); });
  llvm::sys::path::append(path, folder, "weights.mctx");
  if (failed(compileForHost(*module, path)))
    return failure();
  TypeRange types = function.getResultTypes();
  SmallVector<mctx_tensor> outputs(types.size());
  if (failed(runArtifact(path, outputs)))
    return function.emitError("cannot compute weights: ") << mctx_error();
  SmallVector<ElementsAttr> values;
  for (auto [output, type] : llvm::zip_equal(outputs, types))
    values.push_back(elementsOf(output, cast<ShapedType>(type)));
  return values;
}

LogicalResult mlir::megactx::computeWeights(ModuleOp module) {
  auto function = module.lookupSymbol<func::FuncOp>(kComputedWeights);
  if (!function)
    return success();
  FailureOr<SmallVector<ElementsAttr>> values = valuesOf(function);
  if (failed(values))
    return failure();
  auto uses = SymbolTable::getSymbolUses(function, module);
  for (SymbolTable::SymbolUse use : *uses) {
    Operation *call = use.getUser();
    OpBuilder b(call);
    for (auto [result, value] : llvm::zip_equal(call->getResults(), *values))
      result.replaceAllUsesWith(
          arith::ConstantOp::create(b, call->getLoc(), value));
    call->erase();
  }
  function.erase();
  return success();
}
