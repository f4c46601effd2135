//===- ScoreScale.h - factors and caps of scores ----------------*- C++ -*-===//
//
// Owns how the factors of scores become one number, or scale the queries.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_SCORESCALE_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_SCORESCALE_H

#include "Scores.h"

namespace mlir::megactx::raise {

class Operands;

struct ScoreScale {
  double factor = 1;
  std::optional<double> cap; ///< x becomes cap tanh(x / cap)
};

/// The scores' factor and cap as numbers; other factors scale the queries.
/// Empty, or the reason why neither can be.
std::string applyScales(ImplicitLocOpBuilder &b, Operands &operands,
                        const Scores &scores, Value &query, ScoreScale &scale);

} // namespace mlir::megactx::raise

#endif
