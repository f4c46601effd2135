// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-recompute-maps,megactx-fuse-elementwise))' | FileCheck %s
// RUN: megactx-opt %s --pass-pipeline='builtin.module(func.func(megactx-recompute-maps{most-ops=1}))' | FileCheck %s --check-prefix=CHEAP

#ijk = affine_map<(i, j, k) -> (i, j, k)>
#ij0 = affine_map<(i, j, k) -> (i, j, 0)>
#ijuk = affine_map<(i, j, u, k) -> (i, j, u, k)>
#iju = affine_map<(i, j, u, k) -> (i, j, u)>
#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i = affine_map<(i, j) -> (i)>

// Two reductions and a map, each of which reads the narrow input; the sums' unit dim is gone.
// CHECK-LABEL: @centred_rows
// CHECK-SAME: %[[X:[^,]*]]: tensor<?x?x768xbf16>
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}}"reduction"]} ins(%[[X]] : tensor<?x?x768xbf16>) outs(%{{.*}} : tensor<?x?xf32>)
// CHECK: arith.extf
// CHECK: %[[SQUARES:.*]] = linalg.generic {{.*}}"reduction"]} ins(%[[X]], %[[SUM]] : tensor<?x?x768xbf16>, tensor<?x?xf32>)
// CHECK: arith.extf
// CHECK: arith.subf
// CHECK: linalg.generic {{.*}}"parallel"]} ins(%[[X]], %[[SUM]], %[[SQUARES]]
// CHECK: arith.extf
// CHECK: arith.subf
// CHECK: arith.truncf
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @centred_rows(%x: tensor<?x?x768xbf16>, %b: index, %n: index) -> tensor<?x?x768xbf16> {
  %zero = arith.constant 0.0 : f32
  %wide = tensor.empty(%b, %n) : tensor<?x?x768xf32>
  %narrow = tensor.empty(%b, %n) : tensor<?x?x768xbf16>
  %one = tensor.empty(%b, %n) : tensor<?x?x1xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%one : tensor<?x?x1xf32>) -> tensor<?x?x1xf32>
  %w = linalg.generic {indexing_maps = [#ijk, #ijk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x : tensor<?x?x768xbf16>) outs(%wide : tensor<?x?x768xf32>) {
  ^bb0(%in: bf16, %out: f32):
    %y = arith.extf %in : bf16 to f32
    linalg.yield %y : f32
  } -> tensor<?x?x768xf32>
  %wu = tensor.expand_shape %w [[0], [1, 2], [3]] output_shape [%b, %n, 1, 768] : tensor<?x?x768xf32> into tensor<?x?x1x768xf32>
  %sum = linalg.generic {indexing_maps = [#ijuk, #iju], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%wu : tensor<?x?x1x768xf32>) outs(%fill : tensor<?x?x1xf32>) {
  ^bb0(%in: f32, %acc: f32):
    %y = arith.addf %acc, %in : f32
    linalg.yield %y : f32
  } -> tensor<?x?x1xf32>
  %c = linalg.generic {indexing_maps = [#ijk, #ij0, #ijk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%w, %sum : tensor<?x?x768xf32>, tensor<?x?x1xf32>) outs(%wide : tensor<?x?x768xf32>) {
  ^bb0(%in: f32, %s: f32, %out: f32):
    %y = arith.subf %in, %s : f32
    linalg.yield %y : f32
  } -> tensor<?x?x768xf32>
  %cu = tensor.expand_shape %c [[0], [1, 2], [3]] output_shape [%b, %n, 1, 768] : tensor<?x?x768xf32> into tensor<?x?x1x768xf32>
  %squares = linalg.generic {indexing_maps = [#ijuk, #iju], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%cu : tensor<?x?x1x768xf32>) outs(%fill : tensor<?x?x1xf32>) {
  ^bb0(%in: f32, %acc: f32):
    %z = arith.mulf %in, %in : f32
    %y = arith.addf %acc, %z : f32
    linalg.yield %y : f32
  } -> tensor<?x?x1xf32>
  %r = linalg.generic {indexing_maps = [#ijk, #ij0, #ijk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%c, %squares : tensor<?x?x768xf32>, tensor<?x?x1xf32>) outs(%narrow : tensor<?x?x768xbf16>) {
  ^bb0(%in: f32, %s: f32, %out: bf16):
    %z = arith.divf %in, %s : f32
    %y = arith.truncf %z : f32 to bf16
    linalg.yield %y : bf16
  } -> tensor<?x?x768xbf16>
  return %r : tensor<?x?x768xbf16>
}

// What reads two activations is in memory: to read both twice is no gain.
// CHECK-LABEL: @residual_stays
// CHECK: %[[R:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} :
// CHECK: linalg.generic {{.*}} ins(%[[R]] :
// CHECK: linalg.generic {{.*}} ins(%[[R]], %
func.func @residual_stays(%x: tensor<?x?xf32>, %d: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %r = linalg.generic {indexing_maps = [#ij, #ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x, %d : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %y = arith.addf %a, %b : f32
    linalg.yield %y : f32
  } -> tensor<?x?xf32>
  %s = linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]} ins(%r : tensor<?x?xf32>) outs(%f : tensor<?xf32>) {
  ^bb0(%in: f32, %acc: f32):
    %y = arith.addf %acc, %in : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  %q = linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%r, %s : tensor<?x?xf32>, tensor<?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %y = arith.subf %a, %b : f32
    linalg.yield %y : f32
  } -> tensor<?x?xf32>
  return %q : tensor<?x?xf32>
}

// Nor a transposition, whose reads are far apart.
// CHECK-LABEL: @transposition_stays
// CHECK: %[[T:.*]] = linalg.generic {{.*}} ins(%{{.*}} :
// CHECK: linalg.generic {{.*}} ins(%[[T]] :
// CHECK: linalg.generic {{.*}} ins(%[[T]], %
func.func @transposition_stays(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?x?xf32> {
  %r = linalg.generic {indexing_maps = [#ji, #ij], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%a: f32, %out: f32):
    linalg.yield %a : f32
  } -> tensor<?x?xf32>
  %s = linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]} ins(%r : tensor<?x?xf32>) outs(%f : tensor<?xf32>) {
  ^bb0(%in: f32, %acc: f32):
    %y = arith.addf %acc, %in : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  %q = linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%r, %s : tensor<?x?xf32>, tensor<?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %y = arith.subf %a, %b : f32
    linalg.yield %y : f32
  } -> tensor<?x?xf32>
  return %q : tensor<?x?xf32>
}

// What is needed in memory anyway is not computed again.
// CHECK-LABEL: @result_stays
// CHECK: %[[T:.*]] = linalg.generic
// CHECK: linalg.generic {{.*}} ins(%[[T]] :
// CHECK: return %[[T]]
func.func @result_stays(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> (tensor<?x?xf32>, tensor<?xf32>) {
  %r = linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%a: f32, %out: f32):
    %y = math.absf %a : f32
    linalg.yield %y : f32
  } -> tensor<?x?xf32>
  %s = linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]} ins(%r : tensor<?x?xf32>) outs(%f : tensor<?xf32>) {
  ^bb0(%in: f32, %acc: f32):
    %y = arith.addf %acc, %in : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  return %r, %s : tensor<?x?xf32>, tensor<?xf32>
}

// A map of one op is computed again, an exponential is not.
// CHEAP-LABEL: @functions
// CHEAP: arith.negf
// CHEAP: math.exp
// CHEAP: arith.negf
// CHEAP-NOT: math.exp
// CHEAP: return
// CHECK-LABEL: @functions
// CHECK-COUNT-2: math.exp
func.func @functions(%x: tensor<?x768xf32>, %n: index) -> (tensor<?xf32>, tensor<?xf32>, tensor<?x768xf32>, tensor<?x768xf32>) {
  %zero = arith.constant 0.0 : f32
  %wide = tensor.empty(%n) : tensor<?x768xf32>
  %one = tensor.empty(%n) : tensor<?xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%one : tensor<?xf32>) -> tensor<?xf32>
  %negative = linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<?x768xf32>) outs(%wide : tensor<?x768xf32>) {
  ^bb0(%a: f32, %out: f32):
    %y = arith.negf %a : f32
    linalg.yield %y : f32
  } -> tensor<?x768xf32>
  %exponential = linalg.generic {indexing_maps = [#ij, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<?x768xf32>) outs(%wide : tensor<?x768xf32>) {
  ^bb0(%a: f32, %out: f32):
    %y = math.exp %a : f32
    linalg.yield %y : f32
  } -> tensor<?x768xf32>
  %s0 = linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%negative : tensor<?x768xf32>) outs(%fill : tensor<?xf32>) {
  ^bb0(%a: f32, %s: f32):
    %y = arith.addf %s, %a : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  %s1 = linalg.generic {indexing_maps = [#ij, #i], iterator_types = ["parallel", "reduction"]}
      ins(%exponential : tensor<?x768xf32>) outs(%fill : tensor<?xf32>) {
  ^bb0(%a: f32, %s: f32):
    %y = arith.addf %s, %a : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  %m0 = linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%negative, %s0 : tensor<?x768xf32>, tensor<?xf32>) outs(%wide : tensor<?x768xf32>) {
  ^bb0(%a: f32, %s: f32, %out: f32):
    %y = arith.divf %a, %s : f32
    linalg.yield %y : f32
  } -> tensor<?x768xf32>
  %m1 = linalg.generic {indexing_maps = [#ij, #i, #ij], iterator_types = ["parallel", "parallel"]}
      ins(%exponential, %s1 : tensor<?x768xf32>, tensor<?xf32>) outs(%wide : tensor<?x768xf32>) {
  ^bb0(%a: f32, %s: f32, %out: f32):
    %y = arith.divf %a, %s : f32
    linalg.yield %y : f32
  } -> tensor<?x768xf32>
  return %s0, %s1, %m0, %m1 : tensor<?xf32>, tensor<?xf32>, tensor<?x768xf32>, tensor<?x768xf32>
}
