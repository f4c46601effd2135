//===- Einsum.cpp - Einstein sums ----------------------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <map>

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// A letter of the equation, or an axis that an ellipsis stands for, counted
/// from the last one.
using Axis = int;
constexpr Axis kFirstHidden = 256;

/// Axes of every operand and of the output.
struct Equation {
  SmallVector<SmallVector<Axis>> terms;
  SmallVector<Axis> out;
  int64_t numHidden = 0; ///< of the ellipsis that has the most axes
};
} // namespace

/// The axes of a term of letters and at most one ellipsis, which stands for
/// `hidden` axes; nothing where it is no such term.
static std::optional<SmallVector<Axis>> axesOf(StringRef term, int64_t hidden) {
  auto [before, after] = term.split("...");
  SmallVector<Axis> axes(before.begin(), before.end());
  if (term.contains("..."))
    for (int64_t axis = hidden; axis-- > 0;)
      axes.push_back(kFirstHidden + axis);
  axes.append(after.begin(), after.end());
  bool areLetters =
      llvm::all_of(before, llvm::isAlpha) && llvm::all_of(after, llvm::isAlpha);
  return areLetters ? std::optional(axes) : std::nullopt;
}

/// Without an output: what the ellipses stand for, then the letters that there
/// is one of, in their order as characters.
static std::string implicitOutput(StringRef terms) {
  std::map<char, unsigned> counts;
  for (char c : terms)
    ++counts[c];
  std::string out = terms.contains("...") ? "..." : "";
  for (auto [c, count] : counts)
    if (llvm::isAlpha(c) && count == 1)
      out += c;
  return out;
}

static FailureOr<Equation> parseEquation(Node &node) {
  std::string text = node.string("equation", "").str();
  llvm::erase(text, ' ');
  auto [left, right] = StringRef(text).split("->");
  std::string out =
      StringRef(text).contains("->") ? right.str() : implicitOutput(left);
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  auto refuse = [&] {
    return node.error() << "expected an equation of letters and ellipses for "
                        << node.numInputs() << " operands, but got '" << text
                        << "'";
  };
  if (terms.size() != node.numInputs())
    return refuse();
  Equation equation;
  for (auto [i, term] : llvm::enumerate(terms)) {
    auto letters = axesOf(term, 0);
    if (!letters)
      return refuse();
    int64_t hidden = node.in(i).rank() - int64_t(letters->size());
    if (hidden < 0 || (hidden > 0 && !term.contains("...")))
      return node.error() << "'" << term << "' does not fit rank "
                          << node.in(i).rank();
    equation.terms.push_back(*axesOf(term, hidden));
    equation.numHidden = std::max(equation.numHidden, hidden);
  }
  auto axes = axesOf(out, equation.numHidden);
  if (!axes)
    return refuse();
  if (equation.numHidden > 0 && !StringRef(out).contains("..."))
    return node.error() << "the output of '" << text << "' has no ellipsis";
  equation.out = *axes;
  for (auto [i, axis] : llvm::enumerate(equation.out))
    if (llvm::is_contained(ArrayRef(equation.out).take_front(i), axis))
      return node.error() << "letter '" << char(axis)
                          << "' is repeated in the output";
  return equation;
}

/// The size of each axis. Sizes of 1 broadcast, those that a run knows only
/// where an ellipsis stands for the axis.
static FailureOr<std::map<Axis, IndexExpr>> sizesOf(Node &node,
                                                    const Equation &equation) {
  Graph &graph = node.graph;
  std::map<Axis, IndexExpr> sizes;
  SmallVector<Tensor> hidden(equation.terms.size());
  for (auto [i, term] : llvm::enumerate(equation.terms))
    for (auto [axis, size] : llvm::zip(term, node.in(i).shape)) {
      if (axis >= kFirstHidden) {
        hidden[i].shape.push_back(size);
        continue;
      }
      auto [at, isNew] = sizes.try_emplace(axis, size);
      if (isNew || at->second == size || size.is(1))
        continue;
      std::string what = std::string("sizes of '") + char(axis) + "'";
      if (!at->second.is(1) &&
          failed(node.requireEqual(at->second, size, what)))
        return failure();
      if (!at->second.constant() || at->second.is(1))
        at->second = size;
    }
  SmallVector<Tensor *> all;
  for (Tensor &tensor : hidden)
    all.push_back(&tensor);
  FailureOr<Shape> shape = graph.broadcastShape(node, all);
  if (failed(shape))
    return failure();
  for (auto [i, size] : llvm::enumerate(llvm::reverse(*shape)))
    sizes[kFirstHidden + i] = size;
  return sizes;
}

/// Every operand is one index map over the loops, those of the output first.
static LogicalResult lowerEinsum(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  FailureOr<Equation> equation = parseEquation(node);
  if (failed(equation))
    return failure();
  auto sizes = sizesOf(node, *equation);
  if (failed(sizes))
    return failure();
  std::map<Axis, unsigned> loops;
  Shape shape;
  for (Axis axis : equation->out) {
    if (!sizes->count(axis))
      return node.error() << "output letter '" << char(axis)
                          << "' is in no operand";
    loops.try_emplace(axis, loops.size());
    shape.push_back(sizes->at(axis));
  }
  for (ArrayRef<Axis> term : equation->terms)
    for (Axis axis : term)
      loops.try_emplace(axis, loops.size());
  SmallVector<AffineMap> maps;
  SmallVector<Value> operands;
  for (auto [i, term] : llvm::enumerate(equation->terms)) {
    Tensor tensor = node.in(i);
    Shape full = tensor.shape;
    SmallVector<AffineExpr> exprs;
    for (auto [size, axis] : llvm::zip(full, term)) {
      bool isBroadcast = size.is(1) && !sizes->at(axis).is(1);
      exprs.push_back(isBroadcast ? b.getAffineConstantExpr(0)
                                  : b.getAffineDimExpr(loops[axis]));
      if (!isBroadcast && axis >= kFirstHidden)
        size = sizes->at(axis);
    }
    tensor = graph.expand(node.loc(), tensor, full);
    maps.push_back(AffineMap::get(loops.size(), 0, exprs, b.getContext()));
    operands.push_back(graph.materialize(node.loc(), tensor));
  }
  SmallVector<AffineExpr> out;
  for (Axis axis : equation->out)
    out.push_back(b.getAffineDimExpr(loops[axis]));
  maps.push_back(AffineMap::get(loops.size(), 0, out, b.getContext()));
  SmallVector<utils::IteratorType> iterators(loops.size(),
                                             utils::IteratorType::reduction);
  std::fill_n(iterators.begin(), shape.size(), utils::IteratorType::parallel);
  Type type = node.in(0).elementType;
  if (!isNumber(type) || type.isInteger(1))
    return node.error() << "element type " << type << " has no lowering";
  Value init = graph.filled(node.loc(), shape, b.getZeroAttr(type));
  auto op = linalg::GenericOp::create(
      b, node.loc(), TypeRange{init.getType()}, operands, ValueRange{init},
      maps, iterators, [](OpBuilder &nested, Location loc, ValueRange args) {
        multiplyAdd(nested, loc, args, kAnyOrder);
      });
  node.set(0, graph.wrap(op.getResult(0), shape));
  return success();
}

void mlir::megactx::registerEinsum(Registry &registry) {
  registry["Einsum"] = lowerEinsum;
}
