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

static LogicalResult write(StringRef text, StringRef output) {
  llvm::Error error =
      megactx::writeOutput(output, [&](llvm::raw_ostream &os) { os << text; });
  if (!error)
    return success();
  llvm::errs() << "error: cannot write " << output << ": "
               << llvm::toString(std::move(error)) << "\n";
  return failure();
}

/// A model as MLIR's text.
static FailureOr<std::string> importText(StringRef input,
                                         MLIRContext &context) {
  OwningOpRef<ModuleOp> module = onnx::importOnnx(input, &context);
  if (!module || failed(verify(*module)))
    return failure();
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os);
  os << '\n';
  return text;
}

/// What the options ask for. `sources` gets the text that errors are about.
static LogicalResult translate(StringRef input, StringRef output, bool import,
                               bool exports, llvm::SourceMgr &sources,
                               MLIRContext &context) {
  if (import) {
    FailureOr<std::string> text = importText(input, context);
    if (failed(text) || !exports)
      return success(succeeded(text) && succeeded(write(*text, output)));
    sources.AddNewSourceBuffer(
        llvm::MemoryBuffer::getMemBufferCopy(*text, input), llvm::SMLoc());
  }
  OwningOpRef<ModuleOp> module =
      import
          ? parseSourceFile<ModuleOp>(sources, ParserConfig(&context))
          : parseSourceFile<ModuleOp>(input, sources, ParserConfig(&context));
  return success(module && succeeded(onnx::exportOnnx(*module, output)));
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
      "  megactx-translate --export-onnx model.mlir -o model.onnx\n\n"
      "Both options together import a model and export the text.\n");
  if (!import && !exports) {
    llvm::errs() << "error: expected --import-onnx, --export-onnx, or both\n";
    return 1;
  }
  if (!import && StringRef(input).ends_with_insensitive(".onnx")) {
    llvm::errs() << "error: --export-onnx reads MLIR, but got '" << input
                 << "'; --import-onnx reads ONNX\n";
    return 1;
  }
  DialectRegistry registry;
  megactx::registerAllDialects(registry);
  MLIRContext context(registry);
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  return failed(translate(input, output, import, exports, sources, context));
}
