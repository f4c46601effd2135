"""megactx.attention of PyTorch's tensors, where PyTorch is installed: memory, torch.compile, autograd, errors."""

import re

import numpy as np
import pytest

import megactx
from conftest import ROOT
from test_attention_function import SPARSE, arrays, cache, close, kernels, wanted  # noqa: F401: a fixture among them

torch = pytest.importorskip("torch")


def test_tensors():
    """Also as a whole in torch.compile."""
    spec = kernels.Spec(SPARSE, "bf16")
    inputs = arrays(spec)
    tensors = [torch.from_numpy(x.astype(np.float32)).bfloat16() for x in inputs]
    want = wanted(spec, inputs)[0]
    for given in (tensors, [x.transpose(1, 2).contiguous().transpose(1, 2) for x in tensors]):
        out = megactx.attention(*given, SPARSE)
        assert out.dtype == torch.bfloat16 and out.stride() == given[0].stride()
        close(out.float().numpy(), want, "bf16")
        torch.library.opcheck(torch.ops.megactx.attention.default, (*given, SPARSE, None, None, [torch.zeros(4, 73)[None]], None, None, 3, None))
        got = megactx.attention(*given, SPARSE, lengths=[37, 5], offset=torch.tensor([0, 2]))
        close(got[1].float().numpy(), wanted(spec, [x[1:] for x in inputs], offset=2, lengths=[5])[0][0], "bf16")
    compiled = torch.compile(lambda q, k, v: megactx.attention(q * 1, k, v, SPARSE) + 1, fullgraph=True)
    close(compiled(*tensors).float().numpy() - 1, want, "bf16")
    empty = [x[:, :, :0] for x in tensors]
    assert megactx.attention(empty[0], *tensors[1:], SPARSE).shape == (2, 4, 0, 16)
    assert not megactx.attention(tensors[0], *empty[1:], SPARSE).any()
    for bad in ((tensors[0], inputs[1], tensors[2]), (*tensors[:2], None)):
        with pytest.raises(megactx.Error, match="expected a tensor of PyTorch") if bad[2] is not None else pytest.raises(Exception):
            megactx.attention(*bad, SPARSE)


def test_gradients():
    """Autograd's gradients are those of scores, masks and softmax written out, with biases of both kinds and the log-sum-exp."""
    n, make = 40, lambda *shape: torch.randn(*shape).requires_grad_()
    row, column = torch.arange(n)[:, None], torch.arange(n)[None]
    inputs = [make(2, 4, n, 16), make(2, 2, n, 16), make(2, 2, n, 16), make(1, 4, n, n), make(1, 4, 2 * n - 1)]

    def ours(q, k, v, bias, table):
        return megactx.attention(q.transpose(1, 2).contiguous().transpose(1, 2), k, v, SPARSE, bias=(bias, table), return_lse=True)

    def written_out(q, k, v, bias, table):
        k, v = (x.repeat_interleave(2, 1) for x in (k, v))
        scores = (q @ k.transpose(2, 3) / 4 + bias + table[..., column - row + n - 1]).masked_fill((column > row) | (row - column > 6), -np.inf)
        return torch.softmax(scores, -1) @ v, torch.logsumexp(scores, -1)

    weights = torch.randn(2, 4, n, 16)
    got, want = (torch.autograd.grad((out * weights).sum() + lse.sum(), inputs) for out, lse in (f(*inputs) for f in (ours, written_out)))
    for g, w in zip(got, want):
        size = max(1, w.abs().max())
        close((g / size).numpy(), (w / size).numpy(), "f32")
    compiled = torch.compile(lambda q, k, v: megactx.attention(q * 2, k, v, SPARSE).square().sum(), fullgraph=True)
    plain, whole = (torch.autograd.grad(f(*inputs[:3]), inputs[:3]) for f in (lambda q, k, v: megactx.attention(q * 2, k, v, SPARSE).square().sum(), compiled))
    for g, w in zip(whole, plain):
        close(g.numpy(), w.numpy(), "f32")


def test_gradients_by_the_operator_are_those_without_it():
    """Which is there for who looks on; what is computed again for a checkpoint, too."""
    q, bias, k = torch.nn.Parameter(torch.randn(1, 4, 20, 16)), torch.nn.Parameter(torch.randn(1, 4, 39)), torch.randn(1, 2, 20, 16)
    attend = lambda q, bias: megactx.attention(q, k, k, SPARSE, bias=bias)
    gradients = lambda f: torch.autograd.grad(f(q, bias).square().sum(), [q, bias])
    plain, again = gradients(attend), gradients(lambda *x: torch.utils.checkpoint.checkpoint(attend, *x, use_reentrant=False))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        looked_at = gradients(attend)
    assert "megactx::attention_backward" in {event.name for event in profile.events()}
    result = attend(q, bias).square().sum()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        looked_at_later = torch.autograd.grad(result, [q, bias])
    assert "megactx::attention_backward" in {event.name for event in profile.events()}
    for first, *others in zip(plain, again, looked_at, looked_at_later):
        assert all(torch.equal(first, other) for other in others)
    with torch.no_grad():
        assert not attend(q, bias).requires_grad
    assert not attend(q.detach(), bias.detach()).requires_grad and attend(q.detach(), bias).requires_grad


def test_order_of_sums_on_a_gpu():
    from megactx.attention_torch import _check_order

    _check_order(torch.device("cuda"))
    try:
        torch.use_deterministic_algorithms(True)
        _check_order(torch.device("cpu"))
        with pytest.raises(megactx.Error, match="in another order each time, but torch.use_deterministic_algorithms is on"):
            _check_order(torch.device("cuda"))
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="in another order each time"):
            _check_order(torch.device("cuda"))
    finally:
        torch.use_deterministic_algorithms(False)


class NoGradient(torch.autograd.Function):
    """What follows has no gradient for what goes in."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, _):
        return None


@pytest.mark.parametrize("biases", [0, 1])
def test_gradients_of_what_has_none(biases):
    inputs = [torch.ones(1, 2, 9, 8, requires_grad=True) for _ in range(3)]
    bias = torch.ones(1, 2, 9, 9, requires_grad=True)
    out, lse = megactx.attention(*inputs, SPARSE, bias=(bias,) if biases else None, return_lse=True)
    NoGradient.apply(out).sum().backward(retain_graph=True)
    assert all(x.grad is None for x in (*inputs, bias))
    (NoGradient.apply(out).sum() + lse.sum()).backward()
    assert inputs[0].grad.shape == (1, 2, 9, 8) and (bias.grad is not None) == bool(biases)


def in_forward_mode(attend, x):
    with torch.autograd.forward_ad.dual_level():
        return attend(torch.autograd.forward_ad.make_dual(x, x))


def twice(attend, x):
    x = x.clone().requires_grad_()
    first, = torch.autograd.grad(attend(x).square().sum(), x, create_graph=True)
    first.sum().backward()


def batched(attend, x):
    x = x.clone().requires_grad_()
    torch.autograd.grad(attend(x), x, torch.ones(2, *x.shape), is_grads_batched=True)


@pytest.mark.parametrize("derive, message", [
    (lambda attend, x: torch.func.jvp(attend, (x,), (x,)), "forward mode .* not supported: use torch.autograd.grad"),
    (lambda attend, x: torch.func.jacfwd(attend)(x), "forward mode"),
    (in_forward_mode, "forward mode"),
    (lambda attend, x: torch.func.grad(lambda x: attend(x).sum())(x), "torch.func.grad, vjp and jacrev are not supported"),
    (lambda attend, x: torch.func.vmap(attend)(x[None]), "torch.vmap, and what uses it, is not supported: make .* part of the batch"),
    (twice, "second derivatives are not supported"),
    (batched, "torch.vmap, and what uses it, is not supported"),
], ids=["jvp", "jacfwd", "dual", "grad", "vmap", "twice", "batched"])
def test_derivatives_that_there_are_not(derive, message):
    x = torch.randn(1, 2, 9, 8)
    with pytest.raises(megactx.Error, match=message):
        derive(lambda q: megactx.attention(q, x, x, SPARSE), x)


@pytest.mark.parametrize("options, message", [
    (dict(scale="x"), "scale: expected a number, but got 'x'"),
    (dict(scale=10**400), "scale: expected a finite number of float32, but got inf"),
    (dict(softcap=torch.ones(2)), "softcap: expected a number, but got tensor"),
    (dict(scale=torch.nn.Parameter(torch.tensor(0.3))), r"scale: .* requires gradients, .* pass scale.item\(\), or multiply the queries by it"),
    (dict(softcap=torch.nn.Parameter(torch.tensor(0.3))), r"softcap: .* requires gradients, .* pass softcap.item\(\)$"),
    (dict(offset=2**70), "offset: expected at most 281474976710656 tokens, but got 1180591620717411303424"),
    (dict(offset=[2**70]), "offset: expected integers, but got .1180591620717411303424."),
    (dict(lengths="x"), "lengths: expected integers, but got 'x'"),
    (dict(segments=[None]), "segments: expected integers, but got .None."),
    (dict(segments=1), r"segments: expected \[1, 9\], but got \[\]")], ids=str)
def test_bad_numbers(options, message):
    x = torch.zeros(1, 2, 9, 8)
    with pytest.raises(megactx.Error, match=message):
        megactx.attention(x, x, x, SPARSE, **options)


def test_numbers():
    """Also those that torch.compile leaves open."""
    x = torch.randn(1, 2, 9, 8)
    whole = torch.compile(lambda x, scale, offset: megactx.attention(x, x, x, SPARSE, scale=scale, offset=offset), fullgraph=True)
    for factor, offset in (0.5, 1), (0.25, 1), (0.125, 2), (0.5, 3):
        want, scale = megactx.attention(x * factor, x, x, SPARSE, offset=offset), factor / 8**0.5
        for got in (megactx.attention(x, x, x, SPARSE, scale=torch.tensor(scale), offset=torch.tensor(offset)), whole(x, scale, offset)):
            close(got.numpy(), want.numpy(), "f32")


@pytest.mark.parametrize("compiled", [False, True])
def test_autocast(compiled):
    """Types are those of SDPA; a bias keeps its own."""
    q, k, v = (torch.randn(1, 2, 9, 8) for _ in range(3))
    q.requires_grad_()
    bias = torch.randn(1, 2, 9, 9)
    attend = lambda q, k, v: megactx.attention(q, k, v, SPARSE, bias=bias)
    want = attend(*(x.bfloat16() for x in (q, k, v)))
    with torch.autocast("cpu", torch.bfloat16):
        for given in ((q, k, v), (q.bfloat16(), k, v)):
            out = (torch.compile(attend, fullgraph=True) if compiled else attend)(*given)
            assert out.dtype == torch.nn.functional.scaled_dot_product_attention(*given).dtype
            close(out.detach().float().numpy(), want.detach().float().numpy(), "bf16")
        with pytest.raises(megactx.Error, match="query: expected float32, float16, bfloat16, but got float64"):
            megactx.attention(q.double(), k, v, SPARSE)
    out.sum().backward()
    assert q.grad.dtype == torch.float32


def test_who_looks_on_sees_the_operator():
    """Others' calls go past it; tensors that say of their memory other than it is, or nothing, are read as what they say."""
    x = torch.randn(1, 2, 9, 8)
    negative = torch.view_as_complex(torch.stack([x, -x], -1)).conj().imag
    assert negative.is_neg() and torch.equal(negative, x)
    want = megactx.attention(x, x, x, SPARSE)
    assert torch.equal(megactx.attention(x, negative, x, SPARSE), want)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert torch.equal(megactx.attention(x, x, x, SPARSE), want)
    assert "megactx::attention" in {event.name for event in profile.events()}
    assert megactx.attention(*[x.to("meta")] * 3, SPARSE).is_meta
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(megactx.attention(x, x, x, SPARSE), torch._subclasses.FakeTensor)
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda x: megactx.attention(x, x, x, SPARSE))(x)
    assert torch.ops.megactx.attention.default in {node.target for node in traced.graph.nodes}


def test_the_page_of_own_models(tmp_path, monkeypatch, cache):
    """Its blocks of Python that export a model and make one sparse run as they are, one after another; then the way from one to the other."""
    transformers = pytest.importorskip("transformers")
    page = (ROOT / "docs" / "models.md").read_text()
    blocks = [block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if block.startswith("import")]
    monkeypatch.chdir(tmp_path)
    scope = {}
    torch.manual_seed(0)
    exec(blocks[0], scope)
    names, model, ids = scope["names"], scope["model"], torch.randint(0, 1000, (3, 300))
    assert megactx.compile("llama.onnx", "llama.mctx", pattern="window<left = 127, right = 0> or strided<stride = 128>", optimize=0) == "raised 2 attentions, sparsified 2"
    exec(blocks[1], scope)
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in model.parameters())
    with torch.no_grad():
        want = model(input_ids=ids).logits.numpy()
    caches = {f"past_key_values.{name}": np.zeros((3, 2, 0, 32), np.float32) for name in names}
    got = megactx.load("llama.mctx").run({"input_ids": ids, **caches})["logits"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        assert np.abs(model(input_ids=ids).logits.numpy() - want).max() > 0.01
