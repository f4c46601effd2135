// RUN: megactx-opt %s | megactx-opt | FileCheck %s

// CHECK: nvx.schedule = #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 2>
func.func private @mma_sync() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 48, warps = 4, stages = 2, product = mma_sync, held = true, blocks = 2>
}

// CHECK: nvx.schedule = #nvx.schedule<rows = 16, columns = 64, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 5, grouped = true, split = 660>
func.func private @split() attributes {
  nvx.schedule = #nvx.schedule<rows = 16, columns = 64, warps = 1, stages = 2, product = mma_sync, held = true, blocks = 5, grouped = true, split = 660>
}

// CHECK: nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, loads = tma>
func.func private @boxes() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = wgmma, held = false, blocks = 4, loads = tma>
}

// CHECK: nvx.schedule = #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
func.func private @producer() attributes {
  nvx.schedule = #nvx.schedule<rows = 128, columns = 128, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true, persistent = true>
}
