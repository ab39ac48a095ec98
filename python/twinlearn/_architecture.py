"""Architecture strings, spelt out."""

from __future__ import annotations


def layers(spec: str, norm: str, width_in: int | str, width_out: int | str) -> str:
    """The layers of an architecture string, e.g. ``Linear(16 → 4)``."""
    kind, _, rest = spec.partition("-")
    numbers = [int(part) for part in rest.split("-")] if rest else []
    hidden = numbers[1:] if len(numbers) > 2 else numbers[:1] and [numbers[1]] * numbers[0]
    bias = ", bias=False" if kind == "mlp" else ""
    widths = [width_in, *hidden]
    after = f"{norm}, ReLU" if kind == "mlp" else norm
    parts = [f"Linear({a} → {b}{bias}), {after}" for a, b in zip(widths, hidden, strict=False)]
    return ", ".join([*parts, f"Linear({widths[-1]} → {width_out}{bias})"])


def describe(params: dict[str, object], n_features: int | str) -> list[str]:
    """One line for the encoder and one for the projector, if there is one."""
    d, norm = str(params["n_components"]), str(params["norm_layer"])
    lines = ["encoder:   " + layers(str(params["encoder"]), norm, n_features, d)]
    if params["projector"] is not None:
        spec = str(params["projector"])
        numbers = spec.split("-")[1:]
        width = numbers[-1] if numbers else d
        if params["loss"] == "MSE":
            width = str(n_features)
        lines.append("projector: " + layers(spec, norm, d, width))
    return lines
