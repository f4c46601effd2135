//===- FlatExpr.cpp - expressions as arrays -------------------------------===//

#include "FlatExpr.h"
#include <unordered_map>

using namespace mlir::megactx::pattern;

namespace {
struct HashOfExpr {
  size_t operator()(const Expr &e) const { return hash_value(e); }
};
using Indices = std::unordered_map<Expr, unsigned, HashOfExpr>;
} // namespace

static unsigned flatten(const Expr &e, Indices &known,
                        std::vector<FlatExpr::Node> &nodes) {
  auto found = known.find(e);
  if (found != known.end())
    return found->second;
  FlatExpr::Node node{e, e.kind(), e.value(), e.table()};
  for (const Expr &arg : e.args())
    node.arg[node.args++] = flatten(arg, known, nodes);
  nodes.push_back(std::move(node));
  return known[e] = nodes.size() - 1;
}

FlatExpr::FlatExpr(const Expr &expr) {
  Indices known;
  flatten(expr, known, nodes);
  values.resize(nodes.size());
}

int64_t FlatExpr::leafAt(const Node &node, const Point &point,
                         llvm::ArrayRef<int64_t> values) {
  switch (node.kind) {
  case Expr::Kind::Position:
    return point.p;
  case Expr::Kind::Key:
    return point.k;
  case Expr::Kind::Head:
    return point.h;
  case Expr::Kind::Batch:
    return point.b;
  case Expr::Kind::Symbol:
    return point.symbol ? point.symbol(node.expr.name()) : 0;
  case Expr::Kind::Operand:
    return point.operand ? point.operand(node.expr.name(), values[node.arg[0]])
                         : 0;
  default:
    return node.value;
  }
}

int64_t FlatExpr::operator()(const Point &point) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node &node = nodes[i];
    bool isOperator = node.args > 0 && node.kind != Expr::Kind::Operand;
    values[i] = isOperator ? node.apply(values) : leafAt(node, point, values);
  }
  return values.back();
}
