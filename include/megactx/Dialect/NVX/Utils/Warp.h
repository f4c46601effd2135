//===- Warp.h - values that the lanes of a warp share -----------*- C++ -*-===//

#ifndef MEGACTX_DIALECT_NVX_UTILS_WARP_H
#define MEGACTX_DIALECT_NVX_UTILS_WARP_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::nvx {

constexpr int64_t kWarp = 32; ///< lanes

/// Of integers and floats up to 64 bits, one a lane: what `join` makes of those
/// of `lanes` lanes, a power of two, that follow each other; the same in each
/// of these. All lanes of the warp have to come here.
Value reduceInWarp(ImplicitLocOpBuilder &b, Value x,
                   function_ref<Value(Value, Value)> join,
                   int64_t lanes = kWarp);

/// An i32 that is the same in all lanes of the warp, as ptxas does not know of
/// what is divided or loaded, or comes of the thread's number: of the result it
/// does. Loops that it bounds then have what they count in registers that a
/// warp has once. All lanes of the warp have to come here.
Value sameInWarp(ImplicitLocOpBuilder &b, Value x);

/// Of four i32 in each of four lanes that follow each other, lane i, modulo 4,
/// gets those with number i of all four, in the order of the lanes. All lanes
/// of the warp have to come here.
void transposeInQuads(ImplicitLocOpBuilder &b, MutableArrayRef<Value> words,
                      Value lane);

/// The least index i in [begin, end) for which the condition does not hold,
/// where it holds for those before and for none after; else end: as many at a
/// time as there are lanes ask, each for one. All lanes of the warp have to
/// come here, with the same range.
Value firstNotInWarp(ImplicitLocOpBuilder &b, Value lane, Value begin,
                     Value end, function_ref<Value(Value)> holds);

} // namespace mlir::nvx

#endif
