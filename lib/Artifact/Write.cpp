//===- Write.cpp - library, weights, manifest -----------------------------===//

#include "Objects.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Support/StoredBytes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using namespace mlir::megactx;
namespace fs = llvm::sys::fs;

/// Raised whenever older runtimes could misread an artifact.
static constexpr int kVersion = 1;

/// The FNV-1a of the runtime's reader.
static uint64_t checksum(StringRef data) {
  uint64_t hash = 0xcbf29ce484222325u;
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint64_t word;
    memcpy(&word, data.data() + i, 8);
    hash = (hash ^ word) * 0x100000001b3u;
  }
  for (; i < data.size(); ++i)
    hash = (hash ^ static_cast<unsigned char>(data[i])) * 0x100000001b3u;
  return hash;
}

namespace {
/// A folder that disappears unless it is renamed into place. What is at that
/// place may only be an artifact: whatever else a folder holds is the user's.
class Staging {
public:
  /// Tries whether there may be a folder, which is left to `open`: who ends the
  /// process meanwhile leaves nothing behind.
  explicit Staging(StringRef path) : final(withoutSeparators(path)) {
    error = faultOfPlace();
    if (!error.empty())
      return;
    open();
    if (error.empty())
      fs::remove(folder);
  }
  void open() {
    fs::createUniquePath(final + ".%%%%%%", folder, false);
    if (std::error_code code =
            fs::create_directory(folder, /*IgnoreExisting=*/false, fs::all_all))
      error = code.message();
  }
  ~Staging() {
    if (!done && !folder.empty())
      fs::remove_directories(folder);
  }
  std::string file(StringRef name) const {
    SmallString<256> path(folder);
    llvm::sys::path::append(path, name);
    return path.str().str();
  }
  /// An older artifact stands aside until the new one is in its place.
  std::error_code commit() {
    SmallString<256> old;
    if (fs::exists(final)) {
      fs::createUniquePath(final + ".%%%%%%", old, false);
      if (std::error_code failed = fs::rename(final, old))
        return failed;
    }
    std::error_code failed = fs::rename(folder, final);
    if (failed && !old.empty())
      fs::rename(old, final);
    else if (!old.empty())
      fs::remove_directories(old);
    done = !failed;
    return failed;
  }
  std::string error; ///< why nothing can be written; empty where it can

private:
  static StringRef withoutSeparators(StringRef path) {
    StringRef trimmed = path.rtrim('/');
    return trimmed.empty() ? path : trimmed;
  }

  std::string faultOfPlace() const {
    if (final == "-")
      return "an artifact is a folder, which standard output cannot take";
    fs::file_status status;
    if (fs::status(final, status, /*follow=*/false) || !fs::exists(status))
      return "";
    if (!fs::is_directory(status))
      return std::make_error_code(std::errc::not_a_directory).message();
    std::error_code failed;
    for (fs::directory_iterator it(final, failed), end; !failed && it != end;
         it.increment(failed))
      if (StringRef name = llvm::sys::path::filename(it->path());
          !llvm::is_contained({"manifest.json", "model.so", "weights.bin"},
                              name))
        return ("it is a folder that holds '" + name +
                "', which no artifact does")
            .str();
    return failed ? failed.message() : "";
  }

  std::string final;
  SmallString<256> folder;
  bool done = false;
};
} // namespace

static LogicalResult writeFile(ModuleOp module, StringRef path,
                               function_ref<void(llvm::raw_ostream &)> write) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  if (!error) {
    write(os);
    os.close();
    error = os.error();
    os.clear_error();
  }
  if (error)
    return module.emitError("cannot write '")
           << path << "': " << error.message();
  return success();
}

/// LLVM's own, or what was installed with the program that this is.
static llvm::ErrorOr<std::string> findLinker() {
  static int here;
  std::string program = fs::getMainExecutable(nullptr, &here);
  StringRef own = llvm::sys::path::parent_path(program);
  if (auto linker =
          llvm::sys::findProgramByName("ld.lld", {MEGACTX_LLVM_TOOLS, own}))
    return linker;
  return llvm::sys::findProgramByName("ld.lld");
}

static LogicalResult link(ModuleOp module, ArrayRef<std::string> objects,
                          StringRef library) {
  llvm::ErrorOr<std::string> linker = findLinker();
  if (!linker)
    return module.emitError("no linker: ld.lld is neither in ")
           << MEGACTX_LLVM_TOOLS
           << ", nor beside this program, nor on the PATH";
  std::string message;
  SmallVector<StringRef> arguments{*linker, "-shared", "--gc-sections", "-o",
                                   library};
  llvm::append_range(arguments, objects);
  int status = llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt, {},
                                         0, 0, &message);
  if (status != 0)
    return module.emitError("linking failed: ")
           << (message.empty() ? "see above" : message);
  return success();
}

static LogicalResult writeLibrary(ModuleOp module,
                                  const std::vector<ObjectCode> &objects,
                                  const Staging &staging) {
  SmallVector<std::string> names;
  for (auto [number, object] : llvm::enumerate(objects)) {
    StringRef code(object.data(), object.size());
    names.push_back(staging.file(llvm::formatv("part{0}.o", number).str()));
    if (failed(writeFile(module, names.back(),
                         [&](llvm::raw_ostream &os) { os << code; })))
      return failure();
  }
  if (failed(link(module, names, staging.file("model.so"))))
    return failure();
  for (StringRef name : names)
    fs::remove(name);
  return success();
}

static void writeElements(ElementsAttr value, llvm::raw_ostream &os) {
  auto type = cast<ShapedType>(value.getType());
  int64_t bytes = storedBytes(type);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      os.write(blob->getData().data(), blob->getData().size());
  } else if (type.getElementType().isInteger(1)) {
    for (bool bit : cast<DenseElementsAttr>(value).getValues<bool>())
      os << char(bit);
  } else {
    auto dense = cast<DenseElementsAttr>(value);
    ArrayRef<char> data = dense.getRawData();
    int64_t copies = dense.isSplat() ? type.getNumElements() : 1;
    for (int64_t i = 0; i < copies; ++i)
      os.write(data.data(), data.size());
  }
  os.write_zeros((64 - bytes % 64) % 64);
}

/// Whether code multiplies tiles: LLVM uses no others' where it is not told.
static bool usesTiles(ModuleOp module) {
  return module
      .walk([](LLVM::CallIntrinsicOp call) {
        return call.getIntrin().starts_with("llvm.x86.tdp")
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

static llvm::json::Array featuresOf(ModuleOp module, const CPUTarget &target) {
  llvm::json::Array list;
  llvm::append_range(list, requiredFeatures(target));
  if (usesTiles(module))
    list.push_back("amx_bf16");
  return list;
}

static llvm::json::Object describe(ModuleOp module,
                                   const ArtifactTarget &target) {
  llvm::json::Object result{{"kind", target.device.empty() ? "cpu" : "cuda"},
                            {"cpu", target.host.cpu},
                            {"features", featuresOf(module, target.host)}};
  if (!target.device.empty())
    result["arch"] = target.device;
  return result;
}

static constexpr StringLiteral kChecksumField = "\n  \"checksum\": \"";
static constexpr size_t kDigits = 16;

/// The manifest's text with its own checksum in it, that of the text with zeros
/// in the checksum's place; empty where it has no such place.
static std::string withChecksum(std::string text) {
  size_t at = StringRef(text).rfind(kChecksumField);
  if (at == StringRef::npos ||
      text.size() - (at += kChecksumField.size()) < kDigits)
    return "";
  text.replace(at, kDigits, kDigits, '0');
  return text.replace(at, kDigits,
                      llvm::formatv("{0:x-16}", checksum(text)).str());
}

static std::string sealed(llvm::json::Object manifest) {
  manifest["checksum"] = std::string(kDigits, '0');
  return withChecksum(
      llvm::formatv("{0:2}\n", llvm::json::Value(std::move(manifest))));
}

bool mlir::megactx::isIntactManifest(StringRef text) {
  return !text.empty() && withChecksum(text.str()) == text;
}

std::string mlir::megactx::faultOfPlace(StringRef path) {
  return Staging(path).error;
}

LogicalResult mlir::megactx::writeArtifact(ModuleOp module,
                                           const Interface &interface,
                                           const ArtifactTarget &target,
                                           llvm::json::Object notes,
                                           StringRef path) {
  Staging staging(path);
  auto isOpen = [&]() -> LogicalResult {
    if (staging.error.empty())
      return success();
    return module.emitError("cannot write '") << path << "': " << staging.error;
  };
  if (failed(isOpen()))
    return failure();
  FailureOr<std::vector<ObjectCode>> objects =
      compileToObjects(module, target.host, target.optimization);
  if (failed(objects))
    return failure();
  staging.open();
  if (failed(isOpen()) || failed(writeLibrary(module, *objects, staging)) ||
      failed(writeFile(module, staging.file("weights.bin"),
                       [&](llvm::raw_ostream &os) {
                         for (ElementsAttr weight : interface.storedWeights())
                           writeElements(weight, os);
                       })))
    return failure();
  llvm::json::Object files;
  for (StringRef name : {"model.so", "weights.bin"}) {
    auto buffer = llvm::MemoryBuffer::getFile(staging.file(name), false, false);
    if (!buffer)
      return module.emitError("cannot read back '") << name << "'";
    StringRef data = (*buffer)->getBuffer();
    files[name] =
        llvm::json::Object{{"bytes", int64_t(data.size())},
                           {"checksum", std::to_string(checksum(data))}};
  }
  llvm::json::Object manifest = interface.manifest();
  for (auto &note : notes)
    manifest[note.first] = std::move(note.second);
  manifest["format"] = "megactx-artifact";
  manifest["version"] = kVersion;
  manifest["files"] = std::move(files);
  manifest["target"] = describe(module, target);
  std::string text = sealed(std::move(manifest));
  if (failed(writeFile(module, staging.file("manifest.json"),
                       [&](llvm::raw_ostream &os) { os << text; })))
    return failure();
  if (std::error_code error = staging.commit())
    return module.emitError("cannot write '")
           << path << "': " << error.message();
  return success();
}
