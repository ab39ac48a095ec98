"""The examples of the README run: Python's and the command line's here, Rust's with the library."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from program import BINARY, ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# Not those that build and install.
COMMANDS = [
    block
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    if all(line.startswith("twinlearn ") for line in block.splitlines())
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2 and len(COMMANDS) >= 2


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_readme(number: int, monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_commands_of_the_readme(number: int, tmp_path: Path) -> None:
    for name, source in {"X": "train_x", "Q": "test_x"}.items():
        (tmp_path / f"{name}.npy").symlink_to(ROOT / "data" / f"{source}.npy")
    folder = BINARY.parent
    env = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    script = f"set -eu\n{COMMANDS[number]}"
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, cwd=tmp_path, env=env)
