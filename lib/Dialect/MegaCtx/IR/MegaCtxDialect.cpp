//===- MegaCtxDialect.cpp - attributes and types of the dialect -----------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::megactx;

#include "megactx/Dialect/MegaCtx/IR/MegaCtxDialect.cpp.inc"
#include "megactx/Dialect/MegaCtx/IR/MegaCtxEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "megactx/Dialect/MegaCtx/IR/MegaCtxTypes.cpp.inc"

void MegaCtxDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "megactx/Dialect/MegaCtx/IR/MegaCtxAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "megactx/Dialect/MegaCtx/IR/MegaCtxTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "megactx/Dialect/MegaCtx/IR/MegaCtxOps.cpp.inc"
      >();
  declarePromisedInterfaces<bufferization::BufferizableOpInterface,
                            FinishAttentionOp, FusedAttentionOp,
                            FusedBiasGradientOp, FusedKeyGradientOp,
                            FusedQueryGradientOp, OnlineAttentionBackwardOp,
                            OnlineAttentionOp, ProductOp>();
}

/// The body of `name<body>`: the parser has found where the symbol ends and
/// goes on after it, whatever is read here.
Attribute MegaCtxDialect::parseAttribute(DialectAsmParser &parser, Type) const {
  StringRef symbol = parser.getFullSymbolSpec();
  StringRef name = symbol.take_until([](char c) { return c == '<'; });
  StringRef body = symbol.drop_front(name.size());
  llvm::SMLoc start = parser.getNameLoc();
  if (!body.consume_front("<") || !body.consume_back(">")) {
    parser.emitError(start, "expected '") << name << "<...>'";
    return {};
  }
  auto onError = [&](size_t offset, const Twine &message) {
    parser.emitError(llvm::SMLoc::getFromPointer(body.data() + offset),
                     message);
  };
  if (name == "pattern") {
    auto pattern = pattern::Pattern::parse(body, onError);
    return pattern ? PatternAttr::get(getContext(), *pattern) : PatternAttr();
  }
  if (name == "piece") {
    auto piece = pattern::Piece::parse(body, onError);
    return piece ? PieceAttr::get(getContext(), *piece) : PieceAttr();
  }
  parser.emitError(start, "unknown attribute '") << name << "' of megactx";
  return {};
}

void MegaCtxDialect::printAttribute(Attribute attr,
                                    DialectAsmPrinter &os) const {
  if (auto pattern = dyn_cast<PatternAttr>(attr))
    os << "pattern<" << pattern.getPattern().str() << '>';
  else if (auto piece = dyn_cast<PieceAttr>(attr))
    os << "piece<" << piece.getPiece().str() << '>';
}
