//===- OnnxOps.td - the graph as it came -----------------------*- tablegen -*-===//
//
// Owns the `onnx` dialect: one op per ONNX node, nothing interpreted.
//
//   node `y = Add(x, b)` named n   onnx.Add %x, %b {onnx.name = "n",
//                                    onnx.outputs = ["y"]} : (...) -> ...
//   domain d                       onnx.d.Add; ai.onnx has no prefix
//   attribute a                    `a`: int -> i64, float -> f32, string, ints ->
//                                  array<i64>, floats -> array<f32>, tensor ->
//                                  elements, strings and tensors -> array,
//                                  graph -> region, named in `onnx.regions`
//   no input at this place         %none = onnx.none
//   initializer w                  onnx.initializer {onnx.outputs = ["w"],
//                                    value = dense_resource<w>}
//   the graph                      func.func @main, `onnx.graph` holds what has
//                                  no place in ops, in protobuf's text format;
//                                  arguments have `onnx.name` and `onnx.dims`
//   the model                      `onnx.model` on the module, the same way
//
// Operators that later levels understand are declared here and have no side
// effects; any other operator is an unregistered op of the dialect, which MLIR
// treats as having unknown effects. A value of unknown type is !onnx.untyped.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_ONNX_OPS
#define MEGACTX_DIALECT_ONNX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::mlir::onnx";
  let summary = "ONNX graphs, node for node";
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{
    /// Where ONNX's names and remaining facts are kept.
    static constexpr ::llvm::StringLiteral kNameAttr = "onnx.name";
    static constexpr ::llvm::StringLiteral kOutputsAttr = "onnx.outputs";
    static constexpr ::llvm::StringLiteral kRegionsAttr = "onnx.regions";
    static constexpr ::llvm::StringLiteral kNodeAttr = "onnx.node";
    static constexpr ::llvm::StringLiteral kGraphAttr = "onnx.graph";
    static constexpr ::llvm::StringLiteral kModelAttr = "onnx.model";
    static constexpr ::llvm::StringLiteral kOpsetAttr = "onnx.opset";
    static constexpr ::llvm::StringLiteral kDimsAttr = "onnx.dims";
  }];
}

class Onnx_Type<string name, string typeMnemonic> : TypeDef<Onnx_Dialect, name> {
  let mnemonic = typeMnemonic;
}
def Onnx_UntypedType : Onnx_Type<"Untyped", "untyped"> {
  let summary = "a value whose type the model does not say";
}
def Onnx_StringType : Onnx_Type<"String", "string"> {
  let summary = "the element type of string tensors";
}

class Onnx_BaseOp<string name, list<Trait> traits = []>
    : Op<Onnx_Dialect, name, traits>;

class Onnx_Op<string name> : Onnx_BaseOp<name, [Pure]> {
  let summary = "ONNX operator " # name;
  let description = "See https://onnx.ai/onnx/operators/onnx__" # name # ".html";
  let arguments = (ins Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = [{
    $inputs attr-dict `:` functional-type($inputs, $outputs)
  }];
}

def Onnx_NoneOp : Onnx_BaseOp<"none", [Pure]> {
  let summary = "stands for an optional input that is not given";
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
}

def Onnx_InitializerOp : Onnx_BaseOp<"initializer", [Pure]> {
  let summary = "a weight, or another constant of the graph";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Onnx_YieldOp : Onnx_BaseOp<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "ends a subgraph with its outputs";
  let arguments = (ins Variadic<AnyType>:$outputs);
  let assemblyFormat = "($outputs^ `:` type($outputs))? attr-dict";
}

/// An operator of another domain than ONNX's.
class Onnx_OtherOp<string domain, string name, string what>
    : Onnx_BaseOp<domain # "." # name, [Pure]> {
  let summary = "operator " # name # " of " # domain;
  let description = what;
  let arguments = (ins Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = [{
    $inputs attr-dict `:` functional-type($inputs, $outputs)
  }];
}

def Onnx_CachedAttentionOp : Onnx_OtherOp<"ai.megactx", "CachedAttention", [{
  (query, key, value, past_key, past_value, starts, lengths, total, bias, sink,
  block_rows, block_columns, first, capacity) -> (out, present_key,
  present_value): attention over a cache that each entry of the batch has filled
  to a length of its own.

  query [B, N, H * D], key and value [B, N, Hkv * D] are new rows, past_key and
  past_value [B, Hkv, P, D], or none. Row i of batch entry b stands at position
  starts[b] + i (tokens) and is written there into present [B, Hkv,
  max(P, total), D], which holds the past elsewhere, and 0 beyond it; without a
  past it is the new rows. Queries attend the first lengths[b] rows of it where
  `pattern` says. bias, or none, is added to the scores and broadcast to
  [B, H, N, total]. sink [H] or [1], or none, is the score of one more key, whose
  value is 0. starts and lengths [B] and total [1] are i64. scale 0 is 1 / sqrt(D);
  softcap 0 is none. block_rows [L, R + 1] and block_columns [L, most] of i32,
  constants, or none, say the pattern instead: query block r of layout l attends
  the key blocks block_columns[l][block_rows[l][r]] to
  block_columns[l][block_rows[l][r + 1] - 1], of block_size tokens, as far as
  they are not after it; head h has layout h mod L, and total is at most
  R * block_size. Where first [B] and capacity [1] (i64) are there, present is
  capacity rows of what it would be, from row first[b] on. onnxruntime's GroupQueryAttention and SparseAttention become
  it.
}]>;
def Onnx_MatMulNBitsOp : Onnx_OtherOp<"com.microsoft", "MatMulNBits", [{
  A product by weights of few bits. See onnxruntime's docs/ContribOperators.md.
}]>;

def Onnx_DequantizeBlocksOp : Onnx_OtherOp<"ai.megactx", "DequantizeBlocks", [{
  (bytes, scales, zeros) -> out: numbers in blocks of block_size. bytes
  [..., blocks * block_size * bits / 8] hold numbers of 4 or 8 bits, the lower
  half of a byte first, scales are [..., blocks]. zeros, or none for
  2^(bits - 1), are packed like them, each row from a byte on. out
  [..., blocks * block_size], of the scales' type, is (number - zero) * scale.
  onnxruntime's GatherBlockQuantized becomes it.
}]>;

def Onnx_AssumeOp : Onnx_OtherOp<"ai.megactx", "Assume", [{
  (data, condition) -> out: out is data; a run whose condition, one bool, is not
  `is` (1 or 0) ends with an error. An If becomes it whose branches give results
  of different ranks, of which the nodes behind it take one only.
}]>;

def Onnx_AbsOp : Onnx_Op<"Abs">;
def Onnx_AddOp : Onnx_Op<"Add">;
def Onnx_AndOp : Onnx_Op<"And">;
def Onnx_AttentionOp : Onnx_Op<"Attention">;
def Onnx_CastOp : Onnx_Op<"Cast">;
def Onnx_CastLikeOp : Onnx_Op<"CastLike">;
def Onnx_CeilOp : Onnx_Op<"Ceil">;
def Onnx_ClipOp : Onnx_Op<"Clip">;
def Onnx_ConcatOp : Onnx_Op<"Concat">;
def Onnx_ConstantOp : Onnx_Op<"Constant">;
def Onnx_ConstantOfShapeOp : Onnx_Op<"ConstantOfShape">;
def Onnx_ConvOp : Onnx_Op<"Conv">;
def Onnx_CosOp : Onnx_Op<"Cos">;
def Onnx_CumSumOp : Onnx_Op<"CumSum">;
def Onnx_DivOp : Onnx_Op<"Div">;
def Onnx_EinsumOp : Onnx_Op<"Einsum">;
def Onnx_EluOp : Onnx_Op<"Elu">;
def Onnx_EqualOp : Onnx_Op<"Equal">;
def Onnx_ErfOp : Onnx_Op<"Erf">;
def Onnx_ExpOp : Onnx_Op<"Exp">;
def Onnx_ExpandOp : Onnx_Op<"Expand">;
def Onnx_FlattenOp : Onnx_Op<"Flatten">;
def Onnx_FloorOp : Onnx_Op<"Floor">;
def Onnx_GatherOp : Onnx_Op<"Gather">;
def Onnx_GatherElementsOp : Onnx_Op<"GatherElements">;
def Onnx_GatherNDOp : Onnx_Op<"GatherND">;
def Onnx_GeluOp : Onnx_Op<"Gelu">;
def Onnx_GemmOp : Onnx_Op<"Gemm">;
def Onnx_GlobalAveragePoolOp : Onnx_Op<"GlobalAveragePool">;
def Onnx_GreaterOp : Onnx_Op<"Greater">;
def Onnx_GreaterOrEqualOp : Onnx_Op<"GreaterOrEqual">;
def Onnx_HardSigmoidOp : Onnx_Op<"HardSigmoid">;
def Onnx_HardSwishOp : Onnx_Op<"HardSwish">;
def Onnx_IdentityOp : Onnx_Op<"Identity">;
def Onnx_IfOp : Onnx_BaseOp<"If", [RecursiveMemoryEffects]> {
  let summary = "ONNX operator If: one of two subgraphs";
  let description = [{
    See https://onnx.ai/onnx/operators/onnx__If.html. `onnx.regions` says which
    region is `then_branch` and which `else_branch`.
  }];
  let arguments = (ins Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let regions = (region VariadicRegion<AnyRegion>:$branches);
  let assemblyFormat = [{
    $inputs $branches attr-dict `:` functional-type($inputs, $outputs)
  }];
}
def Onnx_IsInfOp : Onnx_Op<"IsInf">;
def Onnx_IsNaNOp : Onnx_Op<"IsNaN">;
def Onnx_LayerNormalizationOp : Onnx_Op<"LayerNormalization">;
def Onnx_LeakyReluOp : Onnx_Op<"LeakyRelu">;
def Onnx_LessOp : Onnx_Op<"Less">;
def Onnx_LessOrEqualOp : Onnx_Op<"LessOrEqual">;
def Onnx_LogOp : Onnx_Op<"Log">;
def Onnx_LogSoftmaxOp : Onnx_Op<"LogSoftmax">;
def Onnx_MatMulOp : Onnx_Op<"MatMul">;
def Onnx_MaxOp : Onnx_Op<"Max">;
def Onnx_MeanOp : Onnx_Op<"Mean">;
def Onnx_MinOp : Onnx_Op<"Min">;
def Onnx_MishOp : Onnx_Op<"Mish">;
def Onnx_ModOp : Onnx_Op<"Mod">;
def Onnx_MulOp : Onnx_Op<"Mul">;
def Onnx_NegOp : Onnx_Op<"Neg">;
def Onnx_NonZeroOp : Onnx_Op<"NonZero">;
def Onnx_NotOp : Onnx_Op<"Not">;
def Onnx_OneHotOp : Onnx_Op<"OneHot">;
def Onnx_OrOp : Onnx_Op<"Or">;
def Onnx_PadOp : Onnx_Op<"Pad">;
def Onnx_PowOp : Onnx_Op<"Pow">;
def Onnx_RMSNormalizationOp : Onnx_Op<"RMSNormalization">;
def Onnx_RangeOp : Onnx_Op<"Range">;
def Onnx_ReciprocalOp : Onnx_Op<"Reciprocal">;
def Onnx_ReduceMaxOp : Onnx_Op<"ReduceMax">;
def Onnx_ReduceMeanOp : Onnx_Op<"ReduceMean">;
def Onnx_ReduceMinOp : Onnx_Op<"ReduceMin">;
def Onnx_ReduceProdOp : Onnx_Op<"ReduceProd">;
def Onnx_ReduceSumOp : Onnx_Op<"ReduceSum">;
def Onnx_ReduceSumSquareOp : Onnx_Op<"ReduceSumSquare">;
def Onnx_ReluOp : Onnx_Op<"Relu">;
def Onnx_ReshapeOp : Onnx_Op<"Reshape">;
def Onnx_RotaryEmbeddingOp : Onnx_Op<"RotaryEmbedding">;
def Onnx_RoundOp : Onnx_Op<"Round">;
def Onnx_ScatterElementsOp : Onnx_Op<"ScatterElements">;
def Onnx_ScatterNDOp : Onnx_Op<"ScatterND">;
def Onnx_ShapeOp : Onnx_Op<"Shape">;
def Onnx_SigmoidOp : Onnx_Op<"Sigmoid">;
def Onnx_SignOp : Onnx_Op<"Sign">;
def Onnx_SinOp : Onnx_Op<"Sin">;
def Onnx_SizeOp : Onnx_Op<"Size">;
def Onnx_SliceOp : Onnx_Op<"Slice">;
def Onnx_SoftmaxOp : Onnx_Op<"Softmax">;
def Onnx_SoftplusOp : Onnx_Op<"Softplus">;
def Onnx_SplitOp : Onnx_Op<"Split">;
def Onnx_SqrtOp : Onnx_Op<"Sqrt">;
def Onnx_SqueezeOp : Onnx_Op<"Squeeze">;
def Onnx_SubOp : Onnx_Op<"Sub">;
def Onnx_SumOp : Onnx_Op<"Sum">;
def Onnx_SwishOp : Onnx_Op<"Swish">;
def Onnx_TanhOp : Onnx_Op<"Tanh">;
def Onnx_TileOp : Onnx_Op<"Tile">;
def Onnx_TopKOp : Onnx_Op<"TopK">;
def Onnx_TransposeOp : Onnx_Op<"Transpose">;
def Onnx_TriluOp : Onnx_Op<"Trilu">;
def Onnx_UnsqueezeOp : Onnx_Op<"Unsqueeze">;
def Onnx_WhereOp : Onnx_Op<"Where">;
def Onnx_XorOp : Onnx_Op<"Xor">;

#endif // MEGACTX_DIALECT_ONNX_OPS
