"""Writes RESULTS.md from the JSON files in results/.

    python benchmarks/tables.py

A cell in bold is the best of its column among the methods of one dimension, ours or not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def source(record: dict[str, Any], name: str) -> str:
    versions = record.get("versions", {})
    also = {key: record[key] for key in ("torch", "numpy", "twinlearn", "python") if key in record}
    told = ", ".join(f"{key} {value}" for key, value in {**versions, **also}.items())
    threads = f"{record['threads']} threads" if "threads" in record else ""
    parts = "; ".join(part for part in (record["machine"], threads, told) if part)
    return f"`{record['command']}` → `results/{name}.json`; {parts}.\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def best(rows: list[list[float | None]], column: int, smaller: bool) -> float | None:
    values = [row[column] for row in rows]
    known = [value for value in values if value is not None]
    return (min if smaller else max)(known) if known else None


def compared(
    names: list[str], head: list[str], rows: list[list[float | None]], smaller: list[bool], how: Any
) -> str:
    bests = [best(rows, c, smaller[c]) for c in range(len(smaller))]
    shown = []
    for name, row in zip(names, rows, strict=True):
        cells = []
        for c, value in enumerate(row):
            text = "" if value is None else how[c](value)
            cells.append(f"**{text}**" if value is not None and value == bests[c] else text)
        shown.append([name, *cells])
    return table(head, shown)


# The note on records that are older than the present default.
BEFORE = (
    "Measured before loss KL with lists became the default: the default here is Barlow Twins, and "
    "KL the form without lists.\n"
)


def peers() -> str:
    record = load("peers")
    out = ["## Peers: quality, time, memory, size\n", source(record, "peers")]
    out.append(BEFORE)
    out.append(
        "Recall is the share of each test row's 10 nearest training rows, by cosine, found again "
        "in the reduced space: by cosine, and by Euclidean distance, which is UMAP's own. Peak "
        "memory is of the whole process, libraries and data included; models of scikit-learn and "
        "UMAP are pickled.\n"
    )
    head = ["method", "recall, cosine", "recall, l2", "fit, s", "transform, rows/s"]
    head += ["one row, µs", "peak memory, MB", "model, kB"]
    keys = ["recall_cosine", "recall_l2", "fit_seconds", "rows_per_second"]
    keys += ["one_row_microseconds", "peak_bytes", "model_bytes"]
    smaller = [False, False, True, False, True, True, True]
    how = [
        lambda v: f"{v:.3f}",
        lambda v: f"{v:.3f}",
        lambda v: f"{v:,.1f}",
        lambda v: f"{v:,.0f}",
        lambda v: f"{v:,.0f}",
        lambda v: f"{v / 1e6:,.0f}",
        lambda v: f"{v / 1e3:,.0f}",
    ]
    for name, dimensions in record["sets"].items():
        for d, methods in dimensions.items():
            rows = [[told.get(key) for key in keys] for told in methods.values()]
            out.append(f"**{name}, d = {d}**\n")
            out.append(compared(list(methods), head, rows, smaller, how))
    imports = ", ".join(f"{name} {s:.2f} s" for name, s in record["import_seconds"].items())
    out.append(f"Import, in a fresh process: {imports}.\n")
    return "\n".join(out)


# Methods that were measured in several forms, and how the names of those begin: the table shows the
# best form.
FORMS = {
    "PCA, centred": "PCA, γ",
    "PCA, without bias": "PCA, no bias",
    "PCA, uncentred": "PCA uncentred",
    "PCA with neighbours": "PCA with neighbours",
}


MLP = "encoder mlp-1-1024"


def best_form(cells: dict[str, Any], prefix: str, key: str) -> float:
    return max(float(cell[key]) for name, cell in cells.items() if name.startswith(prefix))


def plus_minus(told: dict[str, float]) -> str:
    return f"{100 * told['gain']:+.2f} ± {100 * told['standard_error']:.2f}"


def quality() -> str:
    record = load("quality")
    out = ["## Quality beside closed forms\n", source(record, "quality")]
    out.append(
        "Fitted on the training rows, told on test rows and queries, by cosine: recall@10, and "
        "nDCG@10 of queries (WordNet) or 10-NN accuracy (Fashion-MNIST). Of PCA the best power of "
        "σ is told, for each figure and dimension by itself and chosen on the rows that are told, "
        "which nobody could do in practice. Means of three seeds for the default and for what "
        "ranks best: "
        + ", ".join(f"`{how}` on {name}" for name, how in record["ranking"].items())
        + ".\n"
    )
    for name, cells in record["sets"].items():
        raw = cells["full vectors"]
        second = "ndcg" if "ndcg" in raw else "accuracy"
        dimensions = [d for d in cells if d.isdigit()]
        methods = list(dict.fromkeys(m for d in dimensions for m in cells[d]))
        others = [m for m in methods if not m.startswith(tuple(FORMS.values()))]
        for key in ("recall", second):
            rows: list[list[float | None]] = [
                [best_form(cells[d], prefix, key) for d in dimensions] for prefix in FORMS.values()
            ]
            rows += [[cells[d].get(method, {}).get(key) for d in dimensions] for method in others]
            # The hidden layers' fit is of one seed.
            runs = [
                cells[d]["default"].get("runs") if MLP in cells[d] else None for d in dimensions
            ]
            rows.append([run[0][key] if run else None for run in runs])
            full = f"{raw[key]:.3f} with the full vectors"
            out.append(f"**{name}, {'recall@10' if key == 'recall' else key}** ({full})\n")
            how = [lambda v: f"{v:.4f}"] * len(dimensions)
            head = ["method", *(f"d = {d}" for d in dimensions)]
            out.append(
                compared(
                    [*FORMS, *others, f"default of the seed of {MLP}"],
                    head,
                    rows,
                    [False] * len(dimensions),
                    how,
                )
            )
        ranking = record["ranking"][name]
        rows_told = []
        for what, method, key in [
            ("default, recall", "default", "recall"),
            (f"{ranking}, {second}", ranking, second),
        ]:
            told = [cells[d][method][f"beside the best closed form by {key}"] for d in dimensions]
            rows_told.append([what, *(plus_minus(cell) for cell in told)])
            rows_told.append(["beside", *(cell["rival"] for cell in told)])
        out.append("Paired differences to the best of all closed forms, points ± standard error:\n")
        out.append(table(["", *(f"d = {d}" for d in dimensions)], rows_told))
    if reference := record.get("reference"):
        out.append(
            f"The paper's recipe in PyTorch {reference['torch']} (20 epochs, WordNet, d = 64): "
            f"recall {reference['recall']:.3f}, nDCG {reference['ndcg']:.3f}, "
            f"{reference['seconds']:.0f} s.\n"
        )
    return "\n".join(out)


def queries() -> str:
    record = load("queries")
    out = ["## Training for queries\n", source(record, "queries")]
    out.append(
        f"WordNet; half of the queries are known to the methods that use queries, the others are "
        f"told. Means of {record['seeds']} seeds for ours. The best PCA is chosen by the queries "
        "that are told.\n"
    )
    keys = ["recall of queries", "recall", "ndcg"]
    head = ["method", "recall@10 of queries", "of rows", "nDCG@10", "queries, beside rows alone"]
    for d, cells in record["dimensions"].items():
        rows = []
        for method, cell in cells.items():
            beside = cell.get("queries beside", {}).get("default, rows alone")
            shown = [f"{cell[key]:.4f}" for key in keys]
            rows.append([method, *shown, plus_minus(beside) if beside else ""])
        out.append(f"**d = {d}**\n")
        out.append(table(head, rows))
    return "\n".join(out)


def times() -> str:
    record = load("times")
    out = ["## How long fits take\n", source(record, "times")]
    if beside := record.get("beside"):
        now, before = beside["now"]["seconds"], beside["before"]["seconds"]
        out.append(
            f"WordNet, d = {record['n_components']}: {now:.1f} s, the KL without lists of before "
            f"{before:.1f} s; ratio {beside['ratio']:.2f}.\n"
        )
    head = ["rows of 384 numbers", "seconds", "peak memory, MB", "stages, s"]
    rows = []
    for n, told in record["growth"].items():
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in told["stages"].items())
        peak = f"{told['peak_bytes'] / 1e6:,.0f}"
        rows.append([f"{int(n):,}", f"{told['seconds']:.0f}", peak, stages])
    out.append(table(head, rows))
    return "\n".join(out)


def defaults() -> str:
    record = load("defaults")
    out = ["## Around the defaults\n", source(record, "defaults")]
    out.append(BEFORE)
    out.append(
        f"Recall@10 on the trainer's own held-out rows (no test row is among them), d = "
        f"{record['n_components']}, one setting changed at a time; seconds of the fit alone, its "
        "graph given.\n"
    )
    sets = record["sets"]
    closed = [f"{cells['default']['pca_recall']:.3f}" for cells in sets.values()]
    rows = [["the best closed form", *closed, ""]]
    for setting in next(iter(sets.values())):
        told = [cells[setting] for cells in sets.values()]
        seconds = " / ".join(f"{cell['seconds']:.1f}" for cell in told)
        rows.append([setting, *(f"{cell['recall']:.3f}" for cell in told), seconds])
    out.append(table(["setting", *sets, "seconds"], rows))
    return "\n".join(out)


# Kinds of quantisers: how their names begin and end.
KINDS = {
    "ours (`fit --bytes`)": "ours",
    "OPQ, by cosine": "OPQ.* cosine",
    "OPQ": "OPQ.*",
    "PQ of 4 bits, fast scan": "PQ.*x4fs",
    "PQ, by cosine": "PQ.* cosine",
    "PQ": "PQ.*",
    "additive (RQ, LSQ, PRQ)": "(RQ|LSQ|PRQ).*",
    "RaBitQ": "PCAR.*RaBitQ",
    "scalar, 8 bits": "PCA.*SQ8.*",
    "scalar, 4 bits": "PCAR.*SQ4.*",
    "EDEN, TurboQuant": "EDEN.*",
    "ITQ": "ITQ.*",
    "signs, Hamming": "signs.*",
    "truncation, int8": "truncation.*",
}


def kind(method: str) -> str:
    """The first kind whose pattern is all of the name."""
    return next(k for k, pattern in KINDS.items() if re.fullmatch(pattern, method))


def by_bytes() -> str:
    if not (RESULTS / "bytes.json").exists():
        return ""
    record = load("bytes")
    out = [
        "## Neighbours for a byte\n",
        source(record, "bytes"),
        "recall@10 by cosine of 2000 test queries, of the best setting of each kind that was tried "
        "at so many bytes a row; then after 100 candidates were re-ranked by the full vectors.\n",
    ]
    cells = record["cells"]
    for name in dict.fromkeys(cell["set"] for cell in cells):
        for way in dict.fromkeys(cell["way"] for cell in cells if cell["set"] == name):
            here = [cell for cell in cells if (cell["set"], cell["way"]) == (name, way)]
            budgets = sorted({cell["budget"] for cell in here})
            learned = {"same": "the rows that are searched", "other": "other rows"}[way]
            for what in ("recall", "rescored"):
                values: dict[str, dict[int, float]] = {k: {} for k in KINDS}
                for cell in here:
                    of = values[kind(cell["method"])]
                    value = cell["recall"] if what == "recall" else cell["rescored"]["100"]
                    of[cell["budget"]] = max(value, of.get(cell["budget"], 0.0))
                shown = [k for k in KINDS if values[k]]
                rows = [[values[k].get(b) for b in budgets] for k in shown]
                how = "re-ranked 100" if what == "rescored" else "plain"
                out.append(f"**{name}**, learned on {learned}, {how}\n")
                head = ["bytes a row", *map(str, budgets)]
                n = len(budgets)
                out.append(compared(shown, head, rows, [False] * n, ["{:.3f}".format] * n))
    return "\n".join(out)


def code_speed() -> str:
    if not (RESULTS / "code-speed.json").exists():
        return ""
    record = load("code-speed")
    out = ["## Codes: learning, writing, searching\n", source(record, "code-speed")]
    out.append(
        f"One thread; {record['rows']:,} × {record['dim']} rows, learned from the first "
        f"{record['learned_from']:,}; {record['queries']:,} queries, exact search of all rows for "
        "10 neighbours; reduction is within all times.\n"
    )
    head = ["method", "bytes", "recall", "learning, s", "rows/s written", "queries/s"]
    rows = [
        [
            row["method"],
            str(row["bytes"]),
            f"{row['recall']:.3f}",
            f"{row['learning_seconds']:.1f}",
            f"{row['rows_per_second']:,}",
            f"{row['queries_per_second']:,}",
        ]
        for row in record["sides"]
    ]
    return "\n".join([*out, table(head, rows)])


def neighbours() -> str:
    record = load("knn")
    out = ["## Neighbour search\n", source(record, "knn")]
    for name, told in record["sets"].items():
        out.append(f"**{name}**: {told['rows']:,} × {told['dim']}, {told['metric']}\n")
        rows = [
            [method, f"{run['seconds']:.2f}", f"{run['recall']:.4f}"]
            for method, run in told["runs"].items()
        ]
        out.append(table(["method", "seconds, median", "recall"], rows))
    return "\n".join(out)


def descent() -> str:
    record = load("descent")
    out = ["## NN-descent on sets of many shapes\n", source(record, "descent")]
    out.append(
        "recall@10 and seconds of the whole command; before: commit cff4fb0, which scored by bf16 "
        "alone.\n"
    )
    head = ["set", "rows", "metric", "recall before", "recall", "seconds before", "seconds"]
    rows = []
    for name, told in record["sets"].items():
        before, now = told["before"], told["now"]
        shape = " × ".join(f"{n:,}" for n in told["shape"])
        rows.append([name, shape, told["metric"], f"{before['recall']:.3f}"])
        rows[-1] += [f"{now['recall']:.3f}", f"{before['seconds']:.2f}", f"{now['seconds']:.2f}"]
    out.append(table(head, rows))
    return "\n".join(out)


def wide() -> str:
    record = load("wide")
    out = ["## Rows of many numbers\n", source(record, "wide")]
    out.append(
        "Processor seconds of all threads and peak of resident memory, of whole commands; of "
        "scikit-learn's randomized PCA those of `fit` alone. To 64 dimensions. A limit of "
        "processor time ended what has >.\n"
    )
    commands = list(next(iter(record["sets"].values()))["now"])
    rows = []
    for name, told in record["sets"].items():
        for which in ("scikit-learn", "before", "now"):
            if which not in told:
                continue
            runs = told[which]
            named = {"scikit-learn": "scikit-learn's PCA", "before": "cff4fb0", "now": "twinlearn"}
            cells = [f"{name}, {named[which]}"]
            for command in ["PCA"] if which == "scikit-learn" else commands:
                run = runs.get(command)
                if run is None or "refused" in run:
                    cells.append("" if run is None else "refused")
                    continue
                over = "" if run["ended"] else ">"
                megabytes = f"{run['peak_bytes'] / 1e6:,.0f} MB"
                cells.append(f"{over}{run['cpu_seconds']:.1f} s, {megabytes}")
            rows.append(cells + [""] * (len(commands) + 1 - len(cells)))
    out.append(table(["rows", *commands], rows))
    return "\n".join(out)


def steps() -> str:
    record = load("train")
    out = ["## Training steps beside PyTorch\n", source(record, "train")]
    head = ["step", "s", "PyTorch, s", "ratio", "peak memory ratio", "share of the GEMM rate"]
    rows = []
    for step in record["steps"]:
        what = (
            f"{step['D']} → {step['d']}, {step['loss']}, {step['projector']}, {step['batch']} rows"
        )
        torch = step.get("torch_seconds")
        beside = ["", "", ""]
        if torch is not None:
            beside = [f"{torch:.3f}", f"{step['time_ratio']:.2f}", f"{step['peak_ratio']:.2f}"]
        rows.append([what, f"{step['seconds']:.4f}", *beside, f"{step['share_of_gemm']:.2f}"])
    out.append(table(head, rows))
    return "\n".join(out)


def python() -> str:
    record, memory = load("python_overhead"), load("python_memory")
    out = ["## Python\n", source(record, "python_overhead")]
    rows = [
        [
            what,
            f"{told['command_line_seconds']:.3f}",
            f"{told['python_seconds']:.3f}",
            f"{told['ratio']:.3f}",
        ]
        for what, told in record["beside_command_line"].items()
    ]
    out.append(table(["what", "command line, s", "Python, s", "ratio"], rows))
    rows = [
        [f"{row['dim']} → {row['d']}", *(f"{v:.0f}" for v in row["microseconds"].values())]
        for row in record["one_row"]
    ]
    out.append(table(["one row, µs", *record["one_row"][0]["microseconds"]], rows))
    stops = ", ".join(f"`{what}` {s:.3f} s" for what, s in record["interrupt_seconds"].items())
    imports = ", ".join(f"{what} {s:.3f} s" for what, s in record["import_seconds"].items())
    peak, size = memory["peak_bytes"] / 1e9, memory["file_bytes"] / 1e9
    out.append(
        f"Import: {imports}. Ctrl-C ends (the longest of ten): {stops}. A fit of a mapped file of "
        f"{size:.1f} GB ({memory['data']}, {memory['steps']} steps) peaks at {peak:.2f} GB.\n"
    )
    return "\n".join(out)


def main() -> None:
    head = (
        "# Results\n\nWritten by `python benchmarks/tables.py` from the files in `results/`; each "
        "section names its command, machine and versions. The machine is shared: ratios travel, "
        "seconds do not. Bold is the best of a column, whoever's it is.\n"
    )
    sections = [
        quality,
        by_bytes,
        code_speed,
        queries,
        times,
        peers,
        defaults,
        neighbours,
        descent,
        wide,
        steps,
        python,
    ]
    parts = [head, *filter(None, (section() for section in sections))]
    (HERE / "RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
