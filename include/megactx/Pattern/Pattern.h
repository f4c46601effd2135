//===- Pattern.h - sparse attention patterns --------------------*- C++ -*-===//
//
// Owns patterns as users write them: names, parameters, set algebra, the
// grammar. Knows no op, no target, no offset and no row number.
//
// A pattern is a relation between a query position p and a key position k (in
// tokens), and the head h. `causal` is k <= p; `strided<stride = 128>` is
// (p - k) mod 128 = 0; `causal and (window<left = 127, right = 0> or
// strided<stride = 128>)` is one head of the Sparse Transformer
// (arXiv:1904.10509).
//
// Every name is sugar for a Boolean formula (Formula.h) over few kinds of
// atoms, which differ in what they let a kernel do:
//
//   Head   h in H           chooses heads: whole kernels' worth of work
//   Row    p < g            chooses query rows
//   Cut    k < c(p)         c non-decreasing: bounds of a key loop, closed form
//   Digit  (p mod m, k mod m) in D
//                           chooses residues: rows and keys with equal residues
//                           form a dense attention of their own on n/m rows
//   Test   t(p, k, b, h)    opaque: evaluated for each element
//
// `expand` (Piece.h) branches on Head, Row and Cut atoms and stops where none
// is left. Each leaf is a piece: an interval of keys per row, seen through a
// view of rows and keys, and a rest that is tested per element. Leaves of a
// decision tree are disjoint, so no key is ever counted twice and pieces need
// no merge. `prove` (Prove.h) shows it once more, for every length, without
// trusting the expansion; pieces that it finds empty are left out.
//
//   causal and (window<left = 2, right = 0> or strided<stride = 3>)
//
//     k = 0 1 2 3 4 5 6 7       piece 1: keys [p - 2, p + 1), every row
//   p=0   w                     piece 2: keys [0, p - 2), p = k (mod 3)
//   p=1   w w
//   p=2   w w w                 Piece 2 of the rows p = 2 (mod 3) is dense
//   p=3   s w w w               causal attention over the keys 2, 5, 8, ...
//   p=4   . s w w w
//   p=5   . . s w w w
//   p=6   s . . s w w w
//   p=7   . s . . s w w w
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_PATTERN_PATTERN_H
#define MEGACTX_PATTERN_PATTERN_H

#include "megactx/Pattern/Formula.h"
#include "llvm/ADT/Twine.h"
#include <map>
#include <optional>

namespace mlir::megactx::pattern {

/// The largest values that a pattern may name: positions and lists stay far
/// from overflow in 64-bit arithmetic.
constexpr int64_t kMaxPosition = int64_t(1) << 40;
constexpr size_t kMaxListLength = 1 << 16;
constexpr size_t kMaxAtoms = 256;
constexpr size_t kMaxTerms = 4096;

/// A parameter's value: an integer, a list of integers, a word or a condition.
struct Argument {
  enum class Kind { Integer, List, Word, Condition };
  Kind kind = Kind::Integer;
  int64_t integer = 0;
  std::vector<int64_t> list;
  std::string word;
  Expr condition;
  bool operator==(const Argument &other) const {
    return kind == other.kind && integer == other.integer &&
           list == other.list && word == other.word &&
           condition == other.condition;
  }
};
using Arguments = std::map<std::string, Argument, std::less<>>;

/// Declares one parameter of a named pattern.
struct Parameter {
  const char *name;
  Argument::Kind kind;
  /// Smallest allowed integer, also of list members.
  int64_t min = 0;
  bool required = true;
  /// Words allowed in place of an integer, or null.
  const char *word = nullptr;
};

/// One named pattern. A new one is one file in lib/Pattern/Named that
/// implements this interface, and a line each in Named/Names.def and
/// CMakeLists.txt; docs/extending.md has the rest.
class NamedPattern {
public:
  virtual ~NamedPattern() = default;
  virtual llvm::StringRef name() const = 0;
  virtual llvm::ArrayRef<Parameter> parameters() const = 0;
  /// One line: the relation, and where it comes from.
  virtual llvm::StringRef description() const = 0;
  /// The relation for a source whose rows stand `keyStep` tokens apart, or an
  /// error text (which names the parameter at fault) for values that do not fit
  /// together.
  virtual std::optional<Formula> formula(const Arguments &arguments,
                                         int64_t keyStep,
                                         std::string &error) const = 0;
  /// Tokens between the rows of each source that the pattern speaks of,
  /// ascending: more than one where it spans levels of gists.
  virtual std::vector<int64_t> keySteps(const Arguments &arguments) const {
    return {1};
  }
};

/// All named patterns, sorted by name.
llvm::ArrayRef<const NamedPattern *> namedPatterns();
const NamedPattern *findNamedPattern(llvm::StringRef name);

/// A pattern: a tree of names and set operations. Immutable, shared by value.
class Pattern {
public:
  enum class Kind { Named, And, Or, Minus, PerHead };

  /// Called with the byte offset of the fault in the text, and the message.
  using OnError = llvm::function_ref<void(size_t, const llvm::Twine &)>;

  /// `dense`.
  Pattern();

  /// Parses the grammar of docs/patterns.md. Calls `onError` once and
  /// returns nothing where the text is not a pattern.
  static std::optional<Pattern> parse(llvm::StringRef text, OnError onError);

  static Pattern conjunction(const Pattern &a, const Pattern &b);

  /// The relation as a formula, for a source of this step (tokens between
  /// rows). Parsing has checked that it exists for every step.
  Formula formula(int64_t keyStep = 1) const;

  /// The key steps of all names in the pattern, ascending.
  std::vector<int64_t> keySteps() const;

  /// An error text where a name in the pattern spans levels of gists and none
  /// of them has this step; empty otherwise.
  std::string checkKeyStep(int64_t keyStep) const;

  /// Parses back to an equal pattern.
  std::string str() const;

  bool isDense() const;
  bool operator==(const Pattern &other) const;
  bool operator!=(const Pattern &other) const { return !(*this == other); }
  friend llvm::hash_code hash_value(const Pattern &pattern) {
    return llvm::hash_value(llvm::StringRef(pattern.str()));
  }

  /// A per_head entry's heads [begin, end); end = -1 is open.
  struct HeadRange {
    int64_t begin, end;
    bool operator==(const HeadRange &o) const {
      return begin == o.begin && end == o.end;
    }
  };
  struct Node {
    Kind kind;
    const NamedPattern *named = nullptr;
    Arguments arguments;
    std::vector<Pattern> operands;
    /// PerHead by ranges; empty where entries rotate (head mod count).
    std::vector<HeadRange> ranges;
  };
  const Node &getNode() const { return *node; }

private:
  friend class PatternParser;
  explicit Pattern(Node node) : node(std::make_shared<Node>(std::move(node))) {}
  std::shared_ptr<const Node> node;
};

} // namespace mlir::megactx::pattern

#endif
