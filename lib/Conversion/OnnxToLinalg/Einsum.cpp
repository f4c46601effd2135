//===- Einsum.cpp - Einstein sums ----------------------------------------===//

#include "Reduction.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <map>

using namespace mlir;
using namespace mlir::megactx;

/// Letters without an ellipsis; every operand is one index map.
static LogicalResult lowerEinsum(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  std::string equation;
  for (char c : node.string("equation", ""))
    if (c != ' ')
      equation += c;
  auto [left, right] = StringRef(equation).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  bool isPlain =
      StringRef(equation).contains("->") && terms.size() == node.numInputs();
  for (char c : equation)
    isPlain &= llvm::isAlpha(c) || c == ',' || c == '-' || c == '>';
  if (!isPlain)
    return node.error()
           << "expected an equation of letters with '->', but got '" << equation
           << "'";
  std::map<char, unsigned> loops;
  SmallVector<IndexExpr> sizes;
  for (char c : right)
    if (!loops.try_emplace(c, loops.size()).second)
      return node.error() << "letter '" << c << "' is repeated in the output";
  for (StringRef term : terms)
    for (char c : term)
      loops.try_emplace(c, loops.size());
  sizes.resize(loops.size());
  std::vector<bool> known(loops.size(), false);
  SmallVector<AffineMap> maps;
  SmallVector<Value> operands;
  for (auto [i, term] : llvm::enumerate(terms)) {
    Tensor &tensor = node.in(i);
    if (tensor.rank() != int64_t(term.size()))
      return node.error() << "'" << term << "' does not fit rank "
                          << tensor.rank();
    SmallVector<AffineExpr> exprs;
    for (auto [d, c] : llvm::enumerate(term)) {
      unsigned loop = loops[c];
      exprs.push_back(b.getAffineDimExpr(loop));
      if (known[loop] &&
          failed(node.requireEqual(sizes[loop], tensor.shape[d],
                                   std::string("sizes of '") + c + "'")))
        return failure();
      if (!known[loop])
        sizes[loop] = tensor.shape[d];
      known[loop] = true;
    }
    maps.push_back(AffineMap::get(loops.size(), 0, exprs, b.getContext()));
    operands.push_back(graph.materialize(node.loc(), tensor));
  }
  Shape shape;
  SmallVector<AffineExpr> out;
  for (char c : right) {
    if (!known[loops[c]])
      return node.error() << "output letter '" << c << "' is in no operand";
    shape.push_back(sizes[loops[c]]);
    out.push_back(b.getAffineDimExpr(loops[c]));
  }
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
