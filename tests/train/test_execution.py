"""Micro-batches against the whole batch, with an allocator that pretends to be full."""

import pytest
import torch

from figment.base.errors import FigmentError
from figment.nets.layers import stddev_group
from figment.nets.registry import build_discriminator
from figment.train.execution import (
    WARM_UP_RUNS,
    Captured,
    Executor,
    Graphs,
    MicroBatches,
    Part,
    split_batch,
)
from figment.train.losses import discriminator_loss, r1_penalty


class Allocator:
    """Runs out of memory above so many pictures."""

    def __init__(self, limit):
        self.limit, self.asked = limit, []

    def __call__(self, images):
        self.asked.append(len(images))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def network(group=4):
    torch.manual_seed(0)
    return build_discriminator(
        {
            "family": "stylegan2",
            "resolution": 16,
            "channels": 3,
            "channel_base": 64,
            "channel_max": 8,
            "mbstd_group": group,
        }
    )


def pictures(n=16):
    return torch.rand(2, n, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def step(d, batches, real, fake, allocate):
    """D's loss with R1 over a batch; returns its statistics and gradients."""

    def closure(index, share):
        x = real[index].requires_grad_()
        allocate(x)
        real_logits = d(x)
        loss = discriminator_loss(real_logits, d(fake[index])) + r1_penalty(x, real_logits).mean()
        (loss * share).backward()
        return {"loss": loss, "sign": real_logits.sign().mean()}

    stats = batches.run(closure, d.zero_grad)
    return stats, [p.grad.clone() for p in d.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("batch", "limit", "sizes"),
    [
        (16, 16, [16]),
        (16, 9, [16, 8, 8]),
        (16, 4, [16, 8, 4, 4, 4, 4]),
        (12, 8, [12, 4, 4, 4]),
        (6, 3, [6, 3, 3]),
    ],
)
def test_gradients_and_statistics_equal_the_whole_batchs(batch, limit, sizes):
    real, fake = pictures(batch)
    expected = step(network(), MicroBatches(batch, 4), real, fake, Allocator(batch))
    told, allocator = [], Allocator(limit)
    found = step(network(), MicroBatches(batch, 4, log=told.append), real, fake, allocator)
    assert allocator.asked == sizes
    assert len(told) == len([size for size in sizes if size > limit])
    for name in ("loss", "sign"):
        assert found[0][name].item() == pytest.approx(expected[0][name].item(), rel=1e-5, abs=1e-6)
    for a, b in zip(found[1], expected[1], strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-7


def test_contiguous_parts_would_not_do():
    # The check above has teeth: the same sizes without regard to the groups give other gradients.
    real, fake = pictures(16)
    batches = MicroBatches(16, group=1, size=4)
    d = network()
    _, wrong = step(d, batches, real, fake, Allocator(16))
    _, expected = step(network(), MicroBatches(16, 4), real, fake, Allocator(16))
    assert max(((a - b).norm() / b.norm()).item() for a, b in zip(wrong, expected, strict=True)) > 1e-3


def test_a_loss_curve_stays_the_same():
    curves = []
    for limit in (16, 5):
        d, batches = network(), MicroBatches(16, 4, log=lambda line: None)
        optimizer = torch.optim.Adam(d.parameters(), lr=0.002, betas=(0.0, 0.99))
        losses = []
        for i in range(6):
            real, fake = (pictures() * (1 - 0.1 * i)).unbind(0)
            losses.append(step(d, batches, real, fake, Allocator(limit))[0]["loss"].item())
            optimizer.step()
        curves.append(losses)
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_running_out_in_the_middle_forgets_what_was_added_and_drawn():
    weight = torch.nn.Parameter(torch.ones(3))
    calls = []

    def closure(index, share):
        calls.append(index)
        noise = torch.randn(3)
        (weight * noise * share).sum().backward()
        if len(calls) in (1, 3):
            raise torch.OutOfMemoryError("full")
        return {"noise": noise.sum()}

    def reset():
        weight.grad = None

    torch.manual_seed(5)
    stats = MicroBatches(8, group=2, log=lambda line: None).run(closure, reset)
    assert len(calls) == 7
    torch.manual_seed(5)
    draws = torch.stack([torch.randn(3) for _ in range(4)])
    assert torch.allclose(weight.grad, draws.mean(0)) and stats["noise"].item() == pytest.approx(
        draws.sum(1).mean().item(), rel=1e-5
    )


def test_it_says_so_remembers_the_size_and_gives_up_in_one_line():
    told = []
    batches = MicroBatches(16, 4, log=told.append)
    step(network(), batches, *pictures(), Allocator(4))
    rest = "at once, gradients accumulated to the same batch of 16"
    assert told == [
        f"out of memory with 16 images at once: continuing with 8 {rest}",
        f"out of memory with 8 images at once: continuing with 4 {rest}",
    ]
    again = Allocator(4)
    step(network(), batches, *pictures(), again)
    assert again.asked == [4, 4, 4, 4] and batches.size == 4
    with pytest.raises(FigmentError, match="out of memory with 4 images at once.*--batch"):
        step(network(), batches, *pictures(), Allocator(3))


def test_other_errors_are_not_swallowed():
    def closure(index, share):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        MicroBatches(4, 4).run(closure, lambda: None)


@pytest.mark.parametrize("batch", [1, 4, 6, 8, 9, 12, 15, 16, 24, 32])
@pytest.mark.parametrize("group", [0, 1, 3, 4])
def test_every_split_is_a_partition_into_whole_groups(batch, group):
    together = stddev_group(batch, group)
    for size in range(1, batch + 1):
        parts = split_batch(batch, size, group)
        assert sorted(torch.cat(parts).tolist()) == list(range(batch))
        assert all(len(part) <= max(size, together) for part in parts)
        expected = {frozenset(range(i, batch, batch // together)) for i in range(batch // together)}
        found = set()
        for part in parts:
            count = stddev_group(len(part), group)
            table = part.view(count, -1)  # as minibatch_std reshapes it
            found |= {frozenset(table[:, i].tolist()) for i in range(table.shape[1])}
        assert found == expected


# --- CUDA graphs


def part(work, inputs, layer):
    """A part of which nothing is split."""
    return Part("D", lambda inputs, index, share: work(inputs), inputs, layer, 4, 1)


def test_nothing_is_captured_on_a_cpu():
    lines, layer = [], torch.nn.Linear(2, 1)
    executor = Executor(log=lines.append)
    inputs = {"x": torch.ones(1, 2), "none": None, "draws": (torch.ones(1), [torch.ones(1)])}
    done = [executor.run(part(lambda _: {"y": torch.ones([])}, inputs, layer), {}) for _ in range(5)]
    assert [row["y"].item() for row in done] == [1.0] * 5
    assert executor.graphs.captured == {} and executor.graphs.enabled and lines == []


class Repeats:
    """Stands for a graph and its recorder: does the work again, from and to the places of its capture, `off` by a
    constant."""

    def __init__(self, layer, off):
        self.layer, self.off = layer, off

    def can_capture(self, part):
        return True

    def capture(self, part, parameters):
        static = {"x": part.inputs["x"].clone()}
        self.layer.zero_grad(set_to_none=True)
        stats = {name: value.clone() for name, value in part.work(static, slice(None), 1.0).items()}
        grads = [parameter.grad.clone() for parameter in parameters]
        self.layer.zero_grad(set_to_none=True)
        self.part, self.made = part, Captured(self, static, stats, grads)
        return self.made

    def replay(self):
        self.layer.zero_grad(set_to_none=True)
        for name, value in self.part.work(self.made.inputs, slice(None), 1.0).items():
            self.made.stats[name].copy_(value + self.off)
        for grad, parameter in zip(self.made.grads, self.layer.parameters(), strict=True):
            grad.copy_(parameter.grad)


@pytest.mark.parametrize(("off", "kept"), [(0.0, True), (5.0, False)])
def test_a_captured_part_gives_what_the_plain_one_gives_or_is_not_used(off, kept):
    torch.manual_seed(0)
    layer, lines, plain = torch.nn.Linear(2, 1), [], []
    graphs = Graphs(log=lines.append, recorder=Repeats(layer, off))

    def work(inputs):
        loss = layer(inputs["x"]).square().mean()
        loss.backward()
        return {"loss": loss.detach()}

    def plainly(inputs):
        plain.append(1)
        layer.zero_grad(set_to_none=True)
        return work(inputs)

    for _ in range(6):
        inputs = {"x": torch.randn(4, 2)}
        stats = graphs.run(part(work, inputs, layer), lambda inputs=inputs: plainly(inputs))
        grads = [parameter.grad.clone() for parameter in layer.parameters()]
        layer.zero_grad(set_to_none=True)
        wanted = work(inputs)
        assert stats["loss"] == wanted["loss"]
        assert all(torch.equal(grad, parameter.grad) for grad, parameter in zip(grads, layer.parameters(), strict=True))
    assert len(plain) == (WARM_UP_RUNS + 1 if kept else 6) and graphs.enabled == kept
    assert any("a captured part gives" in line for line in lines) != kept
    with graphs.disabled():
        assert not graphs.enabled
    assert graphs.enabled == kept
