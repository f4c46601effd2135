//===- VectorLoops.h - neighbouring points of a linalg op -------*- C++ -*-===//
//
// Owns how a thread takes several points of an op's loops at once, neighbours
// along one loop: their elements are moved as vectors where they lie next to
// one another and are known, or found when it runs, to lie at multiples of the
// vectors' bytes; the body is that of each point.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_VECTORLOOPS_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_VECTORLOOPS_H

#include "../LinalgLoops/LinalgLoops.h"
#include "Alignment.h"

namespace mlir::megactx::gpukernel {

/// Where neighbouring points lie in an operand.
struct Access {
  enum Kind {
    Apart, ///< anywhere
    Same,  ///< at one element
    Next   ///< next to one another
  } kind = Apart;
  /// Of Next: elements that are moved at once, 1 for one by one.
  int64_t count = 1;
};

class VectorLoops : public LinalgLoops {
protected:
  using LinalgLoops::LinalgLoops;

  /// Decides which operands are moved as vectors where points are neighbours
  /// along `loop`, and sets `width`; emits what has to be asked at run time.
  void findWidth(unsigned loop);

  /// The points of `loop` from `begin` to `end`, shared out among `lanes`
  /// threads, of which this is number `lane`: `inside` is emitted where
  /// `indices[loop]` is the first of so many neighbours, `width` or one, and
  /// carries values. `begin` is a multiple of the width.
  SmallVector<Value>
  along(Value begin, Value end, Value lane, int64_t lanes, ValueRange carried,
        function_ref<SmallVector<Value>(int64_t count, ValueRange carried)>
            inside);

  /// Emits `inside` at each of the neighbours, with what they load together.
  void forNeighbours(int64_t count, function_ref<void(int64_t number)> inside);
  /// Stores what the outputs are at the neighbours, followed.
  void storeNeighbours(ArrayRef<SmallVector<Value>> values);

  Value load(OpOperand &operand) override;

  int64_t width = 1; ///< neighbours that a thread takes at once

private:
  Access accessOf(OpOperand &operand);
  void narrow(OpOperand &operand, Access &access);
  Value addressBits(OpOperand &operand, const Access &access);
  Value position();
  void moveTo(Value first, int64_t number);
  SmallVector<Value> loadVectors(OpOperand &operand, const Access &access);
  SmallVector<Value>
  loop(Value from, Value to, int64_t step, ValueRange carried,
       function_ref<SmallVector<Value>(ValueRange carried)> inside);

  Alignment alignment;
  std::optional<unsigned> inner; ///< the loop that neighbours are along
  DenseMap<OpOperand *, Access> accesses;
  Value misaligned; ///< not 0: vectors may not be moved; null: they may

  // While neighbours are emitted.
  Value first; ///< where they are, along the loop
  int64_t together = 1, number = 0;
  DenseMap<OpOperand *, SmallVector<Value>> loaded;
};

} // namespace mlir::megactx::gpukernel

#endif
