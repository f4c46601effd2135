//===- AttentionLinkInterface.td - links of attention ----------*- tablegen -*-===//
//
// Owns what lowerings read of an op that walks the keys of pieces, whatever it
// computes from their scores: attention in progress, a kernel's worth of it, or
// gradients.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_MEGACTX_ATTENTIONLINKINTERFACE
#define MEGACTX_DIALECT_MEGACTX_ATTENTIONLINKINTERFACE

include "mlir/IR/OpBase.td"

class MegaCtx_Get<string type, string name, string description>
    : InterfaceMethod<description, type, name>;

def AttentionLinkInterface : OpInterface<"AttentionLinkInterface"> {
  let cppNamespace = "::mlir::megactx";
  let description = [{
    An op whose first operands are those of a link, in this order: query
    [B, Hq, Nq, D], key [B, Hkv, Nk, D], value [B, Hkv, Nk, Dv], and the optional
    ones below, null or empty where they are absent; see
    `megactx.online_attention`. Its scores are softcap(scale * <q, k>) + biases
    where one of its pieces holds.
  }];
  let methods = [
    MegaCtx_Get<"::mlir::Value", "getQuery", "[B, Hq, Nq, D]">,
    MegaCtx_Get<"::mlir::Value", "getKey", "[B, Hkv, Nk, D]">,
    MegaCtx_Get<"::mlir::Value", "getValue", "[B, Hkv, Nk, Dv]">,
    MegaCtx_Get<"::mlir::OperandRange", "getBiases",
                "f32, each dim 1 or that of [B, Hq, Nq, Nk]">,
    MegaCtx_Get<"::mlir::Value", "getLengths", "index [B], in rows">,
    MegaCtx_Get<"::mlir::Value", "getSegmentBounds", "index [B, Nk + 1, 2]">,
    MegaCtx_Get<"::mlir::Value", "getQueryOffset", "index or [B], in tokens">,
    MegaCtx_Get<"::mlir::Value", "getKeyOffset", "index, in tokens">,
    MegaCtx_Get<"::mlir::Value", "getQueryPositions", "index [B, Nq]">,
    MegaCtx_Get<"::mlir::Value", "getKeyPositions", "index [B, Nk]">,
    MegaCtx_Get<"::llvm::APFloat", "getScale", "of <q, k>">,
    MegaCtx_Get<"::std::optional<::llvm::APFloat>", "getSoftcap", "">,
    MegaCtx_Get<"uint64_t", "getQueryStep", "tokens between query rows">,
    MegaCtx_Get<"uint64_t", "getKeyStep", "tokens between key rows">,
    MegaCtx_Get<"::llvm::SmallVector<::mlir::megactx::pattern::Piece>",
                "getPieceList", "disjoint">
  ];
  let extraSharedClassDeclaration = [{
    /// The operands after those of the link, such as its destinations.
    ::mlir::OperandRange getOwnOperands() {
      unsigned count = 3 + $_op.getBiases().size();
      for (::mlir::Value optional :
           std::initializer_list<::mlir::Value>{
               $_op.getLengths(), $_op.getSegmentBounds(),
               $_op.getQueryOffset(), $_op.getKeyOffset(),
               $_op.getQueryPositions(), $_op.getKeyPositions()})
        count += bool(optional);
      return $_op->getOperands().drop_front(count);
    }
    /// The operands of the link, those that are there.
    ::mlir::OperandRange getLinkOperands() {
      return $_op->getOperands().drop_back(getOwnOperands().size());
    }
  }];
}

#endif // MEGACTX_DIALECT_MEGACTX_ATTENTIONLINKINTERFACE
