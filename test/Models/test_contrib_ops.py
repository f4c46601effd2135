"""onnxruntime's own operators against onnxruntime."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import reference
from contrib import BATCH, by_onnxruntime, check, write

rng = np.random.default_rng(7)


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def integers(*values):
    return np.array(values, dtype=np.int32)


LENGTH, WIDTH, HEADS = 5, 12, 3
X = random(BATCH, LENGTH, WIDTH)
SCALE, SHIFT, BIAS = random(WIDTH), random(WIDTH), random(WIDTH)
QKV = [random(WIDTH, 3 * WIDTH), random(3 * WIDTH)]
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=np.int32)
IDS = rng.integers(0, 7, (BATCH, LENGTH)).astype(np.int32)
PAST = [random(BATCH, HEADS, 3, WIDTH // HEADS), random(BATCH, HEADS, 3, WIDTH // HEADS)]
COS_SIN = [random(8, 2), random(8, 2)]

# name: (operator, inputs or None, output places, attributes)
CASES = {
    "simplified": (".SimplifiedLayerNormalization", [X, SCALE], [0], {"axis": -1, "epsilon": 1e-3}),
    "skip": ("SkipLayerNormalization", [X, random(*X.shape), SCALE], [0], {"epsilon": 1e-3}),
    "skip_bias_sum": ("SkipLayerNormalization", [X, random(*X.shape), SCALE, SHIFT, BIAS], [0, 3], {"epsilon": 1e-3}),
    "skip_simplified": ("SkipSimplifiedLayerNormalization", [X, random(*X.shape), SCALE], [0, 3], {"epsilon": 1e-3}),
    "skip_simplified_bias": ("SkipSimplifiedLayerNormalization", [X, random(*X.shape), SCALE, BIAS], [0], {}),
    "embed": ("EmbedLayerNormalization", [IDS, None, random(7, WIDTH), random(8, WIDTH), None, SCALE, SHIFT, MASK], [0, 1], {}),
    "embed_segments": ("EmbedLayerNormalization", [IDS, IDS % 2, random(7, WIDTH), random(8, WIDTH), random(2, WIDTH), SCALE, SHIFT, MASK, IDS], [0, 1, 2], {}),
    "gelu": ("Gelu", [X], [0], {}),
    "bias_gelu": ("BiasGelu", [X, BIAS], [0], {}),
    "fast_gelu": ("FastGelu", [X], [0], {}),
    "fast_gelu_bias": ("FastGelu", [X, BIAS], [0], {}),
    "quick_gelu": ("QuickGelu", [X], [0], {"alpha": 1.5}),
    "product": ("FusedMatMul", [X, random(BATCH, 4, WIDTH)], [0], {"alpha": 0.3, "transB": 1}),
    "product_transposed": ("FusedMatMul", [X, random(BATCH, LENGTH, 4)], [0], {"transA": 1}),
    "rotary": ("RotaryEmbedding", [X, np.tile(np.arange(1, 6, dtype=np.int64), (BATCH, 1)), *COS_SIN], [0], {}),
    "attention": ("Attention", [X, *QKV], [0], {"num_heads": HEADS}),
    "attention_lengths": ("Attention", [X, *QKV, integers(5, 3)], [0], {"num_heads": HEADS}),
    "attention_mask": ("Attention", [X, *QKV, MASK], [0], {"num_heads": HEADS, "scale": 0.3}),
    "attention_causal": ("Attention", [X, *QKV], [0], {"num_heads": HEADS, "unidirectional": 1}),
    "attention_bias": ("Attention", [X, *QKV, MASK, None, random(BATCH, HEADS, LENGTH, LENGTH)], [0], {"num_heads": HEADS}),
    "attention_widths": ("Attention", [X, random(WIDTH, 30), random(30)], [0], {"num_heads": HEADS, "qkv_hidden_sizes": [12, 12, 6]}),
    "heads": ("MultiHeadAttention", [X, random(*X.shape), random(*X.shape)], [0], {"num_heads": HEADS}),
    "heads_bias_mask": ("MultiHeadAttention", [X, random(*X.shape), random(*X.shape), random(3 * WIDTH), MASK], [0], {"num_heads": HEADS}),
    "heads_past": ("MultiHeadAttention", [X, random(*X.shape), random(*X.shape), None, None, None, *PAST], [0, 1, 2], {"num_heads": HEADS}),
}  # fmt: skip

KEY_HEADS, DEPTH, ROTATED = 2, 16, [random(16, 8), random(16, 8)]


def grouped(rows, lengths, past=None, packed=False, total=None, bias=None, sink=None, **attributes):
    """`lengths`: keys of each batch entry, its new rows with them; `past`: the size of the cache that comes in."""
    heads, batch = 2 * KEY_HEADS, len(lengths)
    new = [random(batch, rows, many * DEPTH) for many in (heads, KEY_HEADS, KEY_HEADS)]
    new = [np.concatenate(new, -1), None, None] if packed else new
    cache = [None, None] if past is None else [random(batch, KEY_HEADS, past, DEPTH) for _ in range(2)]
    total = total or max(lengths)
    inputs = [*new, *cache, integers(*lengths) - 1, integers(total), *(ROTATED if attributes.get("do_rotary") else [None, None]),
              None, None if bias is None else random(*bias, rows, total), sink]
    return ("GroupQueryAttention", inputs, [0, 1, 2], {"num_heads": heads, "kv_num_heads": KEY_HEADS, **attributes})


ROTARY = {"do_rotary": 1}
# onnxruntime has no more than one batch entry where several rows meet a cache.
CASES |= {
    "grouped": grouped(5, [5, 5]),
    "grouped_padded": grouped(5, [5, 3], past=0, **ROTARY),
    "grouped_packed": grouped(5, [5, 5], packed=True, **ROTARY),
    "grouped_prompt_in_buffer": grouped(5, [5, 3], past=12, packed=True, **ROTARY),
    "grouped_decode": grouped(1, [7, 4], past=12, **ROTARY),
    "grouped_decode_grows": grouped(1, [7, 4], past=6, packed=True, **ROTARY, rotary_interleaved=1),
    "grouped_chunk": grouped(3, [9], past=12, **ROTARY),
    "grouped_window": grouped(1, [9, 4], past=12, local_window_size=3, **ROTARY),
    "grouped_window_prompt": grouped(7, [7, 5], past=0, local_window_size=3),
    "grouped_softcap_scale": grouped(5, [5, 5], softcap=2.0, scale=0.7),
    "grouped_smooth": grouped(1, [7, 4], past=12, smooth_softmax=1),
    "grouped_sink": grouped(5, [5, 4], past=0, sink=random(2 * KEY_HEADS), **ROTARY),
    "grouped_bias": grouped(3, [9], past=12, bias=(1, 2 * KEY_HEADS)),
    "grouped_bias_of_batch": grouped(1, [9, 6], past=12, bias=(2, 1)),
}


def packed(rows, width, size, bits, zeros=None, **more):
    """Weights [rows, width] of few bits as MatMulNBits has them; `zeros`: None, or their dtype."""
    blocks = -(-width // size)
    count = rows * -(-blocks * bits // 8) if zeros == np.uint8 else rows * blocks
    points = None if zeros is None else rng.integers(0, 255, count).astype(np.uint8) if zeros == np.uint8 else random(count) + 2 ** (bits - 1)
    weights = rng.integers(0, 256, (rows, blocks, size * bits // 8)).astype(np.uint8)
    return ("MatMulNBits", [random(*more.pop("of", (2, 3)), width), weights, random(rows * blocks) / np.float32(width**0.5), points, None, *more.pop("bias", [])], [0],
            {"K": width, "N": rows, "bits": bits, "block_size": size, **more})


CASES |= {
    "bits4": packed(6, 64, 32, 4),
    "bits4_zeros": packed(6, 96, 32, 4, np.uint8),
    "bits4_real_zeros": packed(6, 64, 16, 4, np.float32),
    "bits4_bias": packed(6, 128, 64, 4, bias=[random(6)]),
    "bits4_rest": packed(5, 40, 32, 4, np.uint8),
    "bits8": packed(7, 64, 32, 8),
    "bits8_zeros": packed(7, 256, 128, 8, np.uint8),
    "bits4_parts": packed(96, 131072, 256, 4, np.uint8, of=(2, 9)),  # wide enough for several parts
    "rows_of_bits4": ("GatherBlockQuantized", [rng.integers(0, 256, (9, 32)).astype(np.uint8), IDS.astype(np.int64), random(9, 2)], [0],
                      {"bits": 4, "block_size": 32, "gather_axis": 0, "quantize_axis": 1}),
    "rows_of_bits4_zeros": ("GatherBlockQuantized", [rng.integers(0, 256, (9, 32)).astype(np.uint8), IDS.astype(np.int64), random(9, 4), rng.integers(0, 256, (9, 2)).astype(np.uint8)], [0],
                            {"bits": 4, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}),
    "rows_of_bits8": ("GatherBlockQuantized", [rng.integers(0, 256, (9, 64)).astype(np.uint8), IDS.astype(np.int64), random(9, 2), rng.integers(0, 256, (9, 2)).astype(np.uint8)], [0],
                      {"bits": 8, "block_size": 32, "gather_axis": 0, "quantize_axis": 1}),
}


def byte(dtype, *shape):
    limits = np.iinfo(dtype)
    return np.array(rng.integers(limits.min, limits.max + 1, shape), dtype=dtype)


def weight(*shape):
    """Of 7 bits: onnxruntime's sums of pairs with unsigned bytes saturate on CPUs without VNNI."""
    return byte(np.int8, *shape) // 2


SCALES = np.array(0.013, dtype=np.float32), np.array(0.02, dtype=np.float32)
U8, S8 = np.uint8, np.int8
CASES |= {
    "integers_to_reals": ("MatMulIntegerToFloat", [byte(U8, 2, 5, 12), weight(12, 7), *SCALES, byte(U8), byte(S8), random(7)], [0], {}),
    "integers_to_reals_columns": ("MatMulIntegerToFloat", [byte(U8, 2, 5, 12), byte(U8, 12, 7), SCALES[0], random(7), None, byte(U8, 7)], [0], {}),
    "many_integers_to_reals": ("MatMulIntegerToFloat", [byte(U8, 2, 5, 1000), byte(U8, 1000, 7), *SCALES, byte(U8), byte(U8)], [0], {}),
    "dynamic": ("DynamicQuantizeMatMul", [X, weight(12, 7), random(7), byte(S8, 7), random(7)], [0], {}),
    "dynamic_one": ("DynamicQuantizeMatMul", [X, byte(U8, 12, 7), SCALES[1], byte(U8)], [0], {}),
    "attention_of_bytes": ("QAttention", [byte(U8, 2, 5, 12), weight(12, 36), random(36), *SCALES, MASK, byte(U8), byte(S8)], [0], {"num_heads": HEADS}),
    "attention_of_bytes_causal": ("QAttention", [byte(U8, 2, 5, 12), weight(12, 36), random(36), *SCALES, None, byte(U8), byte(S8)], [0], {"num_heads": HEADS, "unidirectional": 1}),
    "quantize": ("QuantizeLinear", [2 * X, SCALES[1], byte(U8)], [0], {}),
    "dequantize": ("DequantizeLinear", [byte(S8, 2, 5, 12), random(5), byte(S8, 5)], [0], {"axis": 1}),
    "dequantize_list": (".DequantizeLinear", [byte(S8, 7), SCALES[0].reshape(1), byte(S8, 1)], [0], {}),
    "sum_of_bytes": ("QLinearAdd", [byte(U8, 2, 5, 12), SCALES[0], byte(U8), byte(U8, 12), SCALES[1], byte(U8), np.array(0.04, dtype=np.float32), byte(U8)], [0], {}),
    "times_bytes": ("QLinearMul", [byte(S8, 2, 5, 12), SCALES[0], byte(S8), byte(S8, 2, 5, 12), SCALES[1], byte(S8), np.array(0.04, dtype=np.float32), byte(S8)], [0], {}),
    "softmax_of_bytes": ("QLinearSoftmax", [byte(U8, 2, 5, 12), SCALES[1], byte(U8), np.array(1 / 255, dtype=np.float32), np.array(0, dtype=U8)], [0], {"axis": -1, "opset": 13}),
    "sigmoid_of_bytes": ("QLinearSigmoid", [byte(U8, 2, 5, 12), SCALES[1], byte(U8), np.array(1 / 255, dtype=np.float32), np.array(0, dtype=U8)], [0], {}),
    "product_of_bytes": (".QLinearMatMul", [byte(U8, 2, 5, 12), SCALES[0], byte(U8), weight(12, 7), SCALES[1], byte(S8), np.array(0.4, dtype=np.float32), byte(U8)], [0], {}),
    "product_of_bytes_columns": (".QLinearMatMul", [byte(U8, 2, 5, 12), SCALES[0], byte(U8), weight(12, 7), abs(random(7)), byte(S8, 7), np.array(0.4, dtype=np.float32), byte(U8)], [0], {}),
}


def table(layouts):
    """Block masks as CSR, with -1 behind shorter ones."""
    columns = [np.nonzero(layout)[1] for layout in layouts]
    most = max(len(c) for c in columns)
    starts = [np.concatenate([[0], np.cumsum(layout.sum(-1))]) for layout in layouts]
    return np.array(starts, np.int32), np.array([np.pad(c, (0, most - len(c)), constant_values=-1) for c in columns], np.int32)


def phi3_small(blocks, local, stride, heads=2):
    """The layouts of Phi-3 small: blocks near a row's own, and every stride-th, other ones for each head."""
    r, c = np.arange(blocks)[:, None], np.arange(blocks)
    return [(c <= r) & ((r - c < local) | ((c + head * max(1, stride // heads) + 1) % stride == 0)) for head in range(heads)]


def blocked(rows, lengths, layouts, past, packed=False, total=None, block=16, **attributes):
    """`lengths`: keys of each batch entry, its new rows with them; `past`: the size of the cache."""
    heads, batch = 2 * KEY_HEADS, len(lengths)
    new = [random(batch, rows, many * DEPTH) for many in (heads, KEY_HEADS, KEY_HEADS)]
    new = [np.concatenate(new, -1), None, None] if packed else new
    cache = [random(batch, KEY_HEADS, past, DEPTH) for _ in range(2)]
    rotated = [random(past, 8), random(past, 8)] if attributes.get("do_rotary") else [None, None]
    inputs = [*new, *cache, *table(layouts), integers(total or max(lengths)), integers(*lengths), *rotated]
    return ("SparseAttention", inputs, [0, 1, 2], {"num_heads": heads, "kv_num_heads": KEY_HEADS, "sparse_block_size": block, **attributes}, [5, 6])


CASES |= {
    "blocked": blocked(70, [70, 70], phi3_small(6, 2, 3), past=96),
    "blocked_padded": blocked(70, [70, 37], phi3_small(8, 2, 4, heads=4), past=96, packed=True, **ROTARY),
    "blocked_decode": blocked(1, [70, 37], phi3_small(8, 1, 3), past=96, **ROTARY, rotary_interleaved=1, scale=0.3),
    "blocked_chunk": blocked(20, [70], phi3_small(8, 2, 4), past=96, packed=True),
    "blocked_dense": blocked(37, [37], [np.tri(3, dtype=bool)], past=64),
    "blocked_table": blocked(64, [64], [np.eye(4, dtype=bool) | np.eye(4, k=-2, dtype=bool), np.tri(4, dtype=bool)], past=64),
    "blocked_first": blocked(64, [64], [np.tri(4, dtype=bool) & (np.eye(4, dtype=bool) | (np.arange(4) == 0))], past=64),
    "blocked_beyond": blocked(33, [33], [np.ones((4, 4), dtype=bool)], past=64),
}


# Of one row, of few and of many, at most 16 of which are widened in registers; blocks of 256 have several vectors of bytes.
CASES |= {f"bits{bits}_{rows[0]}x{rows[1]}_{size}": packed(7, 264, size, bits, zeros, of=rows) for bits, size, zeros, rows in [
    (4, 32, None, (1, 1)), (4, 256, np.uint8, (1, 1)), (4, 16, np.float32, (2, 8)), (4, 64, None, (2, 9)), (8, 32, np.uint8, (1, 1)), (8, 16, None, (2, 9))]}

# What onnxruntime's extended optimizations write.
CASES |= {
    "product_batch_last": ("FusedMatMul", [random(3, BATCH, 5), random(4, BATCH, 5)], [0], {"transBatchA": 1, "transBatchB": 1, "transB": 1}),
    "product_batch_swapped": ("FusedMatMul", [random(5, BATCH, 4, 3), random(BATCH, 4, 5, 6)], [0], {"transBatchA": 1, "transA": 1}),
    "gemm_relu": ("FusedGemm", [random(BATCH, WIDTH), random(4, WIDTH), random(4)], [0], {"activation": "Relu", "transB": 1, "beta": 0.5}),
    "gemm_leaky": ("FusedGemm", [random(BATCH, WIDTH), random(WIDTH, 4)], [0], {"activation": "LeakyRelu", "activation_alpha": 0.3, "alpha": 2.0}),
    "gemm_hard": ("FusedGemm", [random(BATCH, WIDTH), random(WIDTH, 4)], [0], {"activation": "HardSigmoid", "activation_alpha": 0.1, "activation_beta": 0.4}),
    "conv_relu": ("FusedConv", [random(BATCH, 4, 6, 5), random(6, 2, 3, 3), random(6)], [0], {"activation": "Relu", "group": 2, "pads": [1, 0, 1, 2], "strides": [2, 1]}),
    "conv_leaky_sum": ("FusedConv", [random(BATCH, 4, 6, 5), random(6, 4, 3, 3), random(6), random(BATCH, 6, 6, 5)], [0],
                       {"activation": "LeakyRelu", "activation_params": [0.3], "auto_pad": "SAME_UPPER"}),
    "conv_sum": ("FusedConv", [random(BATCH, 4, 6, 5), random(6, 4, 1, 1), None, random(BATCH, 6, 6, 5)], [0], {}),
    "conv_clip": ("FusedConv", [random(BATCH, 4, 9), random(6, 4, 3)], [0], {"activation": "Clip", "activation_params": [-0.5, 0.7], "dilations": [2]}),
}


def recurrent_of_bytes(directions, scales, have, steps=6, size=7, hidden=4, **attributes):
    """One entry: onnxruntime quantizes the states of several together or apart, by its number of threads."""
    states = lambda name: random(directions, 1, hidden) if name in have else None
    columns = (directions, 4 * hidden) if scales == "columns" else (directions,)
    quantized = [part for _ in range(2) for part in (abs(random(*columns)) / np.float32(100), np.zeros(columns, S8))]
    weights = [weight(directions, rows, 4 * hidden) for rows in (size, hidden)]
    bias, peepholes = random(directions, 8 * hidden), random(directions, 3 * hidden) if "p" in have else None
    lengths = integers(steps - 2) if "lens" in have else None
    return ("DynamicQuantizeLSTM", [random(steps, 1, size), *weights, bias, lengths, states("h"), states("c"), peepholes, *quantized], [0, 1, 2],
            {"hidden_size": hidden, **attributes}, [1, 2, 3, 8, 9, 10, 11])


CASES |= {
    "lstm_of_bytes": recurrent_of_bytes(1, "one", ""),
    "lstm_of_bytes_both_ways": recurrent_of_bytes(2, "columns", "lens h c p", direction="bidirectional"),
    "lstm_of_bytes_backwards": recurrent_of_bytes(1, "columns", "h", direction="reverse"),
}


def valid(name, key, value):
    """What is there: rows of padding, and of caches beyond their lengths, may hold anything."""
    operator, inputs, *_ = CASES[name]
    if operator == "GroupQueryAttention":
        lengths, total = inputs[5] + 1, inputs[6][0]
    elif operator == "SparseAttention":
        lengths, total = inputs[8], inputs[7][0]
    else:
        return value
    rows = inputs[0].shape[1]
    new = lengths if rows == total else np.full_like(lengths, rows)
    return np.concatenate([part[:many].ravel() if key == "y0" else part[:, :many].ravel()
                           for part, many in zip(value, new if key == "y0" else lengths)])


# onnxruntime has tables of these, and sums of its own.
ROUNDED_OTHERWISE = {"softmax_of_bytes": 1, "sum_of_bytes": 1}


def expected(name, model, given):
    return (blocked_by_onnxruntime if CASES[name][0] == "SparseAttention" else by_onnxruntime)(name, model, given)


def blocked_by_onnxruntime(_, model, given):
    """SparseAttention by batch entry: onnxruntime mixes up the rows of entries of several lengths. One buffer is a cache that comes in and out."""
    run = reference.session(model)
    whole = {"y0": np.zeros_like(given["x0"][..., : 2 * KEY_HEADS * DEPTH]), "y1": np.zeros_like(given["x3"]), "y2": np.zeros_like(given["x4"])}
    for entry, length in enumerate(given["x8"]):
        rows = min(given["x0"].shape[1], length)
        here = {n: v[entry : entry + 1, :rows] if n in ("x0", "x1", "x2") else v[entry : entry + 1] if n in ("x3", "x4", "x8") else v for n, v in given.items()}
        values = {n: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(v)) for n, v in (here | {"x7": integers(length)}).items()}
        bound = run.io_binding()
        for name, value in values.items():
            bound.bind_ortvalue_input(name, value)
        bound.bind_output("y0")
        for name, shared in {"y1": "x3", "y2": "x4"}.items():
            bound.bind_ortvalue_output(name, values[shared])
        run.run_with_iobinding(bound)
        for name, part in zip(whole, bound.copy_outputs_to_cpu()):
            whole[name][entry, : part.shape[1]] = part[0]
    return whole


def rows(operator):
    return 1 if operator == "SparseAttention" else None


def test_operators_equal_onnxruntime(half, tool, tmp_path):
    """Half of the cases as one model; `--only NAME` is a case by itself."""
    check({name: CASES[name] for name in half}, tool, tmp_path, expected, valid, ROUNDED_OTHERWISE, rows)


def a_run_refuses(case, message, tool, tmp_path):
    """What compiles."""
    write(tmp_path, case, rows(case[0]))
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path, "--outputs", tmp_path / "out")
    assert done.status == 1 and message in done.err, done


@pytest.mark.parametrize("sizes", [(1, KEY_HEADS, 12, DEPTH), (2, 1, 12, DEPTH), (2, KEY_HEADS, 12, 8)], ids=str)
def test_a_cache_of_other_sizes(sizes, tool, tmp_path):
    operator, inputs, places, attributes = CASES["grouped_decode"]
    case = (operator, [*inputs[:3], random(*sizes), random(*sizes), *inputs[5:]], places, attributes)
    a_run_refuses(case, "the cache's batch, heads or head dim are not those of the new rows", tool, tmp_path)


@pytest.mark.parametrize("lengths, total", [([7, 0], None), ([7, -3], None), ([7, 4], 5)], ids=str)
def test_lengths_that_are_none(lengths, total, tool, tmp_path):
    a_run_refuses(grouped(1, lengths, past=12, total=total), "a batch entry has more keys than total_sequence_length, or fewer than new rows", tool, tmp_path)


@pytest.mark.parametrize("total", [-1, 14, 2**31 - 1])
def test_more_tokens_than_the_cache_holds(total, tool, tmp_path):
    a_run_refuses(grouped(1, [7, 4], past=12, total=total), "total_sequence_length is not between 0 and the rows of the cache and the new ones", tool, tmp_path)


def test_more_keys_than_blocks(tool, tmp_path, monkeypatch):
    a_run_refuses(blocked(1, [70], [np.tri(4, dtype=bool)], past=96), "there are more keys than the blocks' 64 tokens", tool, tmp_path)


def test_blocks_that_come_at_run_time(tool, tmp_path, monkeypatch):
    model, _ = write(tmp_path, blocked(1, [70], [np.tri(8, dtype=bool)], past=96), rows=1)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del model.graph.initializer[:]
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    assert done.status == 1 and re.search("error: .*Attention.*: its blocks are not known before a run", done.err), done


@pytest.mark.parametrize("change", [{"sink": np.array(1, np.float32)}, {"sink": np.arange(4)}, {"local_window_size": 0}], ids=str)
def test_attention_over_caches_that_is_refused(change, tool, tmp_path):
    write(tmp_path, grouped(1, [7, 4], past=12, **change))
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    assert done.status == 1 and re.search("error: .*Attention", done.err), done
