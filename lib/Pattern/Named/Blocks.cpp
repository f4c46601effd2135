//===- Blocks.cpp - the pattern `blocks` ----------------------------------===//

#include "Common.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

namespace {
struct Blocks : NamedPattern {
  llvm::StringRef name() const override { return "blocks"; }
  llvm::StringRef description() const override {
    return "a table of blocks in CSR form: query block r attends the key "
           "blocks "
           "col_idx[row_ptr[r] .. row_ptr[r + 1]) (DeepSpeed, ONNX Runtime)";
  }
  llvm::ArrayRef<Parameter> parameters() const override {
    static const Parameter list[] = {
        {"block", Argument::Kind::Integer, 1},
        {"row_ptr", Argument::Kind::List, 0},
        {"col_idx", Argument::Kind::List, 0},
    };
    return list;
  }
  std::optional<Formula> formula(const Arguments &arguments, int64_t keyStep,
                                 std::string &error) const override {
    int64_t block = integerOf(arguments, "block");
    llvm::ArrayRef<int64_t> rowPtr = listOf(arguments, "row_ptr");
    llvm::ArrayRef<int64_t> colIdx = listOf(arguments, "col_idx");
    if (rowPtr.empty() || rowPtr.front() != 0 ||
        rowPtr.back() != int64_t(colIdx.size()) ||
        !std::is_sorted(rowPtr.begin(), rowPtr.end())) {
      error = "expected 'row_ptr' to ascend from 0 to the length of 'col_idx'";
      return std::nullopt;
    }
    int64_t rows = rowPtr.size() - 1;
    int64_t columns = 0;
    for (int64_t column : colIdx)
      columns = std::max(columns, column + 1);
    if (columns > (int64_t(1) << 22) / std::max<int64_t>(rows, 1)) {
      error = "expected a table of at most 2^22 blocks";
      return std::nullopt;
    }
    if (rows == 0 || columns == 0)
      return Formula(false);
    std::vector<int64_t> dense(rows * columns, 0);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t column : colIdx.slice(rowPtr[r], rowPtr[r + 1] - rowPtr[r]))
        dense[r * columns + column] = 1;
    Expr row = Expr::position().floorDiv(block);
    Expr column = Expr::key().floorDiv(block);
    Expr inside = column.less(Expr::constant(0)).negated() &&
                  column.less(Expr::constant(columns));
    return Formula::test(inside &&
                         Expr::table(std::move(dense), row * columns + column));
  }
};
} // namespace

const NamedPattern &mlir::megactx::pattern::blocksPattern() {
  static const Blocks pattern;
  return pattern;
}
