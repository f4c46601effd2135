//===- ModelFile.cpp - a model in memory ----------------------------------===//

#include "ModelFile.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Registration.h"
#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;

megactx::ModelFile::ModelFile() {
  DialectRegistry registry;
  megactx::registerAllDialects(registry);
  mlir::registerAllDialects(registry);
  registerAllExtensions(registry);
  context.appendDialectRegistry(registry);
  // Diagnostics name places; whole operations would bury them.
  context.printOpOnDiagnostic(false);
  context.loadDialect<MegaCtxDialect>();
}

/// Whether this is neither MLIR's text nor its bytecode.
static bool isBinary(llvm::MemoryBufferRef file) {
  return file.getBuffer().take_front(4096).contains('\0') && !isBytecode(file);
}

/// Why a file is none of MLIR's; empty where its parser may say so itself.
static std::string faultOf(StringRef path) {
  if (llvm::sys::fs::is_directory(path))
    return llvm::sys::fs::exists(path + "/manifest.json")
               ? "is an artifact, which is compiled already"
               : "is a folder";
  uint64_t size = 0;
  if (std::error_code failed = llvm::sys::fs::file_size(path, size))
    return "cannot read: " + failed.message();
  auto head = llvm::MemoryBuffer::getFileSlice(
      path, std::min<uint64_t>(size, 4096), /*Offset=*/0);
  if (head && isBinary(**head))
    return "is neither MLIR's text nor its bytecode; the names of ONNX's files "
           "end in .onnx";
  return "";
}

/// Standard input, which has no name to tell ONNX by.
OwningOpRef<ModuleOp> megactx::ModelFile::readStandardInput() {
  auto buffer = llvm::MemoryBuffer::getSTDIN();
  if (!buffer) {
    emitError(FileLineColLoc::get(&context, "-", 0, 0), "cannot read: ")
        << buffer.getError().message();
    return nullptr;
  }
  if (isBinary(**buffer))
    return onnx::importOnnx(**buffer, "-", &context);
  sources.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  return parseSourceFile<ModuleOp>(sources, ParserConfig(&context));
}

LogicalResult megactx::ModelFile::read(StringRef path) {
  if (path == "-") {
    module = readStandardInput();
  } else if (path.ends_with_insensitive(".onnx")) {
    module = onnx::importOnnx(path, &context);
  } else if (std::string fault = faultOf(path); !fault.empty()) {
    return emitError(FileLineColLoc::get(&context, path, 0, 0)) << fault;
  } else {
    module = parseSourceFile<ModuleOp>(path, sources, ParserConfig(&context));
  }
  return success(module && succeeded(verify(*module)));
}

static void nameNode(Diagnostic &diagnostic) {
  auto place = diagnostic.getLocation()->findInstanceOf<NameLoc>();
  if (!place || place.getName().empty())
    return;
  StringRef name = place.getName();
  if (!StringRef(diagnostic.str()).contains(("'" + name + "'").str()))
    diagnostic << " (node '" << name << "')";
}

megactx::DiagnosticPrinter::DiagnosticPrinter(ModelFile &file)
    : printer(file.sources, &file.context),
      names(&file.context, [](Diagnostic &diagnostic) {
        nameNode(diagnostic);
        for (Diagnostic &note : diagnostic.getNotes())
          nameNode(note);
        return failure(); // the printer's to handle
      }) {}
