"""Is anything that is installed known to be vulnerable? Python packages are asked for at PyPI,
those of npm at its registry. Exit status 1 if so, or if what looks is not installed. Where
advisories can't be reached, that is said, with the reason, and is no failure: a build must not
depend on it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LIMIT_S = 120  # for each of them
_NPM_FOLDERS = ("clients", "tests/node")


def main() -> int:
    if find_spec("pip_audit") is None:
        _say("Python packages", "pip-audit is not installed: pip install -e .[check]")
        return 1
    num_known = _python() + sum(_npm(folder) for folder in _NPM_FOLDERS)
    return int(num_known > 0)


def _python() -> int:
    """How many are known; each is said."""
    audit = (sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json",
             "--progress-spinner", "off", "--timeout", "5")  # fmt: skip
    document, why = _answer(*audit, folder=ROOT)
    packages = document.get("dependencies", [])
    asked = [each for each in packages if "skip_reason" not in each]
    if not asked:
        why = next((each["skip_reason"] for each in packages), why)
        return _say("Python packages", f"SKIPPED: no advisories: {why}")
    known = [(each, flaw) for each in asked for flaw in each["vulns"]]
    for package, flaw in known:
        fixed = ", ".join(flaw["fix_versions"]) or "no version"
        _say(package["name"], f"{package['version']} has {flaw['id']}; fixed in {fixed}")
    _say("Python packages", f"{len(known)} known in {len(asked)} of {len(packages)}")
    return len(known)


def _npm(folder: str) -> int:
    if shutil.which("npm") is None:
        return _say(folder, "SKIPPED: npm is not installed")
    document, why = _answer("npm", "audit", "--json", folder=ROOT / folder)
    if "vulnerabilities" not in document:
        return _say(f"npm packages of {folder}", f"SKIPPED: no advisories: {why}")
    known = document["vulnerabilities"]
    for name, flaw in known.items():
        _say(name, f"{flaw['severity']}, in {flaw['range']}")
    _say(f"npm packages of {folder}", f"{len(known)} known")
    return len(known)


def _answer(*command: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Empty if there is none; and the last that was said beside it."""
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {}, f"nothing within {_LIMIT_S} s"
    why = (run.stderr.strip().splitlines() or ["nothing was said"])[-1]
    try:
        document = json.loads(run.stdout)
    except ValueError:
        return {}, why
    return (document if isinstance(document, dict) else {}), why


def _say(what: str, said: str) -> int:
    sys.stdout.write(f"{what}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
