"""`scripts/parity FILE…`: the largest error of every array; exit 1 if one is beyond tolerance."""

import sys
from pathlib import Path

from .vectors import compare


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: scripts/parity FILE.npz…", file=sys.stderr)
        return 2
    beyond = 0
    for path in paths:
        print(path)
        try:
            found = compare(Path(path))
        except (OSError, ValueError) as exc:
            print(f"  {exc}")
            beyond += 1
            continue
        for each in found:
            mark = "" if each.is_close else "  BEYOND TOLERANCE"
            print(
                f"  {each.array:28} {each.error:<10.3g} {each.unit} "
                f"(tolerance {each.tolerance:g}){mark}"
            )
            beyond += not each.is_close
    return int(beyond > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
