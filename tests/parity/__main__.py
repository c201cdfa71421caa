"""`scripts/parity FILE…`: the largest error of every array; exit 1 if one is beyond tolerance."""

import sys
from pathlib import Path

from .vectors import compare


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: scripts/parity FILE.npz…", file=sys.stderr)
        return 2
    return int(any([not _is_close(Path(path)) for path in paths]))  # noqa: C419 (all of them)


def _is_close(path: Path) -> bool:
    print(path)
    try:
        found, left = compare(path)
    except Exception as exc:  # whatever an array of an odd type or shape leads to: say it, go on
        print(f"  {type(exc).__name__}: {exc}")
        return False
    for each in found:
        mark = "" if each.is_close else "  BEYOND TOLERANCE"
        print(
            f"  {each.array:28} {each.error:<10.3g} {each.unit} "
            f"(tolerance {each.tolerance:g}){mark}"
        )
    if left:
        print(f"  not compared: {', '.join(left)}")
    return all(each.is_close for each in found)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
