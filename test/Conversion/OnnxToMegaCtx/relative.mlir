// RUN: megactx-opt %s --megactx-raise-onnx-attention | FileCheck %s

// A number for each head and clipped distance, beside a padding mask: the table
// of distances is looked up once for each of them, the mask stays per key.
// CHECK-LABEL: @clipped
// CHECK: %[[INDEX:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<1x?xi64>)
// CHECK: %[[FOUND:.*]] = onnx.Gather %{{.*}}, %[[INDEX]] {{.*}} -> tensor<1x?x8xf32>
// CHECK: %[[TABLE:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<1x8x?xf32>)
// CHECK: tensor.extract %[[FOUND]]
// CHECK: %[[BIAS:.*]] = megactx.toeplitz_view %[[TABLE]]
// CHECK-SAME: tensor<1x8x?xf32> to tensor<1x8x?x?xf32>
// CHECK: %[[MASK:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x1x1x?xf32>)
// CHECK: megactx.source %{{.*}}, %{{.*}} bias(%[[BIAS]], %[[MASK]])
func.func @clipped(%q: tensor<?x8x?x64xf32>, %k: tensor<?x8x?x64xf32>, %v: tensor<?x8x?x64xf32>, %mask: tensor<?x1x1x?xi1>,
                   %table: tensor<33x8xf32>) -> tensor<?x8x?x64xf32> {
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %axis0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %axis1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %most = onnx.initializer {value = dense<16> : tensor<i64>} : tensor<i64>
  %least = onnx.initializer {value = dense<-16> : tensor<i64>} : tensor<i64>
  %hidden = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %sizes = onnx.Shape %q : (tensor<?x8x?x64xf32>) -> tensor<4xi64>
  %n = onnx.Gather %sizes, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %axis1 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %columns = onnx.Unsqueeze %range, %axis0 : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %distance = onnx.Sub %columns, %rows : (tensor<1x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
  %below = onnx.Min %distance, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %bounded = onnx.Max %below, %least : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %index = onnx.Add %bounded, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %found = onnx.Gather %table, %index {axis = 0 : i64} : (tensor<33x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  %heads = onnx.Transpose %found {perm = array<i64: 2, 0, 1>} : (tensor<?x?x8xf32>) -> tensor<8x?x?xf32>
  %wide = onnx.Unsqueeze %heads, %axis0 : (tensor<8x?x?xf32>, tensor<1xi64>) -> tensor<1x8x?x?xf32>
  %bias = onnx.Where %mask, %wide, %hidden : (tensor<?x1x1x?xi1>, tensor<1x8x?x?xf32>, tensor<f32>) -> tensor<?x8x?x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x8x?x64xf32>) -> tensor<?x8x64x?xf32>
  %product = onnx.MatMul %q, %kt : (tensor<?x8x?x64xf32>, tensor<?x8x64x?xf32>) -> tensor<?x8x?x?xf32>
  %scores = onnx.Add %product, %bias : (tensor<?x8x?x?xf32>, tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %weights = onnx.Softmax %scores {axis = -1 : i64} : (tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %out = onnx.MatMul %weights, %v : (tensor<?x8x?x?xf32>, tensor<?x8x?x64xf32>) -> tensor<?x8x?x64xf32>
  return %out : tensor<?x8x?x64xf32>
}

// What has no name here is done to the vector.
// CHECK-LABEL: @logarithms
// CHECK: %[[DISTANCE:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<1x?xf32>)
// CHECK: %[[LOG:.*]] = onnx.Log %[[DISTANCE]] {{.*}} -> tensor<1x?xf32>
// CHECK: %[[WHOLE:.*]] = onnx.Cast %[[LOG]] {{.*}} -> tensor<1x?xi64>
// CHECK: %[[BELOW:.*]] = onnx.Min %[[WHOLE]], %{{.*}} -> tensor<1x?xi64>
// CHECK: %[[BOUNDED:.*]] = onnx.Max %[[BELOW]], %{{.*}} -> tensor<1x?xi64>
// CHECK: %[[INDEX:.*]] = onnx.Add %[[BOUNDED]], %{{.*}} -> tensor<1x?xi64>
// CHECK: onnx.Gather %{{.*}}, %[[INDEX]] {{.*}} -> tensor<1x?x8xf32>
// CHECK: megactx.toeplitz_view
func.func @logarithms(%q: tensor<?x8x?x64xf32>, %k: tensor<?x8x?x64xf32>, %v: tensor<?x8x?x64xf32>, %mask: tensor<?x1x1x?xi1>,
                   %table: tensor<33x8xf32>) -> tensor<?x8x?x64xf32> {
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %axis0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %axis1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %most = onnx.initializer {value = dense<16> : tensor<i64>} : tensor<i64>
  %least = onnx.initializer {value = dense<-16> : tensor<i64>} : tensor<i64>
  %hidden = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %sizes = onnx.Shape %q : (tensor<?x8x?x64xf32>) -> tensor<4xi64>
  %n = onnx.Gather %sizes, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %axis1 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %columns = onnx.Unsqueeze %range, %axis0 : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %distance = onnx.Sub %columns, %rows : (tensor<1x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
  %real = onnx.Cast %distance {to = 1 : i64} : (tensor<?x?xi64>) -> tensor<?x?xf32>
  %log = onnx.Log %real : (tensor<?x?xf32>) -> tensor<?x?xf32>
  %whole = onnx.Cast %log {to = 7 : i64} : (tensor<?x?xf32>) -> tensor<?x?xi64>
  %below = onnx.Min %whole, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %bounded = onnx.Max %below, %least : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %index = onnx.Add %bounded, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %found = onnx.Gather %table, %index {axis = 0 : i64} : (tensor<33x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  %heads = onnx.Transpose %found {perm = array<i64: 2, 0, 1>} : (tensor<?x?x8xf32>) -> tensor<8x?x?xf32>
  %wide = onnx.Unsqueeze %heads, %axis0 : (tensor<8x?x?xf32>, tensor<1xi64>) -> tensor<1x8x?x?xf32>
  %bias = onnx.Where %mask, %wide, %hidden : (tensor<?x1x1x?xi1>, tensor<1x8x?x?xf32>, tensor<f32>) -> tensor<?x8x?x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x8x?x64xf32>) -> tensor<?x8x64x?xf32>
  %product = onnx.MatMul %q, %kt : (tensor<?x8x?x64xf32>, tensor<?x8x64x?xf32>) -> tensor<?x8x?x?xf32>
  %scores = onnx.Add %product, %bias : (tensor<?x8x?x?xf32>, tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %weights = onnx.Softmax %scores {axis = -1 : i64} : (tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %out = onnx.MatMul %weights, %v : (tensor<?x8x?x?xf32>, tensor<?x8x?x64xf32>) -> tensor<?x8x?x64xf32>
  return %out : tensor<?x8x?x64xf32>
}

// Distances times positions are no distances; the mask is apart from them all the
// same.
// CHECK-LABEL: @times_the_query
// CHECK-NOT: toeplitz_view
// CHECK: %[[MASK:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x1x1x?xf32>)
// CHECK-NOT: toeplitz_view
// CHECK: megactx.source %{{.*}}, %{{.*}} bias(%{{.*}}, %[[MASK]]) {{.*}} tensor<1x8x?x?xf32>, tensor<?x1x1x?xf32>)
func.func @times_the_query(%q: tensor<?x8x?x64xf32>, %k: tensor<?x8x?x64xf32>, %v: tensor<?x8x?x64xf32>, %mask: tensor<?x1x1x?xi1>,
                   %table: tensor<33x8xf32>) -> tensor<?x8x?x64xf32> {
  %zero = onnx.initializer {value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer {value = dense<1> : tensor<i64>} : tensor<i64>
  %two = onnx.initializer {value = dense<2> : tensor<i64>} : tensor<i64>
  %axis0 = onnx.initializer {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %axis1 = onnx.initializer {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %most = onnx.initializer {value = dense<16> : tensor<i64>} : tensor<i64>
  %least = onnx.initializer {value = dense<-16> : tensor<i64>} : tensor<i64>
  %hidden = onnx.initializer {value = dense<0xFF800000> : tensor<f32>} : tensor<f32>
  %sizes = onnx.Shape %q : (tensor<?x8x?x64xf32>) -> tensor<4xi64>
  %n = onnx.Gather %sizes, %two {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rows = onnx.Unsqueeze %range, %axis1 : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %columns = onnx.Unsqueeze %range, %axis0 : (tensor<?xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %distance = onnx.Sub %columns, %rows : (tensor<1x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
  %times = onnx.Mul %distance, %rows : (tensor<?x?xi64>, tensor<?x1xi64>) -> tensor<?x?xi64>
  %below = onnx.Min %times, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %bounded = onnx.Max %below, %least : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %index = onnx.Add %bounded, %most : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi64>
  %found = onnx.Gather %table, %index {axis = 0 : i64} : (tensor<33x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  %heads = onnx.Transpose %found {perm = array<i64: 2, 0, 1>} : (tensor<?x?x8xf32>) -> tensor<8x?x?xf32>
  %wide = onnx.Unsqueeze %heads, %axis0 : (tensor<8x?x?xf32>, tensor<1xi64>) -> tensor<1x8x?x?xf32>
  %bias = onnx.Where %mask, %wide, %hidden : (tensor<?x1x1x?xi1>, tensor<1x8x?x?xf32>, tensor<f32>) -> tensor<?x8x?x?xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x8x?x64xf32>) -> tensor<?x8x64x?xf32>
  %product = onnx.MatMul %q, %kt : (tensor<?x8x?x64xf32>, tensor<?x8x64x?xf32>) -> tensor<?x8x?x?xf32>
  %scores = onnx.Add %product, %bias : (tensor<?x8x?x?xf32>, tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %weights = onnx.Softmax %scores {axis = -1 : i64} : (tensor<?x8x?x?xf32>) -> tensor<?x8x?x?xf32>
  %out = onnx.MatMul %weights, %v : (tensor<?x8x?x?xf32>, tensor<?x8x?x64xf32>) -> tensor<?x8x?x64xf32>
  return %out : tensor<?x8x?x64xf32>
}
