"""What is timed beside PyTorch: attention by a pattern at one size, or its gradients, with inputs, flops and float64 references."""

import functools
import json

import megactx
from attention_cases import ALL, gradients_module, mask_of, module

TOKENS = 65536  # batch times queries, at least one batch
ROWS = 32  # how many are compared
SCORES = 1 << 30  # of how many at a time a reference is made


class Case:
    """One pattern at one size. [batch, heads, rows, dim]; queries and keys are as many, and have as many heads, but for decode."""

    FLOPS = 4  # of a pair, times the head dim

    def __init__(self, name, keys, dim, dtype, device="cuda"):
        self.name, self.keys, self.dim, self.dtype, self.device = name, keys, dim, dtype, device
        self.pattern = ALL[name][0]
        self.decode = name.startswith("decode")
        self.queries = 1 if self.decode else keys
        self.batch = 8 if self.decode else max(1, TOKENS // keys // 4)
        self.heads = 16 if keys <= 16384 or self.decode else 8
        if device == "cpu":
            self.batch, self.heads = 1, 8
        self.key_heads = self.heads
        if name == "decode_gqa":
            self.heads, self.key_heads = 32, 8

    @functools.cached_property
    def mask(self):
        """Of batch, head, query and key, tensors on the device, whether they are a pair."""
        import torch

        return mask_of(self.name, self.keys, lambda table: torch.from_numpy(table).to(self.device))

    def __str__(self):
        return f"{self.name.replace('/', '-')}_{self.dtype}_d{self.dim}_n{self.keys}"

    def _types(self):
        """Of queries and of keys, in MLIR."""
        return [f"tensor<?x{heads}x{rows}x{self.dim}x{self.dtype}>" for heads, rows in ((self.heads, self.queries), (self.key_heads, self.keys))]

    @property
    def module(self):
        return module(self.pattern, *self._types(), self.dim)

    def pairs(self):
        """Of all heads and batches, by the compiler's statistics."""
        text = megactx.tools.run("megactx-pattern", self.pattern, "--queries", self.queries, "--keys", self.keys, "--print=stats")
        return self.batch * self.heads * json.loads(text)["pairs"]

    @property
    def words(self):
        """What makes it by `case_of`, as a command's arguments."""
        return [type(self).__name__, self.name, str(self.keys), str(self.dim), self.dtype]

    def tensors(self):
        """q, k and v on the device, the same for all kernels: what `timed` functions take."""
        import torch

        torch.manual_seed(self.keys)
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[self.dtype]
        made = lambda heads, rows: torch.randn(self.batch, heads, rows, self.dim, device=self.device, dtype=dtype)
        return [made(self.heads, self.queries), made(self.key_heads, self.keys), made(self.key_heads, self.keys)]

    def timed(self, attention):
        """What is timed of a function of q, k and v."""
        return attention

    def ours(self, folder):
        import torch

        model = megactx.load(folder / f"{self}.mctx")
        results = lambda tensors: [torch.from_dlpack(result) for result in model.run(dict(zip(model.inputs, tensors))).values()]
        return lambda *tensors: results(tensors) if len(model.outputs) > 1 else results(tensors)[0]

    def _some(self, rows):
        """Numbers of some rows, the first and the last among them, on the device."""
        import torch

        last = rows - 1
        return torch.unique(torch.tensor([0, min(1, last), last, *torch.randint(0, last + 1, (ROWS - 3,)).tolist()], device=self.device))

    def error(self, got, q, k, v):
        """Of some rows, against float64 straight from the definition, by norms."""
        import torch

        rows = self._some(self.queries)
        seen = self.mask(0, 0, rows[:, None], torch.arange(self.keys, device=self.device)[None])
        want = torch.empty(self.batch, self.heads, len(rows), self.dim, dtype=torch.float64, device=self.device)
        for b in range(self.batch):
            # The heads of a group are rows of one product.
            grouped = q[b, :, rows].double().reshape(self.key_heads, -1, self.dim)
            scores = (grouped @ k[b].double().transpose(-1, -2)) * self.dim**-0.5
            weights = scores.masked_fill(~seen.repeat(self.heads // self.key_heads, 1), -torch.inf).softmax(-1)
            want[b] = (weights @ v[b].double()).reshape(self.heads, -1, self.dim)
        return relative(got[:, :, rows], want)


class Gradients(Case):
    """Those of q, k and v. Queries have as many heads as keys."""

    FLOPS = 10  # five products

    def __str__(self):
        return f"gradients_{super().__str__()}"

    @property
    def module(self):
        return gradients_module(self.pattern, *self._types(), f"tensor<?x{self.heads}x{self.queries}xf32>", self.dim)

    def tensors(self):
        """q, k, v, their attention, its log-sum-exp and a gradient of it."""
        import torch

        q, k, v = super().tensors()
        out, lse = torch.empty_like(q), torch.empty(q.shape[:3], device=self.device)
        keys = torch.arange(self.keys, device=self.device)
        for b, h in ((b, h) for b in range(self.batch) for h in range(self.heads)):
            for rows in torch.arange(self.queries, device=self.device).split(max(1, SCORES // self.keys)):
                scores = (q[b, h, rows].float() @ k[b, h].float().T) * self.dim**-0.5
                scores.masked_fill_(~self.mask(b, h, rows[:, None], keys[None]), -torch.inf)
                lse[b, h, rows] = scores.logsumexp(-1)
                out[b, h, rows] = (scores.softmax(-1) @ v[b, h].float()).to(out.dtype)
        return [q, k, v, out, lse, torch.randn_like(q)]

    def timed(self, attention):
        """Its gradients, by PyTorch; the attention itself is called once."""
        import torch

        made = []

        def gradients(q, k, v, out, lse, dout):
            if not made:
                with torch.enable_grad():
                    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
                    made.extend([attention(*leaves), leaves])
            return torch.autograd.grad(*made, dout, retain_graph=True)

        return gradients

    def error(self, got, q, k, v, out, lse, dout):
        """The largest of those of the three, of some rows, against float64."""
        import torch

        rows, keys = self._some(self.queries), self._some(self.keys)
        all_rows, all_keys = (torch.arange(number, device=self.device) for number in (self.queries, self.keys))
        delta = (dout.double() * out.double()).sum(-1)
        want = [torch.empty(self.batch, self.heads, len(of), self.dim, dtype=torch.float64, device=self.device) for of in (rows, keys, keys)]
        scale = self.dim**-0.5
        for b, h in ((b, h) for b in range(self.batch) for h in range(self.heads)):
            qs, ks, vs, douts = (x[b, h].double() for x in (q, k, v, dout))

            def weights(rows, keys):
                """And the gradient of the scores."""
                scores = scale * qs[rows] @ ks[keys].T
                p = torch.where(self.mask(b, h, rows[:, None], keys[None]), torch.exp(scores - lse[b, h, rows, None].double()), 0)
                return p, scale * p * (douts[rows] @ vs[keys].T - delta[b, h, rows, None])

            want[0][b, h] = weights(rows, all_keys)[1] @ ks
            p, ds = weights(all_rows, keys)
            want[1][b, h], want[2][b, h] = ds.T @ qs, p.T @ douts
        return max(relative(some[:, :, of], all) for some, of, all in zip(got, (rows, keys, keys), want))


def relative(got, want):
    """The norm of the difference, over that of what is wanted."""
    return float((got.double() - want).norm() / want.norm())


def case_of(kind, name, keys, dim, dtype):
    """Of a case's words."""
    return {made.__name__: made for made in (Case, Gradients)}[kind](name, int(keys), int(dim), dtype)


def cases_of(options):
    several = [(name, keys) for keys in options.queries for name in options.cases if "256" not in name or keys >= 65536]
    for group in (several, options.more):
        for dtype in options.dtypes:
            for dim in options.dims:
                for name, keys in group:
                    if not options.gradients:
                        yield Case(name, keys, dim, dtype)
                    elif not name.startswith("decode"):
                        yield Gradients(name, keys, dim, dtype)
