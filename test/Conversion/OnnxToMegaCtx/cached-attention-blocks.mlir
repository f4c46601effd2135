// RUN: megactx-opt %s --megactx-raise-onnx-attention --remarks-filter=raise-onnx-attention 2>&1 >/dev/null | FileCheck %s

// Tables of blocks of 16 tokens as patterns: formulas where blocks near a row's own and columns say them, else tables.

!x = tensor<?x?x64xf32>
!k = tensor<?x?x32xf32>
!n = tensor<?xi64>

// Of the heads of Phi-3 small, each has its own columns.
// CHECK: attention-raised{{.*}}causal and per_head<[block_local<block = 16, left = 1> or columns<block = 48, first = 32, count = 16>, block_local<block = 16, left = 1> or columns<block = 48, first = 16, count = 16>]>
func.func @strided(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 3, 5, 7, 10, 13, 16, 20], [0, 1, 3, 5, 8, 11, 14, 18, 22]]> : tensor<2x9xi32>} : () -> tensor<2x9xi32>
  %columns = onnx.Constant {value = dense<[[0, 0, 1, 1, 2, 2, 3, 2, 3, 4, 2, 4, 5, 2, 5, 6, 2, 5, 6, 7, -1, -1], [0, 0, 1, 1, 2, 1, 2, 3, 1, 3, 4, 1, 4, 5, 1, 4, 5, 6, 1, 4, 6, 7]]> : tensor<2x22xi32>} : () -> tensor<2x22xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<2x9xi32>, tensor<2x22xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// The last of a group of four is seen by all after it. Nothing says whether it would come again behind the table.
// CHECK: attention-raised{{.*}}causal and (block_local<block = 64> or columns<block = 128, first = 48, count = 16>)
func.func @groups(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 3, 6, 10, 12, 15, 19, 24]]> : tensor<1x9xi32>} : () -> tensor<1x9xi32>
  %columns = onnx.Constant {value = dense<[[0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 3, 4, 3, 4, 5, 3, 4, 5, 6, 3, 4, 5, 6, 7]]> : tensor<1x24xi32>} : () -> tensor<1x24xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x9xi32>, tensor<1x24xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-raised{{.*}}causal and (block_local<block = 16, left = 1> or global_keys<first = 16>)
func.func @first(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 3, 6, 9, 12, 15, 18, 21]]> : tensor<1x9xi32>} : () -> tensor<1x9xi32>
  %columns = onnx.Constant {value = dense<[[0, 0, 1, 0, 1, 2, 0, 2, 3, 0, 3, 4, 0, 4, 5, 0, 5, 6, 0, 6, 7]]> : tensor<1x21xi32>} : () -> tensor<1x21xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x9xi32>, tensor<1x21xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-raised{{.*}}causal and block_local<block = 16, left = 2>
func.func @near(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 3, 6, 9, 12, 15, 18, 21]]> : tensor<1x9xi32>} : () -> tensor<1x9xi32>
  %columns = onnx.Constant {value = dense<[[0, 0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6, 5, 6, 7]]> : tensor<1x21xi32>} : () -> tensor<1x21xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x9xi32>, tensor<1x21xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// Blocks after a row are not seen.
// CHECK: attention-raised{{.*}}causal
func.func @all(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 8, 16, 24, 32, 40, 48, 56, 64]]> : tensor<1x9xi32>} : () -> tensor<1x9xi32>
  %columns = onnx.Constant {value = dense<[[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]]> : tensor<1x64xi32>} : () -> tensor<1x64xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x9xi32>, tensor<1x64xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-raised{{.*}}causal and blocks<block = 16, row_ptr = [0, 1, 2, 4, 6], col_idx = [0, 1, 0, 2, 1, 3]>
func.func @table(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 2, 4, 6]]> : tensor<1x5xi32>} : () -> tensor<1x5xi32>
  %columns = onnx.Constant {value = dense<[[0, 1, 0, 2, 1, 3]]> : tensor<1x6xi32>} : () -> tensor<1x6xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x5xi32>, tensor<1x6xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-not-raised{{.*}}its blocks are not known before a run
func.func @unknown(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>, %rows: tensor<1x3xi32>, %columns: tensor<1x2xi32>) -> !x {
  %none = onnx.none
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x3xi32>, tensor<1x2xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-not-raised{{.*}}its blocks are no tables in CSR form
func.func @falls(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 2, 1]]> : tensor<1x3xi32>} : () -> tensor<1x3xi32>
  %columns = onnx.Constant {value = dense<[[0, 1]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x3xi32>, tensor<1x2xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// There is no block 2.
// CHECK: attention-not-raised{{.*}}its blocks are no tables in CSR form
func.func @beyond(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 2]]> : tensor<1x3xi32>} : () -> tensor<1x3xi32>
  %columns = onnx.Constant {value = dense<[[0, 2]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<1x3xi32>, tensor<1x2xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-not-raised{{.*}}its blocks are no tables of i32
func.func @layouts(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 2], [0, 1, 2]]> : tensor<2x3xi32>} : () -> tensor<2x3xi32>
  %columns = onnx.Constant {value = dense<[[0, 1]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<2x3xi32>, tensor<1x2xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}

// CHECK: attention-not-raised{{.*}}its heads are no multiple of the layouts of blocks
func.func @heads(%x: !x, %k: !k, %s: !n, %l: !n, %t: tensor<1xi64>) -> !x {
  %none = onnx.none
  %rows = onnx.Constant {value = dense<[[0, 1, 2], [0, 1, 2], [0, 1, 2]]> : tensor<3x3xi32>} : () -> tensor<3x3xi32>
  %columns = onnx.Constant {value = dense<[[0, 1], [0, 1], [0, 1]]> : tensor<3x2xi32>} : () -> tensor<3x2xi32>
  %o:3 = onnx.ai.megactx.CachedAttention %x, %k, %k, %none, %none, %s, %l, %t, %none, %none, %rows, %columns
      {num_heads = 4 : i64, kv_num_heads = 2 : i64, block_size = 16 : i64}
      : (!x, !k, !k, none, none, !n, !n, tensor<1xi64>, none, none, tensor<3x3xi32>, tensor<3x2xi32>) -> (!x, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>)
  return %o#0 : !x
}
