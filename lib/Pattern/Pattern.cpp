//===- Pattern.cpp - sparse attention patterns ----------------------------===//

#include "megactx/Pattern/Pattern.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir::megactx::pattern;

Pattern::Pattern()
    : Pattern(Node{Kind::Named, findNamedPattern("dense"), {}, {}, {}}) {}

Pattern Pattern::conjunction(const Pattern &a, const Pattern &b) {
  if (a.isDense() || a == b)
    return b;
  if (b.isDense())
    return a;
  return Pattern(Node{Kind::And, nullptr, {}, {a, b}, {}});
}

bool Pattern::isDense() const {
  return node->kind == Kind::Named && node->named->name() == "dense";
}

static Formula perHead(const Pattern::Node &node, int64_t keyStep) {
  Formula result(false);
  for (auto [index, entry] : llvm::enumerate(node.operands)) {
    Expr head = Expr::head();
    Expr chosen;
    if (node.ranges.empty()) {
      chosen =
          head.mod(node.operands.size()).equals(Expr::constant(int64_t(index)));
    } else {
      Pattern::HeadRange range = node.ranges[index];
      chosen = head.less(Expr::constant(range.begin)).negated();
      if (range.end != -1)
        chosen = chosen && head.less(Expr::constant(range.end));
    }
    // One entry alone needs no choice.
    Formula here =
        node.operands.size() == 1 ? Formula(true) : Formula::head(chosen);
    result = result || (here && entry.formula(keyStep));
  }
  return result;
}

Formula Pattern::formula(int64_t keyStep) const {
  switch (node->kind) {
  case Kind::Named: {
    std::string error;
    return node->named->formula(node->arguments, keyStep, error)
        .value_or(Formula(false));
  }
  case Kind::And:
    return node->operands[0].formula(keyStep) &&
           node->operands[1].formula(keyStep);
  case Kind::Or:
    return node->operands[0].formula(keyStep) ||
           node->operands[1].formula(keyStep);
  case Kind::Minus:
    return node->operands[0].formula(keyStep).minus(
        node->operands[1].formula(keyStep));
  case Kind::PerHead:
    return perHead(*node, keyStep);
  }
  llvm_unreachable("every kind is handled above");
}

std::vector<int64_t> Pattern::keySteps() const {
  std::vector<int64_t> steps;
  if (node->kind == Kind::Named)
    steps = node->named->keySteps(node->arguments);
  for (const Pattern &operand : node->operands)
    llvm::append_range(steps, operand.keySteps());
  llvm::sort(steps);
  steps.erase(llvm::unique(steps), steps.end());
  return steps;
}

std::string Pattern::checkKeyStep(int64_t keyStep) const {
  if (node->kind == Kind::Named) {
    std::vector<int64_t> steps = node->named->keySteps(node->arguments);
    if (steps.size() < 2 || llvm::is_contained(steps, keyStep))
      return "";
    std::string text;
    llvm::raw_string_ostream os(text);
    os << "expected a key step that is one of ";
    llvm::interleaveComma(steps, os);
    os << ", of '" << str() << "', but got " << keyStep;
    return text;
  }
  for (const Pattern &operand : node->operands)
    if (std::string error = operand.checkKeyStep(keyStep); !error.empty())
      return error;
  return "";
}

static void printNamed(const Pattern::Node &node, llvm::raw_ostream &os) {
  os << node.named->name();
  if (node.arguments.empty())
    return;
  os << '<';
  bool first = true;
  for (const Parameter &parameter : node.named->parameters()) {
    auto found = node.arguments.find(parameter.name);
    if (found == node.arguments.end())
      continue;
    os << (first ? "" : ", ") << parameter.name << " = ";
    first = false;
    const Argument &value = found->second;
    if (value.kind == Argument::Kind::Word) {
      os << value.word;
    } else if (value.kind == Argument::Kind::Integer) {
      os << value.integer;
    } else if (value.kind == Argument::Kind::Condition) {
      value.condition.print(os);
    } else {
      os << '[';
      llvm::interleaveComma(value.list, os);
      os << ']';
    }
  }
  os << '>';
}

static void print(const Pattern &pattern, llvm::raw_ostream &os);

static void printPerHead(const Pattern::Node &node, llvm::raw_ostream &os) {
  os << "per_head<" << (node.ranges.empty() ? "[" : "");
  for (auto [index, entry] : llvm::enumerate(node.operands)) {
    os << (index ? ", " : "");
    if (!node.ranges.empty()) {
      Pattern::HeadRange range = node.ranges[index];
      os << range.begin;
      if (range.end == -1)
        os << '-';
      else if (range.end != range.begin + 1)
        os << '-' << range.end - 1;
      os << ": ";
    }
    print(entry, os);
  }
  os << (node.ranges.empty() ? "]>" : ">");
}

/// Both operands of a set operation get parentheses where they are `or`; the
/// right one also where it is `and` or `minus`, since those bind to the left.
static void print(const Pattern &pattern, llvm::raw_ostream &os) {
  using Kind = Pattern::Kind;
  const Pattern::Node &node = pattern.getNode();
  if (node.kind == Kind::Named)
    return printNamed(node, os);
  if (node.kind == Kind::PerHead)
    return printPerHead(node, os);
  auto operand = [&](const Pattern &p, bool isRight) {
    Kind kind = p.getNode().kind;
    bool compound = kind != Kind::Named && kind != Kind::PerHead;
    bool parens = node.kind == Kind::Or
                      ? isRight && kind == Kind::Or
                      : compound && (isRight || kind == Kind::Or);
    os << (parens ? "(" : "");
    print(p, os);
    os << (parens ? ")" : "");
  };
  operand(node.operands[0], false);
  os << (node.kind == Kind::And  ? " and "
         : node.kind == Kind::Or ? " or "
                                 : " minus ");
  operand(node.operands[1], true);
}

std::string Pattern::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(*this, os);
  return text;
}

bool Pattern::operator==(const Pattern &other) const {
  if (node == other.node)
    return true;
  return node->kind == other.node->kind && node->named == other.node->named &&
         node->arguments == other.node->arguments &&
         node->operands == other.node->operands &&
         node->ranges == other.node->ranges;
}
