//===- Onnx.cpp - reading, writing and normalizing models -----------------===//

#include "megactx/Onnx/Onnx.h"
#include "Library.h"
#include "Proto.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Support/Output.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir;
using namespace mlir::onnx;

static void quiet(google::protobuf::LogLevel, const char *, int,
                  const std::string &) {}

OwningOpRef<ModuleOp> mlir::onnx::importOnnx(StringRef path,
                                             MLIRContext *context) {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(
      path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    emitError(FileLineColLoc::get(context, path, 0, 0), "cannot read: ")
        << buffer.getError().message();
    return nullptr;
  }
  return importOnnx(**buffer, path, context);
}

OwningOpRef<ModuleOp> mlir::onnx::importOnnx(llvm::MemoryBufferRef file,
                                             StringRef path,
                                             MLIRContext *context) {
  context->loadDialect<OnnxDialect, func::FuncDialect>();
  Location loc = FileLineColLoc::get(context, path, 0, 0);
  if (file.getBufferSize() > INT32_MAX) {
    emitError(loc, "models over 2 GB must keep their weights in external data");
    return nullptr;
  }
  auto *previous = google::protobuf::SetLogHandler(quiet);
  auto model = std::make_shared<ModelProto>();
  google::protobuf::io::CodedInputStream stream(
      reinterpret_cast<const uint8_t *>(file.getBufferStart()),
      file.getBufferSize());
  bool parsed =
      model->ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
  google::protobuf::SetLogHandler(previous);
  if (!parsed) {
    emitError(loc, "not an ONNX model: the file is truncated or no protobuf");
    return nullptr;
  }
  return moduleFromProto(std::move(model), path, context);
}

LogicalResult mlir::onnx::exportOnnx(ModuleOp module, StringRef path) {
  ModelProto model;
  if (failed(protoFromModule(module, model)))
    return failure();
  std::string bytes;
  if (model.ByteSizeLong() > INT32_MAX || !model.SerializeToString(&bytes))
    return module.emitError("the model needs more than 2 GB in one file");
  llvm::Error error =
      megactx::writeOutput(path, [&](llvm::raw_ostream &os) { os << bytes; });
  if (error)
    return emitError(FileLineColLoc::get(module.getContext(), path, 0, 0),
                     "cannot write: ")
           << llvm::toString(std::move(error));
  return success();
}

bool mlir::onnx::isGraph(ModuleOp module) {
  auto walked = module.walk([&](Operation *op) {
    bool belongs =
        op == module ||
        isa_and_nonnull<OnnxDialect, func::FuncDialect>(op->getDialect());
    return belongs ? WalkResult::advance() : WalkResult::interrupt();
  });
  return module->hasAttr(OnnxDialect::kModelAttr) && !walked.wasInterrupted();
}

/// Leaves initializers that are inputs too, as before IR version 4, to be no
/// inputs: they are constants.
static void dropInitializedInputs(ModelProto &model) {
  GraphProto &graph = *model.mutable_graph();
  llvm::StringSet<> initialized;
  for (const TensorProto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  llvm::erase_if(*graph.mutable_input(), [&](const ValueInfoProto &info) {
    return initialized.contains(info.name());
  });
  constexpr int64_t kWithoutInputs = 4;
  model.set_ir_version(std::max<int64_t>(model.ir_version(), kWithoutInputs));
}

LogicalResult mlir::onnx::normalizeOnnx(ModuleOp module) {
  ModelProto model;
  // Weights take no part: ONNX's library sees small constants only.
  llvm::StringMap<ElementsAttr> weights;
  auto keep = [&](StringRef name, ElementsAttr value) {
    weights[name] = value;
  };
  if (failed(protoFromModule(module, model, /*inlineLimit=*/1024, keep)))
    return failure();
  dropInitializedInputs(model);
  if (std::string error = runOnnxLibrary(model, kOpset); !error.empty())
    return module.emitError("cannot bring the model to opset ")
           << kOpset << ": " << error;
  // The importer wants contents of the right size; weights come back after it.
  for (TensorProto &tensor : *model.mutable_graph()->mutable_initializer())
    if (weights.count(tensor.name())) {
      tensor.clear_dims();
      tensor.add_dims(0);
      tensor.clear_raw_data();
    }
  StringRef file = "model";
  if (auto loc = dyn_cast<FileLineColLoc>(module.getLoc()))
    file = loc.getFilename();
  OwningOpRef<ModuleOp> normal =
      moduleFromProto(std::make_shared<ModelProto>(std::move(model)), file,
                      module.getContext());
  if (!normal)
    return failure();
  normal->walk([&](InitializerOp op) {
    auto names = op->getAttrOfType<ArrayAttr>(OnnxDialect::kOutputsAttr);
    auto found = weights.find(cast<StringAttr>(names[0]).getValue());
    if (found == weights.end())
      return;
    op.setValueAttr(found->second);
    op.getResult().setType(found->second.getType());
  });
  module->setAttrs((*normal)->getAttrs());
  module.getBodyRegion().takeBody(normal->getBodyRegion());
  return success();
}
