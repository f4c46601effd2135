//===- ExprParser.h - reading back expressions ------------------*- C++ -*-===//
//
//   expr       ::= every (`or` every)*
//   every      ::= comparison (`and` comparison)*
//   comparison ::= sum ((`==`|`ne`|`lt`|`le`|`gt`|`ge`) sum)?
//   sum        ::= product ((`+`|`-`) product)*
//   product    ::= operand ((`*`|`floordiv`|`mod`) operand)*
//   operand    ::= integer | `(` expr `)` | name | name `[` expr `]`
//                | `min|max|not|hash|table|in` `(` … `)`
//
// Not `<`, which would have to balance within an attribute.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_PATTERN_EXPRPARSER_H
#define MEGACTX_LIB_PATTERN_EXPRPARSER_H

#include "Lexer.h"
#include "megactx/Pattern/Expr.h"

namespace mlir::megactx::pattern {

/// Reads what Expr::print writes, and what needs fewer parentheses. After an
/// error the result is 0 and the lexer has failed.
class ExprParser {
public:
  explicit ExprParser(Lexer &lexer) : lexer(lexer) {}
  Expr parse();

private:
  Expr every();
  Expr comparison();
  Expr sum();
  Expr product();
  Expr operand();
  Expr call(llvm::StringRef function);
  Expr withList(llvm::StringRef function);
  Expr divided(const Expr &value, bool isMod);
  Lexer &lexer;
  size_t operands = 0;
};

} // namespace mlir::megactx::pattern

#endif
