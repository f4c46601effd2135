//===- LearnedKeys.h - keys that are no tokens' -----------------*- C++ -*-===//
//
// Owns the parts of keys that are learned beside those of tokens, as null keys
// and memories are: they stand at no position.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_LEARNEDKEYS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_LEARNEDKEYS_H

#include "Scores.h"

namespace mlir::megactx::raise {

class Operands;

/// Keys and values [B, H, Nk, D] of one source, with what is added to their
/// scores.
struct KeyPart {
  Value key, values;
  SmallVector<Term> terms;
  bool isLearned = false;
};

/// The learned keys, if there are some that are concatenated with others, and
/// these, or all of them as one part.
SmallVector<KeyPart, 2> partsOfKeys(ImplicitLocOpBuilder &b, Operands &operands,
                                    Value key, Value values,
                                    const Scores &scores);

} // namespace mlir::megactx::raise

#endif
