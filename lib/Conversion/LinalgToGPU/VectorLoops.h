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

class VectorLoops : public LinalgLoops {
protected:
  using LinalgLoops::LinalgLoops;

  /// Decides which operands are moved as vectors where points are neighbours
  /// along `loop`, and sets `width`; emits what has to be asked at run time.
  void findWidth(unsigned loop);
  /// The same for ops with the same loops, which take as many neighbours.
  static void findWidth(ArrayRef<VectorLoops *> ops, unsigned loop);

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

  /// Whether neighbours of the operand are moved as vectors.
  bool isVector(OpOperand &operand);
  /// The types of these vectors, of all `width` neighbours.
  SmallVector<Type> vectorTypes(OpOperand &operand);
  /// Elements of the operand from where the loops are on, as vectors.
  SmallVector<Value> loadVectors(OpOperand &operand);
  void storeVectors(OpOperand &operand, ArrayRef<Value> vectors);
  /// Stores neighbours one by one.
  void storeElements(OpOperand &operand, ArrayRef<Value> elements);
  /// The neighbours' values of an output as vectors.
  SmallVector<Value> pack(OpOperand &operand, ArrayRef<Value> elements);
  /// The element of this neighbour.
  Value unpack(OpOperand &operand, ArrayRef<Value> vectors);

  Value load(OpOperand &operand) override;

  int64_t width = 1;    ///< neighbours that a thread takes at once
  Value misaligned;     ///< not 0: no vectors may be moved; null: they may
  int64_t together = 1; ///< neighbours that are being emitted

private:
  struct Access {
    Neighbours kind = Neighbours::Apart;
    /// Of Next: elements that are moved at once, 1 for one by one.
    int64_t count = 1;
  };
  int64_t narrow(int64_t wanted);
  int64_t narrow(OpOperand &operand, int64_t count);
  Value addressBits(OpOperand &operand);
  Value position();
  void moveTo(Value first, int64_t number);
  SmallVector<Value>
  loop(Value from, Value to, int64_t step, ValueRange carried,
       function_ref<SmallVector<Value>(ValueRange carried)> inside);

  Alignment alignment;
  std::optional<unsigned> inner; ///< the loop that neighbours are along
  DenseMap<OpOperand *, Access> accesses;

  // While neighbours are emitted.
  Value first; ///< where they are, along the loop
  int64_t number = 0;
  DenseMap<OpOperand *, SmallVector<Value>> loaded;
};

} // namespace mlir::megactx::gpukernel

#endif
