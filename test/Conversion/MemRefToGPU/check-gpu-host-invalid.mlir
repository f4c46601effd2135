// RUN: megactx-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect --megactx-check-gpu-host

// Each kind of operation, how many there are, and where the first stands.
// expected-error@below {{no lowering to a GPU for linalg.fill (2), scf.parallel (1); --target=cpu compiles them}}
module {
  func.func @main(%a: memref<4xf32>, %x: f32) {
    // expected-note@below {{the first linalg.fill}}
    linalg.fill ins(%x : f32) outs(%a : memref<4xf32>)
    linalg.fill ins(%x : f32) outs(%a : memref<4xf32>)
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    // expected-note@below {{the first scf.parallel}}
    scf.parallel (%i) = (%c0) to (%c1) step (%c1) {
      linalg.fill ins(%x : f32) outs(%a : memref<4xf32>)
    }
    return
  }
}

// -----

// expected-error@below {{no lowering to a GPU for somebody.else (1)}}
module {
  func.func @main() {
    // expected-note@below {{the first somebody.else}}
    "somebody.else"() : () -> ()
    return
  }
}
