//===- RowKernel.h - ops on the same rows as a kernel -----------*- C++ -*-===//
//
// Owns which threads compute which points of ops that reduce rows, or map them,
// one after the other: a warp or a block has a row, its threads, the lanes, run
// along the innermost loop. Every op gives a lane the same points, so that what
// one writes and another reads is never another lane's; sums are in all lanes.
//
//   tiles   of rows that are known to be short, a lane's points are known when
//           the kernel is compiled: what it has loaded or computed of them
//           stays in registers from op to op
//   loops   of other rows, it is read again, from caches
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_ROWKERNEL_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_ROWKERNEL_H

#include "KernelLoops.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

namespace mlir::megactx::gpukernel {

/// What an operand has at the points of an op.
using Place = std::pair<Value, AffineMap>;

/// What all ops of a kernel share.
struct Row {
  int64_t lanes = kThreads;     ///< threads of a row
  std::optional<int64_t> tiles; ///< of a lane, `width` points each; or loops
  Value lane;                   ///< which of them this is
  DenseMap<Place, Value> sums;  ///< reduced, in every lane
  DenseMap<Place, SmallVector<SmallVector<Value>>> held; ///< vectors, per tile
  DenseSet<Value> scratch; ///< memory that nobody reads afterwards
  int64_t sharedBytes = 0; ///< for what warps exchange; given out so far
};

/// One of the ops.
class RowOp : public KernelLoops {
public:
  RowOp(linalg::GenericOp op, Row &row) : KernelLoops(op), row(row) {}
  using KernelLoops::getFollower;

private:
  friend class RowKernel;
  void findLoops(unsigned numRows);
  void findFills();
  /// Emits the op for the row; `isRead`: a later op reads its sums.
  void emit(bool isRead);
  void map();
  SmallVector<Value> start(bool isRead, Value first);
  void reduce(bool isRead);
  void hold();
  SmallVector<Value> storeTile(ArrayRef<SmallVector<Value>> values);
  SmallVector<Value> inTile(int64_t tile, ValueRange otherwise,
                            function_ref<SmallVector<Value>()> inside);
  SmallVector<Value> zeros(OpOperand &operand);
  void exchange(MutableArrayRef<Value> partial);
  Place place(OpOperand &operand);
  Value load(OpOperand &operand) override;

  Row &row;
  std::optional<SmallVector<Combiner>> combiners; ///< of a reduction
  SmallVector<unsigned> rows, inRow; ///< loops: the row's number, and within it
  std::optional<int64_t> tile;       ///< being emitted
};

class RowKernel {
public:
  /// A reduction by itself, with its follower.
  explicit RowKernel(linalg::GenericOp op);
  explicit RowKernel(FusedRowsOp op);

  /// Replaces them by a gpu.launch.
  void run();
  /// The op that a reduction by itself takes along, null where there is none.
  linalg::GenericOp getFollower() const { return ops.front()->getFollower(); }
  unsigned getNumOps() const { return ops.size(); }

private:
  void shareLanes();
  void inside(int64_t rowsOfBlock, Value rows);
  bool isReadLater(size_t number);

  FusedRowsOp fused;
  Row row;
  SmallVector<std::unique_ptr<RowOp>> ops;
};

} // namespace mlir::megactx::gpukernel

#endif
