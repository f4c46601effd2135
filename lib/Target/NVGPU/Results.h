//===- Results.h - rows out of a block's registers --------------*- C++ -*-===//
//
// Owns the end of a block: states are normalised, merged with what other keys
// gave where asked, and stored, as the rows' results or as those of a part of
// their keys.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_RESULTS_H
#define MEGACTX_LIB_TARGET_NVGPU_RESULTS_H

#include "BlockRows.h"
#include "Fragments.h"

namespace mlir::megactx::nvgpu {

class Results {
public:
  /// `numbers`: of the lane's two rows, which may be past the class's end.
  Results(ImplicitLocOpBuilder &b, const AttentionShape &shape,
          const BlockRows &rows, Value lane, std::array<Value, 2> numbers)
      : b(b), a{b}, shape(shape), rows(rows), lane(lane), numbers(numbers) {}

  /// All threads take part.
  void store(const State &state, Fragments &fragments,
             const KernelArguments &arguments, const PartArguments &parts);

private:
  /// What a row's results become: `lse`, which is `top` and the logarithm of
  /// `sum`, and `weight` times its sums. Where there is something to merge
  /// with, `kept` times that is added.
  struct Result {
    Value lse, top, sum, weight, kept;
  };
  /// Memory for results, of a part of the keys or of all.
  struct Target {
    Value out, perRow;
    bool isPart;
  };
  Result normalised(Value top, Value sum);
  Value reciprocal(Value x);
  Value oldOf(Value number, Value lse);
  void merge(Result &row, Value old);
  void storeRow(const State &state, int64_t half, const Result &row,
                const Target &target);
  void storeNumbers(const Result &row, const Row &at, const Target &target);
  /// Where a row's results go, whether there is such a row, and what of it is
  /// merged with: pairs, by number of the eight.
  struct Place {
    Row row;
    Value exists, out;
    SmallVector<Value> old;
  };
  int64_t storeEights(const State &state, int64_t half, int64_t first,
                      const Result &row, const Place &place);
  Value pairOf(const State &state, int64_t half, int64_t eight,
               const Result &row, const Place &place, VectorType pair);
  void readOld(Place &place);
  Value transposed(ArrayRef<Value> pairs, Type element);
  Value columnOf(int64_t eight);
  void allHaveRead();
  IntegerAttr alignmentOf(Type type);

  static constexpr int64_t kLanes = 4; ///< that have a row of a fragment

  ImplicitLocOpBuilder &b;
  Arith a;
  const AttentionShape &shape;
  const BlockRows &rows;
  Value lane;
  std::array<Value, 2> numbers;
};

} // namespace mlir::megactx::nvgpu

#endif
