"""Attention kernels for other CPUs of this architecture than the one here: narrower vectors, fewer registers, no instructions for bf16."""

import platform

import pytest

import attention
import gradients
from test_kernels import BLOCK_PATTERNS, PATTERNS

CPUS = {"x86-64-v2": "f32", "x86-64-v3": "bf16", "x86-64-v4": "f16"}
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="for CPUs of x86")


@pytest.fixture(params=CPUS)
def of_cpu(request, program):
    """Specifications that differ in the pattern alone -> what runs them, on this CPU if it can; and the CPU's dtype."""

    def make(specs):
        run = program(attention.together([spec.module() for spec in specs]), f"--target={request.param}")

        def run_here(inputs):
            try:
                return run(inputs)
            except AssertionError as error:
                if "this one has no" in str(error):
                    pytest.skip(f"no {request.param} here")
                raise

        return run_here

    return make, CPUS[request.param]


def test_kernels(of_cpu):
    make, dtype = of_cpu
    specs = [attention.Spec(pattern, dtype=dtype, head_dim=48, value_dim=32) for pattern in [*PATTERNS[1:9:2], PATTERNS[11], *BLOCK_PATTERNS[:2]]]
    kernel = attention.Kernel(specs, make(specs))
    for queries, keys in [(1, 40), (33, 33), (131, 131), (150, 20)]:
        attention.check(kernel, batch=2, queries=queries, keys=keys)


def test_gradients(of_cpu):
    make, dtype = of_cpu
    specs = [gradients.Spec(pattern=PATTERNS[3], dtype=dtype, head_dim=40, value_dim=24)]
    for queries, keys in [(33, 33), (131, 131), (5, 70)]:
        gradients.check(make(specs), specs, 2, queries, keys)
