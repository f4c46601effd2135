//===- BlockForm.h - how a task's rows meet a block of keys -----*- C++ -*-===//
//
// Owns what forms of a task differ in: how its rows are laid out, and what
// multiplies them with a block of keys. A form is a class in a file of its own,
// with that of its blocks (KeyBlock); `formsOf` alone knows them all.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_BLOCKFORM_H
#define MEGACTX_LIB_TARGET_CPU_BLOCKFORM_H

#include "Kernel.h"

namespace mlir::megactx::cpu {

struct BlockBuffers;
class KeyBlock;

/// Keys per block (a multiple of those summed at once), and those of masked
/// blocks that are summed at once.
constexpr int64_t kBlockKeys = 72;
constexpr int64_t kMaskedKeys = 8;

class BlockForm {
public:
  /// Of so many vectors of rows.
  BlockForm(const KernelShape &shape, int64_t vectors)
      : shape(shape), vectors(vectors) {}
  virtual ~BlockForm() = default;

  /// Another than other forms have.
  virtual StringRef name() const = 0;
  int64_t rows() const { return vectors * shape.lanes; }
  /// The most rows of a class for which this is the form of choice.
  virtual int64_t mostRows() const { return rows(); }
  /// Keys per block, and how many of them a vector has at once in masked ones.
  virtual int64_t keys() const { return kBlockKeys; }
  virtual int64_t maskedKeys() const { return kMaskedKeys; }
  /// By how many keys `keyNext` and `valueNext` are ahead; 0: there are none.
  virtual int64_t keysAhead() const { return 0; }
  /// Of queries in the lanes: scale and log2(e).
  virtual float queryFactor() const { return shape.scaleBase2(); }
  /// Whether LLVM is to unroll the loops of its blocks.
  virtual bool unrolls() const { return false; }

  /// The types of `BlockBuffers::own`.
  virtual SmallVector<MemRefType> ownBuffers(MLIRContext *context) const {
    return {};
  }
  /// Of what is its own: nothing summed yet; from the queries in the lanes; to
  /// the sums in the lanes.
  virtual void start(ImplicitLocOpBuilder &b,
                     const BlockBuffers &buffers) const {}
  virtual void readQueries(ImplicitLocOpBuilder &b,
                           const BlockBuffers &buffers) const {}
  virtual void writeSums(ImplicitLocOpBuilder &b,
                         const BlockBuffers &buffers) const {}
  /// The block of the keys that begin at number `from`.
  virtual std::unique_ptr<KeyBlock> block(ImplicitLocOpBuilder &b,
                                          const BlockBuffers &buffers,
                                          Value from) const = 0;

  const KernelShape &shape;
  const int64_t vectors;
};

using BlockFormPtr = std::unique_ptr<BlockForm>;

/// A row in each lane, keys one by one.
BlockFormPtr laneForm(const KernelShape &shape, int64_t vectors);
/// For the few rows of a single vector: row by row.
BlockFormPtr rowForm(const KernelShape &shape);
/// A row in each lane, products by matrix tiles; null where the target has none
/// for kernels of the shape.
BlockFormPtr tileForm(const KernelShape &shape, int64_t vectors);

/// The forms of a kernel with so many classes of rows, those of fewest rows
/// first.
SmallVector<BlockFormPtr> formsOf(const KernelShape &shape, int64_t classes);

} // namespace mlir::megactx::cpu

#endif
