"""aiconfigurator-core, in a folder of its own: it ships measurements of real servers."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = ("aiconfigurator-core==0.12.0", "pyyaml", "packaging")
# Where it is installed unless told otherwise.
PACKAGES = Path.home() / ".cache" / "vllm-mock" / "aiconfigurator-core"
_MEASUREMENTS = Path("aiconfigurator_core/systems/silicon_sample.csv")


def measurements(folder: Path) -> Path:
    """The CSV file of measured servers; installs the package (144 MB) into `folder` where it is not there."""
    path = folder / _MEASUREMENTS
    if not path.exists():
        print(f"installing {REQUIREMENTS[0]} into {folder} (144 MB) ...", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *REQUIREMENTS]
        subprocess.run(command, check=True)
    return path
