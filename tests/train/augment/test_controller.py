import numpy as np
import pytest
import torch

from figment.train.augment import AdaController, AdaState


def run(ada, logits, batch=8, start=0.0, steps=None):
    """The p after each step, for one tensor of logits per step."""
    state, seen = ada.start(p=start), []
    for step, values in enumerate(logits):
        state = ada.adjust(ada.observe(state, values.sign().mean(), len(values)), step, batch)
        seen.append(state.p.item())
    return seen


def test_p_follows_the_papers_rule():
    rng = np.random.default_rng(0)
    logits = [torch.from_numpy(rng.normal(mean, 1, (8, 1))) for mean in np.repeat([3, 3, 0.5, 3, -1, 2], 4)]
    expected, p, signs = [], 0.0, []
    for step, values in enumerate(logits):
        signs += list(np.sign(values.numpy().ravel()))
        if (step + 1) % 4 == 0:
            p = max(p + np.sign(np.mean(signs) - 0.6) * 8 * 4 / (500 * 1000), 0.0)
            signs = []
        expected.append(p)
    assert run(AdaController(), logits) == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) > 2


def test_from_0_to_1_takes_500_kimg():
    batch, ones = 5000, torch.ones(4, 1)
    seen = run(AdaController(), [ones] * 100, batch=batch)
    assert seen[98] < 1 and seen[99] == pytest.approx(1.0, abs=1e-5)


def test_p_never_falls_below_0():
    assert run(AdaController(), [-torch.ones(4, 1)] * 8, start=1e-5) == pytest.approx([1e-5] * 3 + [0.0] * 5, abs=1e-9)


def test_a_state_resumes_from_plain_tensors_between_adjustments():
    ada, logits = AdaController(), [torch.tensor([[1.0], [-1.0], [1.0]])] * 5 + [torch.ones(3, 1)] * 6
    whole = ada.start(p=0.1)
    for step, values in enumerate(logits):
        whole = ada.adjust(ada.observe(whole, values.sign().mean(), len(values)), step, 4)
        if step == 5:
            resumed = AdaState(**{name: value.clone() for name, value in whole._asdict().items()})
        if step > 5:
            resumed = ada.adjust(ada.observe(resumed, values.sign().mean(), len(values)), step, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_ranks_agree_through_their_mean():
    ada = AdaController(interval=1)
    one, two = (ada.observe(ada.start(p=0.5), torch.tensor(sign), 4) for sign in (1.0, -1.0))
    together = (torch.stack(one[1:]) + torch.stack(two[1:])) / 2
    states = [ada.adjust(state, 0, 8, mean=lambda values: together) for state in (one, two)]
    assert states[0].p == states[1].p and states[0].p < 0.5


def test_no_observation_moves_nothing():
    ada = AdaController()
    assert ada.adjust(ada.start(p=0.3), 3, 8).p.item() == pytest.approx(0.3)
