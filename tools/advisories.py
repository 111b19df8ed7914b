"""What is known to be wrong with the versions in requirements.lock: python -m tools.advisories

pip-audit asks OSV, then PyPI. Findings end with 1. Where neither answers, nothing was audited: that is said,
and ends with 0, or with 2 under ADVISORIES_REQUIRED=1. ADVISORIES_URL names another OSV service.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parent.parent / "requirements.lock"
CLEAN, FOUND, UNKNOWN = range(3)


def audited(service: list[str], lock: Path) -> list[dict[str, Any]] | None:
    """Each dependency that the service knows, with its `vulns`; None where it can't be asked."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--vulnerability-service", *service]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our words)
    try:
        dependencies = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(ended.stderr.strip().rpartition("\n")[2][:300], file=sys.stderr)  # noqa: T201
        return None
    return [each for each in dependencies if "skip_reason" not in each] or None


def main(lock: Path = LOCK) -> int:
    url = os.environ.get("ADVISORIES_URL")
    services = [["osv", *(["--osv-url", url] if url else [])]] + ([] if url else [["pypi"]])
    found = next((answer for service in services if (answer := audited(service, lock)) is not None), None)
    if found is None:
        print(  # noqa: T201
            "NOT AUDITED: no advisory service could be reached from here, so nothing is known about the "
            f"versions in {lock.name}. Run `make security` where the network allows it."
        )
        return UNKNOWN if os.environ.get("ADVISORIES_REQUIRED") == "1" else CLEAN
    faults = [(each, fault) for each in found for fault in each["vulns"]]
    for each, fault in faults:
        mended = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {fault['id']}, mended in {mended}")  # noqa: T201
    print(f"{len(found)} pinned packages audited, {len(faults)} advisories.")  # noqa: T201
    return FOUND if faults else CLEAN


if __name__ == "__main__":
    sys.exit(main())
