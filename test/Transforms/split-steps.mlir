// RUN: megactx-opt %s --megactx-split-steps=least-elements=64 --canonicalize --cse | FileCheck %s
// RUN: megactx-opt %s --megactx-split-steps='least-elements=64 most-elements=64' --canonicalize --cse | FileCheck %s --check-prefix=FEW
// RUN: megactx-opt %s --megactx-split-steps='least-elements=1 columns=0' --canonicalize --cse | FileCheck %s --check-prefix=WHOLE

#state = affine_map<(b, h, k, v) -> (b, h, k, v)>
#column = affine_map<(b, h, k, v) -> (b, h, k, 0)>
#row = affine_map<(b, h, k, v) -> (b, h, v)>
#head = affine_map<(b, h, k, v) -> (h)>
#bhv = affine_map<(b, h, v) -> (b, h, v)>

// A state of batch and heads: all steps for one head's 32 columns, in parallel. What a step leaves of the state is computed where the state is, after it has been read.
// CHECK-LABEL: func.func @heads
// CHECK-SAME: %[[START:[^:]*]]: tensor<?x4x16x64xf32>, %[[KEYS:[^:]*]]: tensor<?x?x4x16xf32>, %[[BIAS:[^:]*]]: tensor<4xf32>
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index
// CHECK-DAG: %[[C32:.*]] = arith.constant 32 : index
// CHECK: %[[B:.*]] = tensor.dim %[[START]]
// CHECK: %[[ENDS:.*]] = bufferization.alloc_tensor(%[[B]]) : tensor<?x4x16x64xf32>
// CHECK: %[[ALL:.*]] = bufferization.alloc_tensor(%{{.*}}, %{{.*}}) : tensor<?x?x4x64xf32>
// One step is done for all heads, from where the state is to where it is wanted.
// CHECK: scf.if
// CHECK-NOT: scf.for
// CHECK: %[[ONLY:.*]] = linalg.generic {{.*}} ins(%[[START]], %{{.*}}, %[[BIAS]] : {{.*}}) outs(%[[ENDS]] :
// CHECK: %[[PUT:.*]] = tensor.insert_slice %{{.*}} into %[[ALL]]
// CHECK: scf.yield %[[ONLY]], %[[PUT]]
// CHECK: else
// CHECK: %[[COUNT:.*]] = arith.muli %[[B]], %[[C8]]
// CHECK: scf.forall (%[[I:.*]]) in (%[[COUNT]]) shared_outs(%[[LAST:.*]] = %[[ENDS]], %[[ROWS:.*]] = %[[ALL]]) -> (tensor<?x4x16x64xf32>, tensor<?x?x4x64xf32>)
// CHECK: %[[PART:.*]] = arith.remui %[[I]], %[[C2]]
// CHECK: %[[V:.*]] = arith.muli %[[PART]], %[[C32]]
// CHECK: %[[OUTER:.*]] = arith.divui %[[I]], %[[C2]]
// CHECK: %[[H:.*]] = arith.remui %[[OUTER]], %{{.*}}
// CHECK: %[[E:.*]] = arith.divui %[[OUTER]], %{{.*}}
// CHECK: %[[MYKEYS:.*]] = tensor.extract_slice %[[KEYS]][%[[E]], 0, %[[H]], 0] [1, %{{.*}}, 1, 16]
// CHECK: %[[MYBIAS:.*]] = tensor.extract_slice %[[BIAS]][%[[H]]] [1] [1]
// CHECK: %[[MINE:.*]] = tensor.extract_slice %[[START]][%[[E]], %[[H]], 0, %[[V]]] [1, 1, 16, 32]
// CHECK: %[[OWN:.*]] = bufferization.alloc_tensor() copy(%[[MINE]]) : tensor<1x1x16x32xf32>
// CHECK: %[[MYROWS:.*]] = tensor.extract_slice %[[ROWS]][%[[E]], 0, %[[H]], %[[V]]]
// CHECK: %[[END:.*]]:2 = scf.for %[[T:.*]] = %{{.*}} iter_args(%[[S:.*]] = %[[OWN]], %[[PUT:.*]] = %[[MYROWS]])
// CHECK: %[[KEY:.*]] = tensor.extract_slice %[[MYKEYS]][0, %[[T]], 0, 0] [1, 1, 1, 16]
// CHECK: %[[SUM:.*]] = linalg.fill {{.*}} -> tensor<1x1x32xf32>
// CHECK: %[[FOUND:.*]] = linalg.generic {{.*}} ins(%[[S]], %{{.*}} : tensor<1x1x16x32xf32>, tensor<1x1x16x1xf32>) outs(%[[SUM]] :
// CHECK: tensor.insert_slice %[[FOUND]] into %[[PUT]][0, %[[T]], 0, 0] [1, 1, 1, 32]
// CHECK: %[[NEXT:.*]] = linalg.generic {{.*}} ins(%[[S]], %{{.*}}, %[[MYBIAS]] : {{.*}}) outs(%[[S]] : tensor<1x1x16x32xf32>)
// CHECK: arith.index_cast %[[H]] : index to i32
// CHECK: scf.yield %[[NEXT]],
// CHECK: scf.forall.in_parallel
// CHECK: tensor.parallel_insert_slice %[[END]]#0 into %[[LAST]][%[[E]], %[[H]], 0, %[[V]]] [1, 1, 16, 32]
// CHECK: tensor.parallel_insert_slice %[[END]]#1 into %[[ROWS]][%[[E]], 0, %[[H]], %[[V]]]

// Slices of more elements are left together.
// FEW-LABEL: func.func @heads
// FEW-NOT: scf.forall
// FEW-LABEL: func.func @filled

// Rows stay whole.
// WHOLE-LABEL: func.func @heads
// WHOLE: scf.forall
// WHOLE: scf.for {{.*}} -> (tensor<1x1x16x64xf32>, tensor<1x?x1x64xf32>)
func.func @heads(%start: tensor<?x4x16x64xf32>, %keys: tensor<?x?x4x16xf32>, %bias: tensor<4xf32>) -> (tensor<?x4x16x64xf32>, tensor<?x?x4x64xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %b = tensor.dim %keys, %c0 : tensor<?x?x4x16xf32>
  %n = tensor.dim %keys, %c1 : tensor<?x?x4x16xf32>
  %rows = tensor.empty(%b, %n) : tensor<?x?x4x64xf32>
  %sums = tensor.empty(%b) : tensor<?x4x64xf32>
  %none = linalg.fill ins(%zero : f32) outs(%sums : tensor<?x4x64xf32>) -> tensor<?x4x64xf32>
  %r:2 = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start, %all = %rows) -> (tensor<?x4x16x64xf32>, tensor<?x?x4x64xf32>) {
    %key = tensor.extract_slice %keys[0, %t, 0, 0] [%b, 1, 4, 16] [1, 1, 1, 1] : tensor<?x?x4x16xf32> to tensor<?x4x16xf32>
    %col = tensor.expand_shape %key [[0], [1], [2, 3]] output_shape [%b, 4, 16, 1] : tensor<?x4x16xf32> into tensor<?x4x16x1xf32>
    %made = tensor.empty(%b) : tensor<?x4x16x64xf32>
    %next = linalg.generic {indexing_maps = [#state, #column, #head, #state], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
        ins(%s, %col, %bias : tensor<?x4x16x64xf32>, tensor<?x4x16x1xf32>, tensor<4xf32>) outs(%made : tensor<?x4x16x64xf32>) {
    ^bb0(%x: f32, %k: f32, %z: f32, %o: f32):
      %i = linalg.index 1 : index
      %j = arith.index_cast %i : index to i32
      %f = arith.sitofp %j : i32 to f32
      %p = arith.mulf %x, %k : f32
      %q = arith.addf %p, %z : f32
      %w = arith.addf %q, %f : f32
      linalg.yield %w : f32
    } -> tensor<?x4x16x64xf32>
    %found = linalg.generic {indexing_maps = [#state, #column, #row], iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
        ins(%s, %col : tensor<?x4x16x64xf32>, tensor<?x4x16x1xf32>) outs(%none : tensor<?x4x64xf32>) {
    ^bb0(%x: f32, %k: f32, %o: f32):
      %p = arith.mulf %x, %k : f32
      %q = arith.addf %o, %p : f32
      linalg.yield %q : f32
    } -> tensor<?x4x64xf32>
    %put = tensor.insert_slice %found into %all[0, %t, 0, 0] [%b, 1, 4, 64] [1, 1, 1, 1] : tensor<?x4x64xf32> into tensor<?x?x4x64xf32>
    scf.yield %next, %put : tensor<?x4x16x64xf32>, tensor<?x?x4x64xf32>
  }
  return %r#0, %r#1 : tensor<?x4x16x64xf32>, tensor<?x?x4x64xf32>
}

// So many steps are known. A state that starts from one number starts from it in each slice; the size of all slices stays what it is. A step that does not update elements in place is split all the same.
// CHECK-LABEL: func.func @filled
// CHECK-NOT: scf.if
// CHECK: scf.forall (%{{.*}}) in (3)
// CHECK: %[[OWN:.*]] = bufferization.alloc_tensor() : tensor<1x8x16xf32>
// CHECK: %[[FIRST:.*]] = linalg.fill ins(%{{.*}}) outs(%[[OWN]] :
// CHECK: scf.for {{.*}} iter_args(%[[S:.*]] = %[[FIRST]])
// CHECK: %[[E:.*]] = tensor.empty() : tensor<1x8x16xf32>
// CHECK: linalg.generic {{.*}} ins(%[[S]], %{{.*}} : tensor<1x8x16xf32>, f32) outs(%[[E]] :
func.func @filled() -> tensor<3x8x16xf32> {
  %n = arith.constant 5 : index
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %two = arith.constant 2.0 : f32
  %empty = tensor.empty() : tensor<3x8x16xf32>
  %start = linalg.fill ins(%two : f32) outs(%empty : tensor<3x8x16xf32>) -> tensor<3x8x16xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<3x8x16xf32>) {
    %d = tensor.dim %s, %c0 : tensor<3x8x16xf32>
    %i = arith.index_cast %d : index to i32
    %f = arith.sitofp %i : i32 to f32
    %next = linalg.generic {indexing_maps = [affine_map<(b, i, j) -> (b, 7 - i, j)>, affine_map<(b, i, j) -> ()>, affine_map<(b, i, j) -> (b, i, j)>], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%s, %f : tensor<3x8x16xf32>, f32) outs(%empty : tensor<3x8x16xf32>) {
    ^bb0(%x: f32, %y: f32, %o: f32):
      %p = arith.addf %x, %y : f32
      linalg.yield %p : f32
    } -> tensor<3x8x16xf32>
    scf.yield %next : tensor<3x8x16xf32>
  }
  return %r : tensor<3x8x16xf32>
}

// Slices of 32 elements are too small, unless they are asked for.
// CHECK-LABEL: func.func @small
// CHECK-NOT: scf.forall
// WHOLE-LABEL: func.func @small
// WHOLE: scf.forall
func.func @small(%start: tensor<8x32xf32>, %n: index) -> tensor<8x32xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x32xf32>) {
    %next = linalg.exp ins(%s : tensor<8x32xf32>) outs(%s : tensor<8x32xf32>) -> tensor<8x32xf32>
    scf.yield %next : tensor<8x32xf32>
  }
  return %r : tensor<8x32xf32>
}

// Weights would be read once more for each slice.
// CHECK-LABEL: func.func @weights
// CHECK-NOT: scf.forall
func.func @weights(%start: tensor<8x64xf32>, %w: tensor<64x64xf32>, %n: index) -> tensor<8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<8x64xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x64xf32>) {
    %none = linalg.fill ins(%zero : f32) outs(%empty : tensor<8x64xf32>) -> tensor<8x64xf32>
    %next = linalg.matmul ins(%s, %w : tensor<8x64xf32>, tensor<64x64xf32>) outs(%none : tensor<8x64xf32>) -> tensor<8x64xf32>
    scf.yield %next : tensor<8x64xf32>
  }
  return %r : tensor<8x64xf32>
}

// Steps turn batch and heads; neither can be cut.
// CHECK-LABEL: func.func @turned
// CHECK-NOT: scf.forall
func.func @turned(%start: tensor<4x4x64xf32>, %n: index) -> tensor<4x4x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty() : tensor<4x4x64xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<4x4x64xf32>) {
    %next = linalg.generic {indexing_maps = [affine_map<(b, h, v) -> (h, b, v)>, #bhv], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%s : tensor<4x4x64xf32>) outs(%empty : tensor<4x4x64xf32>) {
    ^bb0(%x: f32, %o: f32):
      linalg.yield %x : f32
    } -> tensor<4x4x64xf32>
    scf.yield %next : tensor<4x4x64xf32>
  }
  return %r : tensor<4x4x64xf32>
}

// Heads are summed, batches are not: the batch alone is cut.
// CHECK-LABEL: func.func @summed
// CHECK: scf.forall (%{{.*}}) in (6)
// CHECK: scf.for {{.*}} -> (tensor<1x4x32xf32>)
func.func @summed(%start: tensor<3x4x64xf32>, %n: index) -> tensor<3x4x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<3x64xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<3x4x64xf32>) {
    %none = linalg.fill ins(%zero : f32) outs(%empty : tensor<3x64xf32>) -> tensor<3x64xf32>
    %sum = linalg.reduce ins(%s : tensor<3x4x64xf32>) outs(%none : tensor<3x64xf32>) dimensions = [1]
      (%x: f32, %o: f32) {
        %p = arith.addf %x, %o : f32
        linalg.yield %p : f32
      }
    %next = linalg.generic {indexing_maps = [affine_map<(b, h, v) -> (b, v)>, #bhv], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%sum : tensor<3x64xf32>) outs(%s : tensor<3x4x64xf32>) {
    ^bb0(%x: f32, %o: f32):
      %p = arith.addf %x, %o : f32
      linalg.yield %p : f32
    } -> tensor<3x4x64xf32>
    scf.yield %next : tensor<3x4x64xf32>
  }
  return %r : tensor<3x4x64xf32>
}

// A count is carried beside the state, and is one for all slices.
// CHECK-LABEL: func.func @counted
// CHECK-NOT: scf.forall
func.func @counted(%start: tensor<8x64xf32>, %zero: tensor<i64>, %n: index) -> (tensor<8x64xf32>, tensor<i64>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r:2 = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start, %i = %zero) -> (tensor<8x64xf32>, tensor<i64>) {
    %next = linalg.exp ins(%s : tensor<8x64xf32>) outs(%s : tensor<8x64xf32>) -> tensor<8x64xf32>
    scf.yield %next, %i : tensor<8x64xf32>, tensor<i64>
  }
  return %r#0, %r#1 : tensor<8x64xf32>, tensor<i64>
}

// Checks are made once.
// CHECK-LABEL: func.func @checked
// CHECK-NOT: scf.forall
func.func @checked(%start: tensor<8x64xf32>, %n: index, %fine: i1) -> tensor<8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x64xf32>) {
    cf.assert %fine, "no"
    %next = linalg.exp ins(%s : tensor<8x64xf32>) outs(%s : tensor<8x64xf32>) -> tensor<8x64xf32>
    scf.yield %next : tensor<8x64xf32>
  }
  return %r : tensor<8x64xf32>
}

// So is what all slices have in common.
// CHECK-LABEL: func.func @common
// CHECK-NOT: scf.forall
func.func @common(%start: tensor<8x64xf32>, %row: tensor<64xf32>, %n: index) -> tensor<8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty() : tensor<64xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x64xf32>) {
    %e = linalg.exp ins(%row : tensor<64xf32>) outs(%empty : tensor<64xf32>) -> tensor<64xf32>
    %next = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
        ins(%e : tensor<64xf32>) outs(%s : tensor<8x64xf32>) {
    ^bb0(%x: f32, %o: f32):
      %p = arith.addf %x, %o : f32
      linalg.yield %p : f32
    } -> tensor<8x64xf32>
    scf.yield %next : tensor<8x64xf32>
  }
  return %r : tensor<8x64xf32>
}

// Half of the batch is another slice's.
// CHECK-LABEL: func.func @half
// CHECK-NOT: scf.forall
func.func @half(%start: tensor<8x64xf32>, %n: index) -> tensor<8x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x64xf32>) {
    %part = tensor.extract_slice %s[4, 0] [4, 64] [1, 1] : tensor<8x64xf32> to tensor<4x64xf32>
    %next = tensor.insert_slice %part into %s[0, 0] [4, 64] [1, 1] : tensor<4x64xf32> into tensor<8x64xf32>
    scf.yield %next : tensor<8x64xf32>
  }
  return %r : tensor<8x64xf32>
}

// What is carried need not have as many rows in the next step.
// CHECK-LABEL: func.func @another_size
// CHECK-NOT: scf.forall
func.func @another_size(%start: tensor<?x64xf32>, %m: index, %n: index) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<?x64xf32>) {
    %empty = tensor.empty(%m) : tensor<?x64xf32>
    %next = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
    scf.yield %next : tensor<?x64xf32>
  }
  return %r : tensor<?x64xf32>
}

// Heads that are cut out of rows of several are not known to be apart.
// CHECK-LABEL: func.func @joined
// CHECK-NOT: scf.forall
func.func @joined(%start: tensor<4x64xf32>, %n: index) -> tensor<4x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty() : tensor<256xf32>
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<4x64xf32>) {
    %flat = tensor.collapse_shape %s [[0, 1]] : tensor<4x64xf32> into tensor<256xf32>
    %e = linalg.exp ins(%flat : tensor<256xf32>) outs(%empty : tensor<256xf32>) -> tensor<256xf32>
    %next = tensor.expand_shape %e [[0, 1]] output_shape [4, 64] : tensor<256xf32> into tensor<4x64xf32>
    scf.yield %next : tensor<4x64xf32>
  }
  return %r : tensor<4x64xf32>
}

// A step gives what it reads from outside.
// CHECK-LABEL: func.func @given
// CHECK: scf.forall
// CHECK: scf.for
// CHECK: %[[GIVEN:.*]] = linalg.fill {{.*}} -> tensor<1x64xf32>
// CHECK: linalg.generic
// CHECK: scf.yield %{{.*}}, %[[GIVEN]]
func.func @given(%start: tensor<8x64xf32>, %n: index) -> (tensor<8x64xf32>, tensor<8x64xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %two = arith.constant 2.0 : f32
  %empty = tensor.empty() : tensor<8x64xf32>
  %twos = linalg.fill ins(%two : f32) outs(%empty : tensor<8x64xf32>) -> tensor<8x64xf32>
  %r:2 = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start, %last = %start) -> (tensor<8x64xf32>, tensor<8x64xf32>) {
    %next = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
        ins(%twos, %last : tensor<8x64xf32>, tensor<8x64xf32>) outs(%s : tensor<8x64xf32>) {
    ^bb0(%x: f32, %y: f32, %o: f32):
      %p = arith.addf %x, %y : f32
      %q = arith.addf %p, %o : f32
      linalg.yield %q : f32
    } -> tensor<8x64xf32>
    scf.yield %next, %twos : tensor<8x64xf32>, tensor<8x64xf32>
  }
  return %r#0, %r#1 : tensor<8x64xf32>, tensor<8x64xf32>
}

// Rows without elements have no slices.
// CHECK-LABEL: func.func @no_row
// CHECK-NOT: scf.forall
func.func @no_row(%start: tensor<8x?x0xf32>, %n: index) -> tensor<8x?x0xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %t = %c0 to %n step %c1 iter_args(%s = %start) -> (tensor<8x?x0xf32>) {
    %next = linalg.exp ins(%s : tensor<8x?x0xf32>) outs(%s : tensor<8x?x0xf32>) -> tensor<8x?x0xf32>
    scf.yield %next : tensor<8x?x0xf32>
  }
  return %r : tensor<8x?x0xf32>
}
