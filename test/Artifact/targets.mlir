// Code for other CPUs than this one, by LLVM's names.
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: megactx-compile %s -O0 --target=x86-64-v3 -o v3.mctx 2>&1 | FileCheck %s --check-prefix=PHASE
// RUN: FileCheck %s --check-prefix=V3 < v3.mctx/manifest.json
// RUN: llvm-readobj -h v3.mctx/model.so | FileCheck %s --check-prefix=X86
// RUN: megactx-compile %s -O0 --target=neoverse-v1 -o v1.mctx 2>/dev/null
// RUN: FileCheck %s --check-prefix=V1 < v1.mctx/manifest.json
// RUN: llvm-readobj -h v1.mctx/model.so | FileCheck %s --check-prefix=ARM

// PHASE: code for x86-64-v3
// X86: Machine: EM_X86_64
// ARM: Machine: EM_AARCH64
// V3: "target": {
// V3: "cpu": "x86-64-v3"
// V3: "sse4_2"
// V3: "avx2"
// V3: "abm"
// V3-NOT: "avx512
// V3: "kind": "cpu"
// V1: "cpu": "neoverse-v1"
// V1: "asimd"
// V1: "sve"
// V1-NOT: "sve2"
// V1: "kind": "cpu"

// Vectors are as wide as the CPU's; sums are in as many as it has.
// RUN: megactx-compile %s --target=x86-64-v2 --compile-to=loops -o - 2>/dev/null | FileCheck %s --check-prefixes=FOUR,SIXTEEN
// RUN: megactx-compile %s --target=x86-64-v3 --compile-to=loops -o - 2>/dev/null | FileCheck %s --check-prefixes=EIGHT,SIXTEEN
// RUN: megactx-compile %s --target=znver4 --compile-to=loops -o - 2>/dev/null | FileCheck %s --check-prefixes=WIDE,THIRTYTWO
// RUN: megactx-compile %s --target=neoverse-v1 --compile-to=loops -o - 2>/dev/null | FileCheck %s --check-prefixes=FOUR,THIRTYTWO
// FOUR-NOT: vector<8xf32>
// FOUR: vector<4xf32>
// EIGHT-NOT: vector<16xf32>
// EIGHT: vector<8xf32>
// WIDE: vector<16xf32>
// SIXTEEN-NOT: -> ({{(vector<[0-9]+xf32>, ){15} *}}
// THIRTYTWO: -> ({{(vector<[0-9]+xf32>, ){23} *}}vector

// RUN: not megactx-compile %s --target=x86-64-v9 -o no.mctx 2>&1 | FileCheck %s --check-prefix=NEAR
// NEAR: error: unknown target 'x86-64-v9', did you mean 'x86-64-v{{[234]}}'? expected cpu, another CPU by LLVM's name for it (x86-64-v3, znver4, neoverse-v1), or a GPU's architecture: sm_80
// RUN: not megactx-compile %s --target=icelake -o no.mctx 2>&1 | FileCheck %s --check-prefix=BEGIN
// BEGIN: error: unknown target 'icelake', did you mean 'icelake-{{.*}}'?
// RUN: not megactx-compile %s --target=toaster -o no.mctx 2>&1 | FileCheck %s --check-prefix=FAR
// FAR: error: unknown target 'toaster', expected cpu
// LLVM's x86 has CPUs of 32 bits.
// RUN: not megactx-compile %s --target=pentium4 -o no.mctx 2>&1 | FileCheck %s --check-prefix=NARROW
// NARROW: error: unknown target 'pentium4'
// RUN: not megactx-compile %s --target=haswell --schedule='#nvx.schedule<>' -o no.mctx 2>&1 | FileCheck %s --check-prefix=SCHEDULE
// SCHEDULE: error: --schedule is of a GPU's kernels, but the target is haswell
// RUN: not ls no.mctx

!t = tensor<1x2x?x16xf32>
!s = !megactx.source<!t, !t>
func.func @main(%q: !t, %k: !t, %v: !t) -> !t {
  %s = megactx.source %k, %v pattern(#megactx.pattern<causal>) : (!t, !t) -> !s
  %o = megactx.attention %q, %s {scale = 0.25 : f32} : (!t, !s) -> !t
  return %o : !t
}
