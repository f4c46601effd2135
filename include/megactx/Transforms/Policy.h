//===- Policy.h - which pattern for which layer and head --------*- C++ -*-===//
//
// Owns the policy file:
//
//   {"rules": [{"layers": "0-3", "heads": "*", "pattern": "…"},
//              {"layers": "4-", "schedule": [{"until_step": 1000,
//                                             "pattern": "…"}, …]}]}
//
// Layers are attentions in graph order, from 0. A rule without "kind" is for
// self-attention; "kind": "cross" is for cross-attention. Of several rules for
// one head the last holds; a head that no rule names keeps its pattern.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_POLICY_H
#define MEGACTX_TRANSFORMS_POLICY_H

#include "megactx/Pattern/Pattern.h"
#include "llvm/ADT/SmallVector.h"

namespace llvm::json {
class Array;
class Object;
class Value;
} // namespace llvm::json

namespace mlir::megactx {

class Policy {
public:
  /// One pattern for all self-attention layers, or an error text with a caret.
  static std::optional<Policy> ofPattern(llvm::StringRef text,
                                         std::string &error);
  /// Reads a policy file, or gives an error text that names the file.
  static std::optional<Policy> read(llvm::StringRef path, std::string &error);

  /// Whether every layer that a rule names is there.
  bool check(int64_t layers, std::string &error) const;

  /// A text for each rule that is for none of the attentions, each a layer and
  /// a kind.
  std::vector<std::string>
  idleRules(llvm::ArrayRef<std::pair<int64_t, llvm::StringRef>> all) const;

  /// The pattern of a layer at a training step; nothing where no rule is for
  /// it. `heads` is negative where the model does not fix it.
  std::optional<pattern::Pattern> patternFor(int64_t layer,
                                             llvm::StringRef kind,
                                             int64_t heads, int64_t step,
                                             std::string &error) const;

private:
  /// Inclusive; last = -1 is open.
  struct Range {
    int64_t first = 0, last = -1;
    bool contains(int64_t i) const {
      return i >= first && (last < 0 || i <= last);
    }
  };
  struct Rule {
    Range layers, heads;
    std::string kind = "self";
    /// {until step, pattern}; the last entry has no end (-1).
    llvm::SmallVector<std::pair<int64_t, pattern::Pattern>> schedule;
    const pattern::Pattern &at(int64_t step) const;
  };
  static bool parseRange(llvm::StringRef text, Range &range);
  static bool parseKey(llvm::StringRef key, const llvm::json::Value &value,
                       Rule &rule, std::string &error);
  static bool addPattern(const llvm::json::Object &from, int64_t until,
                         Rule &rule, std::string &error);
  static bool parseSchedule(const llvm::json::Array &schedule, Rule &rule,
                            std::string &error);
  static bool parseRule(const llvm::json::Object &object, Rule &rule,
                        std::string &error);

  std::string file; ///< for messages; empty for a single pattern
  llvm::SmallVector<Rule> rules;
};

} // namespace mlir::megactx

#endif
