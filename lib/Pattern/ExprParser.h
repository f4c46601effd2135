//===- ExprParser.h - reading back expressions ------------------*- C++ -*-===//
//
//   expr    ::= operand ((`+`|`-`|`*`|`floordiv`|`mod`|`==`|`<`|`and`|`or`)
//               operand)?
//   operand ::= integer | `(` expr `)` | `min|max|not|hash|table|in` `(` … `)`
//             | name `[` expr `]` | `p` | `k` | `h` | `b` | name
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_EXPRPARSER_H
#define MEGACTX_LIB_PATTERN_EXPRPARSER_H

#include "Lexer.h"
#include "megactx/Pattern/Expr.h"

namespace mlir::megactx::pattern {

/// Reads what Expr::print writes. After an error the result is 0 and the lexer
/// has failed.
class ExprParser {
public:
  explicit ExprParser(Lexer &lexer) : lexer(lexer) {}
  Expr parse();

private:
  Expr operand();
  Expr call(llvm::StringRef function);
  Expr withList(llvm::StringRef function);
  Expr divided(const Expr &value, bool isMod);
  Lexer &lexer;
};

} // namespace mlir::megactx::pattern

#endif
