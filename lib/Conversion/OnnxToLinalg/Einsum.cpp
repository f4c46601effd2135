//===- Einsum.cpp - Einstein sums and convolutions ------------------------===//

#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <map>

using namespace mlir;
using namespace mlir::megactx;

/// Adds the product of all operands to the accumulator.
static void multiplyAdd(OpBuilder &b, Location loc, ValueRange args) {
  bool isFloat = isa<FloatType>(args[0].getType());
  auto any = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  Value product = args[0];
  for (Value x : args.drop_front().drop_back())
    product = isFloat ? arith::MulFOp::create(b, loc, product, x).getResult()
                      : arith::MulIOp::create(b, loc, product, x).getResult();
  Value sum =
      isFloat
          ? arith::AddFOp::create(b, loc, args.back(), product, any).getResult()
          : arith::AddIOp::create(b, loc, args.back(), product).getResult();
  linalg::YieldOp::create(b, loc, sum);
}

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
      if (known[loop] && sizes[loop] != tensor.shape[d])
        graph.check(
            node.loc(),
            graph.ix.condition(node.loc(),
                               graph.ix.compare(node.loc(), Compare::Eq,
                                                sizes[loop], tensor.shape[d])),
            "operands of Einsum disagree on a size");
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
  Value init =
      graph.filled(node.loc(), shape, cast<TypedAttr>(b.getZeroAttr(type)));
  auto op = linalg::GenericOp::create(b, node.loc(), TypeRange{init.getType()},
                                      operands, ValueRange{init}, maps,
                                      iterators, multiplyAdd);
  node.set(0, graph.wrap(op.getResult(0), shape));
  return success();
}

void mlir::megactx::registerEinsum(Registry &registry) {
  registry["Einsum"] = lowerEinsum;
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

/// What is padded before each spatial axis, then after each.
static FailureOr<Shape> padsOf(Node &node, ArrayRef<int64_t> strides,
                               ArrayRef<int64_t> dilations) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  size_t rank = strides.size();
  StringRef rule = node.string("auto_pad", "NOTSET");
  Shape pads(2 * rank, IndexExpr(0));
  if (auto given = node.integers("pads"); given && rule == "NOTSET") {
    if (given->size() != 2 * rank ||
        llvm::any_of(*given, [](int64_t pad) { return pad < 0; }))
      return node.error() << "expected two pads of at least 0 per axis";
    for (auto [pad, number] : llvm::zip_equal(pads, *given))
      pad = IndexExpr(number);
  }
  if (!rule.starts_with("SAME"))
    return pads;
  for (size_t i = 0; i < rank; ++i) {
    const IndexExpr &size = node.in(0).shape[2 + i];
    IndexExpr span =
        (node.in(1).shape[2 + i] - IndexExpr(1)) * IndexExpr(dilations[i]);
    IndexExpr last =
        ix.floorDiv(loc, size - IndexExpr(1), IndexExpr(strides[i]));
    IndexExpr all =
        ix.max(loc, last * IndexExpr(strides[i]) + span + IndexExpr(1) - size,
               IndexExpr(0));
    IndexExpr less = ix.floorDiv(loc, all, IndexExpr(2));
    pads[i] = rule == "SAME_LOWER" ? all - less : less;
    pads[rank + i] = all - pads[i];
  }
  return pads;
}

/// x [N, C, spatial], w [M, C / group, kernel] -> [N, M, spatial], groups by a
/// loop of their own; padding by an explicit pad.
static LogicalResult lowerConv(Node &node) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Tensor &x = node.in(0), &w = node.in(1);
  int64_t rank = x.rank() - 2;
  auto ones = SmallVector<int64_t>(std::max<int64_t>(rank, 0), 1);
  auto strides = node.integers("strides").value_or(ones);
  auto dilations = node.integers("dilations").value_or(ones);
  if (rank < 1 || w.rank() != x.rank() || node.integer("group", 1) != 1 ||
      int64_t(strides.size()) != rank || int64_t(dilations.size()) != rank ||
      !isa<FloatType>(x.elementType))
    return node.error() << "expected one group and float operands of one rank";
  auto pads = padsOf(node, strides, dilations);
  if (failed(pads))
    return failure();
  Value data = graph.materialize(loc, x);
  Shape padded = x.shape;
  if (!llvm::all_of(*pads, [](const IndexExpr &pad) { return pad.is(0); })) {
    SmallVector<OpFoldResult> low(2, b.getIndexAttr(0)), high(low);
    for (int64_t i = 0; i < rank; ++i) {
      const IndexExpr &before = (*pads)[i], &after = (*pads)[rank + i];
      low.push_back(graph.ix.fold(loc, before));
      high.push_back(graph.ix.fold(loc, after));
      padded[2 + i] = padded[2 + i] + before + after;
    }
    Value zero = arith::ConstantOp::create(
        b, loc, cast<TypedAttr>(b.getZeroAttr(x.elementType)));
    data = tensor::PadOp::create(b, loc, graph.typeOf(padded, x.elementType),
                                 data, low, high, zero);
  }
  // Loops: n, m, spatial..., then c, kernel...
  unsigned loops = 2 * rank + 3;
  auto dim = [&](unsigned i) { return b.getAffineDimExpr(i); };
  unsigned channel = 2 + rank;
  SmallVector<AffineExpr> inMap = {dim(0), dim(channel)},
                          kernelMap = {dim(1), dim(channel)},
                          outMap = {dim(0), dim(1)};
  Shape shape = {x.shape[0], w.shape[0]};
  for (int64_t i = 0; i < rank; ++i) {
    inMap.push_back(dim(2 + i) * strides[i] +
                    dim(channel + 1 + i) * dilations[i]);
    kernelMap.push_back(dim(channel + 1 + i));
    outMap.push_back(dim(2 + i));
    IndexExpr span = (w.shape[2 + i] - IndexExpr(1)) * IndexExpr(dilations[i]);
    IndexExpr free = padded[2 + i] - span - IndexExpr(1);
    shape.push_back(graph.ix.floorDiv(loc, free, IndexExpr(strides[i])) +
                    IndexExpr(1));
  }
  SmallVector<utils::IteratorType> iterators(loops,
                                             utils::IteratorType::reduction);
  std::fill_n(iterators.begin(), channel, utils::IteratorType::parallel);
  auto map = [&](ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(loops, 0, exprs, b.getContext());
  };
  Value init =
      graph.filled(loc, shape, cast<TypedAttr>(b.getZeroAttr(x.elementType)));
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{init.getType()},
      ValueRange{data, graph.materialize(loc, w)}, ValueRange{init},
      {map(inMap), map(kernelMap), map(outMap)}, iterators, multiplyAdd);
  Tensor result = graph.wrap(op.getResult(0), shape);
  if (node.has(2)) {
    Shape column = {node.in(2).shape[0]};
    column.append(rank, IndexExpr(1));
    Tensor bias = graph.reshape(loc, node.in(2), column);
    result = graph.map(
        loc, {&result, &bias}, shape, x.elementType,
        [](OpBuilder &nested, Location l, ValueRange args) {
          return Value(arith::AddFOp::create(nested, l, args[0], args[1]));
        });
  }
  node.set(0, result);
  return success();
}

void mlir::megactx::registerConv(Registry &registry) {
  registry["Conv"] = lowerConv;
}
