// RUN: megactx-opt %s -split-input-file -verify-diagnostics

// expected-error@+2 {{expected 1 to 16 warps, but got 0}}
func.func private @schedule_c1_warps() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 0, stages = 2, product = fma, held = false, blocks = 1>
}

// -----

// expected-error@+2 {{expected rows to be a positive multiple of 16 for each of 4 warps, but got 80}}
func.func private @schedule_c1_rows() attributes {
  nvx.schedule = #nvx.schedule<rows = 80, columns = 64, warps = 4, stages = 2, product = fma, held = false, blocks = 1>
}

// -----

// expected-error@+2 {{expected columns to be a positive multiple of 16, but got 24}}
func.func private @schedule_c1_columns() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 24, warps = 4, stages = 2, product = fma, held = false, blocks = 1>
}

// -----

// expected-error@+2 {{expected 2 to 8 stages, but got 1}}
func.func private @schedule_c2_stages() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 1, product = fma, held = false, blocks = 1>
}

// -----

// expected-error@+2 {{expected 1 to 32 blocks, but got 0}}
func.func private @schedule_c2_blocks() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = fma, held = false, blocks = 0>
}

// -----

// expected-error@+2 {{expected to split for 0 to 1048576 blocks, but got -1}}
func.func private @schedule_c2_split() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = fma, held = false, blocks = 1, split = -1>
}

// -----

// expected-error@+2 {{expected loads = tma with producer = true}}
func.func private @schedule_c3_loads() attributes {
  nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, producer = true>
}

// -----

// expected-error@+2 {{expected 4, 8 or 12 warps beside the producer's, but got 16}}
func.func private @schedule_c3_warps() attributes {
  nvx.schedule = #nvx.schedule<rows = 256, columns = 64, warps = 16, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
}

// -----

// expected-error@+2 {{expected 4, 8 or 12 warps beside the producer's, but got 6}}
func.func private @schedule_c3_half_a_warpgroup() attributes {
  nvx.schedule = #nvx.schedule<rows = 96, columns = 64, warps = 6, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, producer = true>
}

// -----

// expected-error@+2 {{expected producer = true without grouped}}
func.func private @schedule_c3_grouped() attributes {
  nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, grouped = true, loads = tma, producer = true>
}

// -----

// expected-error@+2 {{expected producer = true with persistent = true}}
func.func private @schedule_c3_persistent() attributes {
  nvx.schedule = #nvx.schedule<rows = 128, columns = 64, warps = 8, stages = 2, product = wgmma, held = false, blocks = 1, loads = tma, persistent = true>
}

// -----

// expected-error@+1 {{expected 'nvx.schedule' to be a #nvx.schedule, but got 3 : i64}}
func.func private @other_value() attributes {nvx.schedule = 3}

// -----

// expected-error@+1 {{unknown attribute "nvx.other"}}
func.func private @other_name() attributes {nvx.other = 3}

// -----

// expected-error@+2 {{expected 1 to 32 blocks, but got 4611686018427387904}}
func.func private @schedule_c2_many_blocks() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 64, warps = 4, stages = 2, product = fma, held = false, blocks = 4611686018427387904>
}

// -----

// expected-error@+2 {{expected at most 4096 rows and columns, but got 64 and 576460752303423488}}
func.func private @schedule_c1_long_tile() attributes {
  nvx.schedule = #nvx.schedule<rows = 64, columns = 576460752303423488, warps = 4, stages = 2, product = fma, held = false, blocks = 1>
}
