// RUN: split-file %s %t && cd %t
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=absent.json' 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=text.json' 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=list.json' 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=arch.json' 2>&1 | FileCheck %s --check-prefix=ARCH
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=entry.json' 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=syntax.json' 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not megactx-opt in.mlir --megactx-convert-attention-to-nvgpu-kernels='schedules=unfit.json' 2>&1 | FileCheck %s --check-prefix=UNFIT
// RUN: not megactx-compile in.mlir --schedules=text.json -o out 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: not ls out

// ABSENT: error: cannot read schedules 'absent.json': No such file or directory
// TEXT: error: schedules 'text.json': {{.*}}Expected object key
// LIST: error: schedules 'list.json': expected an object with a key 'schedules', an object
// ARCH: error: schedules 'arch.json': 'sm_80': expected an object
// ENTRY: error: schedules 'entry.json': 'sm_80', 'f16 64 long': expected an object with a key 'schedule', a valid #nvx.schedule
// SYNTAX: error: schedules 'syntax.json': 'sm_80', 'f16 64 long': expected an object with a key 'schedule', a valid #nvx.schedule, but got '#nvx.schedule<rows = 64>'
// A schedule that the kernel cannot have is an error of the operation.
// UNFIT: in.mlir:4:3: error: 'megactx.fused_attention' op expected a schedule with product = mma_sync for 'f16' on sm_80
// CPU: error: --schedules is of a GPU's kernels, but the target is cpu

//--- text.json
{
//--- list.json
{"schedules": []}
//--- arch.json
{"schedules": {"sm_80": 3}}
//--- entry.json
{"schedules": {"sm_80": {"f16 64 long": {"speedup": 1}}}}
//--- syntax.json
{"schedules": {"sm_80": {"f16 64 long": {"schedule": "#nvx.schedule<rows = 64>"}}}}
//--- unfit.json
{"schedules": {"sm_80": {"f16 64 long": {"schedule": "#nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1>"}}}}
//--- in.mlir
!q = memref<?x?x?x64xf16>
!l = memref<?x?x?xf32>
func.func @main(%q: !q, %k: !q, %v: !q, %o: !q, %lse: !l) {
  megactx.fused_attention %q, %k, %v outs(%o, %lse) [#megactx.piece<hi<p + 1>>] {scale = 0.125 : f32} : (!q, !q, !q, !q, !l) -> ()
  return
}
