//===- ExprParser.cpp - reading back expressions --------------------------===//

#include "ExprParser.h"
#include "megactx/Pattern/Pattern.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

Expr ExprParser::parse() {
  Expr left = every();
  while (lexer.acceptWord("or"))
    left = left || every();
  return left;
}

Expr ExprParser::every() {
  Expr left = comparison();
  while (lexer.acceptWord("and"))
    left = left && comparison();
  return left;
}

Expr ExprParser::comparison() {
  Expr left = sum();
  if (lexer.accept("=="))
    return left.equals(sum());
  if (lexer.acceptWord("ne"))
    return left.equals(sum()).negated();
  if (lexer.acceptWord("lt"))
    return left.less(sum());
  if (lexer.acceptWord("ge"))
    return left.less(sum()).negated();
  if (lexer.acceptWord("gt"))
    return sum().less(left);
  if (lexer.acceptWord("le"))
    return sum().less(left).negated();
  return left;
}

Expr ExprParser::sum() {
  Expr left = product();
  while (true) {
    if (lexer.accept("+"))
      left = left + product();
    else if (lexer.accept("-"))
      left = left - product();
    else
      return left;
  }
}

Expr ExprParser::product() {
  Expr left = operand();
  while (true) {
    if (lexer.accept("*"))
      left = left * operand();
    else if (lexer.acceptWord("floordiv"))
      left = divided(left, false);
    else if (lexer.acceptWord("mod"))
      left = divided(left, true);
    else
      return left;
  }
}

Expr ExprParser::divided(const Expr &value, bool isMod) {
  size_t start = lexer.position();
  Expr divisor = operand();
  if (divisor.isConstant() && divisor.value() < 1) {
    lexer.errorAt(start, "expected a positive divisor");
    return Expr::constant(0);
  }
  return isMod ? value.mod(divisor) : value.floorDiv(divisor);
}

Expr ExprParser::operand() {
  Expr zero = Expr::constant(0);
  // Operators chain to the left, and what reads them recurses.
  if (++operands > kMaxTerms)
    lexer.error("expression has more than " + llvm::Twine(kMaxTerms) +
                " operands");
  if (!lexer.enter())
    return zero;
  Expr result = zero;
  if (lexer.startsInteger()) {
    result = Expr::constant(lexer.integer());
  } else if (lexer.accept("(")) {
    result = parse();
    lexer.expect(")");
  } else {
    llvm::StringRef name = lexer.word();
    if (name.empty())
      lexer.error("expected an expression");
    else if (lexer.accept("("))
      result = call(name);
    else if (lexer.accept("[")) {
      result = Expr::operand(name, parse());
      lexer.expect("]");
    } else if (name == "p")
      result = Expr::position();
    else if (name == "k")
      result = Expr::key();
    else if (name == "h")
      result = Expr::head();
    else if (name == "b")
      result = Expr::batch();
    else if (name == "nk")
      result = Expr::symbol(name);
    else
      lexer.error("unknown name '" + name + "'");
  }
  lexer.leave();
  return lexer.failed() ? zero : result;
}

Expr ExprParser::call(llvm::StringRef function) {
  Expr result = Expr::constant(0);
  if (function == "not") {
    result = parse().negated();
  } else if (function == "min" || function == "max") {
    Expr first = parse();
    lexer.expect(",");
    Expr second = parse();
    result =
        function == "min" ? Expr::min(first, second) : Expr::max(first, second);
  } else if (function == "hash") {
    int64_t seed = lexer.integer();
    lexer.expect(",");
    Expr first = parse();
    lexer.expect(",");
    result = Expr::hash(seed, first, parse());
  } else if (function == "table" || function == "in") {
    result = withList(function);
  } else {
    lexer.error("unknown function '" + function + "'");
  }
  lexer.expect(")");
  return result;
}

Expr ExprParser::withList(llvm::StringRef function) {
  std::vector<int64_t> values;
  lexer.expect("[");
  do
    values.push_back(lexer.integer());
  while (!lexer.failed() && lexer.accept(","));
  lexer.expect("]");
  lexer.expect(",");
  Expr index = parse();
  if (function == "in" && !std::is_sorted(values.begin(), values.end()))
    lexer.error("expected a sorted list");
  return function == "in" ? Expr::in(index, std::move(values))
                          : Expr::table(std::move(values), index);
}
