"""megactx.sparsify of models of Hugging Face's transformers, where these are installed: like their own attention, and like it under a pattern's mask."""

import copy
import pickle

import numpy as np
import pytest

import megactx
from megactx import Pattern
from test_attention_function import cache  # noqa: F401: a fixture

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")
SPARSE = "window<left = 5, right = 5> or strided<stride = 4>"
N = 40
SMALL = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=120)
GROUPED = dict(SMALL, num_key_value_heads=2, head_dim=16)
SMALL_BOTH = dict(d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, vocab_size=120)
FAMILIES = {
    "Llama": ("LlamaForCausalLM", GROUPED),
    "Mistral": ("MistralForCausalLM", dict(GROUPED, sliding_window=8)),
    "Gemma2": ("Gemma2ForCausalLM", dict(GROUPED, sliding_window=8)),  # a softcap
    "GptOss": ("GptOssForCausalLM", dict(GROUPED, sliding_window=8, num_local_experts=4)),  # sinks
    "Llama4Text": ("Llama4ForCausalLM", dict(GROUPED, attention_chunk_size=8, num_local_experts=2, intermediate_size_mlp=64)),
    "GPT2": ("GPT2LMHeadModel", dict(n_embd=64, n_layer=2, n_head=4, vocab_size=120)),
    "Bert": ("BertForMaskedLM", SMALL),
    "Bart": ("BartForConditionalGeneration", SMALL_BOTH),
    "T5": ("T5ForConditionalGeneration", dict(d_model=64, num_layers=2, num_heads=4, d_kv=16, d_ff=96, vocab_size=120, decoder_start_token_id=0)),
    "ViT": ("ViTModel", dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8)),
}
IDS = torch.from_numpy(np.random.default_rng(5).integers(3, 119, (2, N)))


def make(family):
    transformers.logging.set_verbosity_error()
    name, facts = FAMILIES[family]
    torch.manual_seed(1)
    return getattr(transformers, name)(getattr(transformers, family + "Config")(**facts, attn_implementation="eager")).eval()


def inputs(family, padding):
    if family == "ViT":
        return dict(pixel_values=torch.sin(torch.arange(2 * 3 * 32 * 32.0)).view(2, 3, 32, 32))
    mask = torch.ones(2, N, dtype=torch.long)
    mask[1, {"no": slice(0, 0), "left": slice(0, 9), "right": slice(30, N)}[padding]] = 0
    given = dict(input_ids=IDS, **({} if padding == "no" else {"attention_mask": mask}))
    return {**given, "decoder_input_ids": IDS[:, :12]} if family in ("Bart", "T5") else given


def run(model, **given):
    with torch.no_grad():
        out = model(**given)
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def close(got, want):
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def sparsified(model, *pattern):
    try:
        return megactx.sparsify(model, *pattern)
    except megactx.Error as error:
        if "AttentionInterface" in str(error):
            pytest.skip("not in these transformers")
        raise


@pytest.mark.parametrize("family", FAMILIES)
def test_like_their_own(family):
    model = make(family)
    kinds = ["no"] if family == "ViT" else ["no", "left", "right"]
    want = [run(model, **inputs(family, kind)) for kind in kinds]
    sparsified(model)
    for kind, expected in zip(kinds, want):
        given = inputs(family, kind)
        kept = given["attention_mask"].bool() if "attention_mask" in given and "decoder_input_ids" not in given else ...
        close(run(model, **given)[kept], expected[kept])


@pytest.mark.parametrize("family", ["Llama", "Mistral", "GptOss", "Bart"])
@pytest.mark.parametrize("kind", [None, "static"])
def test_generation(family, kind):
    model = make(family)
    given = {name: x for name, x in inputs(family, "left").items() if name != "decoder_input_ids"}
    options = dict(max_new_tokens=12, do_sample=False, output_scores=True, return_dict_in_generate=True)
    options |= dict(cache_implementation=kind, disable_compile=True) if kind else {}
    want = model.generate(**given, **options)
    got = sparsified(model).generate(**given, **options)
    assert (got.sequences == want.sequences).all()
    close(torch.stack(got.scores), torch.stack(want.scores))


def test_pattern():
    """Is a mask among the model's own; one token after the other gives what all at once give."""
    model = make("Llama")
    kept = np.zeros((N, N), bool)
    for (_, row), keys in Pattern(f"causal and ({SPARSE})").relation(N).items():
        kept[row, list(keys)] = True
    mask = torch.from_numpy(kept).expand(2, 1, N, N)
    want = run(model, input_ids=IDS, attention_mask=torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min))
    close(run(sparsified(model), input_ids=IDS, attention_mask=mask), want)
    for pattern in (SPARSE, Pattern(SPARSE), [SPARSE] * 2, lambda b, h, q, k: (abs(q - k) <= 5) | ((q - k) % 4 == 0)):
        close(run(sparsified(model, pattern), input_ids=IDS), want)
    past, steps = None, []
    with torch.no_grad():
        for place in range(N):
            out = model(IDS[:, place:place + 1], past_key_values=past, use_cache=True)
            past = out.past_key_values
            steps.append(out.logits)
    close(torch.cat(steps, 1), want)
    first = run(sparsified(model, [None, SPARSE]), input_ids=IDS)
    assert (first - want).abs().max() > 1e-3
    close(run(sparsified(model), input_ids=IDS), run(make("Llama"), input_ids=IDS))


def test_copies():
    """Have the pattern, too; what fails leaves a model as it is."""
    model = sparsified(make("Llama"), SPARSE)
    want = run(model, input_ids=IDS)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(run(copied, input_ids=IDS), want)
    model = make("Llama")
    with pytest.raises(megactx.Error):
        megactx.sparsify(model, "nothing")
    assert model.config._attn_implementation == "eager"


def test_other_sequences_keep_theirs():
    model = sparsified(make("Bart"), "window<left = 0, right = 0>")
    states = model.get_encoder()(IDS[:, :20]).last_hidden_state
    a, b = (run(model, encoder_outputs=(x,), decoder_input_ids=IDS[:, :3]) for x in (states, states.index_fill(1, torch.tensor([19]), 0.5)))
    assert (a - b).abs().amax((0, 2)).min() > 0


@pytest.mark.parametrize("family", ["Llama", "Mistral"])
def test_packed_documents(family, monkeypatch):
    """Documents that positions tell apart are segments."""
    model = make(family)
    given = dict(input_ids=IDS, position_ids=torch.cat([torch.arange(13), torch.arange(20), torch.arange(7)])[None].expand(2, -1), use_cache=False)
    want = run(model, **given)
    sparsified(model)
    module = __import__("megactx.hugging_face").hugging_face
    seen, attention = [], module.attention
    monkeypatch.setattr(module, "attention", lambda *args, **more: (seen.append((args[3], more["bias"])), attention(*args, **more))[1])
    close(run(model, **given), want)
    assert all("segments" in pattern and bias is None for pattern, bias in seen)


def test_training_and_compilation():
    models = [make("Llama").train() for _ in range(3)]
    models[0].set_attn_implementation("sdpa")
    losses = []
    for i, model in enumerate(models):
        model = sparsified(model) if i else model
        loss = (torch.compile(model) if i == 2 else model)(IDS, labels=IDS).loss
        loss.backward()
        losses.append(loss.detach())
    for loss, model in zip(losses[1:], models[1:]):
        close(loss, losses[0])
        for x, y in zip(model.parameters(), models[0].parameters()):
            torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-3)


def test_what_is_refused():
    model = make("Llama")
    with pytest.raises(megactx.Error, match="expected a PreTrainedModel of transformers, but got str"):
        megactx.sparsify("model.onnx")
    with pytest.raises(megactx.Error, match="did you mean 'window'"):
        megactx.sparsify(model, "wimdow<left = 1>")
    with pytest.raises(megactx.Error, match="a model's documents are those that its position_ids pack"):
        megactx.sparsify(model, "causal and segments")
    with pytest.raises(megactx.Error, match="a pattern for each of 2 layers, but got 1"):
        megactx.sparsify(model, [SPARSE])
    with pytest.raises(megactx.Error, match="goes through transformers' AttentionInterface"):
        megactx.sparsify(transformers.BloomModel(transformers.BloomConfig(hidden_size=64, n_layer=2, n_head=4, vocab_size=100)))
    with pytest.raises(megactx.Error, match="no attention of MambaModel goes through"):
        megactx.sparsify(transformers.MambaModel(transformers.MambaConfig(hidden_size=64, num_hidden_layers=2, vocab_size=100)))
    if hasattr(transformers, "DogeModel"):  # which has FlexAttention's masks in its code
        with pytest.raises(megactx.Error, match="DogeModel makes masks of its own"):
            megactx.sparsify(transformers.DogeModel(transformers.DogeConfig(**GROUPED)))
    model.config.attention_dropout = 0.1
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.1
    with pytest.raises(megactx.Error, match="attention has no dropout, but the model asks for 0.1"):
        megactx.sparsify(model).train()(IDS)
