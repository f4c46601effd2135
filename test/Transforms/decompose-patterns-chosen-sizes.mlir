// That sizes are equal is found in time that does not grow with the choices behind them.
// RUN: %python %S/Inputs/chosen_sizes.py | timeout 15 megactx-opt --megactx-decompose-patterns | FileCheck %s

// CHECK-LABEL: @chosen
// CHECK-NOT: cf.assert
// CHECK: megactx.online_attention
