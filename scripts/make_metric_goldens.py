"""Records what other libraries say of a reduction, as goldens for the Rust tests.

Neighbours, votes, trustworthiness and continuity by scikit-learn; rankings by pytrec_eval, through
ir-measures; the effective rank by NumPy. Rerun, from the root of the repository, with

    pip install numpy scikit-learn ir-measures pytrec_eval-terrier
    python scripts/make_metric_goldens.py crates/twinlearn/tests/goldens/metrics.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import sklearn
from ir_measures import AP, R, nDCG
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import normalize

ROWS, QUERIES, DIM, D, K = 400, 25, 8, 3, 10

Rows = NDArray[np.float32]


def nearest(base: Rows, queries: Rows, k: int) -> NDArray[np.int64]:
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(base)
    return np.asarray(found.kneighbors(queries, return_distance=False))


def judged(
    x: Rows, z: Rows, qx: Rows, qz: Rows, labels: Any, qlabels: Any, qrels: Any
) -> dict[str, Any]:
    """By Euclidean distance."""
    truth, found = nearest(x, qx, K), nearest(z, qz, K)
    recall = [len(set(a) & set(b)) / K for a, b in zip(truth, found, strict=True)]
    votes = KNeighborsClassifier(K, algorithm="brute").fit(z, labels)
    ranked = nearest(z, qz, len(z))
    # pytrec_eval orders by falling score.
    run = [
        ir_measures.ScoredDoc(str(q), str(row), float(len(z) - place))
        for q, rows in enumerate(ranked)
        for place, row in enumerate(rows)
    ]
    relevant = [ir_measures.Qrel(str(q), str(row), rel) for q, row, rel in qrels]
    with_answer = {q for q, _, rel in qrels if rel > 0}
    measures = {nDCG @ 10: "ndcg_at_10", AP @ 1000: "average_precision", R @ 100: "recall_at_100"}
    sums: dict[str, list[float]] = {name: [] for name in measures.values()}
    for value in ir_measures.iter_calc(list(measures), relevant, run):
        if int(value.query_id) in with_answer:
            sums[measures[value.measure]].append(value.value)
    singular = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
    share = singular / singular.sum()
    return {
        "recall": float(np.mean(recall)),
        "accuracy": float(votes.score(qz, qlabels)),
        **{name: float(np.mean(values)) for name, values in sums.items()},
        "trustworthiness": float(trustworthiness(x, z, n_neighbors=K)),
        "continuity": float(trustworthiness(z, x, n_neighbors=K)),
        "effective_rank": float(np.exp(-(share * np.log(share)).sum())),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, ROWS + QUERIES)
    centres = rng.standard_normal((4, DIM))
    all_x = (centres[labels] + rng.standard_normal((ROWS + QUERIES, DIM))).astype(np.float32)
    all_z = (all_x @ rng.standard_normal((DIM, D))).astype(np.float32)
    qrels = []
    for query in range(QUERIES - 3):
        near = nearest(all_z[:ROWS], all_z[ROWS + query : ROWS + query + 1], 60)[0]
        rows = rng.choice(near, 8, replace=False).tolist() + rng.choice(ROWS, 4).tolist()
        qrels += [(query, int(row), int(rng.integers(0, 4))) for row in dict.fromkeys(rows)]
    # A query that was judged and has no answer does not count.
    qrels.append((QUERIES - 2, 5, 0))
    out: dict[str, Any] = {
        "versions": {"scikit-learn": sklearn.__version__, "ir-measures": ir_measures.__version__},
        "shape": [ROWS, QUERIES, DIM, D, K],
        "x": all_x.ravel().tolist(),
        "z": all_z.ravel().tolist(),
        "labels": labels.tolist(),
        "qrels": qrels,
    }
    for metric, scale in (("l2", lambda v: v), ("cosine", normalize)):
        x, z = scale(all_x), scale(all_z)
        out[metric] = judged(
            x[:ROWS], z[:ROWS], x[ROWS:], z[ROWS:], labels[:ROWS], labels[ROWS:], qrels
        )
    # The effective rank is of the vectors as they are.
    out["cosine"]["effective_rank"] = out["l2"]["effective_rank"]
    Path(sys.argv[1]).write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
