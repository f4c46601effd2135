//===- VectorBlock.h - a block of keys by vectors of f32 --------*- C++ -*-===//
//
// Owns what forms share whose scores are products of f32: each part's maxima,
// exponentials and sums, in turn.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_VECTORBLOCK_H
#define MEGACTX_LIB_TARGET_CPU_VECTORBLOCK_H

#include "KeyBlock.h"

namespace mlir::megactx::cpu {

class VectorBlock : public KeyBlock {
protected:
  using KeyBlock::KeyBlock;

  /// What comes before all products of a part.
  virtual void enter(const Part &part) {}
  /// The products of `count` keys from n on: of each, the part's vectors.
  virtual SmallVector<Value> products(const Part &part, Value n,
                                      int64_t count) = 0;
  /// The sums times the decay, plus values times the weights in `scores`.
  virtual void accumulate(const Part &part, ValueRange decay) = 0;

private:
  void emit(const Masks *masks) override;
  void update(const Part &part, const Masks *masks);
  SmallVector<Value> scores(const Part &part, ValueRange maxima,
                            const Masks *masks);
  SmallVector<Value> exponentials(const Part &part, ValueRange sums,
                                  ValueRange maxima);
};

} // namespace mlir::megactx::cpu

#endif
