//===- EinsumRules.cpp - Einstein sums that are products of matrices ------===//

#include "Rules.h"
#include <algorithm>
#include <cctype>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// A character each: a letter, or for an axis that an ellipsis stands for its
/// number from 1, counted from the last.
using Axes = std::string;

static bool contains(const Axes &axes, char axis) {
  return axes.find(axis) != Axes::npos;
}

/// Nothing where the term is not of letters, each once, and at most one
/// ellipsis, of `hidden` axes.
static std::optional<Axes> axesOf(const std::string &term, int hidden) {
  Axes axes;
  size_t dots = term.find("...");
  for (size_t i = 0; i < term.size(); ++i) {
    if (i == dots) {
      for (int axis = hidden; axis > 0; --axis)
        axes += char(axis);
      i += 2;
      continue;
    }
    if (!std::isalpha((unsigned char)term[i]) || contains(axes, term[i]))
      return std::nullopt;
    axes += term[i];
  }
  return axes;
}

namespace {
struct Operand {
  std::string name; ///< in the rule's text
  Axes axes;
};

/// A sum over one axis of products of two operands, which are matrices beside
/// the axes that both have, or that one of them repeats.
class MatrixProduct {
public:
  explicit MatrixProduct(const Call &call) : call(call) {}

  std::string text();

private:
  bool parse();
  bool findRoles();
  std::string moved(const Operand &operand, const Axes &wanted,
                    std::string &body) const;

  const Call &call;
  Operand left, right;
  Axes out, batch;
  char rows = 0, columns = 0, summed = 0;
};
} // namespace

bool MatrixProduct::parse() {
  std::string equation = call.word("equation", "");
  equation.erase(std::remove(equation.begin(), equation.end(), ' '),
                 equation.end());
  size_t comma = equation.find(','), arrow = equation.find("->");
  if (call.countInputs() != 2 || comma == std::string::npos ||
      arrow == std::string::npos || comma > arrow)
    return false;
  std::string terms[] = {equation.substr(0, comma),
                         equation.substr(comma + 1, arrow - comma - 1)};
  int mostHidden = 0;
  for (int i : {0, 1}) {
    auto letters = axesOf(terms[i], 0);
    int hidden = letters ? call.rank(i) - int(letters->size()) : -1;
    if (hidden < 0 || hidden >= 'A' || (hidden > 0 && *letters == terms[i]))
      return false;
    (i ? right : left) = {input(i), *axesOf(terms[i], hidden)};
    mostHidden = std::max(mostHidden, hidden);
  }
  auto axes = axesOf(equation.substr(arrow + 2), mostHidden);
  if (!axes)
    return false;
  out = *axes;
  return true;
}

bool MatrixProduct::findRoles() {
  int numSummed = 0;
  for (const Axes &axes : {left.axes, right.axes})
    for (char axis : axes) {
      if (contains(out, axis))
        continue;
      if (!contains(left.axes, axis) || !contains(right.axes, axis))
        return false;
      summed = axis;
      ++numSummed; // once per operand
    }
  for (char axis : out) {
    bool isLeft = contains(left.axes, axis),
         isRight = contains(right.axes, axis);
    if (!isLeft && !isRight)
      return false;
    if (isLeft != isRight)
      (isLeft ? rows : columns) = axis;
  }
  if (numSummed != 2 || !rows || !columns)
    return false;
  if (out.find(rows) > out.find(columns)) {
    std::swap(left, right);
    std::swap(rows, columns);
  }
  for (char axis : out)
    if (axis != rows && axis != columns)
      batch += axis;
  return true;
}

/// Writes the operand with its axes in another order, and of size 1 where it
/// has none, but for leading ones; gives the name it has after that.
std::string MatrixProduct::moved(const Operand &operand, const Axes &wanted,
                                 std::string &body) const {
  std::vector<int64_t> perm, missing;
  int64_t place = 0;
  for (char axis : wanted) {
    size_t found = operand.axes.find(axis);
    if (found != Axes::npos)
      perm.push_back(int64_t(found));
    else if (!perm.empty())
      missing.push_back(place);
    place += !perm.empty();
  }
  std::string name = operand.name;
  if (!std::is_sorted(perm.begin(), perm.end())) {
    body += name + "_moved = Transpose <perm = " + listed(perm) + "> (" + name +
            ")\n";
    name += "_moved";
  }
  if (!missing.empty()) {
    body += list(name + "_axes", missing) + name + "_wide = Unsqueeze(" + name +
            ", " + name + "_axes)\n";
    name += "_wide";
  }
  return name;
}

std::string MatrixProduct::text() {
  if (!parse() || !findRoles())
    return "";
  // An axis that is summed may be one that repeats.
  auto sizeOf = [&](int i) {
    const Axes &axes = input(i) == left.name ? left.axes : right.axes;
    const auto *dim = call.dim(i, int(axes.find(summed)));
    return dim && dim->has_dim_value() ? dim->dim_value() : -1;
  };
  if (sizeOf(0) != sizeOf(1) && sizeOf(0) >= 0 && sizeOf(1) >= 0)
    return "";
  Axes made = batch + rows + columns;
  std::string body;
  std::string first = moved(left, batch + rows + summed, body);
  std::string second = moved(right, batch + summed + columns, body);
  std::string product = "MatMul(" + first + ", " + second + ")";
  std::vector<int64_t> perm;
  for (char axis : out)
    perm.push_back(int64_t(made.find(axis)));
  if (made == out)
    return body + "o0 = " + product;
  return body + "product = " + product +
         "\no0 = Transpose <perm = " + listed(perm) + "> (product)";
}

static std::string einsum(const Call &call) {
  return isReal(call.elementType(0)) ? MatrixProduct(call).text() : "";
}

void mlir::onnx::addEinsumRules(Rules &rules) { rules[".Einsum"] = einsum; }
