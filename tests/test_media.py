"""Pictures, sound and jobs by themselves: exact lengths, what a job says at a given time, missing packages."""

import contextlib
import io
import random
import signal
import sys
import threading
import time
from typing import Any

import PIL.Image
import pytest
import requests
from media_support import converted, recording

from vllm_mock.media import jobs, libraries, links, picture, sound, transcript, voice
from vllm_mock.media import recording as heard
from vllm_mock.media.jobs import Job, Jobs
from vllm_mock.shared import SharedStore

COMPRESSED = (
    ("mp3", "libmp3lame", 44_100),
    ("flac", "flac", 16_000),
    ("ogg", "libopus", 48_000),
    ("mp4", "aac", 24_000),
)


def job(created: float = 1000.0, **fields: Any) -> Job:
    whole = {"id": jobs.new_id(), "begun": created + 1, "done": created + 5, "remixed_from": None, **fields}
    return Job(
        model="m", prompt="p", size=[32, 16], frames=50, fps=24, quality="default", created=created, pod="a", **whole
    )


@pytest.mark.parametrize(
    ("now", "status", "progress"),
    [(1000.0, "queued", 0), (1001.0, "in_progress", 0), (1003.0, "in_progress", 50), (1005.0, "completed", 100)],
)
def test_what_a_job_says(now: float, status: str, progress: int) -> None:
    view = job().view(now)
    assert (view["status"], view["progress"], view["seconds"], view["size"]) == (status, progress, "3", "32x16")
    assert view["completed_at"] == (1005 if status == "completed" else None)


def test_old_jobs_are_forgotten() -> None:
    store = Jobs(SharedStore())
    now = time.monotonic()
    old, young = job(now - jobs.EXPIRY_SECONDS), job(now)
    store.add(old)
    assert store.get(old.id) is None
    store.add(young)
    assert [kept.id for kept in store.all()] == [young.id]
    store.remove(young.id)
    store.remove(young.id)
    assert store.all() == []


def test_links_hold_their_content_and_nothing_else_is_one() -> None:
    content = {"prompt": "Ünïcode " * 50, "size": [3, 4]}
    assert links.content(links.token(content)) == content
    assert len(links.token(content)) < 150
    for token in ("", "a", "!", "é", links.token(content)[:-9], "eJwDAAAAAAE"):
        assert links.content(token) is None, token


@pytest.mark.parametrize("speed", [0.3, 1.0, 3.7])
def test_words_take_the_time_they_should(speed: float) -> None:
    text = "a bcd efghij, kl!"
    parts = list(voice.spoken(text, "alloy", speed))
    assert sum(map(len, parts)) == round(voice.duration(text, speed) * voice.SAMPLE_RATE) * 2
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


def test_broken_files_are_refused_and_nothing_worse() -> None:
    draws = random.Random(1)
    wav = recording(0.2)
    files = [wav, *(converted(wav, name, codec, rate) for name, codec, rate in COMPRESSED)]
    outcomes = set()
    for _ in range(600):
        data = bytearray(draws.choice(files))
        for _ in range(draws.choice((1, 5, 30))):
            data[draws.randrange(min(len(data), 400))] = draws.choice((0, 255, draws.randrange(256)))
        try:
            found = heard.measure(bytes(data))
            outcomes.add(found.rate > 0 and found.duration >= 0)
        except heard.BadRecording:
            outcomes.add(None)
    assert outcomes == {True, None}


@pytest.mark.filterwarnings("ignore")
def test_broken_pictures_are_refused_and_nothing_worse() -> None:
    draws = random.Random(2)
    original = PIL.Image.effect_noise((30, 20), 60)
    files = []
    for shape in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
        file = io.BytesIO()
        original.save(file, shape)
        files.append(file.getvalue())
    for _ in range(300):
        data = bytearray(draws.choice(files))
        for _ in range(draws.choice((1, 5, 30))):
            data[draws.randrange(len(data))] = draws.randrange(256)
        with contextlib.suppress(picture.BadPicture):
            assert picture.draw("x", 40, 30, source=bytes(data)).size == (40, 30)
    huge = io.BytesIO()
    PIL.Image.new("1", (9000, 9000)).save(huge, "PNG")
    with pytest.raises(picture.BadPicture, match="too many pixels"):
        picture.opened(huge.getvalue())


def test_clips_of_a_recording() -> None:
    assert transcript.clips(0.0) == [(0.0, 0.0)]
    assert transcript.clips(30.0) == [(0.0, 30.0)]
    assert transcript.clips(61.0) == [(0.0, 30.0), (30.0, 30.0), (60.0, 1.0)]


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (2000, 10), (10, 2000)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    image = picture.draw("word " * 1000 + "x" * 500, *size)
    assert image.size == size
    assert all(picture.encoded(image, shape) for shape in picture.FORMATS)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.pillow.cache_clear()
    for name in ("av", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(libraries.MissingLibrary, match="pip install av"):
        list(sound.encoded(iter([bytes(10)]), "mp3", 10))
    with pytest.raises(libraries.MissingLibrary, match="pip install pillow"):
        picture.draw("x", 8, 8)
    # These need no package.
    assert b"".join(sound.encoded(iter([bytes(10)]), "wav", 10))[:4] == b"RIFF"
    assert b"".join(sound.encoded(iter([bytes(10)]), "pcm", 10)) == bytes(10)


def test_the_end_of_the_server_ends_what_the_engine_does_not_know(launch: Any) -> None:
    server = launch("--time-to-first-token", "60s", "--enable-server-load-tracking")
    url = f"{server.base_url}/v1/images/generations"
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(requests.post(url, json={"prompt": "x", "size": "16x16"}, timeout=30).status_code)

    client = threading.Thread(target=ask)
    client.start()
    while b'"server_load":1' not in server.get("/load").body and client.is_alive():
        time.sleep(0.05)
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    client.join()
    assert statuses == [503]
