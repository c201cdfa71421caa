"""Is anything that is installed known to be vulnerable? Python packages are asked for at PyPI,
those of npm at its registry. Exit status 1 if so. Where advisories can't be reached, that is said,
and is no failure: a build must not depend on it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LIMIT_S = 120  # for each of them
_NPM_FOLDERS = ("clients", "tests/node")
_UNREACHABLE = "skipped: advisory data can't be reached"


def main() -> int:
    num_known = _python() + sum(_npm(folder) for folder in _NPM_FOLDERS)
    return int(num_known > 0)


def _python() -> int:
    """How many are known; each is said."""
    audit = (sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json",
             "--progress-spinner", "off", "--timeout", "5")  # fmt: skip
    document = _answer(*audit, folder=ROOT)
    packages = document.get("dependencies", [])
    asked = [each for each in packages if "skip_reason" not in each]
    if not asked:
        return _say("Python packages", _UNREACHABLE)
    known = [(each, flaw) for each in asked for flaw in each["vulns"]]
    for package, flaw in known:
        fixed = ", ".join(flaw["fix_versions"]) or "no version"
        _say(package["name"], f"{package['version']} has {flaw['id']}; fixed in {fixed}")
    _say("Python packages", f"{len(known)} known in {len(asked)} of {len(packages)}")
    return len(known)


def _npm(folder: str) -> int:
    if shutil.which("npm") is None:
        return _say(folder, "skipped: npm is not installed")
    document = _answer("npm", "audit", "--json", folder=ROOT / folder)
    if "vulnerabilities" not in document:
        return _say(f"npm packages of {folder}", _UNREACHABLE)
    known = document["vulnerabilities"]
    for name, flaw in known.items():
        _say(name, f"{flaw['severity']}, in {flaw['range']}")
    _say(f"npm packages of {folder}", f"{len(known)} known")
    return len(known)


def _answer(*command: str, folder: Path) -> dict[str, Any]:
    """Empty if there is none."""
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        document = json.loads(run.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _say(what: str, said: str) -> int:
    sys.stdout.write(f"{what}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
