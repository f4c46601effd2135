//===- RowReach.cpp - what rows of a shape see ----------------------------===//

#include "RowReach.h"
#include "../Common/KeyViews.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::nvgpu;

/// A row far from all ends, and the end of the keys that it may see.
constexpr int64_t kFarRow = int64_t(1) << 30, kFarEnd = 2 * kFarRow;

namespace {
/// How many positions of keys far rows see, of some of them.
struct Reach {
  int64_t average, most;
};
} // namespace

/// That of a piece, of rows of a head that it has, no key left out for its
/// residue; nothing where a run says how many.
static std::optional<Reach> reachOf(const pattern::Piece &piece) {
  constexpr int64_t step = 997, rows = 64;
  auto isOfRun = [](const pattern::Expr &bound) {
    return bound.uses(pattern::Expr::Kind::Symbol) ||
           bound.uses(pattern::Expr::Kind::Operand);
  };
  if (llvm::any_of(piece.lo, isOfRun) || llvm::any_of(piece.hi, isOfRun))
    return std::nullopt;
  int64_t keys = 0, most = 0;
  for (int64_t row = 0; row < rows; ++row) {
    pattern::Point at;
    at.p = kFarRow + row * step;
    if (at.p < piece.rowBegin || at.p >= piece.rowEnd)
      continue;
    int64_t begin = 0, end = kFarEnd;
    for (const pattern::Expr &lo : piece.lo)
      begin = std::max(begin, evaluate(lo, at));
    for (const pattern::Expr &hi : piece.hi)
      end = std::min(end, evaluate(hi, at));
    keys += std::max<int64_t>(end - begin, 0);
    most = std::max(most, end - begin);
  }
  return Reach{keys / rows, most};
}

/// Of all pieces, of one number of each.
static std::optional<int64_t> keysOf(const AttentionShape &shape,
                                     int64_t Reach::*of) {
  if (shape.hasKeyPositions)
    return std::nullopt;
  int64_t ofAll = 0, ofSome = 0;
  for (const pattern::Piece &piece : shape.pieces) {
    std::optional<Reach> reach = reachOf(piece);
    if (!reach)
      return std::nullopt;
    int64_t keys = *reach.*of;
    if (piece.heads)
      ofSome = std::max(ofSome, keys);
    else
      ofAll += keys;
  }
  return (ofAll + ofSome) / std::max<int64_t>(shape.keyStep, 1);
}

std::optional<int64_t>
mlir::megactx::nvgpu::averageKeys(const AttentionShape &shape) {
  return keysOf(shape, &Reach::average);
}

std::optional<int64_t>
mlir::megactx::nvgpu::mostKeys(const AttentionShape &shape) {
  return keysOf(shape, &Reach::most);
}

/// Whether far rows see keys from the first on to where they stand, or to the
/// last one. A bound that a run gives may be anywhere.
static bool isUnbounded(const pattern::Piece &piece) {
  std::optional<Reach> reach = reachOf(piece);
  return piece.lo.empty() && (!reach || reach->average > kFarRow / 2);
}

bool mlir::megactx::nvgpu::hasLongRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return isUnbounded(piece) && piece.digits.hasOneView();
  });
}

bool mlir::megactx::nvgpu::hasGrowingRows(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return isUnbounded(piece) && !piece.hi.empty();
  });
}

bool mlir::megactx::nvgpu::hasShortRows(const AttentionShape &shape) {
  // Of a strided view, a class has a part of the keys.
  constexpr int64_t elements = 96 << 10;
  std::optional<int64_t> keys = averageKeys(shape);
  return !hasLongRows(shape) && (KeyViews::periodOf(shape) > 1 || !keys ||
                                 *keys * shape.largerDim() <= elements);
}

bool mlir::megactx::nvgpu::hasGatheredKeys(const AttentionShape &shape) {
  return llvm::any_of(shape.pieces, [](const pattern::Piece &piece) {
    return !piece.digits.isIdentity();
  });
}
