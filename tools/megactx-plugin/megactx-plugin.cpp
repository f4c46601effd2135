//===- megactx-plugin.cpp - our dialects and passes for mlir-opt ----------===//

#include "megactx/Pipelines/Registration.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "MegaCtx", LLVM_VERSION_STRING,
          [](mlir::DialectRegistry *registry) {
            mlir::megactx::registerAllDialects(*registry);
          }};
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "MegaCtx", LLVM_VERSION_STRING,
          [] { mlir::megactx::registerAllPasses(); }};
}
