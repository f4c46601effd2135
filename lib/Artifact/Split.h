//===- Split.h - one module of LLVM IR as several ---------------*- C++ -*-===//
//
// Owns what of a module goes into which part. Parts are linked again as object
// files; none loses an optimization by being apart.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ARTIFACT_SPLIT_H
#define MEGACTX_LIB_ARTIFACT_SPLIT_H

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/IR/Module.h"
#include <memory>

namespace mlir::megactx {

/// Parts of a module that is internalized. Functions that call each other are
/// in one part; those whose address is taken, such as tasks of a loop's
/// threads, may be in others. What several parts refer to becomes hidden, and
/// constants are copied.
class Split {
public:
  /// A part costs a copy of the module's declarations, some hundredths of what
  /// this many instructions do.
  static constexpr size_t kPartSize = 6000;

  /// As many parts of that many instructions as the module has. The module must
  /// outlive the split; its linkage changes.
  explicit Split(llvm::Module &code, size_t partSize = kPartSize);

  size_t size() const { return count; }
  /// A part's own module, in the same context.
  std::unique_ptr<llvm::Module> part(size_t number) const;

private:
  void assign(size_t partSize);
  void exposeShared();
  bool isDefinedIn(const llvm::GlobalValue &value, size_t number) const;
  using Parts = llvm::SmallSet<size_t, 4>;
  void collectUsers(const llvm::Value &value, Parts &parts) const;

  llvm::Module &code;
  size_t count = 0;
  llvm::DenseMap<const llvm::Function *, size_t> partOf;
  /// The parts with a copy of a constant.
  llvm::DenseMap<const llvm::GlobalVariable *, Parts> copies;
};

} // namespace mlir::megactx

#endif // MEGACTX_LIB_ARTIFACT_SPLIT_H
