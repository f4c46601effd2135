#!/bin/sh
# Interesting (status 1, as upstream's mlir-reduce has it) while there is still a multiplication.
grep -q "onnx.Mul" "$1" && exit 1
exit 0
