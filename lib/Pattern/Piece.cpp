//===- Piece.cpp - disjoint pieces of a pattern ---------------------------===//

#include "megactx/Pattern/Piece.h"
#include "ExprParser.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <map>
#include <set>

using namespace mlir::megactx::pattern;

int64_t mlir::megactx::pattern::rank(int64_t period,
                                     llvm::ArrayRef<int64_t> residues,
                                     int64_t x) {
  x = std::max<int64_t>(x, 0);
  auto below = std::lower_bound(residues.begin(), residues.end(), x % period);
  return int64_t(residues.size()) * (x / period) + (below - residues.begin());
}

int64_t mlir::megactx::pattern::unrank(int64_t period,
                                       llvm::ArrayRef<int64_t> residues,
                                       int64_t rank) {
  int64_t count = residues.size();
  return period * (rank / count) + residues[rank % count];
}

std::optional<TestBlock>
mlir::megactx::pattern::blocksOfTest(const Piece &piece) {
  constexpr int64_t least = 8;
  if (!piece.test || !piece.digits.isIdentity())
    return std::nullopt;
  TestBlock block{blockOf(piece.test, Expr::Kind::Position),
                  blockOf(piece.test, Expr::Kind::Key)};
  if (block.queries < least || block.keys < least)
    return std::nullopt;
  return block;
}

bool Piece::holds(const Point &point) const {
  if (heads && !evaluate(heads, point))
    return false;
  if (point.p < rowBegin || point.p >= rowEnd)
    return false;
  for (const Expr &bound : lo)
    if (point.k < evaluate(bound, point))
      return false;
  for (const Expr &bound : hi)
    if (point.k >= evaluate(bound, point))
      return false;
  bool residue = llvm::any_of(digits.classes, [&](const Digits::Class &c) {
    return std::binary_search(c.queries.begin(), c.queries.end(),
                              floorMod(point.p, digits.period)) &&
           std::binary_search(c.keys.begin(), c.keys.end(),
                              floorMod(point.k, digits.period));
  });
  return residue && (!test || evaluate(test, point));
}

int64_t Digits::keyRun() const {
  size_t run = classes.front().keys.size();
  auto isRun = [&](const Class &c) {
    return c.keys.size() == run &&
           c.keys.back() - c.keys.front() == int64_t(run) - 1;
  };
  return llvm::all_of(classes, isRun) ? run : 1;
}

Expr Digits::condition() const {
  if (isIdentity())
    return {};
  // classOf is 1 + the class of a query residue, 0 where it is in none.
  std::vector<int64_t> classOf(period, 0), members;
  for (size_t i = 0; i < classes.size(); ++i) {
    for (int64_t residue : classes[i].queries)
      classOf[residue] = i + 1;
    for (int64_t residue : classes[i].keys)
      members.push_back((i + 1) * period + residue);
  }
  Expr row = Expr::table(std::move(classOf), Expr::position().mod(period));
  return Expr::in(row * period + Expr::key().mod(period), std::move(members));
}

Digits Digits::transposed() const {
  // By which classes see a key residue: the residues that all of these see.
  std::map<std::vector<size_t>, std::vector<int64_t>> keysOf;
  std::vector<std::vector<size_t>> seenBy(period);
  for (size_t i = 0; i < classes.size(); ++i)
    for (int64_t residue : classes[i].keys)
      seenBy[residue].push_back(i);
  for (int64_t residue = 0; residue < period; ++residue)
    if (!seenBy[residue].empty())
      keysOf[seenBy[residue]].push_back(residue);
  Digits result;
  result.period = period;
  result.classes.clear();
  for (const auto &[indices, keys] : keysOf) {
    Class &made = result.classes.emplace_back();
    made.queries = keys;
    for (size_t i : indices)
      llvm::append_range(made.keys, classes[i].queries);
    llvm::sort(made.keys);
  }
  return result;
}

Expr Piece::condition() const {
  Expr all = heads;
  Expr p = Expr::position(), k = Expr::key();
  if (rowBegin != -kOpen)
    all = all && p.less(Expr::constant(rowBegin)).negated();
  if (rowEnd != kOpen)
    all = all && p.less(Expr::constant(rowEnd));
  for (const Expr &bound : lo)
    all = all && k.less(bound).negated();
  for (const Expr &bound : hi)
    all = all && k.less(bound);
  all = all && digits.condition() && test;
  return all ? all : Expr::constant(1);
}

bool Piece::operator==(const Piece &other) const {
  return heads == other.heads && rowBegin == other.rowBegin &&
         rowEnd == other.rowEnd && lo == other.lo && hi == other.hi &&
         digits == other.digits && test == other.test;
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// Sorted residues as runs: 0-3,7.
static void printResidues(llvm::ArrayRef<int64_t> values,
                          llvm::raw_ostream &os) {
  os << '[';
  for (size_t i = 0; i < values.size();) {
    size_t end = i + 1;
    while (end < values.size() && values[end] == values[end - 1] + 1)
      ++end;
    os << (i ? "," : "") << values[i];
    if (end - i > 1)
      os << '-' << values[end - 1];
    i = end;
  }
  os << ']';
}

std::string Piece::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto begin = [&](llvm::StringRef name) {
    os << (text.empty() ? "" : ", ") << name << '<';
  };
  auto bounds = [&](llvm::StringRef name, llvm::ArrayRef<Expr> exprs) {
    if (exprs.empty())
      return;
    begin(name);
    llvm::interleaveComma(exprs, os, [&](const Expr &e) { e.print(os); });
    os << '>';
  };
  if (heads)
    bounds("heads", heads);
  if (rowBegin != -kOpen || rowEnd != kOpen) {
    begin("rows");
    os << rowBegin << ", " << rowEnd << '>';
  }
  bounds("lo", lo);
  bounds("hi", hi);
  if (!digits.isIdentity()) {
    begin("digits");
    os << digits.period;
    for (const Digits::Class &c : digits.classes) {
      os << ", ";
      printResidues(c.queries, os);
      os << ": ";
      printResidues(c.keys, os);
    }
    os << '>';
  }
  if (test)
    bounds("test", test);
  return text.empty() ? "all" : text;
}

namespace {
class PieceParser {
public:
  PieceParser(llvm::StringRef text, Pattern::OnError onError)
      : lexer(text, onError), exprs(lexer) {}

  std::optional<Piece> parse() {
    if (!lexer.acceptWord("all"))
      do
        field();
      while (lexer.accept(","));
    if (!lexer.failed() && !lexer.atEnd())
      lexer.error("expected ',' or the end of the piece");
    if (lexer.failed())
      return std::nullopt;
    return piece;
  }

private:
  void field() {
    size_t start = lexer.position();
    llvm::StringRef name = lexer.word();
    if (!lexer.expect("<"))
      return;
    if (name == "heads") {
      piece.heads = exprs.parse();
    } else if (name == "rows") {
      piece.rowBegin = lexer.integer();
      lexer.expect(",");
      piece.rowEnd = lexer.integer();
    } else if (name == "lo" || name == "hi") {
      std::vector<Expr> &bounds = name == "lo" ? piece.lo : piece.hi;
      do
        bounds.push_back(exprs.parse());
      while (lexer.accept(","));
    } else if (name == "digits") {
      digits();
    } else if (name == "test") {
      piece.test = exprs.parse();
    } else {
      lexer.errorAt(start, "expected heads, rows, lo, hi, digits or test");
    }
    lexer.expect(">");
  }

  void digits() {
    size_t start = lexer.position();
    Digits &digits = piece.digits;
    digits.classes.clear();
    digits.period = lexer.integer();
    if (digits.period < 1 || digits.period > kMaxPeriod) {
      lexer.errorAt(start, "expected a period between 1 and " +
                               llvm::Twine(kMaxPeriod));
      return;
    }
    std::set<int64_t> seen;
    while (lexer.accept(",")) {
      Digits::Class residues;
      residueList(residues.queries);
      if (!llvm::all_of(residues.queries,
                        [&](int64_t q) { return seen.insert(q).second; }))
        lexer.errorAt(start, "expected each query residue in one class");
      lexer.expect(":");
      residueList(residues.keys);
      digits.classes.push_back(std::move(residues));
    }
    if (digits.classes.empty())
      lexer.error("expected a class of residues");
  }

  void residueList(std::vector<int64_t> &values) {
    size_t start = lexer.position();
    if (!lexer.expect("["))
      return;
    do {
      int64_t first = lexer.integer(), last = first;
      if (lexer.accept("-"))
        last = lexer.integer();
      int64_t above = values.empty() ? -1 : values.back();
      if (!lexer.failed() &&
          (first <= above || last < first || last >= piece.digits.period)) {
        lexer.errorAt(start, "expected residues that ascend below the period");
        return;
      }
      for (int64_t v = first; v <= last && !lexer.failed(); ++v)
        values.push_back(v);
    } while (lexer.accept(","));
    lexer.expect("]");
  }

  Lexer lexer;
  ExprParser exprs;
  Piece piece;
};
} // namespace

std::optional<Piece> Piece::parse(llvm::StringRef text,
                                  Pattern::OnError onError) {
  return PieceParser(text, onError).parse();
}
