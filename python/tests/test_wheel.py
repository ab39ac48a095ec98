"""What comes with the package."""

from __future__ import annotations

import json
from importlib.metadata import files


def test_the_wheel_says_what_it_is_made_of() -> None:
    found = [file for file in files("twinlearn") or [] if file.match("*/sboms/*.cyclonedx.json")]
    assert len(found) == 1
    bill = json.loads(found[0].read_text())
    assert bill["bomFormat"] == "CycloneDX"
    names = {component["name"] for component in bill["components"]}
    assert {"faer", "rayon", "pyo3", "safetensors"} <= names
