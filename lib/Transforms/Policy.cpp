//===- Policy.cpp - which pattern for which layer and head ----------------===//

#include "megactx/Transforms/Policy.h"
#include "megactx/Support/Json.h"
#include <set>

using namespace mlir::megactx;
using llvm::StringRef;
using llvm::Twine;

static std::optional<pattern::Pattern> parsePattern(StringRef text,
                                                    std::string &error) {
  return pattern::Pattern::parse(
      text, [&](size_t offset, const Twine &message) {
        error = ("pattern: " + message + "\n  " + text + "\n  " +
                 std::string(offset, ' ') + "^")
                    .str();
      });
}

std::optional<Policy> Policy::ofPattern(StringRef text, std::string &error) {
  auto pattern = parsePattern(text, error);
  if (!pattern)
    return std::nullopt;
  Policy policy;
  Rule rule;
  rule.schedule.push_back({-1, *pattern});
  policy.rules.push_back(rule);
  return policy;
}

bool Policy::parseRange(StringRef text, Range &range) {
  text = text.trim();
  if (text == "*")
    return true;
  auto [first, last] = text.split('-');
  if (first.getAsInteger(10, range.first) || range.first < 0)
    return false;
  if (!text.contains('-'))
    range.last = range.first;
  else if (!last.empty() &&
           (last.getAsInteger(10, range.last) || range.last < range.first))
    return false;
  return true;
}

bool Policy::parseKey(StringRef key, const llvm::json::Value &value, Rule &rule,
                      std::string &error) {
  std::optional<StringRef> text = value.getAsString();
  auto fail = [&](const Twine &message) {
    error = ("'" + key + "'" + message).str();
    return false;
  };
  if (key != "layers" && key != "heads" && key != "kind") {
    error = ("unknown key '" + key +
             "', a rule has layers, heads, kind, and pattern or schedule")
                .str();
    return false;
  }
  if (!text)
    return fail(key == "kind" ? " must be a string"
                              : " must be a string: a number, a range ('0-3' "
                                "or '4-') or '*'");
  if (key == "kind") {
    rule.kind = text->str();
    return *text == "self" || *text == "cross" ||
           fail(": expected 'self' or 'cross', but got '" + *text + "'");
  }
  return parseRange(*text, key == "layers" ? rule.layers : rule.heads) ||
         fail(": cannot read '" + *text +
              "', expected a number, a range ('0-3' or '4-') or '*'");
}

bool Policy::addPattern(const llvm::json::Object &from, int64_t until,
                        Rule &rule, std::string &error) {
  std::optional<StringRef> text = from.getString("pattern");
  if (!text) {
    error = "expected a 'pattern', a string";
    return false;
  }
  auto pattern = parsePattern(*text, error);
  if (pattern)
    rule.schedule.push_back({until, *pattern});
  return pattern.has_value();
}

bool Policy::parseSchedule(const llvm::json::Array &schedule, Rule &rule,
                           std::string &error) {
  int64_t previous = -1;
  auto fail = [&](const Twine &message) {
    error = ("'schedule': " + message).str();
    return false;
  };
  for (const llvm::json::Value &value : schedule) {
    const llvm::json::Object *entry = value.getAsObject();
    if (!entry)
      return fail("expected entries that are objects");
    for (const auto &[key, ignored] : *entry)
      if (key != "until_step" && key != "pattern")
        return fail("unknown key '" + StringRef(key) +
                    "', an entry has until_step and pattern");
    bool isLast = &value == &schedule.back();
    std::optional<int64_t> until = entry->getInteger("until_step");
    if (!until && (entry->get("until_step") || !isLast))
      return fail("expected entries with an 'until_step', an integer");
    if (until && *until <= previous)
      return fail("expected entries with ascending 'until_step'");
    previous = until.value_or(previous);
    if (!addPattern(*entry, isLast ? -1 : *until, rule, error))
      return false;
  }
  return true;
}

bool Policy::parseRule(const llvm::json::Object &object, Rule &rule,
                       std::string &error) {
  for (const auto &[key, value] : object)
    if (StringRef name(key); name != "pattern" && name != "schedule" &&
                             !parseKey(name, value, rule, error))
      return false;
  const llvm::json::Value *given = object.get("schedule");
  if (!given)
    return addPattern(object, -1, rule, error);
  const llvm::json::Array *schedule = given->getAsArray();
  if (object.get("pattern") || !schedule || schedule->empty()) {
    error = "expected either a 'pattern' or a 'schedule' with entries";
    return false;
  }
  return parseSchedule(*schedule, rule, error);
}

std::optional<Policy> Policy::read(StringRef path, std::string &error) {
  std::optional<llvm::json::Value> parsed = readJson(path, "policy", error);
  if (!parsed)
    return std::nullopt;
  auto fail = [&](const Twine &message) {
    error = ("policy '" + path + "': " + message).str();
    return std::nullopt;
  };
  const llvm::json::Object *object = parsed->getAsObject();
  const llvm::json::Array *list = object ? object->getArray("rules") : nullptr;
  if (!list || object->size() != 1)
    return fail("expected an object with the one key 'rules', a list");
  Policy policy;
  policy.file = path.str();
  for (size_t i = 0; i < list->size(); ++i) {
    const llvm::json::Object *entry = (*list)[i].getAsObject();
    Rule rule;
    std::string reason = entry ? "" : "expected an object";
    if (!entry || !parseRule(*entry, rule, reason))
      return fail("rule " + Twine(i) + ": " + reason);
    policy.rules.push_back(std::move(rule));
  }
  return policy;
}

bool Policy::check(int64_t layers, std::string &error) const {
  for (size_t i = 0; i < rules.size() && !file.empty(); ++i) {
    const Range &range = rules[i].layers;
    int64_t named = std::max(range.first, range.last);
    if (named < layers || (range.first == 0 && range.last == -1))
      continue;
    error =
        ("policy '" + file + "': rule " + Twine(i) + ": layer " + Twine(named) +
         " is not there, the model has " + Twine(layers) + " layers")
            .str();
    return false;
  }
  return true;
}

std::vector<std::string>
Policy::idleRules(llvm::ArrayRef<std::pair<int64_t, StringRef>> all) const {
  std::vector<std::string> texts;
  for (auto [i, rule] : llvm::enumerate(rules)) {
    bool isIdle = llvm::none_of(all, [&rule = rule](const auto &attention) {
      return rule.layers.contains(attention.first) &&
             rule.kind == attention.second;
    });
    if (!isIdle)
      continue;
    std::string what = file.empty()
                           ? std::string("the pattern")
                           : ("policy '" + file + "': rule " + Twine(i)).str();
    texts.push_back(what + " is for " + rule.kind +
                    "-attention, and finds none");
  }
  return texts;
}

const pattern::Pattern &Policy::Rule::at(int64_t step) const {
  for (const auto &[until, pattern] : schedule)
    if (until < 0 || step < until)
      return pattern;
  return schedule.back().second;
}

std::optional<pattern::Pattern> Policy::patternFor(int64_t layer,
                                                   StringRef kind,
                                                   int64_t heads, int64_t step,
                                                   std::string &error) const {
  llvm::SmallVector<const Rule *> here;
  for (const Rule &rule : rules)
    if (rule.layers.contains(layer) && rule.kind == kind)
      here.push_back(&rule);
  if (here.empty())
    return std::nullopt;
  if (heads >= 0)
    for (const Rule *rule : here)
      if (rule->heads.first >= heads || rule->heads.last >= heads) {
        error =
            ("policy '" + file + "': rule " + Twine(rule - rules.data()) +
             ": head " + Twine(std::max(rule->heads.first, rule->heads.last)) +
             " is not there, layer " + Twine(layer) + " has " + Twine(heads) +
             " heads")
                .str();
        return std::nullopt;
      }
  const Range &last = here.back()->heads;
  if (last.first == 0 && last.last == -1)
    return here.back()->at(step);
  // Only where a range begins, or behind its end, does the pattern change.
  std::set<int64_t> cuts = {0};
  for (const Rule *rule : here) {
    cuts.insert(rule->heads.first);
    if (rule->heads.last >= 0)
      cuts.insert(rule->heads.last + 1);
  }
  llvm::SmallVector<std::pair<int64_t, std::string>> runs; // first head, text
  for (int64_t head : cuts) {
    std::string own = "dense";
    for (const Rule *rule : here)
      if (rule->heads.contains(head))
        own = rule->at(step).str();
    if (runs.empty() || runs.back().second != own)
      runs.emplace_back(head, own);
  }
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(runs[i].first);
    if (i + 1 == runs.size())
      text += "-";
    else if (runs[i + 1].first - 1 > runs[i].first)
      text += "-" + std::to_string(runs[i + 1].first - 1);
    text += ": " + runs[i].second;
  }
  return parsePattern("per_head<" + text + ">", error);
}
