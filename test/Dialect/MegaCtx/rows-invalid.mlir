// RUN: megactx-opt %s -split-input-file -verify-diagnostics

func.func @fused_rows_c1_other_op(%x: memref<4xf32>, %y: memref<4xf32>) {
  megactx.fused_rows {
    // expected-error@+1 {{expected linalg.generic or linalg.fill on memrefs within rows}}
    memref.copy %x, %y : memref<4xf32> to memref<4xf32>
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
func.func @fused_rows_c1_fill_of_another(%x: memref<4x8xf32>, %sum: memref<4xf32>) {
  %zero = arith.constant 0.0 : f32
  megactx.fused_rows {
    // expected-error@+1 {{expected a reduction to start from this}}
    linalg.fill ins(%zero : f32) outs(%x : memref<4x8xf32>)
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<4x8xf32>) outs(%sum : memref<4xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
func.func @fused_rows_c2_maps_alone(%x: memref<4x8xf32>, %y: memref<4x8xf32>) {
  // expected-error@+1 {{expected an op that reduces rows}}
  megactx.fused_rows {
    linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
        ins(%x : memref<4x8xf32>) outs(%y : memref<4x8xf32>) {
    ^bb0(%a: f32, %old: f32):
      linalg.yield %a : f32
    }
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
#v = affine_map<(i) -> (i)>
func.func @fused_rows_c2_loops(%x: memref<4x8xf32>, %sum: memref<4xf32>) {
  megactx.fused_rows {
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<4x8xf32>) outs(%sum : memref<4xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
    // expected-error@+1 {{expected 2 loops as the first op on these rows, but got 1}}
    linalg.generic {indexing_maps = [#v], iterator_types = ["parallel"]} outs(%sum : memref<4xf32>) {
    ^bb0(%s: f32):
      %0 = arith.negf %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#j = affine_map<(i, j) -> (j)>
func.func @fused_rows_c2_columns(%x: memref<4x8xf32>, %sum: memref<8xf32>) {
  megactx.fused_rows {
    // expected-error@+1 {{expected 1 loops that count rows, and reductions behind them}}
    linalg.generic {indexing_maps = [#ij, #j], iterator_types = ["reduction", "parallel"]}
        ins(%x : memref<4x8xf32>) outs(%sum : memref<8xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
func.func @fused_rows_c3_combined_by_two_ops(%x: memref<4x8xf32>, %sum: memref<4xf32>) {
  %half = arith.constant 0.5 : f32
  megactx.fused_rows {
    // expected-error@+1 {{expected a single op with a neutral element to combine partial results}}
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<4x8xf32>) outs(%sum : memref<4xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.mulf %s, %half : f32
      %1 = arith.addf %a, %0 : f32
      linalg.yield %1 : f32
    }
  }
  return
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
func.func @fused_rows_c4_scratch_is_read(%x: memref<4x8xf32>, %sum: memref<4xf32>) {
  // expected-error@+1 {{expected the ops to write what is scratch}}
  megactx.fused_rows scratch(%x : memref<4x8xf32>) {
    linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
        ins(%x : memref<4x8xf32>) outs(%sum : memref<4xf32>) {
    ^bb0(%a: f32, %s: f32):
      %0 = arith.addf %a, %s : f32
      linalg.yield %0 : f32
    }
  }
  return
}
