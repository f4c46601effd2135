//===- GradientBlock.h - gradients of one block of pairs --------*- C++ -*-===//
//
// Owns what a kernel of gradients computes of pairs of query and key, whichever
// of the two stand in the lanes (M of them) and whichever come row by row:
//
//   P[n][m]  = exp2(S[n][m] - lse)           S, from A[n][:] * At[:][m]
//   dX[n][m] = P * (dP[n][m] - delta)        dP, from B[n][:] * Bt[:][m]
//   sumA[D][M]  += A[n][d] * dX[n][m]
//   sumB[Dv][M] += B[n][d] * P[n][m]         for values alone
//
//               lanes (At, Bt)     rows (A, B)      sums
//   queries'    query, dout        key, value       dq
//   keys'       key, value         query, dout      dk, dv
//   biases'     query, dout        key, value       none here
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_GRADIENTBLOCK_H
#define MEGACTX_LIB_TARGET_CPU_GRADIENTBLOCK_H

#include "../Common/KeyViews.h"
#include "GradientForm.h"
#include "KernelParts.h"
#include "LaneProducts.h"
#include "Scratch.h"

namespace mlir::megactx::cpu {

/// A task's scratch.
struct GradientBuffers {
  /// With `given`, those of the task that has given its scratch to a part of
  /// the kernel.
  GradientBuffers(ImplicitLocOpBuilder &b, const KernelShape &shape,
                  const GradientForm &form, Value given = {});

  const GradientForm &form;
  int64_t vectors, lanes; ///< lanes of all vectors
  VectorType vector;
  Value scratch;              ///< memref<?xi8>: holds all that follow
  Value laneA, laneB;         ///< [D][M], times the form's factor, [Dv][M] f32
  Value sumA, sumB;           ///< the same; not of biases, sumB of keys alone
  Value weights, slopes;      ///< [rows][M] f32: P and dX, or of biases dS
  Value rowOf, headOf;        ///< [M] index: the row of each lane, and its head
  Value other;                ///< [rows] index: those that come row by row
  Value placeA, placeB;       ///< [rows] index: where these are in memory
  Value lse, delta;           ///< of each query, f32; lse to base 2
  Value low, high;            ///< of each query, i32: which keys it sees
  Value number;               ///< of each key, i32: what low and high count
  Value turned;               ///< [lanes of a vector][D or Dv] f32
  Value factors;              ///< [M] f32
  SmallVector<Value, 10> own; ///< the form's
  Value allowed, biases; ///< [rows][M] i32, f32: of tests, in units of log2
};

/// What a block's form and its scratch depend on, whatever the pieces.
std::string gradientKey(const KernelShape &shape, const GradientForm &form);

/// What elements of a masked block depend on.
struct GradientContext {
  pattern::Expr test; ///< null: holds for all
  const KeyViews &views;
  ArrayRef<Value> biases;
  Value isAllowed; ///< whether the test holds for all; null: nobody knows
};

class GradientBlock {
public:
  /// A block whose rows are in flat data A and B.
  GradientBlock(ImplicitLocOpBuilder &b, const KernelShape &shape,
                const GradientBuffers &buffers, Value dataA, Value dataB)
      : b(b), a{b}, shape(shape), buffers(buffers), dataA(dataA), dataB(dataB),
        products(b, shape) {}
  virtual ~GradientBlock() = default;

  static bool lanesAreQueries(const KernelShape &shape) {
    return shape.result != KernelResult::KeyGradient;
  }

  /// Adds what the first `count` rows give, a multiple of those summed at once:
  /// the pairs within the bounds, all of them where `isFull`, for which the
  /// test holds.
  void add(KernelParts &parts, Value count, Value isFull,
           const GradientContext &context);

protected:
  /// What a masked block looks up.
  struct Masks {
    bool test, bias;
  };
  /// Adds what the first `count` rows give; without `masks`, of a full block.
  virtual void emit(Value count, const Masks *masks) = 0;
  virtual Value power(Value x) = 0;
  /// Whether dX is another than dS, which is what biases are given.
  bool hasSlope() const {
    return shape.softcap && shape.result != KernelResult::BiasGradient;
  }
  /// P of a product; where there is a slope, it is left in `slopes`.
  Value weight(Value s, Value n, int64_t g, const Masks *masks);
  Value perQuery(Value buffer, Value n, int64_t g);

  ImplicitLocOpBuilder &b;
  Arith a;
  const KernelShape &shape;
  const GradientBuffers &buffers;
  Value dataA, dataB;
  LaneProducts products;

private:
  void addMasked(KernelParts &parts, Value count,
                 const GradientContext &context);
  void call(KernelParts &parts, Value count, const Masks *masks);
  Value perLane(Value buffer, int64_t g);
  Value perRow(Value buffer, Value n);
  Value perKey(Value buffer, Value n, int64_t g);
  void sumBiases(Value n, const GradientContext &context);
};

} // namespace mlir::megactx::cpu

#endif
