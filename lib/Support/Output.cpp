//===- Output.cpp - files that are whole or absent ------------------------===//

#include "megactx/Support/Output.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Signals.h"

using namespace mlir;
namespace fs = llvm::sys::fs;

/// The stream's error, taken from it: its destructor ends the program on one
/// that is left.
static std::error_code finish(llvm::raw_fd_ostream &os, bool close) {
  close ? os.close() : os.flush();
  std::error_code error = os.error();
  os.clear_error();
  return error;
}

llvm::Error
megactx::writeOutput(StringRef path,
                     llvm::function_ref<void(llvm::raw_ostream &)> write) {
  fs::file_status status;
  bool exists = !fs::status(path, status) && fs::exists(status);
  if (path == "-" || (exists && !fs::is_regular_file(status))) {
    std::error_code error;
    llvm::raw_fd_ostream os(path, error);
    if (!error) {
      write(os);
      error = finish(os, /*close=*/path != "-");
    }
    return llvm::errorCodeToError(error);
  }
  int fd;
  SmallString<256> staging;
  if (std::error_code error =
          fs::createUniqueFile(path + ".%%%%%%", fd, staging))
    return llvm::errorCodeToError(error);
  llvm::sys::RemoveFileOnSignal(staging);
  llvm::raw_fd_ostream os(fd, /*shouldClose=*/true);
  write(os);
  std::error_code error = finish(os, /*close=*/true);
  if (!error)
    error = fs::rename(staging, path);
  if (error)
    fs::remove(staging);
  llvm::sys::DontRemoveFileOnSignal(staging);
  return llvm::errorCodeToError(error);
}
