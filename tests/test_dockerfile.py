"""The Dockerfile, without a docker engine; `make docker-check` performs its steps as well."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from server import ROOT

from scripts import dockerfile

HADOLINT = Path(sys.executable).with_name("hadolint")
ARGUMENTS, STAGES = dockerfile.stages((ROOT / "Dockerfile").read_text())
IGNORED = dockerfile.patterns((ROOT / ".dockerignore").read_text())


def test_hadolint_has_no_objection() -> None:
    done = subprocess.run([HADOLINT, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_what_it_copies() -> None:
    stage_names = {stage.name for stage in STAGES}
    copied = set()
    for step in (step for stage in STAGES for step in stage.steps if step.name == "COPY"):
        if "from" in step.options:
            assert step.options["from"] in stage_names
            continue
        for source in step.text.split()[:-1]:
            assert (ROOT / source).exists()
            assert not dockerfile.ignored(source, IGNORED)
            copied.add(source.removeprefix("./"))
    # What the server opens beside its packages.
    assert {"app.py", "wsgi.py", "gunicorn.conf.py", "config.json", "vllm_mock"} <= copied


def test_the_context_holds_nothing_else() -> None:
    for name in (".git/config", ".venv/bin/python", "tests/server.py", "README.md", "vllm_mock/__pycache__/x.pyc"):
        assert dockerfile.ignored(name, IGNORED)
    for name in ("vllm_mock/version.py", "vllm_mock/data/corpus.txt", "requirements-simulator.txt"):
        assert not dockerfile.ignored(name, IGNORED)


def test_the_last_stage_serves_without_roots_rights() -> None:
    last = STAGES[-1]
    assert last.last("CMD").argv() == ["python", "app.py"]
    assert last.last("WORKDIR").text == "/app"
    assert last.last("STOPSIGNAL").text == "SIGTERM"
    assert int(last.last("USER").text) > 0
    assert last.last("EXPOSE").text == "8000"
    # compile() sees that the health check is Python.
    compile(last.last("HEALTHCHECK").argv()[-1], "HEALTHCHECK", "exec")
    environment = {
        name: value for step in last.steps if step.name == "ENV" for name, value in step.assignments().items()
    }
    assert environment["SIMULATION"] == "${SIMULATION}"
    # A compiler, if any, stays in the stage that installs the packages.
    assert not any(re.search(r"\b(apt|apt-get|gcc|g\+\+)\b", str(step)) for step in last.steps)


def test_the_simulator_is_a_build_argument() -> None:
    for stage in STAGES:
        assert "SIMULATION" in {name for step in stage.steps if step.name == "ARG" for name in step.assignments()}


def test_the_build_commands_name_the_dockerfile() -> None:
    readme = (ROOT / "README.md").read_text()
    stated = re.findall(r"^docker build .*$", readme, re.MULTILINE)
    assert "docker build -t aibrix/vllm-mock:nightly -f Dockerfile ." in stated
    for command in stated:
        words = shlex.split(command)
        assert (ROOT / words[words.index("-f") + 1]).is_file()
        assert words[-1] == "."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a \\\n    && b\n", [("RUN", "a && b", {})]),
        ("# x\nRUN a \\\n# y\n b\n", [("RUN", "a b", {})]),
        ("COPY --from=packages /a /b\n", [("COPY", "/a /b", {"from": "packages"})]),
        ('HEALTHCHECK --timeout=2s \\\n CMD ["x"]\n', [("HEALTHCHECK", '["x"]', {"timeout": "2s"})]),
    ],
)
def test_reading_instructions(text: str, expected: list[tuple]) -> None:
    assert [(one.name, one.text, one.options) for one in dockerfile.instructions(text)] == expected
