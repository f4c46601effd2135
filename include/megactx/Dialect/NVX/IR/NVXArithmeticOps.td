//===- NVXArithmeticOps.td - arithmetic on NVIDIA machines -----*- tablegen -*-===//
//
// Owns single instructions of f32 that upstream's dialects lower to more:
// approximations, the larger of two, and sums in device memory.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_NVX_ARITHMETICOPS
#define MEGACTX_DIALECT_NVX_ARITHMETICOPS

class NVX_ApproximateOp<string name, string upstream, string instruction>
    : Op<NVX_Dialect, name, [Pure, SameOperandsAndResultType]> {
  let description = [{
    One instruction per element, `}] # instruction # [{`; denormal numbers are
    taken as and become zero.

    Upstream gap: `}] # upstream # [{` calls libdevice: its body adds three
    instructions for denormal numbers, and without a CUDA toolkit the call stays
    in the PTX, unresolved and unreported.

    ```mlir
    %y = nvx.}] # name # [{ %x : vector<2x2xf32>
    ```

    Source: PTX ISA 8.0, 9.7.3 (floating point instructions).
  }];
  let arguments = (ins AnyTypeOf<[F32, FixedVectorOfNonZeroRankOf<[F32]>]>:$x);
  let results = (outs AnyTypeOf<[F32, FixedVectorOfNonZeroRankOf<[F32]>]>:$y);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def NVX_Exp2Op : NVX_ApproximateOp<"exp2", "math.exp2", "ex2.approx.ftz.f32"> {
  let summary = "2 to the power of x";
}

def NVX_MaxOp : Op<NVX_Dialect, "max", [Pure, Commutative,
                                        SameOperandsAndResultType]> {
  let summary = "the larger number";
  let description = [{
    One instruction per element, `max.f32`: of a number and NaN, the number.

    Upstream gap: `arith.maximumf` becomes a comparison, a test for NaN and two
    selections in `arith-expand`, without which nothing lowers floor divisions;
    `arith.maxnumf` calls libdevice.

    ```mlir
    %m = nvx.max %x, %y : vector<2x2xf32>
    ```

    Source: PTX ISA 8.0, 9.7.3 (floating point instructions).
  }];
  let arguments = (ins AnyTypeOf<[F32, FixedVectorOfNonZeroRankOf<[F32]>]>:$x,
                       AnyTypeOf<[F32, FixedVectorOfNonZeroRankOf<[F32]>]>:$y);
  let results = (outs AnyTypeOf<[F32, FixedVectorOfNonZeroRankOf<[F32]>]>:$z);
  let assemblyFormat = "$x `,` $y attr-dict `:` type($x)";
}

def NVX_Log2Op : NVX_ApproximateOp<"log2", "math.log2", "lg2.approx.ftz.f32"> {
  let summary = "logarithm to the base of 2";
}

def NVX_AtomicAddOp : Op<NVX_Dialect, "atomic_add", []> {
  let summary = "adds a number to one in device memory";
  let description = [{
    Adds f32 to an element of device memory, whatever other threads of the device
    add to it at the same time; nothing else is ordered by it: one instruction,
    `atom.global.add.f32`, relaxed and of the device, whose result nobody reads, so
    that ptxas makes it `RED`, which no thread waits for. Subnormal sums become 0.
    The order of the sums, and with it their rounding, is another one in each run.

    Upstream gap: `memref.atomic_rmw` orders all other accesses, of all devices of
    the system (`atom.acq_rel.sys` or fences around the sum).

    Constraints:
    * `atomic_add_c1`: as many indices as the memref, which is in the default
      memory space, has dims.

    ```mlir
    nvx.atomic_add %x, %sums[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
    ```

    Source: PTX ISA 8.0, 9.7.12.12 (atom), 8.5 (scopes).
  }];
  let arguments = (ins F32:$value,
                       Arg<MemRefOf<[F32]>, "", [MemRead, MemWrite]>:$memory,
                       Variadic<Index>:$indices);
  let assemblyFormat =
      "$value `,` $memory `[` $indices `]` attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

#endif // MEGACTX_DIALECT_NVX_ARITHMETICOPS
