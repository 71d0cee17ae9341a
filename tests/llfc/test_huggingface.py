"""Models of Hugging Face's `transformers` as they are, tiny and built from configurations."""

import pytest
import torch
import transformers

import llfc
from llfc.connectivity.probes import choose_probes
from tests.helpers.quick_cases import a_third_slow

VOCABULARY = 23
TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
TEXT = {"vocab_size": VOCABULARY, "use_cache": False, "bos_token_id": 0, "eos_token_id": 0}


def gpt2(**more):
    config = transformers.GPT2Config(
        **{**TEXT, **more}, n_positions=16, n_embd=16, n_layer=2, n_head=2
    )
    return transformers.GPT2LMHeadModel(config)


def llama(**more):
    config = transformers.LlamaConfig(
        **{**TEXT, **more}, **TINY, num_attention_heads=4, num_key_value_heads=2
    )
    return transformers.LlamaForCausalLM(config)


def bert():
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, **TINY, num_attention_heads=2, num_labels=3
    )
    return transformers.BertForSequenceClassification(config)


def vit():
    config = transformers.ViTConfig(
        **TINY, num_attention_heads=2, image_size=8, patch_size=4, num_labels=3
    )
    return transformers.ViTForImageClassification(config)


MATCHINGS = (None, "weights", "activations")
ATTENTION = {
    gpt2: ["transformer.h.0.attn", "transformer.h.0.mlp.act", "transformer.h.0"],
    llama: ["model.layers.0.self_attn", "model.layers.0.mlp.act_fn", "model.layers.0"],
    bert: [
        "bert.encoder.layer.0.attention.self",
        "bert.encoder.layer.0.attention.output",
        "bert.encoder.layer.0.intermediate.intermediate_act_fn",
        "bert.encoder.layer.0.output",
    ],
    vit: ["vit.layers.0.attention", "vit.layers.0.mlp.activation_fn", "vit.layers.0"],
}


def drawn(build, seed, **more):
    torch.manual_seed(seed)
    return build(**more).double().eval()


def batch_of(build):
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(VOCABULARY, (12, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[:4, 6:] = 0
    if build is vit:
        pixels = torch.randn(12, 3, 8, 8, generator=generator, dtype=torch.float64)
        return {"pixel_values": pixels}, torch.arange(12) % 3, "classification"
    inputs = {"input_ids": ids, "attention_mask": mask}
    if build is bert:
        return inputs, torch.arange(12) % 3, "classification"
    return inputs, ids.masked_fill(mask == 0, -100), "next-token"


@pytest.mark.parametrize(("build", "matching"), a_third_slow((), ATTENTION, MATCHINGS))
def test_curve_ends_are_the_models_own_losses(build, matching):
    a, b = drawn(build, 0), drawn(build, 1)
    inputs, targets, task = batch_of(build)
    data = (inputs, targets)
    found = llfc.connect(a, b, test=data, train=data, task=task, matching=matching, alphas=3)
    with torch.no_grad():
        own = [model(**inputs, labels=targets).loss.item() for model in (a, b)]
    assert found.curve["test_loss"][[0, -1]] == pytest.approx(own, rel=1e-6)  # a loss in float32
    assert (found.matching.get("moved", 0) > 0) == (matching is not None)
    assert found.summaries["logit_identity_residual"] < 1e-9
    names = [layer.name for layer in found.layers]
    assert [name for name in names if name in ATTENTION[build]] == ATTENTION[build]
    assert {"additivity", "commutativity"} <= set(found.tables)
    assert ("norms" in found.tables) == (build is not llama)  # whose norms are written out


@pytest.mark.slow
@pytest.mark.parametrize("build", [gpt2, llama])
def test_all_measures_of_a_language_model(build):
    inputs, targets, task = batch_of(build)
    measures = ["layer-barriers", "similarity", "stitching", "samples", "random-direction"]
    found = llfc.connect(
        drawn(build, 0),
        drawn(build, 0),
        test=(inputs, targets),
        task=task,
        matching=None,
        alphas=3,
        measures=measures,
    )
    assert found.barriers["test_loss_chord"] == 0
    assert found.summaries["layer_barrier_max"] == pytest.approx(0, abs=1e-12)
    assert found.summaries["cka_ab_mean"] == pytest.approx(1)
    assert found.tables["stitching"]["loss"] == pytest.approx(found.curve["test_loss"][0])


@pytest.mark.slow
def test_a_cache_is_in_the_way_of_a_symmetry_alone():
    inputs, targets, task = batch_of(gpt2)
    a, b = (drawn(gpt2, seed, use_cache=True) for seed in (0, 1))
    options = {"test": (inputs, targets), "task": task, "alphas": 3}
    llfc.connect(a, b, matching=None, **options)
    with pytest.raises(ValueError, match=r"configure the network with use_cache=False$"):
        llfc.connect(a, b, matching="weights", **options)


@pytest.mark.parametrize("activation", ["gelu", "gelu_python", "gelu_new", "silu", "relu"])
def test_the_hidden_layer_of_an_mlp_is_a_probe_whatever_its_activation(activation):
    inputs, _, _ = batch_of(gpt2)
    model = drawn(gpt2, 0, activation_function=activation)
    names = [probe.name for probe in choose_probes(model, inputs)]
    parts = [f"transformer.h.{i}{part}" for i in (0, 1) for part in (".attn", ".mlp.act", "")]
    assert names == ["transformer.drop", *parts, "lm_head"]
