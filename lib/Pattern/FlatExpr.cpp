//===- FlatExpr.cpp - expressions as arrays -------------------------------===//

#include "FlatExpr.h"
#include <unordered_map>

using namespace mlir::megactx::pattern;

Expr mlir::megactx::pattern::bindLeaves(const Expr &e, const Rows &rows,
                                        int64_t head) {
  return e.substitute([&](const Expr &leaf) {
    switch (leaf.kind()) {
    case Expr::Kind::Head:
      return Expr::constant(head);
    case Expr::Kind::Batch:
    case Expr::Kind::Operand:
      return Expr::constant(0);
    case Expr::Kind::Symbol:
      return Expr::constant(rows.keyEnd());
    default:
      return Expr();
    }
  });
}

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

int64_t FlatExpr::operator()(const Point &point) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node &node = nodes[i];
    bool isOperator = node.args > 0 && node.kind != Expr::Kind::Operand;
    values[i] = isOperator ? node.apply(values) : evaluate(node.expr, point);
  }
  return values.back();
}
