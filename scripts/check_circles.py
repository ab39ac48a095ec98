"""Fails where files of a crate use each other in a circle: `make lint` runs it.

    python scripts/check_circles.py crates

A file uses another where a `use` line or a path begins with `crate`, `super` or `self` and leads to
it. What a module hands on from its children (`pub use self::child::…`) is no use, and tests may use
anything. Between crates Cargo refuses circles.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod tests \{.*", re.DOTALL)
COMMENT = re.compile(r"//.*")
HANDED_ON = re.compile(r"pub(?:\([a-z]+\))? use self::[^;]+;")
USE = re.compile(r"(?:^|\s)use\s+([^;]+);")
PATH = re.compile(r"\b(?:crate|super)(?:::[a-z_]+)+")

Module = tuple[str, ...]


def modules(source: Path) -> dict[Module, Path]:
    found = {}
    for path in source.rglob("*.rs"):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] in ("mod", "lib", "main"):
            parts = parts[:-1]
        if "tests" not in path.stem:
            found[parts] = path
    return found


def items(tree: str) -> list[list[str]]:
    """The paths of a `use` line: `a::{b, c::{d, e}}` has a::b, a::c::d and a::c::e."""
    pieces, depth, piece = [], 0, ""
    for letter in tree:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            pieces.append(piece)
            piece = ""
        else:
            piece += letter
    found = []
    for part in filter(None, map(str.strip, [*pieces, piece])):
        head, brace, rest = part.partition("{")
        names = [name for name in head.split(" as ")[0].strip().split("::") if name]
        inner = items(rest.rpartition("}")[0]) if brace else [[]]
        found += [names + path for path in inner]
    return found


def target(names: list[str], module: Module, known: dict[Module, Path]) -> Module | None:
    if names[0] == "crate":
        base: Module = ()
    elif names[0] in ("self", "super"):
        base = module
    else:
        return None
    for name in names:
        base = base[:-1] if name == "super" else base
    base += tuple(name for name in names if name not in ("crate", "self", "super"))
    while base and base not in known:
        base = base[:-1]
    return base or None


def uses(module: Module, known: dict[Module, Path]) -> set[Module]:
    text = known[module].read_text()
    text = HANDED_ON.sub("", COMMENT.sub("", TESTS.sub("", text)))
    paths = [path for line in USE.findall(text) for path in items(line)]
    paths += [path.split("::") for path in PATH.findall(text)]
    found = {target(path, module, known) for path in paths if path}
    return {other for other in found if other is not None and other != module}


def circle(graph: dict[Module, set[Module]]) -> list[Module] | None:
    """One circle, if there is any: what is left when those that use nothing left are taken away."""
    left = {module: set(others) for module, others in graph.items()}
    while ends := [module for module, others in left.items() if not others & left.keys()]:
        for module in ends:
            del left[module]
    if not left:
        return None
    walk = [min(left)]
    while walk[-1] not in walk[:-1]:
        walk.append(min(left[walk[-1]] & left.keys()))
    return walk[walk.index(walk[-1]) :]


def main() -> int:
    status = 0
    for crate in sorted(Path(sys.argv[1]).iterdir()):
        known = modules(crate / "src")
        found = circle({module: uses(module, known) for module in known})
        if found:
            print(f"{crate.name}: {' -> '.join('::'.join(module) for module in found)}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
