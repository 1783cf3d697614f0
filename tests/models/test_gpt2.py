import json
import os
import pickle
import subprocess
import sys

import pytest
import torch

from markov_icl.models.gpt2 import SHAPES, GPT2Predictor
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.tasks.sampling import sample_prompts

DIMENSION = 4


def prompts(count=3, context=6, dtype=torch.float64, seed=0):
    drawn = sample_prompts(MarkovTask(length=DIMENSION, context=context), count, seed)
    return torch.from_numpy(drawn.matrix).to(dtype), torch.from_numpy(drawn.target).to(dtype)


@pytest.fixture(scope="module")
def model():
    return excited(GPT2Predictor(DIMENSION, max_context=8, dtype=torch.float64))


def excited(model):
    """Give a random model weights so large that every dependence shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.2 * noise.to(parameter.dtype)
    return model


@pytest.mark.parametrize(
    ("size", "width", "blocks", "heads"), [("tiny", 64, 3, 2), ("small", 128, 6, 4), ("standard", 256, 12, 8)]
)
def test_sizes_are_those_of_the_paper(size, width, blocks, heads):
    assert SHAPES[size] == (width, blocks, heads)
    model = GPT2Predictor(DIMENSION, size, max_context=2)
    Z, _ = prompts(2, 2, torch.float32)
    maps = model.attention_maps(Z)
    assert len(maps) == blocks
    assert all(one.shape == (2, heads, 5, 5) for one in maps)
    a_block = 12 * width**2 + 13 * width
    around = (DIMENSION + 1) * width + 5 * width + 2 * width + width + 1
    assert sum(p.numel() for p in model.parameters()) == blocks * a_block + around


def test_tokens_ask_and_answer_in_turn(model):
    Z, _ = prompts(2, 3)
    Z[:, -1, -1] = 7.0
    literal = []
    for prompt in Z:
        asked = [torch.cat([column[:-1], torch.zeros(1)]) for column in prompt.T]
        literal.append(torch.stack([asked[0], prompt.T[0], asked[1], prompt.T[1], asked[2], prompt.T[2], asked[3]]))
    torch.testing.assert_close(model.tokens(Z), torch.stack(literal), rtol=0, atol=0)


@pytest.mark.parametrize("chain", range(7))
def test_a_prediction_sees_the_chains_before_it_and_no_label_of_its_own(model, chain):
    Z, _ = prompts()
    before = model.prefixes(Z)
    relabelled, replaced = Z.clone(), Z.clone()
    relabelled[:, -1, chain] += 1.0
    replaced[:, :-1, chain] += 1.0
    label_effect = (model.prefixes(relabelled) - before).abs()
    state_effect = (model.prefixes(replaced) - before).abs()
    assert not label_effect[:, : chain + 1].any()
    assert not state_effect[:, :chain].any()
    assert (state_effect[:, chain:] > 1e-6).all()
    assert (label_effect[:, chain + 1 :] > 1e-6).all()


def test_the_label_of_the_query_is_hidden(model):
    Z, _ = prompts()
    revealed = Z.clone()
    revealed[:, -1, -1] = 5.0
    assert torch.equal(model(Z), model(revealed))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_a_prefix_is_a_shorter_prompt(dtype, tolerance):
    model = GPT2Predictor(DIMENSION, max_context=20, dtype=dtype)
    Z, _ = prompts(4, 20, dtype)
    predictions = model.prefixes(Z)
    assert predictions.shape == (4, 21)
    for context in range(21):
        torch.testing.assert_close(predictions[:, context], model(Z[..., : context + 1]), rtol=0, atol=tolerance)


def test_attention_is_causal_and_sums_to_one(model):
    Z, _ = prompts()
    for weights, chains in zip(model.attention_maps(Z), model.chain_attention(Z), strict=True):
        assert weights.shape == (3, 2, 13, 13)
        assert chains.shape == (3, 2, 7, 7)
        for one in (weights, chains):
            torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:-1], dtype=one.dtype), rtol=0, atol=1e-14)
            assert torch.equal(one, one.tril())
            assert one.min() >= 0


def test_chain_attention_is_the_literal_sum_over_tokens(model):
    Z, _ = prompts(2, 3)
    owned = [[0, 1], [2, 3], [4, 5], [6]]
    for weights, chains in zip(model.attention_maps(Z), model.chain_attention(Z), strict=True):
        for i, takers in enumerate(owned):
            for k, givers in enumerate(owned):
                literal = sum(weights[..., t, u] for t in takers for u in givers) / len(takers)
                torch.testing.assert_close(chains[..., i, k], literal, rtol=0, atol=1e-15)


def test_reading_attention_changes_no_prediction(model):
    Z, _ = prompts()
    before = model.prefixes(Z)
    model.attention_maps(Z)
    assert torch.equal(model.prefixes(Z), before)
    assert torch.equal(pickle.loads(pickle.dumps(model)).prefixes(Z), before)


def test_maps_are_those_of_the_prediction(model):
    """The first block, written out: its output with the maps read is the one that the prediction goes through."""
    Z, _ = prompts()
    block = model.blocks.h[0]
    seen = []
    hook = block.attn.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output[0])))
    model(Z)
    hook.remove()
    [(normed, attended)] = seen
    values = block.attn.c_attn(normed)[..., 128:].unflatten(-1, (2, 32)).transpose(1, 2)
    mixed = (model.attention_maps(Z)[0] @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block.attn.c_proj(mixed), attended, rtol=0, atol=1e-12)


def test_seeds_and_the_global_generator():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = GPT2Predictor(DIMENSION, seed=5, max_context=3)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(12)
    again, other = GPT2Predictor(DIMENSION, seed=5, max_context=3), GPT2Predictor(DIMENSION, seed=6, max_context=3)
    double = GPT2Predictor(DIMENSION, seed=5, max_context=3, dtype=torch.float64)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
        assert torch.equal(weights.double(), double.state_dict()[name])
    assert not torch.equal(first.read_in.weight, other.read_in.weight)
    assert not torch.equal(first.blocks.h[0].attn.c_attn.weight, other.blocks.h[0].attn.c_attn.weight)


def test_rebuilt_from_its_config_and_state(model):
    config = json.loads(json.dumps(model.config))
    rebuilt = GPT2Predictor(**config, seed=9, dtype=torch.float64)
    rebuilt.load_state_dict(model.state_dict())
    Z, _ = prompts()
    assert torch.equal(rebuilt(Z), model(Z))


def test_every_parameter_gets_a_gradient(model):
    Z, target = prompts(context=8)
    predictions = model.prefixes(Z)
    gradients = torch.autograd.grad(((predictions[:, -1] - target) ** 2).mean(), [*model.parameters()])
    for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert gradient.shape == parameter.shape, name
        assert gradient.abs().max() > 0, name


@pytest.fixture
def one_thread():
    """Several threads fight over products as small as these: a minute for what takes seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_training_lowers_the_loss_on_fresh_prompts():
    model = GPT2Predictor(DIMENSION, "tiny", max_context=10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def loss(seed):
        Z, target = prompts(64, 10, torch.float32, seed)
        labels = torch.cat([Z[:, -1, :-1], target[:, None]], 1)
        return ((model.prefixes(Z) - labels) ** 2).mean()

    with torch.no_grad():
        before = loss(1000)
    for step in range(40):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        after = loss(1000)
    assert after < 0.22 < 0.25 < before  # 1/4 is the best constant


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 5, 4)])
def test_prompts_of_another_dimension_are_refused(model, shape):
    with pytest.raises(ValueError, match=r"expected prompts of shape \[B, 4, n\+1\]; got \(2, \d, 4\)"):
        model(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("columns", [0, 10])
def test_too_many_chains_and_none_are_refused(model, columns):
    with pytest.raises(ValueError, match=f"expected 1 to 9 columns, the query last; got {columns}"):
        model(torch.zeros((1, DIMENSION, columns), dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 4, "size": "huge"}, "expected size to be one of tiny, small, standard; got 'huge'"),
        ({"dimension": 1}, "expected dimension >= 2 and max_context >= 1; got 1 and 101"),
        ({"dimension": 4, "max_context": 0}, "expected dimension >= 2 and max_context >= 1; got 4 and 0"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GPT2Predictor(**arguments)


def test_without_transformers_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"expected the package transformers; .* pip install 'markov-icl\[hf\]'"):
        GPT2Predictor(DIMENSION)


def test_nothing_is_fetched_or_printed_and_the_import_is_light(tmp_path):
    program = """
import socket, sys
def refuse(*arguments, **options): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import torch
from markov_icl.models.gpt2 import GPT2Predictor
assert "transformers" not in sys.modules
model = GPT2Predictor(3, max_context=2)
model(torch.zeros(1, 3, 3)).sum().backward()
model.chain_attention(torch.zeros(1, 3, 3))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [*tmp_path.iterdir()]
