"""megactx.flex_attention against PyTorch's, where PyTorch is installed."""

import math

import pytest

import megactx
from test_attention_function import cache  # noqa: F401: a fixture

torch = pytest.importorskip("torch")
flex = pytest.importorskip("torch.nn.attention.flex_attention")

B, H, N, D = 2, 4, 150, 16
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's, of a function that is not compiled


def causal(b, h, q, k):
    return q >= k


DOCUMENTS = torch.arange(N + 30) // 37
OF_BATCH = torch.stack([torch.arange(N) // 37, torch.arange(N) // 50])
LENGTHS = torch.tensor([50, 120])
PADDING = torch.arange(B * N).view(B, N) % 7 != 5
BACK = DOCUMENTS.flip(0).contiguous()
SLOPES = torch.exp2(-torch.arange(1, H + 1.0))
TABLE = torch.sin(torch.arange(H * 2 * N) * 0.7).view(H, 2 * N)
MATRIX = torch.cos(torch.arange(B * H * N * N) * 0.3).view(B, H, N, N)

MASKS = {
    "documents": lambda b, h, q, k: DOCUMENTS[q] == DOCUMENTS[k],
    "documents of the batch": lambda b, h, q, k: (q >= k) & (OF_BATCH[b, k] == OF_BATCH[b, q]),
    "and": flex.and_masks(causal, lambda b, h, q, k: q - k < 40),
    "or": flex.or_masks(lambda b, h, q, k: k < 3, lambda b, h, q, k: DOCUMENTS[q] == DOCUMENTS[k]),
    "by head": lambda b, h, q, k: torch.where(h % 2 == 0, q >= k, q - k <= 0),
    "nothing": flex.noop_mask,
    # What has no pattern:
    "lengths": lambda b, h, q, k: (k < LENGTHS[b]) & (q >= k),
    "padding": lambda b, h, q, k: ~(k == 3) & PADDING[b, k],
    "prefixes": lambda b, h, q, k: (k <= LENGTHS[b] // 3) | (q >= k),
    "documents twice": lambda b, h, q, k: (DOCUMENTS[q] == DOCUMENTS[k]) & (DOCUMENTS[q + 20] == DOCUMENTS[k + 20]) & (OF_BATCH[b, k] == OF_BATCH[b, q]),
    "documents back": lambda b, h, q, k: BACK[q] == BACK[k],
    "halves": lambda b, h, q, k: q * 0.5 >= k,
    "rows": lambda b, h, q, k: (TABLE[h, q] > 0) & causal(b, h, q, k),
}
SCORES = {
    "softcap": lambda s, b, h, q, k: 3 * torch.tanh(s / 3),
    "softcap and bias": lambda s, b, h, q, k: -5 * torch.tanh(s * 0.3) + 0.1 * (q - k) + SLOPES[h],
    "slopes": lambda s, b, h, q, k: s - SLOPES[h] * torch.abs(q - k),
    "distances": lambda s, b, h, q, k: s + TABLE[h, q - k + N - 1],
    "buckets": lambda s, b, h, q, k: s + TABLE[h, (q - k).clamp(-30, 30) + 30],
    "matrix": lambda s, b, h, q, k: s + MATRIX[b, h, q, k],
    "keys": lambda s, b, h, q, k: s + TABLE[h, k],
    "mask": lambda s, b, h, q, k: torch.where(q >= k, s * 2, -float("inf")),
    "choice": lambda s, b, h, q, k: torch.where(q - k < 10, s + 1.5, s - TABLE[h, k]),
    "functions": lambda s, b, h, q, k: s * 2.5 / 1.5 + torch.exp(-(q - k).abs().float() / 7) * 3 + torch.log1p(k) + ((q - k) % 3) * 0.5,
}


def tensors(heads=H, keys=N, **more):
    torch.manual_seed(3)
    return [torch.randn(B, h, n, D, **more) for h, n in ((H, N), (heads, keys), (heads, keys))]


def mask_has_pattern(function):
    try:
        return bool(megactx.Pattern(function))
    except megactx.Error as error:
        assert "megactx.flex_attention takes such masks" in str(error)


@pytest.mark.parametrize("name", [*MASKS, *SCORES])
def test_like_pytorchs(name):
    mask = flex.create_block_mask(MASKS.get(name, causal), B, H, N, N, device="cpu", BLOCK_SIZE=64)
    score = SCORES.get(name)
    want = flex.flex_attention(*tensors(), score, mask, return_lse=True)
    for got in (megactx.flex_attention(*tensors(), score, mask, return_lse=True), megactx.flex_attention(*tensors(), score, mask.mask_mod, return_lse=True)):
        for x, y in zip(got, want):
            torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)
    if name in MASKS and mask_has_pattern(MASKS[name]):  # as attention takes it, with its documents
        torch.testing.assert_close(megactx.attention(*tensors(), MASKS[name]), want[0], atol=1e-4, rtol=1e-4)


def test_grouped_queries_scale_lengths_and_a_pattern():
    q, k, v = tensors(heads=2, keys=90)
    score = SCORES["buckets"]
    want = flex.flex_attention(q, k, v, score, None, 0.3, enable_gqa=True)
    torch.testing.assert_close(megactx.flex_attention(q, k, v, score, None, 0.3, enable_gqa=True), want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(megactx.flex_attention(q, k, v, None, "causal", enable_gqa=True), megactx.attention(q, k, v, "causal"))


def written_out(q, k, v, slopes, table, gain):
    i, j = torch.arange(N)[:, None], torch.arange(N)
    scores = q @ k.repeat_interleave(2, 1).transpose(2, 3) / math.sqrt(D) + slopes[:, None, None] * (j - i) + table[:, None, :N] * gain
    kept = (i >= j) & (DOCUMENTS[i] == DOCUMENTS[j])
    return scores.masked_fill(~kept, -math.inf).softmax(-1) @ v.repeat_interleave(2, 1)


def test_gradients_and_compilation():
    """Also of what a function takes of its surroundings."""
    parameters = [*tensors(heads=2, requires_grad=True), *(x.clone().requires_grad_() for x in (SLOPES, TABLE, torch.tensor(0.7)))]
    _, _, _, slopes, table, gain = parameters

    def score_mod(s, b, h, q, k):
        return torch.where(q >= k, s + slopes[h] * (k - q) + table[h, k] * gain, -float("inf"))

    def of(call):
        out = call(*parameters[:3], score_mod, MASKS["documents"], enable_gqa=True)
        return out, torch.autograd.grad((out * torch.linspace(-1, 1, D)).sum(), parameters)

    want = written_out(*parameters)
    gradients = torch.autograd.grad((want * torch.linspace(-1, 1, D)).sum(), parameters)
    for call in (megactx.flex_attention, torch.compile(megactx.flex_attention)):
        out, got = of(call)
        torch.testing.assert_close(out, want, atol=1e-4, rtol=1e-4)
        for x, y in zip(got, gradients):
            torch.testing.assert_close(x, y, atol=2e-3, rtol=1e-3)


def blocks(**more):
    return flex.BlockMask.from_kv_blocks(torch.ones(1, 1, 3, dtype=torch.int32), torch.zeros(1, 1, 3, 3, dtype=torch.int32), BLOCK_SIZE=64, seq_lengths=(N, N), **more)


@pytest.mark.parametrize("mask, score, reason", [
    (blocks(), None, "its blocks are not those of its mask_mod"),
    (blocks(mask_mod=causal), None, "its blocks are not those of its mask_mod"),
    (flex.create_block_mask(causal, None, None, N, N - 1, device="cpu"), None, f"for {N} queries and {N - 1} keys, but there are {N} and {N}"),
    (lambda b, h, q, k: LENGTHS[q] == LENGTHS[k], None, f"a table of 2 positions, but there are {N} keys"),
    (lambda b, h, q, k: SLOPES[q] == SLOPES[k], None, "index 4 is out of bounds"),
    (None, lambda s, b, h, q, k: s * SLOPES[h], "multiplied only by a number"),
    (None, lambda s, b, h, q, k: s + SLOPES, "computes with integers and positions, but got tensor"),
    (None, lambda s, b, h, q, k: s + TABLE[h], "computes with integers and positions, but got a row of a table"),
    (None, lambda s, b, h, q, k: s + TABLE[h, q + 1000], f"cannot be computed for {N} queries and {N} keys: index 1000 is out of bounds"),
    (None, lambda s, b, h, q, k: s + MATRIX.numpy()[b, h, q, k], "looks these up only in tensors of PyTorch"),
])
def test_what_is_refused(mask, score, reason):
    with pytest.raises(megactx.Error, match=reason):
        megactx.flex_attention(*tensors(), score, mask)


def test_arguments():
    q, k, v = tensors(heads=2)
    with pytest.raises(megactx.Error, match="4 heads of queries and 2 of keys need enable_gqa=True"):
        megactx.flex_attention(q, k, v)
    with pytest.raises(megactx.Error, match="tensors of PyTorch of 4 dims"):
        megactx.flex_attention(q.numpy(), k, v)


def test_options_and_auxiliary_outputs():
    q, k, v = tensors()
    want = flex.flex_attention(q, k, v, return_aux=flex.AuxRequest(lse=True))
    with pytest.warns(UserWarning, match="kernel_options BLOCK_M are of PyTorch's kernels"):
        out, aux = megactx.flex_attention(q, k, v, kernel_options={"BLOCK_M": 32}, return_aux=flex.AuxRequest(lse=True))
    assert isinstance(aux, flex.AuxOutput) and aux.max_scores is None
    torch.testing.assert_close(out, want[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(aux.lse, want[1].lse, atol=1e-4, rtol=1e-4)
    assert megactx.flex_attention(q, k, v, return_aux=flex.AuxRequest())[1] == flex.AuxOutput()
    with pytest.raises(megactx.Error, match="kernels keep no max_scores"):
        megactx.flex_attention(q, k, v, return_aux=flex.AuxRequest(max_scores=True))
    with pytest.raises(megactx.Error, match="return_lse or return_aux, but got both"):
        megactx.flex_attention(q, k, v, return_lse=True, return_aux=flex.AuxRequest(lse=True))
