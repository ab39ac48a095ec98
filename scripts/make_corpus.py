"""Makes small files of every format: tests damage them, and fuzzing begins with them.

The rows are 60 × 4, those of `small` in crates/twinlearn-cli/tests/support.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "crates/twinlearn-cli/tests/fixtures"
MODELS = ROOT / "crates/twinlearn/tests/fixtures"
CORPUS = ROOT / "fuzz/corpus"
# Which fixtures each fuzz target begins with.
TARGETS = {
    "npy": ["x.npy", "fortran.npy", "half.npy"],
    "npz": ["x.npz", "stored.npz"],
    "vecs_bin": ["x.fvecs", "x.bvecs", "x.fbin", "x.u8bin"],
    "table": ["x.parquet", "zstd.parquet", "x.arrow", "lz4.arrow", "x.arrows"],
    "tensors": ["x.safetensors"],
}
SPECS = ["linear", "flinear-1-512", "mlp-1-2048", "mlp-2-64-32", "mlp-3-8", "mlp-1-", "mlp--1-4"]


def main() -> None:
    i = np.arange(240, dtype=np.float32)
    x = np.sin((i * 37 % 101) / 10) + np.floor(i / 4) * np.float32(0.01)
    x = x.reshape(60, 4).astype(np.float32)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    np.save(FIXTURES / "x.npy", x)
    np.save(FIXTURES / "fortran.npy", np.asfortranarray(x))
    np.save(FIXTURES / "half.npy", x.astype(np.float16))
    np.savez_compressed(FIXTURES / "x.npz", x=x)
    np.savez(FIXTURES / "stored.npz", x=x)
    marks = np.full((60, 1), 4, np.int32)
    np.hstack([marks.view(np.float32), x]).tofile(FIXTURES / "x.fvecs")
    whole = (x * 10 + 20).astype(np.uint8)
    np.hstack([marks.view(np.uint8).reshape(60, 4), whole]).tofile(FIXTURES / "x.bvecs")
    size = np.array([60, 4], np.uint32).tobytes()
    (FIXTURES / "x.fbin").write_bytes(size + x.tobytes())
    (FIXTURES / "x.u8bin").write_bytes(size + whole.tobytes())
    column = pa.FixedSizeListArray.from_arrays(x.ravel(), 4)
    ends = pa.array(np.arange(61) * 4, pa.int32())
    names = [f"row {i}" for i in range(60)]
    table = pa.table({"name": names, "vector": column})
    pq.write_table(table, FIXTURES / "x.parquet", row_group_size=25)
    loose = pa.table({"vector": pa.ListArray.from_arrays(ends, pa.array(x.ravel()))})
    pq.write_table(loose, FIXTURES / "zstd.parquet", compression="zstd", use_dictionary=False)
    for name, new, data, compression in [
        ("x.arrow", pa.ipc.new_file, table, None),
        ("lz4.arrow", pa.ipc.new_file, loose, "lz4"),
        ("x.arrows", pa.ipc.new_stream, table, "zstd"),
    ]:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with new(str(FIXTURES / name), data.schema, options=options) as writer:
            writer.write_table(data, max_chunksize=25)
    save_file({"x": x}, FIXTURES / "x.safetensors")

    for target, files in TARGETS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(FIXTURES / file, CORPUS / target / file)
    (CORPUS / "model").mkdir(parents=True, exist_ok=True)
    for path in MODELS.glob("model_v*.safetensors"):
        shutil.copyfile(path, CORPUS / "model" / path.name)
    (CORPUS / "spec").mkdir(parents=True, exist_ok=True)
    for number, spec in enumerate(SPECS):
        (CORPUS / "spec" / f"{number}").write_text(spec)


main()
