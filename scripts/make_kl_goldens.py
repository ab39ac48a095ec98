"""Records runs of the neighbourhood-KL loss in PyTorch, in float64, as goldens for the Rust tests.

Written from the formulas in `objective/kl.rs`, `optimiser/adamw.rs` and `trainer/coordinates.rs`;
similarities of the input are of the vectors themselves, not of their coordinates. Each case holds
the vectors, the rows and weights of every step, the encoder and the logarithms of a at the start,
after one step and after all steps, and the loss of every step. Rerun, from the root of the
repository, with

    pip install torch safetensors numpy
    python scripts/make_kl_goldens.py crates/twinlearn/tests/goldens
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from make_goldens import STEPS, WARMUP_STEPS
from make_goldens import learning_rate as scheduled
from safetensors.torch import save_file

N_ROWS, DIM, ANCHORS, BATCH = 60, 9, 12, 40
# Of 256 rows, for weights whose root mean square is 1.
RATE, OWN_RATE, DECAY = 0.05, 0.1, 0.01
BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass
class Case:
    name: str
    metric: str
    # The kinds of anchors: how many, and their tau.
    kinds: list[tuple[int, float]]
    # Width, share of the loss and size of each prefix of the output.
    prefixes: list[tuple[int, float, float]]
    # Whether the target is about the mean, and the encoder has a bias.
    centred: bool = False


CASES = [
    Case("kl_cosine", "cosine", [(ANCHORS, 0.1)], [(4, 1.0, 1.0)]),
    Case("kl_l2", "l2", [(ANCHORS, 0.5)], [(4, 1.0, 2.0)]),
    Case("kl_ip", "ip", [(ANCHORS, 0.3)], [(4, 1.0, 1.5)]),
    Case("kl_nested_queries", "cosine", [(8, 0.1), (4, 0.2)], [(2, 0.3, 1.0), (5, 1.0, 1.0)]),
    Case("kl_centred", "cosine", [(ANCHORS, 0.15)], [(3, 1.0, 1.0)], centred=True),
]


def similarities(rows: torch.Tensor, metric: str) -> torch.Tensor:
    """Similarities of the anchors with all rows."""
    if metric == "cosine":
        rows = rows / rows.norm(dim=1, keepdim=True)
    products = rows[:ANCHORS] @ rows.T
    if metric == "l2":
        squares = rows.square().sum(1)
        return products - (squares[:ANCHORS, None] + squares) / 2
    return products


def loss_of(
    case: Case,
    x: torch.Tensor,
    z: torch.Tensor,
    weights: torch.Tensor,
    log_scales: torch.Tensor,
) -> torch.Tensor:
    inverse_tau = torch.cat([torch.full((n,), 1 / tau).double() for n, tau in case.kinds])
    counts = torch.tensor([n for n, _ in case.kinds])
    log_weights = weights.log()
    log_p = torch.log_softmax(similarities(x, case.metric) * inverse_tau[:, None] + log_weights, 1)
    total = torch.zeros((), dtype=torch.float64)
    for i, (width, share, _) in enumerate(case.prefixes):
        a = log_scales[i * len(counts) :][: len(counts)].exp().repeat_interleave(counts)
        logits = similarities(z[:, :width], case.metric) * a[:, None] + log_weights
        log_q = torch.log_softmax(logits, 1)
        terms = torch.where(weights > 0, log_p.exp() * (log_p - log_q), 0.0)
        total = total + share * terms.sum() / ANCHORS
    return total


class AdamW:
    """One second moment for each row of a matrix, and no decay of anything else."""

    def __init__(self, params: list[torch.Tensor]) -> None:
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in params]
        self.t = 0

    def step(self, params: list[torch.Tensor], rates: list[float]) -> None:
        self.t += 1
        for p, (m, v), rate in zip(params, self.moments, rates, strict=True):
            assert p.grad is not None
            g, square = p.grad, p.grad.square()
            if p.ndim > 1:
                square = square.mean(1, keepdim=True).expand_as(p)
                p.sub_(rate * DECAY * p)
            m.mul_(BETAS[0]).add_((1 - BETAS[0]) * g)
            v.mul_(BETAS[1]).add_((1 - BETAS[1]) * square)
            first, second = m / (1 - BETAS[0] ** self.t), v / (1 - BETAS[1] ** self.t)
            p.sub_(rate * first / (second.sqrt() + EPSILON))


def record(case: Case) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(map(ord, case.name)))
    # Axes of very different size, and an offset.
    sizes = 0.6 ** torch.arange(DIM)
    x = (torch.randn(N_ROWS, DIM, generator=generator) * sizes + 0.3 * sizes).float()
    d = case.prefixes[-1][0]
    weight = (torch.randn(d, DIM, generator=generator)).float()

    rows = x.double()
    if case.metric == "cosine" and not case.centred:
        rows = rows / rows.norm(dim=1, keepdim=True)
    about = case.metric == "l2" or case.centred
    mean = rows.mean(0) if about else torch.zeros(DIM).double()
    values, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / N_ROWS)
    to_y = (values**-0.25)[:, None] * axes.T / values.sqrt().sum().sqrt()
    y = (rows - mean) @ to_y.T
    v = weight.double() @ torch.linalg.inv(to_y)
    gain = 1 / v.square().mean().sqrt()
    params = [(v * gain).requires_grad_()]
    if case.centred:
        params.append((weight.double() @ mean * gain).requires_grad_())
    scales = [
        -torch.tensor(tau * size).log() for _, _, size in case.prefixes for _, tau in case.kinds
    ]
    params.append(torch.stack(scales).double().requires_grad_())

    def state(tag: str) -> dict[str, torch.Tensor]:
        w = params[0].detach() / gain @ to_y
        b = params[1].detach() / gain if case.centred else torch.zeros(d).double()
        scales = params[-1].detach().clone()
        return {f"{tag}.weight": w, f"{tag}.bias": b - w @ mean, f"{tag}.log_scales": scales}

    steps = [torch.randperm(N_ROWS, generator=generator)[:BATCH] for _ in range(STEPS)]
    weights = torch.rand(STEPS, ANCHORS, BATCH, generator=generator) * 3
    # Rows that an anchor does not look at, itself among them.
    weights[torch.rand(weights.shape, generator=generator) < 0.1] = 0
    weights[:, range(ANCHORS), range(ANCHORS)] = 0
    out = {
        "x": x,
        "moments.values": values.flip(0),
        "moments.axes": axes.T.flip(0),
        "moments.mean": mean,
    }
    out |= state("start")
    adam, losses = AdamW(params), []
    for step, ids in enumerate(steps):
        z = y[ids] @ params[0].T
        if case.centred:
            z = z + params[1]
        seen = (rows - mean)[ids] if about else rows[ids]
        loss = loss_of(case, seen, z, weights[step].double(), params[-1])
        for p in params:
            p.grad = None
        loss.backward()
        rate = scheduled(step, 256) / scheduled(WARMUP_STEPS, 256) * RATE
        with torch.no_grad():
            adam.step(params, [rate] * (len(params) - 1) + [OWN_RATE * rate])
        losses.append(loss.item())
        if step == 0:
            out |= state("first")
    out |= state("last")
    out["rows"] = torch.stack(steps).to(torch.int32)
    out["weights"] = weights.float()
    out["losses"] = torch.tensor(losses, dtype=torch.float64)
    return {k: v.contiguous() for k, v in out.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    for case in CASES:
        save_file(record(case), folder / f"{case.name}.safetensors")


if __name__ == "__main__":
    main()
