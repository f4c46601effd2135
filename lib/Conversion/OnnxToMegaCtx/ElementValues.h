//===- ElementValues.h - what stands where in a tensor ----------*- C++ -*-===//
//
// Owns the interpretation of ONNX nodes on symbolic places: the sizes of a
// tensor, and its element at a place, followed backwards through the nodes that
// compute it. What a node does that is not understood becomes a read of its
// result. That a dynamic dimension is broadcast is not considered.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_ELEMENTVALUES_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_ELEMENTVALUES_H

#include "Positions.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/DenseMap.h"
#include <map>

namespace mlir::megactx::raise {

using Place = SmallVector<AffineExpr>;

class ElementValues {
public:
  explicit ElementValues(Positions &positions) : positions(positions) {}

  /// The sizes of a ranked tensor.
  const Place &shape(Value tensor);

  /// The element at a place, one index per dimension of a ranked tensor.
  Element at(Value tensor, ArrayRef<AffineExpr> place);

  /// The tensors through which nodes move this element unchanged, with its
  /// place in each; the given one first.
  std::vector<std::pair<Value, Place>> movesOf(Value tensor,
                                               ArrayRef<AffineExpr> place);

  /// The place in an operand that broadcasts to a result's place.
  Place broadcast(Value operand, ArrayRef<AffineExpr> place);

  /// The place in a tensor of other sizes whose element has this one's
  /// row-major number; nothing where that is not known.
  std::optional<Place> renumbered(const Place &from, const Place &to,
                                  ArrayRef<AffineExpr> place);

  /// Brings the place in a tensor to the one in what it was reshaped from,
  /// where the last dims have as many elements in both and as many dims are
  /// before these. Indices of dims before are exact where their sizes are the
  /// same.
  bool splitLast(Value from, Value to, Place &place);

  /// The same without choices that those around them have made, its indices
  /// being variables, or others that are preferred, where they always are.
  Element settled(const Element &element);
  void prefer(ArrayRef<AffineExpr> indices) {
    preferred.assign(indices.begin(), indices.end());
  }

  /// Elements that were found under other facts.
  void forget() { elements.clear(); }

  /// Elements of these tensors are reads of them, whatever computes them.
  void stopAt(ArrayRef<Value> tensors) {
    stops.assign(tensors.begin(), tensors.end());
    forget();
  }

  /// The number of facts about constants that were found by looking at all of
  /// their elements.
  unsigned getNumTables() const { return numTables; }

private:
  using Result = std::optional<Element>;

  Place computeShape(Value tensor);
  std::optional<AffineExpr> inferSize(Operation *op, unsigned result,
                                      int64_t dim);
  std::optional<AffineExpr> inferRaised(Operation *op, int64_t dim);
  std::optional<AffineExpr> inferMoved(Operation *op, int64_t dim);
  std::optional<AffineExpr> inferUnits(Operation *op, int64_t dim, bool adds);
  AffineExpr broadcastSize(ValueRange operands, int64_t rank, int64_t dim);
  std::optional<AffineExpr> integerAt(Value tensor, int64_t place);
  std::optional<Element> sizeAt(Value tensor, int64_t place, int64_t least);

  Result compute(Value tensor, ArrayRef<AffineExpr> place);
  Result constantElement(Value tensor, ElementsAttr elements,
                         ArrayRef<AffineExpr> place);
  Result elementwise(Operation *op, ArrayRef<AffineExpr> place);
  Result multiplied(Operation *op, ArrayRef<AffineExpr> place);
  Result converted(Operation *op, ArrayRef<AffineExpr> place);
  Result generated(Operation *op, ArrayRef<AffineExpr> place);
  Result cumulative(Operation *op, ArrayRef<AffineExpr> place);
  struct IndexColumn;
  std::optional<std::vector<IndexColumn>> columnsOf(Value indices,
                                                    const Place &sizes);
  std::optional<IndexColumn> columnOf(const Element &index, const Place &sizes);
  struct Update;
  std::optional<Update> listedUpdate(ArrayRef<IndexColumn> columns, unsigned by,
                                     ArrayRef<AffineExpr> place);
  std::optional<Update> updateAlong(ArrayRef<IndexColumn> columns, unsigned by,
                                    AffineExpr size, ArrayRef<AffineExpr> place,
                                    const Place &dims);
  Result scattered(Operation *op, ArrayRef<AffineExpr> place);
  Result moved(Operation *op, ArrayRef<AffineExpr> place);
  Result reshaped(Operation *op, ArrayRef<AffineExpr> place);
  Result tiled(Operation *op, ArrayRef<AffineExpr> place);
  Result sliced(Operation *op, ArrayRef<AffineExpr> place);
  Result split(OpResult part, ArrayRef<AffineExpr> place);
  Result padded(Operation *op, ArrayRef<AffineExpr> place);
  Result stepped(Operation *op, ArrayRef<AffineExpr> place, int64_t axis);
  Result joined(Operation *op, ArrayRef<AffineExpr> place);
  Result gathered(Operation *op, ArrayRef<AffineExpr> place);
  Result gatheredAt(Value data, const Element &index, Place place,
                    int64_t axis);
  Element simplified(Element element);
  AffineExpr settled(AffineExpr index);
  Condition settled(const Condition &condition);
  bool isInRange(const Element &leaf, Type target);
  Result exact(Result result, const Element &own);

  Positions &positions;
  llvm::DenseMap<Value, std::unique_ptr<Place>> shapes;
  /// A size that is no expression, but equal to others where what it is made of
  /// is: a choice, or the end of a slice, which may be where its tensor's is.
  struct ChosenSize {
    Element end;
    AffineExpr start, whole; ///< of a slice, else null
    AffineExpr symbol;
  };
  AffineExpr symbolOf(ChosenSize size, Value tensor, int64_t dim);
  AffineExpr knownSize(const Element &integer);
  std::optional<AffineExpr> runtimeSize(Value list, Value tensor, int64_t dim);
  std::vector<ChosenSize> chosenSizes;
  std::map<std::pair<void *, std::vector<const void *>>, Element> elements;
  SmallVector<Value> stops;
  Place preferred;
  std::vector<Condition> decided; ///< by choices around what is settled
  /// Where `movesOf` collects.
  std::vector<std::pair<Value, Place>> *moves = nullptr;
  unsigned depth = 0, numTables = 0;
};

/// Whether a node's ranks, axes and orders are those that its operator wants
/// for a result of this rank: a model's file may say anything of its tensors.
bool hasRanks(Operation *op, int64_t rank);

/// The condition on (x, y), tokens, under which a constant matrix of two values
/// has the second one, exact for every element; rows x, columns y. `isOther`
/// says which of the two an element has. Nothing where the matrix is no band,
/// no strided band and no diagonal of blocks.
std::optional<Condition>
conditionOfTable(int64_t rows, int64_t columns,
                 llvm::function_ref<bool(int64_t, int64_t)> isOther,
                 AffineExpr x, AffineExpr y);

} // namespace mlir::megactx::raise

#endif
