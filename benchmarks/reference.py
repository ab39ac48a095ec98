"""The reference recipe in plain PyTorch, written from the paper's formulas, for comparison.

    python benchmarks/reference.py steps X.npy -d D --projector P --batch B --steps N
    python benchmarks/reference.py fit X.npy KNN.npy -d D --projector P --epochs E --to W.npz

The first prints the seconds of each step, the second those of the whole training, as JSON.

No line is taken from the authors' code: networks, loss and LARS follow arXiv 2110.09455, 2103.03230
and 1708.03888. Both views go through the networks one after the other and the loss forms the whole
cross-correlation matrix, as one writes it in PyTorch.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

LAMBDA, SCALE = 3.9e-3, 1 / 32
LEARNING_RATE, FINAL, MOMENTUM, ETA, WEIGHT_DECAY = 0.2, 1e-3, 0.9, 1e-3, 1e-6


def network(spec: str, width: int, out: int | None) -> nn.Sequential:
    """`linear` or `mlp-H-W`; an mlp without `out` is a projector, as wide at its end as inside."""
    if spec == "linear":
        return nn.Sequential(nn.Linear(width, out or width))
    _, depth, hidden = spec.split("-")
    layers: list[nn.Module] = []
    for _ in range(int(depth)):
        layers += [nn.Linear(width, int(hidden), bias=False), nn.BatchNorm1d(int(hidden))]
        layers.append(nn.ReLU())
        width = int(hidden)
    return nn.Sequential(*layers, nn.Linear(width, out or width, bias=False))


def barlow_twins(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The loss of two views, B × d' each."""
    standardise = nn.functional.batch_norm
    first, second = (standardise(z, None, None, training=True) for z in (first, second))
    c = first.T @ second / len(first)
    on = (torch.diagonal(c) - 1).square().sum()
    off = c.square().sum() - torch.diagonal(c).square().sum()
    return SCALE * (on + LAMBDA * off)


class Lars:
    """LARS with momentum; vectors have neither decay nor the factor."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.momenta = [torch.zeros_like(p) for p in parameters]

    def step(self, rate: float) -> None:
        with torch.no_grad():
            for p, m in zip(self.parameters, self.momenta, strict=True):
                self.change(p, m, rate)

    def change(self, p: nn.Parameter, m: torch.Tensor, rate: float) -> None:
        g = p.grad
        assert g is not None
        if p.ndim > 1:
            g = g.add(p, alpha=WEIGHT_DECAY)
            sizes = float(p.norm()), float(g.norm())
            g.mul_(ETA * sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
        m.mul_(MOMENTUM).add_(g)
        p.sub_(m, alpha=rate)
        p.grad = None


def rate(step: int, warmup: int, total: int, batch: int) -> float:
    """Linear warm-up, then a cosine down to a thousandth."""
    base = LEARNING_RATE * batch / 256
    if step < warmup:
        return base * (step + 1) / warmup
    share = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    return base * (share + FINAL * (1 - share))


class Trainer:
    """The networks and their optimiser."""

    def __init__(self, dim: int, d: int, projector: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.encoder = network("linear", dim, d)
        self.projector = network(projector, d, None)
        parameters = [*self.encoder.parameters(), *self.projector.parameters()]
        self.optimiser = Lars(parameters)

    def step(self, first: torch.Tensor, second: torch.Tensor, rate: float) -> float:
        first, second = (self.projector(self.encoder(x)) for x in (first, second))
        loss = barlow_twins(first, second)
        loss.backward()
        self.optimiser.step(rate)
        return float(loss.detach())

    def fit(self, x: torch.Tensor, graph: torch.Tensor, batch: int, epochs: int, seed: int) -> None:
        """`graph` are the k neighbours of every row; one is drawn for each anchor and step."""
        random = torch.Generator().manual_seed(seed)
        per_epoch = len(x) // batch
        warmup, total = min(10, epochs // 2) * per_epoch, epochs * per_epoch
        step = 0
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=random)
            for anchors in order[: per_epoch * batch].split(batch):
                drawn = torch.randint(graph.shape[1], (batch,), generator=random)
                partners = graph[anchors, drawn]
                self.step(x[anchors], x[partners], rate(step, warmup, total, batch))
                step += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["steps", "fit"])
    parser.add_argument("x", type=Path)
    parser.add_argument("knn", type=Path, nargs="?")
    parser.add_argument("-d", type=int, required=True)
    parser.add_argument("--projector", required=True)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    x = torch.from_numpy(np.load(args.x).astype(np.float32, copy=False))
    trainer = Trainer(x.shape[1], args.d, args.projector)
    if args.what == "steps":
        seconds = []
        for _ in range(args.steps):
            start = time.perf_counter()
            anchors = torch.randint(len(x), (2, args.batch))
            trainer.step(x[anchors[0]], x[anchors[1]], 0.1)
            seconds.append(time.perf_counter() - start)
        side = torch.ones(2048, 2048)
        rates = []
        for _ in range(5):
            start = time.perf_counter()
            side @ side
            rates.append(2 * 2048**3 / (time.perf_counter() - start) / 1e9)
        result = {"seconds": seconds, "gemm_gflops": max(rates), "torch": torch.__version__}
    else:
        start = time.perf_counter()
        graph = torch.from_numpy(np.load(args.knn).astype(np.int64))
        trainer.fit(x, graph, args.batch, args.epochs, seed=0)
        result = {"seconds": time.perf_counter() - start, "torch": torch.__version__}
        layer = trainer.encoder[0]
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        np.savez(args.to, weight=weight, bias=bias)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
