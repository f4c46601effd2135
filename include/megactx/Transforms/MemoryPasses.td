//===- MemoryPasses.td - which memory holds what ---------------*- tablegen -*-===//
//
// Owns the passes around bufferization: what may be written where, what is freed,
// and what shares memory.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TRANSFORMS_MEMORYPASSES
#define MEGACTX_TRANSFORMS_MEMORYPASSES

include "mlir/Pass/PassBase.td"

def PlanArenaPass : Pass<"megactx-plan-arena", "::mlir::func::FuncOp"> {
  let summary = "one allocation for all buffers whose sizes are known early";
  let description = [{
    Before: memrefs, with deallocation. After: the buffers that a block
    allocates and frees are views of one allocation, and those that are not used
    at the same time share memory. Sizes may be dynamic: those that can be
    computed before the first buffer take part, and the arithmetic they need
    moves there, with the checks (`cf.assert`) that can be made there. Buffers
    whose size depends on data, and results, keep an allocation of their own.
    Blocks are the function's own and those of branches and loops, so that a
    branch that is not taken needs no memory.

    A buffer lives from its first use to its last. Which of two that live at the
    same time is below the other is chosen by sizes for some choices of what they
    depend on; where they lie is computed of the sizes there are, each on the
    greatest end of those below it (`megactx/Transforms/ArenaPlan.h`), so that no
    two overlap for any. Sizes are multiples of products of dynamic sizes (equal
    ones by SSA value or `ValueBounds`), by which most of that is known before.
    Offsets are multiples of 64 bytes. Arithmetic on sizes saturates at 2^46
    bytes, which the runtime refuses.

    ```mlir
    %a = memref.alloc(%n) : memref<?x16xf32>    // used until %b is
    %b = memref.alloc(%n) : memref<?x32xf32>
    %c = memref.alloc(%n) : memref<?x16xf32>    // used when %a is no more
    ```
    becomes, where %unit is 64 %n,
    ```mlir
    %arena = memref.alloc(%size) {alignment = 64 : i64} : memref<?xi8>  // 3 %unit
    %a = memref.view %arena[%two_units][%n] : memref<?xi8> to memref<?x16xf32>
    %b = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?x32xf32>
    %c = memref.view %arena[%two_units][%n] : memref<?xi8> to memref<?x16xf32>
    ```
  }];
  let statistics = [
    Statistic<"numPlaced", "placed", "buffers placed in arenas">,
    Statistic<"numLeft", "left", "buffers with an allocation of their own">,
    Statistic<"numBufferBytes", "buffer-bytes",
              "bytes of buffers placed in arenas of static size">,
    Statistic<"numArenaBytes", "arena-bytes", "bytes of these arenas">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect"];
}

def AlternateBuffersPass
    : Pass<"megactx-alternate-buffers", "::mlir::func::FuncOp"> {
  let summary = "two buffers, in turn, for what each step of a loop makes anew";
  let description = [{
    Before: memrefs, without deallocations; a step of a loop may allocate what it
    gives to the next one. After: where the size is the same in all steps, they
    write what the step before last read: the buffer that the loop starts with,
    or, where that is used after, one of two others. Such buffers are the block's
    that the loop is in, which places them with its others (`PlanArena`) and
    frees them, instead of one that is allocated in each step and kept, the last
    one, until the function ends.

    ```mlir
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a) -> (memref<?xf32>) {
      %y = memref.alloc(%m) : memref<?xf32>
      "test.step"(%x, %y) : (memref<?xf32>, memref<?xf32>) -> ()
      scf.yield %y : memref<?xf32>
    }
    ```
    becomes, where %a is used no more,
    ```mlir
    %b = memref.alloc(%m) : memref<?xf32>
    %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %y = %b) -> (memref<?xf32>, memref<?xf32>) {
      "test.step"(%x, %y) : (memref<?xf32>, memref<?xf32>) -> ()
      scf.yield %y, %x : memref<?xf32>, memref<?xf32>
    }
    ```
  }];
  let statistics = [
    Statistic<"numAlternated", "alternated", "carried buffers in turn">
  ];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def CopyStridedCastsPass : Pass<"megactx-copy-strided-casts"> {
  let summary = "no memref.cast to a layout that the memory does not have";
  let description = [{
    Before: bufferized, with views where bufferization put them. Where a view
    is wanted in rows one after the other, such as a slice that is returned, and
    sizes are not known, MLIR 22's bufferization takes strides that are not known
    either for the right ones, and casts.

    After: such casts are copies.
  }];
  let statistics = [
    Statistic<"numCopies", "copies", "casts that became copies">
  ];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def SimplifyDeallocsPass : Pass<"megactx-simplify-deallocs"> {
  let summary = "each dealloc has one buffer, and none that is retained";
  let description = [{
    Before: `bufferization.dealloc`, after MLIR's own simplification. What
    branches and loops give has an owner of which MLIR 22 does not see that it is
    the one that is returned, and what may be one memory with others is compared
    in lists that lie in memory themselves. Loops carry who owns what they carry,
    also where no step allocates.

    After: no dealloc lists what it retains, or what that is a view of, or what
    nobody owns, and each has one buffer: one that is the same memory as another
    one before it, which is freed, is not freed again. Two allocations are not
    compared.
  }];
  let statistics = [
    Statistic<"numDropped", "dropped", "buffers that a dealloc no longer lists">,
    Statistic<"numSplit", "split", "deallocs of several buffers">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::bufferization::BufferizationDialect",
                           "::mlir::memref::MemRefDialect"];
}

def SeparateInitsPass : Pass<"megactx-separate-inits"> {
  let summary = "give every destination a fill of its own";
  let description = [{
    Before: tensors; equal `tensor.empty` and `linalg.fill` may be one value that
    several ops take as their destination, or that a loop starts several of its
    own with. Bufferization would copy it for each, or, where it is empty, take
    all of a loop's for one. After: each destination has one user and is made
    just before it.
  }];
  let statistics = [Statistic<"numClones", "clones", "initial values cloned">];
}

def BufferizePass : Pass<"megactx-bufferize", "::mlir::ModuleOp"> {
  let summary = "tensors as memrefs";
  let description = [{
    Before: tensors. After: memrefs, by MLIR's one-shot bufferization of whole
    functions, whose arguments and results have identity layouts. Offsets and
    sizes of slices that come from choices (`arith.select`, minima, maxima) or
    from tensors' sizes are hidden from its analysis, which compares slices in a
    time that doubles with each choice on the way: such slices are equal to it
    where their numbers are the same values.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
                           "::mlir::memref::MemRefDialect"];
}

def ProtectArgumentsPass
    : Pass<"megactx-protect-arguments", "::mlir::ModuleOp"> {
  let summary = "let bufferization write to no argument of main";
  let description = [{
    Before: tensors, just before bufferization. After: weights, and inputs with a
    use that may be written to, are `bufferization.writable = false`:
    bufferization copies them where they would be. Inputs are their callers', and
    weights are for every run. Arguments that a result updates (`megactx.updates`)
    are left.
  }];
  let statistics = [Statistic<"numProtected", "arguments",
                              "arguments that may not be written to">];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect"];
}

def DropUpdatedResultsPass
    : Pass<"megactx-drop-updated-results", "::mlir::ModuleOp"> {
  let summary = "results that are arguments of main, updated, are not returned";
  let description = [{
    Before: memrefs, without deallocations; results of `main` that are arguments
    with something written into them say so (`megactx.updates`). After: what
    bufferization did not write there is copied there, and `main` has these
    results no longer: it says what they were (`megactx.updated`), for the
    artifact's manifest.
  }];
  let statistics = [Statistic<"numDropped", "results", "results dropped">];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

#endif // MEGACTX_TRANSFORMS_MEMORYPASSES
