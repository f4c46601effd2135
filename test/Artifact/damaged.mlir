// RUN: rm -rf %t && mkdir %t
// RUN: megactx-compile %s -o %t/m.mctx 2>/dev/null
// RUN: %python -c "import numpy as np; np.save('%t/input_0', np.ones(3, np.float32)); np.save('%t/output_0', np.full(3, 2, np.float32))"
// RUN: megactx-run %t/m.mctx --test-data %t

// A byte of the manifest that JSON does not miss:
// RUN: cp -r %t/m.mctx %t/name.mctx && sed -i 's/"name": "x"/"name": "z"/' %t/name.mctx/manifest.json
// RUN: not megactx-run %t/name.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=NAME
// NAME: error: '{{.*}}name.mctx/manifest.json' is damaged: its checksum is not the recorded one

// RUN: not megactx-explain %t/name.mctx 2>&1 | FileCheck %s --check-prefix=EXPLAIN
// EXPLAIN: error: {{.*}}name.mctx: manifest.json is damaged: its checksum is not the recorded one

// RUN: cp -r %t/m.mctx %t/cut.mctx && head -c 100 %t/m.mctx/manifest.json > %t/cut.mctx/manifest.json
// RUN: not megactx-run %t/cut.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=CUT
// CUT: error: '{{.*}}cut.mctx/manifest.json' is damaged

// RUN: cp -r %t/m.mctx %t/code.mctx && echo >> %t/code.mctx/model.so
// RUN: not megactx-run %t/code.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=CODE
// CODE: error: '{{.*}}code.mctx/model.so' is damaged: its size or checksum is not the manifest's

// RUN: cp -r %t/m.mctx %t/gone.mctx && rm %t/gone.mctx/weights.bin
// RUN: not megactx-run %t/gone.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=GONE
// GONE: error: cannot read '{{.*}}gone.mctx/weights.bin': No such file or directory

// RUN: not megactx-run %t/none.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: cannot read '{{.*}}none.mctx/manifest.json': No such file or directory

// Intact, but for a CPU or a runtime that this is not:
// RUN: cp -r %t/m.mctx %t/cpu.mctx && %python %S/Inputs/reseal.py %t/cpu.mctx/manifest.json target features '["future9000"]'
// RUN: not megactx-run %t/cpu.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=CPU
// CPU: error: '{{.*}}cpu.mctx' was compiled for CPU '{{.*}}': this one has no future9000
// RUN: cp -r %t/m.mctx %t/version.mctx && %python %S/Inputs/reseal.py %t/version.mctx/manifest.json version 99
// RUN: not megactx-run %t/version.mctx --test-data %t 2>&1 | FileCheck %s --check-prefix=VERSION
// VERSION: error: '{{.*}}version.mctx' has artifact version 99, but this runtime reads {{[0-9]+}}

func.func @main(%x: tensor<?xf32> {onnx.name = "x", onnx.dims = ["n"]}) -> (tensor<?xf32> {onnx.name = "twice"}) {
  %y = arith.addf %x, %x : tensor<?xf32>
  return %y : tensor<?xf32>
}
