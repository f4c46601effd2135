//===- NVXOps.td - NVIDIA machine features -----------------*- tablegen -*-===//
//
// Owns the `nvx` dialect: an op per feature of NVIDIA machines that upstream's
// dialects lack or lower wrongly. Knows no attention; everything else is
// upstream's gpu, nvgpu, nvvm, vector, scf and arith.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_DIALECT_NVX_OPS
#define MEGACTX_DIALECT_NVX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def NVX_Dialect : Dialect {
  let name = "nvx";
  let cppNamespace = "::mlir::nvx";
  let summary = "NVIDIA machine features that upstream lacks or breaks";
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

def NVX_Product : I32Enum<"Product", "what multiplies tiles", [
    I32EnumCase<"mma_sync", 0>, I32EnumCase<"fma", 1>,
    I32EnumCase<"wgmma", 2>]> {
  let cppNamespace = "::mlir::nvx";
}

def NVX_Loads : I32Enum<"Loads", "what brings tiles into shared memory", [
    I32EnumCase<"cp_async", 0>, I32EnumCase<"tma", 1>]> {
  let cppNamespace = "::mlir::nvx";
}

def NVX_ScheduleAttr : AttrDef<NVX_Dialect, "Schedule"> {
  let mnemonic = "schedule";
  let summary = "how a kernel of tiled products uses the machine";
  let description = [{
    A block of `warps` warps computes `rows` rows against tiles of `columns`
    columns, which are copied to shared memory `stages - 1` tiles ahead.
    `product` is what multiplies: tensor cores, a warp at a time (`mma_sync`:
    f16 and bf16) or four warps at a time (`wgmma`: the same, sm_90a), or
    scalars (`fma`: f32). With `held`, a warp's rows stay in its registers and
    are not read again for each tile. At least `blocks` blocks are to share a
    multiprocessor, which bounds their registers.

    With `grouped`, a block's rows are those of all heads that share columns,
    row by row. With `split`, columns are split into parts, a block each, where
    a launch would have fewer than `split` blocks, so that it has about as many;
    0: never. Both are left out where they are false and 0.

    `loads` is what brings tiles into shared memory: all threads, 16 bytes a copy
    (`cp_async`, which is left out), or, where a tile is a box of a tensor map,
    one thread and the tensor memory accelerator (`tma`: wgmma's machines).

    With `producer`, the block has four warps more, whose one thread asks for
    boxes as fast as stages are released by all `warps`, which only compute and
    have nearly all registers; the block does one unit of work after the other:
    `rows` rows each, and nobody waits for the block but within its `warps`. With
    `persistent`, there are only as many blocks as run at once, `blocks` for each
    multiprocessor of the device, so that the tiles of the next unit arrive while
    the one before ends; else there is a block for each unit. Both are left out
    where they are false.

    Targets choose it by a rule and put it on their kernels as `nvx.schedule`;
    that attribute on an operation, where its target documents it, is a choice
    already made.

    Constraints:
    * `schedule_c1`: `warps` is 1 to 16, `rows` a positive multiple of
      16 `warps`, `columns` one of 16, both at most 4096.
    * `schedule_c2`: `stages` is 2 to 8, `blocks` 1 to 32, `split` 0 to 2^20.
    * `schedule_c3`: `producer` takes `loads = tma` and no more than 12 warps,
      four at a time, and not `grouped`; `persistent` takes `producer`.

    ```mlir
    #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2,
                  product = mma_sync, held = true, blocks = 2>
    #nvx.schedule<rows = 16, columns = 64, warps = 1, stages = 2,
                  product = mma_sync, held = true, blocks = 5, grouped = true,
                  split = 660>
    #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2,
                  product = wgmma, held = false, blocks = 4, loads = tma>
    #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2,
                  product = wgmma, held = false, blocks = 1, loads = tma,
                  producer = true, persistent = true>
    ```
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "int64_t":$warps,
                        "int64_t":$stages, EnumParameter<NVX_Product>:$product,
                        "bool":$held, "int64_t":$blocks,
                        DefaultValuedParameter<"bool", "false">:$grouped,
                        DefaultValuedParameter<"int64_t", "0">:$split,
                        DefaultValuedParameter<"::mlir::nvx::Loads",
                          "::mlir::nvx::Loads::cp_async">:$loads,
                        DefaultValuedParameter<"bool", "false">:$producer,
                        DefaultValuedParameter<"bool", "false">:$persistent);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def NVX_TensorMapType : TypeDef<NVX_Dialect, "TensorMap"> {
  let mnemonic = "tensor_map";
  let summary = "where the boxes of a tensor in device memory are";
  let description = [{
    A CUtensorMap: 128 bytes that the host makes, `nvx.encode_tensor_map`, and
    that a kernel takes by value, in constant memory.

    Upstream gap: kernels cannot take `!nvgpu.tensormap.descriptor` by value.
  }];
}

def NVX_Accumulator : Type<
    CPred<"$_self == ::mlir::VectorType::get({2, 2}, "
          "::mlir::Float32Type::get($_self.getContext()))">,
    "vector<2x2xf32>">,
    BuildableType<"::mlir::VectorType::get({2, 2}, $_builder.getF32Type())">;

class NVX_Fragment<int rows> : Type<
    And<[FixedVectorOfRankAndType<[2], [F16, BF16]>.predicate,
         CPred<"::llvm::cast<::mlir::VectorType>($_self).getShape() == "
               "::llvm::ArrayRef<int64_t>({" # rows # ", 2})">]>,
    "vector<" # rows # "x2> of f16 or bf16", "::mlir::VectorType">;

def NVX_SharedMemoryOp : Op<NVX_Dialect, "shared_memory", [Pure]> {
  let summary = "the block's dynamic shared memory";
  let description = [{
    All dynamic shared memory of the block, from its first byte, aligned to
    1024 bytes; the launch says how many bytes there are. The result's size is
    what the kernel uses of it.

    Upstream gap: `gpu.dynamic_shared_memory` lowers to an internal array of no
    elements, for which PTX reserves one static byte that may share its place
    with other static memory, aligned to 16 bytes.

    Constraints:
    * `shared_memory_c1`: the result is a static rank-1 memref of i8 in
      workgroup memory with the identity layout.

    ```mlir
    %m = nvx.shared_memory : memref<87040xi8, #gpu.address_space<workgroup>>
    ```

    Source: PTX ISA 8.0, 5.4.1 (.extern .shared).
  }];
  let results = (outs AnyMemRef:$memory);
  let assemblyFormat = "attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

def NVX_RecomputeOp : Op<NVX_Dialect, "recompute", [
    MemoryEffects<[MemWrite]>, SameOperandsAndResultType]> {
  let summary = "a number from which others are computed anew";
  let description = [{
    Gives its operand. What is computed from the result is not shared with what
    was computed from the operand before, nor moved in front of the op: from one
    part of a kernel to the next, registers hold the operand, and not whatever
    both parts compute from it.

    Effects: writes what nobody reads, so that it stays where it is.

    Upstream gap: LLVM shares equal values at any distance, and ptxas then spills
    them; `llvm.intr.ssa.copy` is gone before the PTX is written.

    ```mlir
    %y = nvx.recompute %x : index
    ```

    Source: PTX ISA 8.0, 9.7.8.3 (mov).
  }];
  let arguments = (ins Index:$x);
  let results = (outs Index:$y);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def NVX_MmaSyncOp : Op<NVX_Dialect, "mma_sync", [Pure]> {
  let summary = "d = a b + c on 16x8x16 tiles, by a warp";
  let description = [{
    The warp's m16n8k16 product, rows of a and columns of b contiguous, sums in
    f32. Per thread, with g = lane / 4 and t = lane mod 4:
    - a[i][j]: row g + 8 (i mod 2), column 2t + j + 8 (i / 2) of A [16, 16];
    - b[i][j]: row 2t + j + 8i, column g of B [16, 8];
    - c[i][j]: row g + 8i, column 2t + j of C [16, 8].

    Upstream gap: `nvgpu.mma.sync` does not lower for bf16.

    Constraints:
    * `mma_sync_c1`: a and b have the same element type, f16 or bf16.

    ```mlir
    %d = nvx.mma_sync %a, %b, %c : vector<4x2xbf16>, vector<2x2xbf16>
    ```

    Source: PTX ISA 8.0, 9.7.13.4.8 (mma.m16n8k16).
  }];
  let arguments = (ins NVX_Fragment<4>:$a, NVX_Fragment<2>:$b,
                       NVX_Accumulator:$c);
  let results = (outs NVX_Accumulator:$d);
  let assemblyFormat = "$a `,` $b `,` $c attr-dict `:` type($a) `,` type($b)";
  let hasVerifier = 1;
}

def NVX_Accumulators : Type<
    And<[FixedVectorOfRankAndType<[3], [F32]>.predicate,
         CPred<"::llvm::cast<::mlir::VectorType>($_self).getShape()"
               ".drop_front() == ::llvm::ArrayRef<int64_t>({2, 2})">]>,
    "vector<nx2x2xf32>", "::mlir::VectorType">;

def NVX_WgmmaDescriptorOp : Op<NVX_Dialect, "wgmma_descriptor", [Pure]> {
  let summary = "where an operand of wgmma is in shared memory";
  let description = [{
    The matrix descriptor of the rows of a tile from `row` on. The tile is
    swizzled: memory[p][r][c] holds column 64 p + (c xor 8 (r mod 8)) of row r,
    so that eight rows of a panel of 64 columns, or one column of 16 bytes of
    eight rows, are 1024 bytes without a bank conflict. Rows are those of A and
    columns of B, and columns the inner dimension; with `transpose`, rows are
    the inner dimension and columns are those of B.

    Later places follow by addition to the descriptor, in units of 16 bytes:
    2 for 16 columns within a panel, 8 R for the next panel of R rows, 128 for
    16 rows.

    Upstream gap: `nvgpu.warpgroup.generate.descriptor` needs a tensor map, and
    has neither a part of a tile nor a transposed one.

    Constraints:
    * `wgmma_descriptor_c1`: the tile is a static memref<PxRx64> of f16 or bf16
      in workgroup memory with the identity layout, R a multiple of 8.
    * `row` is a multiple of 8, and the tile is aligned to 1024 bytes.

    ```mlir
    %d = nvx.wgmma_descriptor %tile[%row] : memref<2x128x64xbf16, #gpu.address_space<workgroup>>
    ```

    Source: PTX ISA 8.0, 9.7.14.5.1 (shared memory layout of wgmma); CUTLASS,
    mma_traits_sm90_gmma.hpp, the canonical layouts B128: between panels is the
    leading byte offset, between groups of 8 rows the stride byte offset.
  }];
  let arguments = (ins AnyMemRef:$tile, Index:$row, UnitAttr:$transpose);
  let results = (outs I64:$descriptor);
  let assemblyFormat = [{
    $tile `[` $row `]` (`transpose` $transpose^)? attr-dict `:` type($tile)
  }];
  let hasVerifier = 1;
}

def NVX_WgmmaOp : Op<NVX_Dialect, "wgmma", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "d = a b + c on 64 x 8n x 16 tiles, by four warps";
  let description = [{
    The warpgroup's asynchronous m64n(8n)k16 product, sums in f32: c and d are
    [column / 8] of each warp's 16 rows as in `nvx.mma_sync`, d = a b without c.
    A is a descriptor of 64 rows, or each warp's 16 rows as in `nvx.mma_sync`. B
    is a descriptor.

    The result is there after the `nvx.wgmma_wait` that it goes through; until
    then only another product of the same shape may take it, and what A and B
    name must not change. `nvvm.wgmma.fence.aligned` comes before products whose
    registers something else has touched,
    `nvvm.wgmma.commit.group.sync.aligned` after those that are waited for
    together. Shared memory that threads wrote needs their
    `nvvm.fence.proxy` (async.shared) before.

    Effects: reads shared memory, and keeps its place among fences and commits.

    Upstream gap: `nvvm.wgmma.mma_async` takes A from shared memory only, and
    `nvgpu.warpgroup.mma` waits for each product.

    Constraints:
    * `wgmma_c1`: d has 1 to 32 tiles of 8 columns, and c its type.
    * `wgmma_c2`: a fragment of A has the type `element`, f16 or bf16.

    ```mlir
    %0 = nvx.wgmma %q, %k {element = bf16} : (i64, i64) -> vector<16x2x2xf32>
    %1 = nvx.wgmma %p, %v, %o transpose {element = bf16}
        : (vector<4x2xbf16>, i64, vector<8x2x2xf32>) -> vector<8x2x2xf32>
    ```

    Source: PTX ISA 8.0, 9.7.14.5 (wgmma.mma_async).
  }];
  let arguments = (ins AnyTypeOf<[I64, NVX_Fragment<4>]>:$a, I64:$b,
                       Optional<NVX_Accumulators>:$c, TypeAttr:$element,
                       UnitAttr:$transpose);
  let results = (outs NVX_Accumulators:$d);
  let assemblyFormat = [{
    $a `,` $b (`,` $c^)? (`transpose` $transpose^)? attr-dict `:`
    functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def NVX_WgmmaWaitOp : Op<NVX_Dialect, "wgmma_wait", [
    AttrSizedOperandSegments, InferTypeOpAdaptor,
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "all but the last `left` groups of products have ended";
  let description = [{
    Waits until at most the last `left` groups of the warpgroup's products are
    under way, and passes values on: accumulators, which have their sums only
    behind the wait, and what else must not be computed from before it.

    With `after`, a number that is not negative, the wait begins once that is
    known, by a branch that traps where it is negative: ptxas sees no
    dependence between a wait and other registers, and moves the wait up before
    what should run while products are under way.

    Effects: keeps its place among products and what writes shared memory.

    Upstream gap: `nvvm.wgmma.wait.group.sync.aligned` has no operands, so that
    nothing keeps readers of accumulators behind it.

    Constraints:
    * `wgmma_wait_c1`: `left` is 0 to 7.

    ```mlir
    %s = nvx.wgmma_wait 1, %d : vector<16x2x2xf32>
    %o = nvx.wgmma_wait 0 after %sum, %e : vector<8x2x2xf32>
    ```

    Source: PTX ISA 8.0, 9.7.14.7 (wgmma.wait_group).
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative, IntMaxValue<7>]>:$left,
                       Optional<F32>:$after,
                       Variadic<NVX_Accumulators>:$values);
  let results = (outs Variadic<NVX_Accumulators>:$results);
  let assemblyFormat = [{
    $left (`after` $after^)? `,` $values attr-dict `:` type($values)
  }];
}

def NVX_MultiprocessorsOp : Op<NVX_Dialect, "multiprocessors", [Pure]> {
  let summary = "how many multiprocessors the device has, on the host";
  let description = [{
    Of the device that the launches around it are on: times the blocks that
    share a multiprocessor, how many blocks of a kernel run at once.

    ```mlir
    %n = nvx.multiprocessors
    ```

    Upstream gap: `gpu` has no such number.

    Source: CUDA driver API, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT.
  }];
  let results = (outs Index:$count);
  let assemblyFormat = "attr-dict";
}

def NVX_EncodeTensorMapOp : Op<NVX_Dialect, "encode_tensor_map", [Pure]> {
  let summary = "a tensor map of rows in device memory, on the host";
  let description = [{
    The map of [batch, head, row, column] in device memory, whatever its strides,
    with boxes of `rows` rows of 64 columns. A memref without elements has a map
    too, of which nothing is to be loaded.

    Constraints:
    * `encode_tensor_map_c1`: the memref is of rank 4, of f16 or bf16, strided,
      with a stride of 1 of the last dimension.
    * `encode_tensor_map_c2`: `rows` is 1 to 256.
    * The memory and its other strides are multiples of 16 bytes, but for strides
      of dimensions of size 1.

    ```mlir
    %m = nvx.encode_tensor_map %keys box 64
        : memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
    ```

    Upstream gap: `nvgpu.tensormap.create.descriptor` takes memory for
    contiguous.

    Source: CUDA driver API, cuTensorMapEncodeTiled.
  }];
  let arguments = (ins AnyStridedMemRef:$memory,
                       ConfinedAttr<I64Attr, [IntPositive, IntMaxValue<256>]>:$rows);
  let results = (outs NVX_TensorMapType:$map);
  let assemblyFormat = "$memory `box` $rows attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

def NVX_ReportChecksOp : Op<NVX_Dialect, "report_checks", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "tell which check of a run failed, behind the run";
  let description = [{
    On the host. `number` in device memory is 0, or i where check i, counted from
    1, was the first that failed; `texts` are what the checks say. It is read when
    the run's stream is there, which the host does not wait for: who waits for the
    run's results is told.

    ```mlir
    nvx.report_checks %number ["index out of range", "no row"] : memref<i32>
    ```

    Upstream gap: `cf.assert` on the host needs its condition there, and in a
    kernel ends the context, with which all of the process's work on the device
    ends.

    Effects: reads `number`.
  }];
  let arguments = (ins MemRefRankOf<[I32], [0]>:$number, StrArrayAttr:$texts);
  let assemblyFormat = "$number $texts attr-dict `:` type($number)";
}

def NVX_LoadBoxOp : Op<NVX_Dialect, "load_box", [
    MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "start the copy of a box of a tensor to shared memory";
  let description = [{
    Copies the box of a map from (batch, head, row, column) on to the rows of a
    panel from `to` on, swizzled as `nvx.wgmma_descriptor` wants it. What is
    outside of the tensor becomes zero. The barrier, an mbarrier at `barriers[at]`
    in shared memory, counts the bytes of the whole box when they have arrived.
    One thread runs it for all.

    Effects: reads the device's memory, writes shared memory.

    Upstream gap: `nvgpu.tma.async.load` needs a descriptor that kernels cannot
    take by value.

    Constraints:
    * `load_box_c1`: the tile is as `wgmma_descriptor_c1` has it, the barriers
      are a static memref<nxi64> in workgroup memory.
    * `to` is a multiple of 8, and the tile is aligned to 1024 bytes.

    ```mlir
    nvx.load_box %map[%batch, %head, %row, %column], %tile[%panel, %to], %barriers[%at]
        : memref<2x128x64xbf16, #gpu.address_space<workgroup>>, memref<2xi64, #gpu.address_space<workgroup>>
    ```

    Source: PTX ISA 8.0, 9.7.8.24.9 (cp.async.bulk.tensor).
  }];
  let arguments = (ins NVX_TensorMapType:$map, Index:$batch, Index:$head,
                       Index:$row, Index:$column, AnyMemRef:$tile, Index:$panel,
                       Index:$to, AnyMemRef:$barriers, Index:$at);
  let assemblyFormat = [{
    $map `[` $batch `,` $head `,` $row `,` $column `]` `,` $tile `[` $panel `,`
    $to `]` `,` $barriers `[` $at `]` attr-dict `:` type($tile) `,`
    type($barriers)
  }];
  let hasVerifier = 1;
}

include "megactx/Dialect/NVX/IR/NVXArithmeticOps.td"

#endif // MEGACTX_DIALECT_NVX_OPS
