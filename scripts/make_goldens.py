"""Records runs of the method in plain PyTorch, in float64, as goldens for the Rust tests.

Written from the formulas of the paper (arXiv 2110.09455) and of LARS (arXiv 1708.03888). Each case
holds the vectors, the pairs of every step, the parameters at the start, after one step and after
all steps, and the loss of every step. Rerun, from the root of the repository, with

    pip install torch safetensors numpy
    python scripts/make_goldens.py crates/twinlearn/tests/goldens
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

N_ROWS, DIM, STEPS, WARMUP_STEPS = 48, 20, 20, 5
LAMBDA, SCALE = 3.9e-3, 1 / 32
# Far larger than anyone would train with, so that 20 steps move every parameter well clear of
# float32 rounding and a wrong term anywhere shows.
LEARNING_RATE, MOMENTUM, ETA, WEIGHT_DECAY = 8.0, 0.9, 0.05, 1e-2

Spec = tuple[str, list[int]]
Case = tuple[str, Spec, Spec | None, str, int, int]

# Name, encoder (kind, hidden widths), projector, norm, d, batch. The second has projector outputs
# wider than the batch, so that the dual form of the loss is used; the first is primal.
CASES: list[Case] = [
    ("linear_primal", ("linear", []), ("mlp", [14, 14]), "BN", 5, 16),
    ("linear_dual", ("linear", []), ("mlp", [40]), "BN", 5, 16),
    ("mlp_encoder", ("mlp", [18]), ("mlp", [24, 30]), "BN", 6, 12),
    ("flinear_layer_norm", ("flinear", [16]), ("mlp", [24]), "LN", 6, 12),
    ("no_projector", ("flinear", [16, 12]), None, "BN", 6, 16),
]


def build(kind: str, hidden: list[int], norm: str, width: int, output: int) -> nn.Sequential:
    """linear: Linear; flinear: (Linear, norm)*, Linear; mlp: (Linear, norm, ReLU)*, Linear."""
    bias = kind != "mlp"
    layers: list[nn.Module] = []
    for w in hidden:
        layers += [nn.Linear(width, w, bias=bias)]
        layers += [nn.BatchNorm1d(w) if norm == "BN" else nn.LayerNorm(w)]
        if kind == "mlp":
            layers += [nn.ReLU()]
        width = w
    layers += [nn.Linear(width, output, bias=bias)]
    return nn.Sequential(*layers)


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Uniform within 1/sqrt(fan_in), rounded to float32 so that the Rust side starts equal."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for p in layer.parameters():
                values = (torch.rand(p.shape, generator=generator) * 2 - 1) * bound
                p.data = values.float().double()


def barlow_twins(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    def standardise(z: torch.Tensor) -> torch.Tensor:
        return (z - z.mean(0)) / torch.sqrt(z.var(0, unbiased=False) + 1e-5)

    c = standardise(z1).T @ standardise(z2) / len(z1)
    on = (torch.diagonal(c) - 1).pow(2).sum()
    off = c.pow(2).sum() - torch.diagonal(c).pow(2).sum()
    return SCALE * (on + LAMBDA * off)


def learning_rate(step: int, batch: int) -> float:
    base = LEARNING_RATE * batch / 256
    if step < WARMUP_STEPS:
        return base * (step + 1) / WARMUP_STEPS
    share = (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return base * (cosine + 1e-3 * (1 - cosine))


def lars(params: list[torch.Tensor], momenta: list[torch.Tensor], rate: float) -> None:
    for p, m in zip(params, momenta, strict=True):
        assert p.grad is not None
        g = p.grad
        if p.ndim > 1:
            g = g + WEIGHT_DECAY * p
            p_norm, g_norm = p.norm(), g.norm()
            if p_norm > 0 and g_norm > 0:
                g = g * (ETA * p_norm / g_norm)
        m.mul_(MOMENTUM).add_(g)
        p.sub_(rate * m)


def state(
    encoder: nn.Sequential, projector: nn.Sequential | None, tag: str
) -> dict[str, torch.Tensor]:
    """Every parameter, then every running statistic, in the order of the Rust networks."""
    out = {}
    nets = [n for n in (encoder, projector) if n is not None]
    values = [p for n in nets for p in n.parameters()]
    values += [b for n in nets for name, b in n.named_buffers() if "num_batches" not in name]
    for i, v in enumerate(values):
        out[f"{tag}.{i:02}"] = v.detach().clone().double()
    return out


def record(case: Case) -> dict[str, torch.Tensor]:
    name, (kind, hidden), projector_spec, norm, d, batch = case
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    x = torch.randn(N_ROWS, DIM, generator=generator).float()
    encoder = build(kind, hidden, norm, DIM, d).double()
    initialise(encoder, generator)
    projector = None
    if projector_spec is not None:
        widths = projector_spec[1]
        projector = build(projector_spec[0], widths, norm, d, widths[-1]).double()
        initialise(projector, generator)
    params = list(encoder.parameters()) + (list(projector.parameters()) if projector else [])
    momenta = [torch.zeros_like(p) for p in params]
    out = {"x": x} | state(encoder, projector, "start")
    pairs = torch.stack(
        [
            torch.stack([torch.randperm(N_ROWS, generator=generator)[:batch] for _ in range(2)], 1)
            for _ in range(STEPS)
        ]
    )
    losses = []
    for step in range(STEPS):
        views = [x[pairs[step, :, v]].double() for v in range(2)]
        # Each view goes through on its own: batch statistics are per view.
        codes = [encoder(v) for v in views]
        outputs = [projector(z) for z in codes] if projector else codes
        loss = barlow_twins(*outputs)
        for p in params:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            lars(params, momenta, learning_rate(step, batch))
        losses.append(loss.item())
        if step == 0:
            out |= state(encoder, projector, "first")
    out |= state(encoder, projector, "last")
    out["pairs"] = pairs.to(torch.int32).contiguous()
    out["losses"] = torch.tensor(losses, dtype=torch.float64)
    return {k: v.contiguous() for k, v in out.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    for case in CASES:
        save_file(record(case), folder / f"{case[0]}.safetensors")


if __name__ == "__main__":
    main()
