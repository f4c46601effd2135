//===- Masks.h - masks as patterns and biases -------------------*- C++ -*-===//
//
// Owns how what is added to scores, or put in their place, becomes a pattern on
// positions and a bias of few dimensions.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_MASKS_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_MASKS_H

#include "ElementValues.h"
#include "megactx/Pattern/Pattern.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx::raise {

/// Scores at or below this have no weight in a softmax.
constexpr double kMasked = -1e4;
/// Far below all scores, and far above what stands for no key in kernels.
constexpr float kLeastMasked = -1e20f;

/// A finite number that masks, far below all scores and far above what stands
/// for no key in kernels: a row that finite numbers mask altogether has equal
/// weights, not none.
double inRange(std::optional<double> fill);

/// A number, or a tensor of numbers per row, that multiplies or divides.
struct Scale {
  Value factor;
  bool divides;
};

/// A node above a term that changes it too: "Mul", "Div" or "Max" of it and a
/// number, or for the first two numbers per row; "Neg" has no operand.
struct Change {
  StringRef type;
  Value operand;
};

/// Where the score of [b, h, query, key] is, elsewhere than in [B, H, Nq, Nk].
struct Placement {
  Value scores; ///< the tensor it is in
  std::vector<AffineExpr> place;
  Condition facts; ///< where it is in there
  /// Whose elements are scores, and nothing that is added to them.
  Value product;
};

/// A term that is added to the scores, or that replaces them.
struct Term {
  Value value;     ///< what is added; or the condition of a replacement
  Value fill;      ///< the scalar that replaces scores, or null
  bool whereTrue;  ///< whether it replaces them where the condition holds
  Operation *node; ///< that applies it
  /// Of the scores, between their product and the term, in the graph's order.
  SmallVector<Operation *> reshapes = {};
  /// What changes the term after it is applied, in the graph's order.
  SmallVector<Change> changes = {};
  /// Whether its outer dims have been folded to the attention's batch and
  /// heads.
  bool isFolded = false;
  /// Where the scores are that it is added to, or which are in it.
  std::optional<Placement> placement = std::nullopt;
};

/// A term with what changes it. False where their types do not fit. A number
/// that replaces scores, whatever they are, becomes one beside which they do
/// not count: rows of nothing else have equal weights.
bool changeTerm(ImplicitLocOpBuilder &b, Term &term);

/// What a term comes to: scores outside of `pattern` have no weight. Inside,
/// `bias` is added, if there is one, of which the term is the tensor where
/// `keepsTerm` is true.
struct Mask {
  pattern::Pattern pattern;
  std::optional<Element> bias;
  bool keepsTerm = false;
  std::string reason; ///< why there is a bias, or the term stays
  /// What the pattern allows and what is known, of rows by their number; and
  /// whether some of the rest is masked by a finite number.
  Condition allowed = Condition::constant(true),
            facts = Condition::constant(true);
  bool isFinite = false;
  AffineExpr offset; ///< of the position of a row to its number
};

/// What is found on the way.
struct MaskCounts {
  unsigned patterns = 0, biases = 0, tables = 0;
};

/// Query and key [B, H, N, D] of the attention that a term belongs to.
class Masks {
public:
  Masks(MLIRContext *context) : positions(context), values(positions) {}

  /// The sizes that two tensors have in common are equal: the query row i
  /// stands at i + (keys - queries) where the last query and the last key have
  /// one position, else at i.
  /// `product`, where it is given, is the tensor of scores as it is computed,
  /// [B, H, Nq, Nk], [B * H, Nq, Nk] or with a batch of several dims.
  void setOperands(Value query, Value key, bool isSelf, Value product = {});

  /// Whether it is known for which scores the term's elements are.
  bool isPlaced(const Term &term);

  Mask classify(const Term &term);

  /// Whether one of the terms is a pattern, with the query's own position,
  /// where the last query and the last key have one: the model itself counts
  /// both from one end, whatever its queries are computed of. Operands are of
  /// one sequence then.
  bool placeLastTogether(ArrayRef<Term> terms);

  /// Classifies the terms. What patterns say is joined to `pattern`; the rest
  /// comes back as f32 tensors of rank 4 that are all added, with a remark for
  /// each term that has a part in them. Without `hasPatterns` all is left to
  /// the tensors: queries that stand elsewhere.
  SmallVector<Value> biasesOf(ImplicitLocOpBuilder &b, ArrayRef<Term> terms,
                              pattern::Pattern &pattern, MaskCounts &counts,
                              bool hasPatterns = true);

  /// Rows [B, H, Nq, D], zero where a condition on (b, h, query) does not hold.
  Value withRowsWhere(ImplicitLocOpBuilder &b, Value rows,
                      const Condition &condition);

  unsigned getNumTables() const { return values.getNumTables(); }
  Positions &getPositions() { return positions; }
  ElementValues &getValues() { return values; }

private:
  /// A bias as a sum: of these some may depend on the distance from query to
  /// key alone, which then stands for the key.
  struct Part {
    Element element;
    bool isRelative;
  };
  bool isSumOfParts(Value tensor);
  void split(const Element &bias, SmallVectorImpl<Element> &parts);
  SmallVector<Part> partsOf(ImplicitLocOpBuilder &b, const Term &term,
                            const Element &bias);
  bool hasRowsOfScores(const Term &term);
  void requireSizes(ImplicitLocOpBuilder &b, const Term &term);
  SmallVector<Value> tensorsOf(ImplicitLocOpBuilder &b, const Term &term,
                               const Mask &mask);
  Value emit(ImplicitLocOpBuilder &b, const Element &bias);
  Value emitRelative(ImplicitLocOpBuilder &b, const Element &bias);
  Mask classifyAt(const Term &term, AffineExpr offset);
  bool splitPatterns(const Condition &allowed, Mask &mask, Condition &rest);
  bool leavesEveryRowAKey(ArrayRef<Mask> masks);
  void assumeSizes(AffineExpr row,
                   const std::optional<Placement> &placement = {});
  std::optional<Element> elementOf(const Term &term, AffineExpr row);
  std::optional<Place> placeOf(const Term &term, AffineExpr row);
  /// Whether the term has the form of the attention's bias.
  bool isPlain(const Term &term) const;

  Positions positions;
  ElementValues values;
  Value query, key, product;
  bool isSelf = false;
  /// Whether patterns say nothing of finite numbers that mask.
  bool keepsFinite = false;
  AffineExpr offset; ///< of the last term's queries
};

/// Whether a tensor of floats may have finite numbers that mask: it is computed
/// of more than products and of numbers that are not large.
bool mayMaskFinitely(Value tensor);

/// The pattern that is the condition wherever positions can be; nothing where
/// no pattern says it.
std::optional<pattern::Pattern> patternOf(const Condition &condition,
                                          Positions &positions);

} // namespace mlir::megactx::raise

#endif
