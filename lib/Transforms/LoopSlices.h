//===- LoopSlices.h - slices that a loop's steps keep apart -----*- C++ -*-===//
//
// Owns the question whether what a loop does can be done for one slice of its
// tensors after the other: which dim of each is cut. Knows nothing of which
// dims should be, nor of how.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_LOOPSLICES_H
#define MEGACTX_LIB_TRANSFORMS_LOOPSLICES_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::megactx {

/// A dim of every tensor that a loop carries, of what is computed of them and
/// of what is computed with that, such that an element with an index in it
/// depends on elements with this index alone. Other tensors are read whole.
class LoopSlices {
public:
  /// Starting from a dim of a tensor that the loop carries. None where steps
  /// mix slices, where an op is not known to keep them apart, and, unless
  /// `readsAgain`, where a sum would read what is not cut, such as weights,
  /// once more for each slice.
  static std::optional<LoopSlices> along(scf::ForOp loop, unsigned carried,
                                         unsigned dim, bool readsAgain = false);

  /// The dim that is cut, of a tensor in the loop, carried or read by it.
  std::optional<unsigned> dimOf(Value tensor) const;

  /// The op's own loop that goes over slices, where a tensor of it is cut.
  std::optional<unsigned> loopOf(linalg::LinalgOp op) const;

private:
  LoopSlices(scf::ForOp loop, bool readsAgain)
      : loop(loop), readsAgain(readsAgain) {}

  bool set(Value tensor, unsigned dim);
  bool setCarried(unsigned number, unsigned dim);
  bool tie(Value tensor);
  bool tie(Operation *op);
  bool tieLoops(linalg::LinalgOp op);
  bool tieReshape(Value wide, Value narrow,
                  ArrayRef<ReassociationIndices> groups);
  bool tieSlice(OffsetSizeAndStrideOpInterface op, Value whole, Value part,
                const llvm::SmallBitVector &dropped);
  bool isCheap(Operation &op) const;
  bool isComplete(unsigned carried);

  scf::ForOp loop;
  bool readsAgain;
  DenseMap<Value, unsigned> dims;
  SmallVector<Value> changed; ///< whose ops have not been asked
};

} // namespace mlir::megactx

#endif
