//===- ModelFile.cpp - a model in memory ----------------------------------===//

#include "ModelFile.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Onnx/Onnx.h"
#include "megactx/Pipelines/Registration.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"

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

LogicalResult megactx::ModelFile::read(StringRef path) {
  module =
      path.ends_with(".onnx")
          ? onnx::importOnnx(path, &context)
          : parseSourceFile<ModuleOp>(path, sources, ParserConfig(&context));
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
