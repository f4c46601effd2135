// Products of rows and packed weights against their definition in float64, in vectors of each width: panels that are not full, more chains than are
// transposed at a time, rows that are no whole tiles, and a destination whose neighbours are apart.
// RUN: rm -rf %t && split-file %s %t && cd %t
// RUN: %python data.py
// RUN: megactx-compile main.mlir -o 512.mctx 2>/dev/null && megactx-run 512.mctx --test-data . --rtol=1e-5 --atol=1e-4 | FileCheck %s
// RUN: megactx-compile main.mlir --compile-to=memref -o memref.mlir 2>/dev/null && FileCheck %s --check-prefix=MEMREF < memref.mlir
// RUN: megactx-opt memref.mlir --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{vector-bits=256}))' -o 256.mlir
// RUN: FileCheck %s --check-prefix=NARROW < 256.mlir
// RUN: megactx-compile 256.mlir -o 256.mctx 2>/dev/null && megactx-run 256.mctx --test-data . --rtol=1e-5 --atol=1e-4 | FileCheck %s
// RUN: megactx-opt memref.mlir --pass-pipeline='builtin.module(func.func(megactx-convert-linalg-to-tasks{vector-bits=128}))' -o 128.mlir
// RUN: megactx-compile 128.mlir -o 128.mctx 2>/dev/null && megactx-run 128.mctx --test-data . --rtol=1e-5 --atol=1e-4 | FileCheck %s

// CHECK-NOT: "ok": false
// CHECK: "ok": true
// MEMREF: megactx.packed_product
// MEMREF: megactx.packed_product {{.*}} memref<?x24xf32, strided<[48, 2]
// NARROW-NOT: vector<16xi32>
// NARROW: megactx.dot_pairs {{.*}} vector<8xi32>

//--- main.mlir
func.func @main(%x: tensor<?x320x4xi32>, %xs: tensor<?x40xf32>, %xt: tensor<?x40xi32>, %w: tensor<72x320xi32>, %s: tensor<72x20xf16>, %z: tensor<72x20xi8>,
                %x8: tensor<?x40x2xi32>, %xs8: tensor<?x5xf32>, %xt8: tensor<?x5xi32>, %w8: tensor<24x40xi32>, %s8: tensor<24x5xf32>)
    -> (tensor<?x72xf32>, tensor<?x48xf32>) {
  %c0 = arith.constant 0 : index
  %m = tensor.dim %x, %c0 : tensor<?x320x4xi32>
  %e = tensor.empty(%m) : tensor<?x72xf32>
  %y = megactx.packed_product %x, %xs, %xt by %w, %s zeros(%z) bits(4) outs(%e)
      : (tensor<?x320x4xi32>, tensor<?x40xf32>, tensor<?x40xi32>, tensor<72x320xi32>, tensor<72x20xf16>, tensor<72x20xi8>, tensor<?x72xf32>) -> tensor<?x72xf32>
  %m8 = tensor.dim %x8, %c0 : tensor<?x40x2xi32>
  %zero = arith.constant 0.0 : f32
  %e8 = tensor.empty(%m8) : tensor<?x48xf32>
  %f8 = linalg.fill ins(%zero : f32) outs(%e8 : tensor<?x48xf32>) -> tensor<?x48xf32>
  %p8 = tensor.empty(%m8) : tensor<?x24xf32>
  %y8 = megactx.packed_product %x8, %xs8, %xt8 by %w8, %s8 bits(8) outs(%p8)
      : (tensor<?x40x2xi32>, tensor<?x5xf32>, tensor<?x5xi32>, tensor<24x40xi32>, tensor<24x5xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  %apart = tensor.insert_slice %y8 into %f8[0, 0] [%m8, 24] [1, 2] : tensor<?x24xf32> into tensor<?x48xf32>
  return %y, %apart : tensor<?x72xf32>, tensor<?x48xf32>
}

//--- data.py
import numpy as np

random = np.random.default_rng(0)
inputs, outputs = [], []


def product(m, n, words, chains, blocks, bits, scale_type, zeros):
    places = 32 // bits
    x = random.integers(-32767, 32768, (m, words, places))
    numbers = random.integers(0, 2**bits, (n, words, places))
    row_scales = random.standard_normal((m, chains)).astype(np.float32) / 32767
    scales = random.standard_normal((n, blocks)).astype(scale_type)
    points = random.integers(0, 2**bits, (n, blocks), dtype=np.uint8) if zeros else np.full((n, blocks), 2.0 ** (bits - 1))
    pairs = ((x[:, :, :places // 2] & 0xffff) | x[:, :, places // 2:] << 16).astype(np.int32)
    packed = sum(numbers[:, :, p] << p * bits for p in range(places)).astype(np.uint32).view(np.int32)
    sums = x.reshape(m, chains, -1).sum(2)
    inputs.extend([pairs, row_scales, sums.astype(np.int32), packed, scales] + ([points.view(np.int8)] if zeros else []))
    of_words = lambda each, count: np.repeat(each.astype(np.float64), words // count, 1)[:, :, None]
    wide = (numbers - of_words(points, blocks)) * of_words(scales, blocks)
    return (x * of_words(row_scales, chains)).reshape(m, -1) @ wide.reshape(n, -1).T


outputs.append(product(251, 72, 320, 40, 20, 4, np.float16, True))
y = product(15, 24, 40, 5, 5, 8, np.float32, False)
outputs.append(np.stack([y, np.zeros_like(y)], 2).reshape(15, 48))
for i, x in enumerate(inputs):
    np.save(f"input_{i}", x)
for i, y in enumerate(outputs):
    np.save(f"output_{i}", y.astype(np.float32))
