//===- PatternParser.cpp - the grammar of patterns ------------------------===//
//
//   pattern  ::= and-expr (`or` and-expr)*
//   and-expr ::= primary ((`and` | `minus`) primary)*
//   primary  ::= `(` pattern `)` | per-head | name (`<` arguments `>`)?
//   per-head ::= `per_head` `<` `[` pattern,* `]` `>`
//              | `per_head` `<` (first `-` last? | head) `:` pattern,* `>`
//
//===----------------------------------------------------------------------===//

#include "ExprParser.h"
#include "megactx/Pattern/Pattern.h"
#include <algorithm>

using namespace mlir::megactx::pattern;

namespace mlir::megactx::pattern {
class PatternParser {
public:
  PatternParser(llvm::StringRef text, Pattern::OnError onError)
      : lexer(text, onError) {}

  std::optional<Pattern> parse() {
    std::optional<Pattern> result = alternatives();
    if (result && !lexer.atEnd())
      lexer.error("expected 'and', 'or', 'minus' or the end of the pattern" +
                  otherOperator());
    if (!result || lexer.failed())
      return std::nullopt;
    if (result->formula().atoms().size() > kMaxAtoms) {
      lexer.errorAt(0, "pattern has more than " + llvm::Twine(kMaxAtoms) +
                           " distinct conditions");
      return std::nullopt;
    }
    return result;
  }

private:
  static Pattern make(Pattern::Kind kind, std::vector<Pattern> operands) {
    return Pattern(Pattern::Node{kind, nullptr, {}, std::move(operands), {}});
  }

  std::optional<Pattern> alternatives() {
    if (!lexer.enter())
      return std::nullopt;
    std::optional<Pattern> result = conjunction();
    while (result && lexer.acceptWord("or")) {
      std::optional<Pattern> next = conjunction();
      if (!next)
        return std::nullopt;
      result = make(Pattern::Kind::Or, {*result, *next});
    }
    lexer.leave();
    return result;
  }

  std::optional<Pattern> conjunction() {
    std::optional<Pattern> result = primary();
    while (result) {
      bool isMinus = lexer.peekWord() == "minus";
      if (!isMinus && lexer.peekWord() != "and")
        break;
      lexer.word();
      std::optional<Pattern> next = primary();
      if (!next)
        return std::nullopt;
      result = make(isMinus ? Pattern::Kind::Minus : Pattern::Kind::And,
                    {*result, *next});
    }
    return result;
  }

  std::optional<Pattern> primary() {
    // Operators chain to the left, and what reads them recurses.
    if (++terms > kMaxTerms) {
      lexer.error("pattern has more than " + llvm::Twine(kMaxTerms) + " terms");
      return std::nullopt;
    }
    if (lexer.accept("(")) {
      std::optional<Pattern> result = alternatives();
      if (!result || !close(")"))
        return std::nullopt;
      return result;
    }
    size_t start = lexer.position();
    llvm::StringRef name = lexer.word();
    if (name.empty()) {
      lexer.error("expected a pattern" +
                  otherWord({{"!", "dense minus"}, {"~", "dense minus"}}));
      return std::nullopt;
    }
    if (name == "per_head")
      return perHead();
    const NamedPattern *named = findNamedPattern(name);
    if (!named) {
      lexer.errorAt(start, "unknown pattern '" + name + "'" + suggest(name));
      return std::nullopt;
    }
    return namedPattern(*named, start);
  }

  using Words =
      llvm::ArrayRef<std::pair<llvm::StringLiteral, llvm::StringLiteral>>;

  /// What to write for what comes next, a word or a symbol, where `words` has
  /// that for it; longer symbols first.
  std::string otherWord(Words words) const {
    llvm::StringRef next = lexer.peekWord();
    for (const auto &[other, word] : words) {
      if (next.empty() && lexer.rest().starts_with(other))
        next = other;
      if (next.equals_insensitive(other))
        return (", did you mean '" + word + "' for '" + next + "'?").str();
    }
    return "";
  }
  /// Where an operator may stand: what other languages write.
  std::string otherOperator() const {
    return otherWord({{"&&", "and"},
                      {"&", "and"},
                      {"and", "and"},
                      {"||", "or"},
                      {"|", "or"},
                      {"+", "or"},
                      {"or", "or"},
                      {"-", "minus"},
                      {"minus", "minus"}});
  }
  bool close(llvm::StringRef symbol) {
    return lexer.accept(symbol) ||
           lexer.error("expected '" + symbol + "'" + otherOperator());
  }

  static std::string suggest(llvm::StringRef name) {
    if (name.equals_insensitive("not"))
      return (", did you mean 'dense minus' for '" + name + "'?").str();
    unsigned best = 4;
    llvm::StringRef nearest;
    auto consider = [&](llvm::StringRef candidate) {
      unsigned distance = name.edit_distance_insensitive(candidate, true, best);
      if (distance < best) {
        best = distance;
        nearest = candidate;
      }
    };
    for (const NamedPattern *known : namedPatterns())
      consider(known->name());
    consider("per_head");
    return nearest.empty() ? "" : (", did you mean '" + nearest + "'?").str();
  }

  std::optional<Pattern> namedPattern(const NamedPattern &named, size_t start) {
    Arguments arguments;
    if (lexer.accept("<")) {
      if (!lexer.accept(">")) {
        do {
          if (!argument(named, arguments))
            return std::nullopt;
        } while (lexer.accept(","));
        if (!lexer.accept(">")) {
          lexer.error("expected ',' or '>'");
          return std::nullopt;
        }
      }
    } else if (!named.parameters().empty() && lexer.rest().starts_with("(")) {
      lexer.error("expected '<', but got '('");
      return std::nullopt;
    }
    if (lexer.failed())
      return std::nullopt;
    for (const Parameter &parameter : named.parameters()) {
      if (!parameter.required || arguments.count(parameter.name))
        continue;
      lexer.errorAt(start, "'" + named.name() + "' needs a value for '" +
                               parameter.name + "'");
      return std::nullopt;
    }
    std::string error;
    if (!named.formula(arguments, 1, error)) {
      lexer.errorAt(start, error);
      return std::nullopt;
    }
    return Pattern(Pattern::Node{
        Pattern::Kind::Named, &named, std::move(arguments), {}, {}});
  }

  bool argument(const NamedPattern &named, Arguments &arguments) {
    size_t start = lexer.position();
    llvm::StringRef name = lexer.word();
    llvm::ArrayRef<Parameter> parameters = named.parameters();
    const Parameter *parameter =
        std::find_if(parameters.begin(), parameters.end(),
                     [&](const Parameter &p) { return name == p.name; });
    if (parameter == parameters.end()) {
      std::string known;
      for (const Parameter &p : parameters)
        known += std::string(known.empty() ? "" : ", ") + p.name;
      if (name.empty() && !known.empty())
        return lexer.errorAt(start, "expected the name of a parameter; '" +
                                        named.name() + "' has " + known);
      return lexer.errorAt(
          start, "'" + named.name() + "' has no parameter '" + name + "'" +
                     (known.empty() ? "" : "; it has " + known));
    }
    if (arguments.count(name))
      return lexer.errorAt(start, "'" + name + "' is given twice");
    if (!lexer.expect("="))
      return false;
    Argument value;
    if (!argumentValue(*parameter, value))
      return false;
    arguments[name.str()] = std::move(value);
    return true;
  }

  bool argumentValue(const Parameter &parameter, Argument &value) {
    value.kind = parameter.kind;
    if (parameter.kind == Argument::Kind::List)
      return list(parameter, value.list);
    if (parameter.kind == Argument::Kind::Condition) {
      value.condition = ExprParser(lexer).parse();
      return !lexer.failed();
    }
    if (parameter.word && lexer.acceptWord(parameter.word)) {
      value.kind = Argument::Kind::Word;
      value.word = parameter.word;
      return true;
    }
    return integer(parameter, value.integer);
  }

  bool integer(const Parameter &parameter, int64_t &value) {
    size_t start = lexer.position();
    value = lexer.integer();
    if (lexer.failed())
      return false;
    if (value < parameter.min || value > kMaxPosition)
      return lexer.errorAt(start, llvm::Twine("expected '") + parameter.name +
                                      "' between " +
                                      llvm::Twine(parameter.min) + " and " +
                                      llvm::Twine(kMaxPosition) + ", but got " +
                                      llvm::Twine(value));
    return true;
  }

  bool list(const Parameter &parameter, std::vector<int64_t> &values) {
    if (!lexer.expect("["))
      return false;
    if (lexer.accept("]"))
      return true;
    do {
      int64_t value;
      if (!integer(parameter, value))
        return false;
      if (values.size() == kMaxListLength)
        return lexer.error("list of more than " + llvm::Twine(kMaxListLength) +
                           " values");
      values.push_back(value);
    } while (lexer.accept(","));
    return lexer.expect("]");
  }

  std::optional<Pattern> perHead() {
    if (!lexer.enter() || !lexer.expect("<"))
      return std::nullopt;
    Pattern::Node node{Pattern::Kind::PerHead, nullptr, {}, {}, {}};
    bool rotating = lexer.accept("[");
    do {
      size_t start = lexer.position();
      if (!rotating && !headRange(node.ranges, start))
        return std::nullopt;
      std::optional<Pattern> entry = alternatives();
      if (!entry)
        return std::nullopt;
      node.operands.push_back(*entry);
    } while (lexer.accept(","));
    if (rotating && !close("]"))
      return std::nullopt;
    if (!rotating && node.ranges.back().end != -1) {
      lexer.error("the last range must be open, as in '4-', so that every head "
                  "has a pattern");
      return std::nullopt;
    }
    if (!close(">"))
      return std::nullopt;
    lexer.leave();
    return Pattern(std::move(node));
  }

  bool headRange(std::vector<Pattern::HeadRange> &ranges, size_t start) {
    int64_t first = lexer.integer(), last = first;
    if (lexer.accept("-"))
      last = lexer.startsInteger() ? lexer.integer() : -1;
    if (lexer.failed() || !lexer.expect(":"))
      return false;
    int64_t expected = ranges.empty() ? 0 : ranges.back().end;
    if (expected == -1)
      return lexer.errorAt(start, "range after the open one");
    if (first != expected)
      return lexer.errorAt(start, "expected the range to start at head " +
                                      llvm::Twine(expected) +
                                      " (ranges cover every head, once)");
    if (last != -1 && (last < first || last > kMaxPosition))
      return lexer.errorAt(start, "expected the range's last head to be at "
                                  "least its first");
    ranges.push_back({first, last == -1 ? -1 : last + 1});
    return true;
  }

  Lexer lexer;
  size_t terms = 0;
};
} // namespace mlir::megactx::pattern

std::optional<Pattern> Pattern::parse(llvm::StringRef text, OnError onError) {
  return PatternParser(text, onError).parse();
}
