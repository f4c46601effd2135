//===- SampledSizes.h - what sizes are for some choices ---------*- C++ -*-===//
//
// Owns numbers for sizes that are not known: what they depend on is chosen, in
// several ways, and they are computed of that.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TRANSFORMS_SAMPLEDSIZES_H
#define MEGACTX_LIB_TRANSFORMS_SAMPLEDSIZES_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <array>
#include <random>

namespace mlir::megactx {

class SampledSizes {
public:
  static constexpr unsigned kChoices = 10;
  using Numbers = std::array<int64_t, kChoices>;

  /// Of an index; the same each time. No number is negative.
  const Numbers &of(Value size);

private:
  Numbers compute(Value size);

  llvm::DenseMap<Value, Numbers> known;
  std::minstd_rand random; ///< of one seed: so are the choices, and the code
};

} // namespace mlir::megactx

#endif
