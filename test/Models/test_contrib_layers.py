"""Layers that onnxruntime-genai's model builder writes as onnxruntime's operators: experts, states, caches of windows, positions of three kinds."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import reference
from contrib import BATCH, by_onnxruntime, check, write

rng = np.random.default_rng(11)
LENGTH = 5


def random(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def integers(*values):
    return np.array(values, dtype=np.int32)


def convolved(taps=4, past=True, bias=True, length=LENGTH, channels=(6,), **attributes):
    rows = attributes.get("dilation", 1) * (taps - 1)
    sizes = lambda n: (BATCH, n, *channels) if attributes.get("channels_last") else (BATCH, *channels, n)
    count = int(np.prod(channels))
    return ("CausalConvWithState", [random(*sizes(length)), random(count, 1, taps), random(count) if bias else None, random(*sizes(rows)) if past else None], [0, 1], attributes)


def linear(rule, heads=2, key_heads=2, value_heads=2, past=True, length=LENGTH, depth=4, width=3, decays=1, betas=None, **attributes):
    """Keys of length 1, as such rules need; `decays`: of a head, one or `depth`."""
    keys = random(BATCH, length, key_heads, depth)
    keys = (keys / np.linalg.norm(keys, axis=-1, keepdims=True)).reshape(BATCH, length, -1)
    decay = -abs(random(BATCH, length, value_heads * decays)) if "gated" in rule else None
    beta = rng.random((BATCH, length, betas or value_heads)).astype(np.float32) if "delta" in rule else None
    return ("LinearAttention", [random(BATCH, length, heads * depth), keys, random(BATCH, length, value_heads * width), random(BATCH, value_heads, depth, width) if past else None, decay, beta],
            [0, 1], {"q_num_heads": heads, "kv_num_heads": value_heads, "update_rule": rule, **attributes})


def delta_net(heads=2, value_heads=4, depth=4, width=3, whole=True, raw=True, **attributes):
    """`whole`: batch and tokens have an axis each; `raw`: decays and rates are computed from what comes in."""
    outer = (BATCH, LENGTH) if whole else (BATCH * LENGTH,)
    decay, beta = random(*outer, value_heads), random(*outer, value_heads)
    more = {"gate_activation": "softplus", "beta_activation": "sigmoid"} if raw else {}
    queries, keys = random(*outer, heads, depth), random(*outer, heads, depth)
    queries[0, 0], keys[-1, -1] = 0, 1e-4
    return ("GatedDeltaNet", [queries, keys, random(*outer, value_heads, width), None, decay if raw else -abs(decay),
                              beta if raw else abs(np.tanh(beta)), random(BATCH, value_heads, width, depth), *([random(value_heads), random(value_heads)] if raw else [])],
            [0, 1], {"qk_l2_norm": 1, **more, **attributes})


def positions(rows=3):
    return rng.integers(0, 9, (rows, BATCH, LENGTH)).astype(np.int64)


def experts(count=4, width=8, inner=6, k=2, tokens=LENGTH, bias=True, flat=False, fusion=0, **attributes):
    gated = 2 if attributes.get("activation_type") in ("swiglu", "geglu") and fusion else 1
    rows = random(BATCH * tokens, width) if flat else random(BATCH, tokens, width)
    inputs = [rows, 2 * random(BATCH * tokens, count), random(count, gated * inner, width), random(count, gated * inner) if bias else None,
              random(count, width, inner), random(count, width) if bias else None]
    return ("MoE", inputs, [0], {"k": k, "swiglu_fusion": fusion, **attributes}, [2, 3, 4, 5])


SWIGLU = {"activation_type": "swiglu", "fusion": 1, "normalize_routing_weights": 1}


def packed(count, rows, width, bits, size, zeros):
    """Weights of experts, their scales, and zero points or None; without blocks a row has one scale."""
    blocks = width // size if size else 1
    weights = rng.integers(0, 256, (count, rows, width * bits // 8)).astype(np.uint8)
    scales = random(*((count, rows, blocks) if size else (count, rows))) / 2 ** (bits - 1)
    return weights, scales, rng.integers(0, 256, (count, rows, -(-blocks * bits // 8))).astype(np.uint8) if zeros else None


def packed_experts(bits, size, zeros=False, count=4, width=64, inner=32, k=2, tokens=LENGTH, shares=False, **attributes):
    first, second = packed(count, 2 * inner, width, bits, size, zeros), packed(count, width, inner, bits, size, zeros)
    inputs = [random(BATCH, tokens, width), 2 * random(BATCH * tokens, count), first[0], first[1], random(count, 2 * inner), second[0], second[1], random(count, width),
              None, None, None, first[2], second[2], None, rng.random((BATCH * tokens, count)).astype(np.float32) if shares else None]
    return ("QMoE", inputs, [0], {"k": k, "expert_weight_bits": bits, "activation_type": "swiglu", "swiglu_fusion": 1, "normalize_routing_weights": 1, "accuracy_level": 1,
                                  **({"block_size": size} if size else {}), **attributes}, [2, 3, 4, 5, 6, 7, 11, 12])


KEY_HEADS, HEADS, DEPTH = 2, 4, 16
ROTATED = [random(32, 8), random(32, 8)]


def sliding(rows, lengths, window, capacity, new=None, **attributes):
    """A cache of `capacity` rows, of which `lengths` says how many keys there are with the new ones; `new`: the rows of an entry that are no padding."""
    batch = len(lengths)
    many = (HEADS, KEY_HEADS, KEY_HEADS)
    inputs = [*[random(batch, rows, h * DEPTH) for h in many], *[random(batch, KEY_HEADS, capacity, DEPTH) for _ in range(2)], integers(*lengths) - 1, integers(max(lengths)),
              *(ROTATED if attributes.get("do_rotary") else [None, None]), None, None, None, None, None, None, None, integers(*new) if new else None]
    return ("GroupQueryAttention", inputs, [0, 1, 2], {"num_heads": HEADS, "kv_num_heads": KEY_HEADS, "local_window_size": window, "sliding_window_cache": 1, **attributes})


def chunk(rows, lengths, new, past, **attributes):
    """Rows of a prompt's part, padded on the right."""
    operator, inputs, places, more = sliding(rows, lengths, 3, past, new, **attributes)
    return operator, inputs, places, {"num_heads": HEADS, "kv_num_heads": KEY_HEADS, **attributes}


def heads_of_cache(**inputs):
    """Keys and values as caches have them, of other sizes than queries."""
    keys = [random(BATCH, 3, 7, 4), random(BATCH, 3, 7, 4)]
    return ("MultiHeadAttention", [random(BATCH, LENGTH, 12), *keys, None, inputs.get("mask"), inputs.get("bias")], [0], {"num_heads": 3})


ROTARY = {"do_rotary": 1}
CASES = {
    "convolution": convolved(),
    "convolution_silu": convolved(activation="silu"),
    "convolution_first": convolved(past=False, bias=False, activation="swish"),
    "convolution_step": convolved(length=1),
    "convolution_one_tap": convolved(taps=1),
    "convolution_dilated": convolved(taps=3, dilation=2, activation="silu"),
    "convolution_last": convolved(channels_last=1, activation="silu"),
    "convolution_last_axes": convolved(channels_last=1, channels=(2, 3), dilation=3),
    "convolution_last_step": convolved(channels_last=1, length=1, past=False),
    "linear": linear("linear", past=False),
    "linear_gated": linear("gated", decays=4, scale=0.7),
    "linear_delta": linear("delta", betas=1),
    "linear_gated_delta": linear("gated_delta", scale=1.0),
    "linear_groups": linear("gated_delta", heads=4, length=1),
    "linear_shared_queries": linear("gated_delta", heads=2, key_heads=2, value_heads=6, scale=1.0),
    "linear_shared_keys": linear("gated_delta", heads=4, key_heads=2, value_heads=4, decays=4),
    "linear_heads": linear("gated_delta", heads=4, key_heads=2, value_heads=4, depth=8, width=64, decays=8),
    "linear_heads_groups": linear("delta", heads=4, past=False, depth=8, width=64),
    "linear_heads_rows": linear("gated", depth=16, width=20),
    "linear_heads_plain": linear("linear", depth=9, width=32, length=1),
    "delta_net": delta_net(),
    "delta_net_flat": delta_net(whole=False, raw=False, scale=0.4),
    "delta_net_equal_heads": delta_net(value_heads=2, update_rule="gated_delta", gate_activation="sigmoid", gate_lower_bound=-3.0),
    "gates": ("LinearAttentionGate", [random(BATCH, LENGTH, 3), random(3), -abs(random(3)), random(BATCH, LENGTH, 3)], [0, 1], {}),
    "gates_decay": ("LinearAttentionGate", [random(BATCH, LENGTH, 3), random(3), -abs(random(3))], [0], {}),
    "gated_norm": ("GatedRMSNorm", [random(BATCH, LENGTH, 12), random(4), random(BATCH, LENGTH, 12)], [0], {"epsilon": 1e-2}),
    "gated_norm_sigmoid": ("GatedRMSNorm", [random(BATCH, LENGTH, 4), random(4), random(BATCH, LENGTH, 4)], [0], {"activation": "sigmoid"}),
    "gated_add": ("GatedAdd", [random(BATCH, LENGTH, 12), random(BATCH, LENGTH, 12), random(BATCH, LENGTH, 1)], [0], {}),
    "positions": ("MRotaryEmbedding", [random(BATCH, LENGTH, 32), positions(), random(9, 8), random(9, 8)], [0], {"mrope_section": [4, 2, 2], "num_heads": 2}),
    "positions_interleaved": ("MRotaryEmbedding", [random(BATCH, LENGTH, 32), positions(), random(9, 8), random(9, 8)], [0], {"mrope_section": [4, 2, 2], "mrope_layout": 1, "num_heads": 2}),
    "positions_uneven": ("MRotaryEmbedding", [random(BATCH, 2, LENGTH, 16), positions(), random(9, 8), random(9, 8)], [0], {"mrope_section": [3, 5, 0], "mrope_layout": 1}),
    "positions_part": ("MRotaryEmbedding", [random(BATCH, LENGTH, 32), positions(), random(9, 4), random(9, 4)], [0],
                       {"mrope_section": [2, 1, 1], "num_heads": 2, "rotary_embedding_dim": 8, "interleaved": 1}),
    "position_first": ("RotaryEmbedding", [random(BATCH, LENGTH, 12), np.array([3], np.int64), random(8, 2), random(8, 2)], [0], {}),
    "position_first_by_head": ("RotaryEmbedding", [random(BATCH, 3, LENGTH, 4), np.array([1], np.int64), random(8, 2), random(8, 2)], [0], {}),
    "cross": heads_of_cache(),
    "cross_mask": heads_of_cache(mask=(np.arange(7) < integers(7, 4)[:, None]).astype(np.int32)),
    "cross_bias": heads_of_cache(bias=random(BATCH, 3, LENGTH, 7)),
    "past": ("Attention", [random(BATCH, LENGTH, 12), random(12, 36), random(36), None, random(2, BATCH, 3, 4, 4)], [0, 1], {"num_heads": 3, "unidirectional": 1}),
    "past_mask": ("Attention", [random(BATCH, 1, 12), random(12, 36), random(36), integers(*[1] * 9).reshape(1, 9) * integers(1, 1)[:, None], random(2, BATCH, 3, 8, 4)], [0, 1],
                  {"num_heads": 3, "unidirectional": 1}),
    "present_lengths": ("Attention", [random(BATCH, LENGTH, 12), random(12, 36), random(36), integers(5, 3)], [0, 1], {"num_heads": 3}),
    "present": ("Attention", [random(BATCH, LENGTH, 12), random(12, 36), random(36)], [0, 1], {"num_heads": 3, "unidirectional": 1}),
    "experts": experts(),
    "experts_flat": experts(flat=True, bias=False, activation_type="silu"),
    "experts_gelu": experts(activation_type="gelu", k=1, normalize_routing_weights=1),
    "experts_all": experts(k=4, activation_type="identity"),
    "experts_swiglu": experts(**SWIGLU, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=0.8),
    "experts_swiglu_plain": experts(**SWIGLU, count=9, k=3, bias=False),
    "experts_step": experts(**SWIGLU, tokens=1),
    "bits4_experts": packed_experts(4, 32),
    "bits4_experts_zeros": packed_experts(4, 32, zeros=True, tokens=13),
    "bits4_experts_rows": packed_experts(4, 0, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=0.8),
    "bits4_experts_shares": packed_experts(4, 32, shares=True),
    "bits8_experts_rows": packed_experts(8, 0),
    "bits4_experts_step": packed_experts(4, 32, tokens=1, count=8, k=3),
    "sliding_prompt": sliding(5, [5, 5], 4, 6, **ROTARY),
    "sliding_long_prompt": sliding(19, [19, 19], 4, 6, **ROTARY),
    "sliding_step": sliding(1, [13, 4], 4, 6, **ROTARY),
    "sliding_step_full": sliding(1, [7, 8], 4, 6, **ROTARY),
    "sliding_no_slack": sliding(1, [13, 2], 4, 4, scale=0.3, softcap=2.0),
    "sliding_chunk": sliding(7, [16], 4, 6, **ROTARY),
    "sliding_padded_prompt": sliding(19, [19, 8], 4, 6, new=[19, 8], **ROTARY),
    "sliding_padded": sliding(7, [16, 9], 4, 6, new=[3, 7], **ROTARY),
    "sliding_idle": sliding(3, [9, 4], 4, 6, new=[0, 2], **ROTARY),
    "chunk": chunk(5, [9, 6], [4, 5], 14, **ROTARY),
    "chunk_idle": chunk(1, [9, 6], [1, 0], 14),
    "chunk_window": chunk(6, [12, 6], [3, 6], 20, local_window_size=3, **ROTARY),
}  # fmt: skip


def kept(tokens, capacity, window):
    """How many rows a cache of a window has."""
    gap = capacity - window + 1
    return tokens if tokens <= capacity else tokens - gap * -(-(tokens - capacity) // gap)


def valid(name, key, value):
    """What is there: rows of padding, and of caches beyond their lengths, may hold anything."""
    operator, inputs, _, attributes, *_ = CASES[name]
    if operator != "GroupQueryAttention":
        return value
    rows, lengths = inputs[0].shape[1], inputs[5] + 1
    new = inputs[16] if inputs[16] is not None else np.minimum(lengths, rows)
    there = [kept(t, inputs[3].shape[2], attributes["local_window_size"]) for t in lengths] if attributes.get("sliding_window_cache") else lengths
    return np.concatenate([part[:many].ravel() if key == "y0" else part[:, :many].ravel() for part, many in zip(value, new if key == "y0" else there)])


def test_layers_equal_onnxruntime(half, tool, tmp_path):
    """Half of the cases as one model; `--only NAME` is a case by itself."""
    check({name: CASES[name] for name in half}, tool, tmp_path, valid=valid)


def linear_attention(queries, keys, values, state, decay, beta):
    """Gated delta rule in float64: one row of queries a state."""
    (batch, length, heads), state = decay.shape, state.astype(np.float64)
    queries, keys, values = (rows.reshape(batch, length, heads, rows.shape[2] // heads).astype(np.float64) for rows in (queries, keys, values))
    outs = np.zeros(values.shape)
    for t in range(length):
        state = state * np.exp(decay[:, t, :, None, None])
        update = (values[:, t] - (state * keys[:, t, ..., None]).sum(2)) * beta[:, t, :, None]
        state = state + keys[:, t, ..., None] * update[:, :, None]
        outs[:, t] = (state * queries[:, t, ..., None]).sum(2)
    return outs.reshape(batch, length, heads * values.shape[3]), state


def test_linear_attention_of_any_length(tool, tmp_path):
    """One artifact, from no token to many; a batch may have no entry."""
    shape = {"heads": 3, "key_heads": 3, "value_heads": 3, "depth": 16, "width": 64, "scale": 1.0}
    case = linear("gated_delta", length=33, **shape)
    write(tmp_path, case, rows=1)
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    for length, batch in ((0, 2), (1, 2), (33, 2), (3, 0)):
        inputs = [value[:batch] if i == 3 else value[:batch, :length] for i, value in enumerate(case[1])]
        reference.save_tensors(tmp_path / "in", "input", [(f"x{i}", value) for i, value in enumerate(inputs)])
        done = tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path / "in", "--outputs", tmp_path / "out")
        assert done.status == 0, done
        got = dict(reference.load_tensors(tmp_path / "out", "output"))
        for name, want in zip(("y0", "y1"), linear_attention(*inputs)):
            np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5, err_msg=f"{name} of {length}")


def changed(case, inputs={}, **attributes):
    """A case with other inputs, by place, and attributes; None takes one away."""
    operator, old, places, before, *rest = case
    new = [inputs.get(i, old[i] if i < len(old) else None) for i in range(max([len(old), *(i + 1 for i in inputs)]))]
    return operator, new, places, {k: v for k, v in {**before, **attributes}.items() if v is not None}, *rest


def root_mean_square(rows, scale, epsilon):
    by_head = rows.reshape(*rows.shape[:2], -1, len(scale))
    return (by_head / np.sqrt((by_head**2).mean(-1, keepdims=True) + epsilon) * scale).reshape(rows.shape).astype(np.float32)


def with_norms(epsilon=1e-6, key_epsilon=None, **attributes):
    """Queries and keys that are normalized within, and before."""
    plain, scales = chunk(5, [9, 6], [4, 5], 14, **attributes), (random(DEPTH), random(DEPTH))
    q, k = root_mean_square(plain[1][0], scales[0], epsilon), root_mean_square(plain[1][1], scales[1], key_epsilon or epsilon)
    more = {} if epsilon == 1e-6 else {"qk_norm_epsilon": epsilon}
    return changed(plain, dict(zip((14, 15), scales)), **more, **({"k_norm_epsilon": key_epsilon} if key_epsilon else {})), changed(plain, {0: q, 1: k})


def apart(rows):
    """Rows of pairs, as gates and then lines."""
    return np.concatenate([rows[:, 0::2], rows[:, 1::2]], 1)


def widened(case):
    """QMoE as MoE, of blocks of weights that are widened."""
    _, inputs, places, attributes, _ = case
    bits, wide = attributes["expert_weight_bits"], []
    for weights, scales, zeros in ((inputs[2], inputs[3], inputs[11]), (inputs[5], inputs[6], inputs[12])):
        apart = lambda packed: packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)
        numbers = apart(weights).astype(np.float32)
        points = 2 ** (bits - 1) if zeros is None else apart(zeros)[..., : scales.shape[-1], None].astype(np.float32)
        wide.append(((numbers.reshape(*scales.shape, -1) - points) * scales[..., None]).reshape(numbers.shape))
    kept = {k: v for k, v in attributes.items() if k not in ("expert_weight_bits", "block_size", "accuracy_level", "weights_prepacked")}
    return "MoE", [*inputs[:2], wide[0], inputs[4], wide[1], inputs[7]], places, kept


def twins():
    """Cases that onnxruntime does not compute on CPUs, or in another precision, and others that give the same."""
    gated = experts(**SWIGLU, activation_beta=0.5)
    first, bias = gated[1][2], gated[1][3]
    added = [random(BATCH, LENGTH, 6), random(BATCH, LENGTH, 6), random(BATCH, LENGTH, 4), random(4, 1)]
    yield "norms", *with_norms(**ROTARY)
    yield "norms_epsilons", *with_norms(epsilon=1e-2, key_epsilon=0.3)
    yield "experts_apart", changed(gated, {2: apart(first), 3: apart(bias)}, swiglu_fusion=2), gated
    yield "experts_third", changed(gated, {2: first[:, 0::2], 3: bias[:, 0::2], 6: first[:, 1::2], 7: bias[:, 1::2]}, swiglu_fusion=0)[:4] + ([2, 3, 4, 5, 6, 7],), gated
    yield "gated_add_weight", ("GatedAdd", added, [0], {}), ("GatedAdd", [*added[:2], 1 / (1 + np.exp(-added[2] @ added[3]))], [0], {})
    for name, case in {"bits8": packed_experts(8, 32, zeros=True), "raw": packed_experts(4, 32, zeros=True, weights_prepacked=0)}.items():
        yield name, case, widened(case)


def test_layers_equal_their_twins(tool, tmp_path):
    pairs = {name: (case, twin) for name, case, twin in twins()}

    def expected(name, *_):
        (tmp_path / f"{name}_twin").mkdir()
        return by_onnxruntime(name, *write(tmp_path / f"{name}_twin", pairs[name][1]))

    def there(name, key, value):
        lengths, new = [9, 6], [4, 5]
        return value if "norms" not in name else np.concatenate([part[:many].ravel() if key == "y0" else part[:, :many].ravel() for part, many in zip(value, new if key == "y0" else lengths)])

    check({name: case for name, (case, _) in pairs.items()}, tool, tmp_path, expected, there)


REFUSED = {
    "channels_that_are_none": changed(convolved(), {0: random(BATCH, 5, LENGTH)}),
    "windows_of_states": changed(convolved(), {3: random(2, BATCH, 6, 3)}, state_window=2),
    "heads_that_do_not_divide": changed(linear("gated_delta", value_heads=3), q_num_heads=2),
    "rule": changed(linear("linear"), update_rule="squared"),
    "activation_of_gate": changed(CASES["gated_norm"], activation="tanh"),
    "sections": changed(CASES["positions"], mrope_section=[4, 2, 1]),
    "layout": changed(CASES["positions"], mrope_layout=2),
    "more_than_all_experts": changed(experts(), k=5),
    "activation": changed(experts(), activation_type="tanh"),
    "inner_sizes": changed(experts(), {4: random(4, 8, 5)}),
    "width_of_rows": changed(experts(), {0: random(BATCH, LENGTH, 4)}),
    "bias_of_all_rows": changed(experts(), {3: random(4, 1)}),
    "blocks_of_another_size": changed(packed_experts(4, 32), block_size=16),
    "state_turned": changed(linear("linear"), {3: random(BATCH, 2, 3, 4)}),
    "state_of_net_turned": changed(CASES["delta_net"], {6: random(BATCH, 4, 4, 3)}),
    "positions_of_four_kinds": changed(CASES["positions"], {1: positions(4)}),
    "past_of_three": changed(CASES["past"], {4: random(3, BATCH, 3, 4, 4)}),
    "cache_of_one_head": changed(CASES["cross"], {1: random(BATCH, 1, 7, 4)}),
    "mixer": changed(experts(), use_sparse_mixer=1),
    "prepacked": changed(packed_experts(4, 32), weights_prepacked=1),
    "bits": changed(packed_experts(4, 32), expert_weight_bits=2),
    "one_norm": changed(chunk(5, [9, 6], [4, 5], 14), {14: random(DEPTH)}),
    "window_without_size": changed(CASES["sliding_step"], local_window_size=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_are_refused(name, tool, tmp_path):
    write(tmp_path, REFUSED[name])
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    assert done.status == 1 and re.search(rf"model.onnx:0:0: error: .*{REFUSED[name][0]}", done.err), done.err


@pytest.mark.parametrize("case", [changed(convolved(), {3: random(BATCH, 6, 2)}), changed(CASES["gated_norm"], {1: random(5)}), sliding(1, [13, 4], 7, 6)], ids=lambda case: case[0])
def test_sizes_that_are_refused(case, tool, tmp_path):
    """Before a run, where they are known by then."""
    write(tmp_path, case)
    done = tool("megactx-compile", tmp_path / "model.onnx", "-O0", "-o", tmp_path / "model.mctx")
    done = done if done.status else tool("megactx-run", tmp_path / "model.mctx", "--inputs", tmp_path, "--outputs", tmp_path / "out")
    assert done.status == 1 and re.search("error: .*(number of elements|no lowering|size)", done.err), done.err


ON_GPUS = ["convolution_silu", "linear_gated_delta", "linear_shared_queries", "gated_norm", "positions_interleaved", "experts_swiglu", "bits4_experts_zeros", "bits8_experts_rows",
           "sliding_step", "chunk"]


def test_layers_on_a_gpu(fake_gpu, tmp_path):
    """Loops over experts and tokens, and caches, by kernels."""
    for name in ON_GPUS:
        (tmp_path / name).mkdir()
        model, given = write(tmp_path / name, CASES[name])
        fake_gpu.compile(tmp_path / name / "model.onnx", tmp_path / name / "model.mctx")
        done = fake_gpu.run(tmp_path / name / "model.mctx", "--inputs", tmp_path / name, "--outputs", tmp_path / name / "out")
        assert done.status == 0, done
        for i, (key, value) in enumerate(by_onnxruntime(name, model, given).items()):
            got = numpy_helper.to_array(onnx.TensorProto.FromString((tmp_path / name / "out" / f"output_{i}.pb").read_bytes()))
            np.testing.assert_allclose(valid(name, key, got), valid(name, key, value), rtol=1e-4, atol=1e-4, err_msg=f"{name} {key}")
