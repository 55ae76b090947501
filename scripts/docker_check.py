"""Performs the steps of the Dockerfile where there is no docker engine, then runs the image's command as a pod would.

    python scripts/docker_check.py [--build-arg SIMULATION=a100]

Each stage is an overlay over this machine's root, which stands for the base image; nothing outside of a temporary
folder changes. RUN, COPY, USER, ENV, HEALTHCHECK and CMD are those of the file itself. The command runs as process 1,
without root's rights, on a read-only file system. Needs Linux, root and the network for pip; takes minutes.
"""

import argparse
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from collections.abc import Mapping
from pathlib import Path

import dockerfile

ROOT = Path(__file__).resolve().parents[1]
# Set for the part that runs in a mount namespace of its own: where the layers are.
FOLDER = "DOCKER_CHECK_FOLDER"
# What the image must have: what AIBrix's batch worker starts there, and what a watch on a Deployment imports.
PROMISES = (
    "for one in python python3 sh bash; do command -v $one || exit 1; done",
    "WORKER_VICTIM=1 python app.py --help > /dev/null",
    'python -c "from kubernetes import client, config, watch; import av, PIL, zmq"',
)
# What a base image has: Python on its PATH. pip's settings are those of this machine.
PYTHON_FOLDER = Path(sys.base_prefix, "bin")
BASE_PATH = f"{PYTHON_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Image:
    """The root file system of one stage, with its environment, folder and user."""

    def __init__(self, folder: Path, arguments: dict[str, str]) -> None:
        self.root = folder / "root"
        self.environment = {"PATH": BASE_PATH}
        self.arguments = arguments
        self.workdir = "/"
        self.user = "0"
        upper, work = folder / "upper", folder / "work"
        for one in (self.root, upper, work):
            one.mkdir(parents=True)
        mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", self.root)
        mount("--bind", "/dev", self.root / "dev")
        mount("--bind", "/dev/shm", self.root / "dev/shm")
        mount("-t", "proc", "proc", self.root / "proc")
        # The base image's Python may be in a private folder here.
        for parent in PYTHON_FOLDER.parents:
            (self.root / parent.relative_to("/")).chmod(0o755)

    def path(self, inside: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / Path(self.workdir, inside).relative_to("/")

    def run(self, argv: list[str], extra: Mapping[str, str] = {}, quiet: bool = False) -> subprocess.Popen:
        """Start a command as the image's user, as process 1 of its own."""
        user = ["setpriv", f"--reuid={self.user}", f"--regid={self._group()}", "--clear-groups", "--no-new-privs"]
        return subprocess.Popen(
            ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--", "/usr/bin/env", "-u", "_", *user, *argv],
            env={**self.environment, **extra},
            preexec_fn=self._enter,
            stderr=subprocess.DEVNULL if quiet else None,
        )

    def _enter(self) -> None:
        os.chroot(self.root)
        os.chdir(self.workdir)

    def _group(self) -> str:
        entries = (line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines())
        return next(entry[3] for entry in entries if self.user in (entry[0], entry[2]))

    def freeze(self) -> None:
        """No file can be written from here on, except in /dev/shm."""
        mount("-o", "remount,ro", self.root)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def copy(source: Path, target: Path, left_out: list[str]) -> None:
    """Copy a file, or a folder's contents, without what .dockerignore leaves out."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        return
    for path in source.rglob("*"):
        if path.is_file() and not dockerfile.ignored(str(path.relative_to(ROOT)), left_out):
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)


def perform(step: dockerfile.Instruction, image: Image, images: dict[str, Image]) -> None:
    """One instruction, on the image."""
    values = {**image.arguments, **image.environment}
    if step.name == "RUN":
        # Build arguments are in the environment of a RUN; this machine's pip settings come along.
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        code = image.run(step.argv(), {**pip, **image.arguments}).wait()
        if code:
            raise SystemExit(f"exit code {code} from: {step}")
    elif step.name == "ARG":
        image.arguments = {**step.assignments(), **image.arguments}
    elif step.name == "ENV":
        image.environment |= {name: dockerfile.expanded(value, values) for name, value in step.assignments().items()}
    elif step.name == "WORKDIR":
        image.workdir = step.text
        image.path(".").mkdir(parents=True, exist_ok=True)
    elif step.name == "USER":
        image.user = step.text
    elif step.name == "COPY":
        perform_copy(step, image, images)
    elif step.name not in ("LABEL", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"):
        raise SystemExit(f"this check does not know {step.name}")


def perform_copy(step: dockerfile.Instruction, image: Image, images: dict[str, Image]) -> None:
    *sources, target = step.text.split()
    if "from" in step.options:
        built = images[step.options["from"]].path(sources[0])
        subprocess.run(["cp", "-a", "-T", built, image.path(target)], check=True)
        return
    left_out = dockerfile.patterns((ROOT / ".dockerignore").read_text())
    for source in sources:
        if dockerfile.ignored(source, left_out):
            raise SystemExit(f"COPY {source}: .dockerignore leaves it out")
        into = image.path(target) / Path(source).name if target.endswith("/") else image.path(target)
        copy(ROOT / source, into, left_out)


def build(folder: Path, given: dict[str, str]) -> tuple[Image, dockerfile.Stage]:
    """Perform all stages; the image of the last one."""
    arguments, stages = dockerfile.stages((ROOT / "Dockerfile").read_text())
    images: dict[str, Image] = {}
    for number, stage in enumerate(stages):
        print(f"FROM {dockerfile.expanded(stage.base, arguments)}: this machine", flush=True)
        # An argument counts in a stage that declares it; a given value wins over its default.
        declared = {name for step in stage.steps if step.name == "ARG" for name in step.assignments()}
        image = Image(folder / str(number), {name: value for name, value in given.items() if name in declared})
        for step in stage.steps:
            began = time.monotonic()
            perform(step, image, images)
            print(f"  ok {str(step)[:100]} ({time.monotonic() - began:.1f} s)", flush=True)
        images[stage.name] = image
    return image, stage


def requests() -> list[tuple[str, str, bytes]]:
    """What the server is asked: (path, content type, body). The recording is too large to be kept in memory."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(bytes(2 * 16_000 * 30))
    field = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    form = (
        field % (b"model", b"", b"llama2-7b")
        + field % (b"file", b'; filename="a.wav"', sound.getvalue())
        + b"--x--\r\n"
    )
    completion = b'{"model": "llama2-7b", "prompt": "Say this is a test!", "max_tokens": 4}'
    return [
        ("/v1/completions", "application/json", completion),
        ("/v1/audio/transcriptions", "multipart/form-data; boundary=x", form),
    ]


def serve(image: Image, stage: dockerfile.Stage) -> None:
    """CMD answers HEALTHCHECK and requests, and ends with 0 at STOPSIGNAL."""
    image.freeze()
    for promise in PROMISES:
        if image.run(["/bin/sh", "-c", promise]).wait():
            raise SystemExit(f"the image does not: {promise}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    extra = {"SERVER_PORT": str(port)}
    began = time.monotonic()
    process = image.run(stage.last("CMD").argv(), extra)
    try:
        while image.run(stage.last("HEALTHCHECK").argv(), extra, quiet=True).wait():
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise SystemExit("the command does not pass its HEALTHCHECK")
            time.sleep(0.2)
        print(f"  ok CMD {stage.last('CMD').text} is healthy ({time.monotonic() - began:.1f} s)")
        for path, content_type, body in requests():
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": content_type})
            with urllib.request.urlopen(request, timeout=60) as reply:
                print(f"  ok {path} {reply.status} {reply.read().decode()[:80]}")
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(first), getattr(signal, stage.last("STOPSIGNAL").text))
        code = process.wait(STOP_SECONDS)
        if code:
            raise SystemExit(f"exit code {code} after {stage.last('STOPSIGNAL').text}")
        print(f"  ok STOPSIGNAL {stage.last('STOPSIGNAL').text} ends it with 0")
    finally:
        process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    given = dict(one.split("=", 1) for one in parser.parse_args().build_arg)
    if os.environ.get(FOLDER):
        check(Path(os.environ[FOLDER]), given)
        return 0
    # The mounts are gone with the namespace before the folder is removed.
    with tempfile.TemporaryDirectory(prefix="docker-check-") as folder:
        command = ["unshare", "--mount", sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, FOLDER: folder}).returncode


def check(folder: Path, given: dict[str, str]) -> None:
    image, stage = build(folder, given)
    paths = [image.path("/app"), image.path("/opt/venv")]
    size = subprocess.run(["du", "-shc", *paths], capture_output=True, text=True).stdout
    print(f"  size over the base image: {size.splitlines()[-1].split()[0]}", flush=True)
    serve(image, stage)


if __name__ == "__main__":
    sys.exit(main())
