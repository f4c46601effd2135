//===- megactx-translate.cpp - between ONNX files and MLIR ----------------===//

#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Registration.h"
#include "megactx/Support/Output.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
namespace cl = llvm::cl;

static LogicalResult toMlir(StringRef input, StringRef output,
                            MLIRContext &context) {
  OwningOpRef<ModuleOp> module = onnx::importOnnx(input, &context);
  if (!module || failed(verify(*module)))
    return failure();
  llvm::Error error = megactx::writeOutput(output, [&](llvm::raw_ostream &os) {
    module->print(os);
    os << '\n';
  });
  if (!error)
    return success();
  llvm::errs() << "error: cannot write " << output << ": "
               << llvm::toString(std::move(error)) << "\n";
  return failure();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::OptionCategory category("megactx-translate options");
  cl::opt<std::string> input(cl::Positional, cl::desc("<input>"), cl::init("-"),
                             cl::cat(category));
  cl::opt<std::string> output("o", cl::desc("Output file"), cl::init("-"),
                              cl::value_desc("file"), cl::cat(category));
  cl::opt<bool> import("import-onnx", cl::desc("ONNX to MLIR, verbatim"),
                       cl::cat(category));
  cl::opt<bool> exports("export-onnx", cl::desc("MLIR to ONNX, verbatim"),
                        cl::cat(category));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Reads and writes ONNX models without changing them.\n\n"
      "  megactx-translate --import-onnx model.onnx -o model.mlir\n"
      "  megactx-translate --export-onnx model.mlir -o model.onnx\n");
  if (import == exports) {
    llvm::errs() << "error: expected either --import-onnx or --export-onnx\n";
    return 1;
  }
  DialectRegistry registry;
  megactx::registerAllDialects(registry);
  MLIRContext context(registry);
  if (import) {
    llvm::SourceMgr none;
    SourceMgrDiagnosticHandler handler(none, &context);
    return failed(toMlir(input, output, context));
  }
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(input, sources, ParserConfig(&context));
  return !module || failed(onnx::exportOnnx(*module, output));
}
