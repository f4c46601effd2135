//===- KeyParts.h - keys that are no tokens' --------------------*- C++ -*-===//
//
// Owns the parts of keys that stand at no position beside those of the queries'
// tokens: learned ones, as null keys and memories are, and ones behind them
// that are computed of other rows, as summaries of blocks.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_KEYPARTS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_KEYPARTS_H

#include "Scores.h"

namespace mlir::megactx::raise {

class Operands;

/// Keys and values [B, H, Nk, D] of one source, with what is added to their
/// scores.
struct KeyPart {
  Value key, values;
  SmallVector<Term> terms;
  bool isEverywhere = false; ///< at no position
};

/// The keys at no position, if there are some that are concatenated with
/// others, and these, or all of them as one part.
SmallVector<KeyPart, 2> partsOfKeys(ImplicitLocOpBuilder &b, Operands &operands,
                                    Value query, Value key, Value values,
                                    const Scores &scores);

} // namespace mlir::megactx::raise

#endif
