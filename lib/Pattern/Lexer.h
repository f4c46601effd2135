//===- Lexer.h - tokens of patterns and pieces ------------------*- C++ -*-===//
//
// Owns the tokens that patterns, expressions and pieces are written in.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_LEXER_H
#define MEGACTX_LIB_PATTERN_LEXER_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include <cstdint>

namespace mlir::megactx::pattern {

/// A cursor over text. Reports the first error only; afterwards nothing
/// matches, so callers need not test after each step.
class Lexer {
public:
  using OnError = llvm::function_ref<void(size_t, const llvm::Twine &)>;
  Lexer(llvm::StringRef text, OnError onError) : text(text), onError(onError) {
    skipBlanks();
  }

  bool failed() const { return hasFailed; }
  size_t position() const { return at; }
  bool atEnd() const { return at == text.size(); }
  llvm::StringRef rest() const { return text.substr(at); }

  /// Consumes the punctuation if it comes next.
  bool accept(llvm::StringRef symbol) {
    if (hasFailed || !text.substr(at).starts_with(symbol))
      return false;
    at += symbol.size();
    skipBlanks();
    return true;
  }
  bool expect(llvm::StringRef symbol) {
    return accept(symbol) || error("expected '" + symbol + "'");
  }

  /// The word that comes next, without consuming it.
  llvm::StringRef peekWord() const {
    if (hasFailed || atEnd() || !(llvm::isAlpha(text[at]) || text[at] == '_'))
      return {};
    return text.substr(at).take_while(
        [](char c) { return llvm::isAlnum(c) || c == '_'; });
  }
  llvm::StringRef word() {
    llvm::StringRef result = peekWord();
    at += result.size();
    skipBlanks();
    return result;
  }
  bool acceptWord(llvm::StringRef wanted) {
    return peekWord() == wanted && (word(), true);
  }

  bool startsInteger() const {
    return !hasFailed && !atEnd() &&
           (llvm::isDigit(text[at]) ||
            (text[at] == '-' && at + 1 < text.size() &&
             llvm::isDigit(text[at + 1])));
  }
  /// An integer of magnitude up to 2^63 - 1.
  int64_t integer() {
    if (!startsInteger())
      return error("expected an integer"), 0;
    size_t start = at;
    size_t end = at + 1;
    while (end < text.size() && llvm::isDigit(text[end]))
      ++end;
    if (text.substr(end).starts_with(".") &&
        text.substr(end + 1).take_while(llvm::isDigit).size())
      return error("expected an integer, but got a fraction"), 0;
    int64_t value = 0;
    if (text.slice(start, end).getAsInteger(10, value))
      return error("integer out of range"), 0;
    at = end;
    skipBlanks();
    return value;
  }

  bool error(const llvm::Twine &message) { return errorAt(at, message); }
  bool errorAt(size_t offset, const llvm::Twine &message) {
    if (!hasFailed)
      onError(offset, message);
    hasFailed = true;
    return false;
  }

  /// Guards against stack exhaustion by nesting.
  bool enter() {
    return ++depth <= 200 || error("nested more than 200 levels deep");
  }
  void leave() { --depth; }

private:
  void skipBlanks() {
    while (at < text.size() && llvm::isSpace(text[at]))
      ++at;
  }
  llvm::StringRef text;
  OnError onError;
  size_t at = 0;
  int depth = 0;
  bool hasFailed = false;
};

} // namespace mlir::megactx::pattern

#endif
