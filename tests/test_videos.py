"""Films: playable files of the asked size and length, jobs that all workers see, refusals."""

import base64
import io
import time
from typing import Any

import av
import openai
import PIL.Image
import pytest
import requests
from server import INSTANT, TINY, Server, ServerPool

PATH = "/v1/videos"


def form(server: Server, path: str = PATH, **fields: Any) -> requests.Response:
    """A multipart form, as vllm-omni's clients send."""
    parts = {name: (None, str(value)) for name, value in {"prompt": "A dog runs", **fields}.items()}
    return requests.post(server.base_url + path, files=parts, timeout=30)


def played(data: bytes) -> tuple[tuple[int, int], int, float, str]:
    """Size in pixels, number of frames, frames per second, codec."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video=0))
        assert stream.average_rate is not None
        return (stream.width, stream.height), frames, float(stream.average_rate), stream.codec_context.name


def boxes(data: bytes) -> list[str]:
    """The types of an mp4 file's outermost boxes, which must fill it."""
    found, position = [], 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        found.append(data[position + 4 : position + 8].decode())
        position += length
    assert position == len(data)
    return found


def test_a_job_from_its_creation_to_its_end(server: Server) -> None:
    job = form(server, seconds="2", size="128x96", fps=12).json()
    assert job["id"].startswith("video_")
    assert (job["object"], job["model"], job["prompt"]) == ("video", "llama2-7b", "A dog runs")
    assert (job["size"], job["seconds"], job["mock_pod"]) == ("128x96", "2", "pod-under-test")
    url = f"{server.base_url}{PATH}/{job['id']}"
    job = requests.get(url, timeout=30).json()
    assert (job["status"], job["progress"], job["error"]) == ("completed", 100, None)
    assert job["created_at"] <= job["completed_at"] < job["expires_at"]
    reply = requests.get(f"{url}/content", timeout=30)
    assert reply.headers["content-type"] == "video/mp4"
    assert played(reply.content) == ((128, 96), 24, 12.0, "h264")
    assert boxes(reply.content)[0] == "ftyp"
    # AIBrix's tests look there for the pod that made it.
    assert b"pod-under-test" in reply.content
    assert {"moov", "mdat"} <= set(boxes(reply.content))
    assert requests.get(f"{url}/content", timeout=30).content == reply.content
    assert requests.delete(url, timeout=30).json() == {"id": job["id"], "deleted": True, "object": "video.deleted"}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content"), ("POST", "/remix")):
        gone = requests.request(method, url + path, json={"prompt": "x"}, timeout=30)
        error = gone.json()["error"]
        assert (gone.status_code, error["code"]) == (404, "video_not_found")
        assert error["message"] == f"Video {job['id']} not found"


def test_states_follow_the_clock(servers: ServerPool) -> None:
    server = servers.get("--time-to-first-token", "0.1s", "--inter-token-latency", "10ms")
    job = form(server, num_frames=40, size="32x32").json()
    states = [(job["status"], job["progress"])]
    deadline = time.monotonic() + 30
    while job["status"] != "completed" and time.monotonic() < deadline:
        time.sleep(0.02)
        job = server.get(f"{PATH}/{job['id']}").json()
        states.append((job["status"], job["progress"]))
    order = ["queued", "in_progress", "completed"]
    # A busy machine may look too late for one of them.
    assert [order.index(state) for state, _ in states] == sorted(order.index(state) for state, _ in states)
    assert (states[-1], len(dict(states)) > 1) == (("completed", 100), True)
    assert [share for _, share in states] == sorted(share for _, share in states)
    # A download at once waits for the end.
    began = time.monotonic()
    job = form(server, num_frames=40, size="32x32").json()
    assert played(server.get(f"{PATH}/{job['id']}/content").body)[1] == 40
    assert time.monotonic() - began >= 0.5


def test_all_workers_see_the_jobs_and_list_them(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--data-parallel-size", "2")
    ids = [form(server, size="32x32").json()["id"] for _ in range(3)]
    for _ in range(4):
        newest_first = server.get(f"{PATH}?limit=2").json()
        assert [job["id"] for job in newest_first["data"]] == ids[:0:-1]
        assert (newest_first["first_id"], newest_first["last_id"]) == (ids[2], ids[1])
        assert (newest_first["has_more"], newest_first["object"]) == (True, "list")
    assert server.get(f"{PATH}?after={ids[1]}").json()["data"][0]["id"] == ids[0]
    assert [job["id"] for job in server.get(f"{PATH}?order=asc").json()["data"]][-3:] == ids
    nothing = {"first_id": None, "last_id": None, "has_more": False, "data": [], "object": "list"}
    assert server.get(f"{PATH}?after=video_none").json() == nothing
    for query, param in (("limit=0", "query.limit"), ("limit=x", "query.limit"), ("order=up", "query.order")):
        reply = server.get(f"{PATH}?{query}")
        assert (reply.status, reply.json()["error"]["param"]) == (400, param)


def test_json_sync_and_parameters(server: Server) -> None:
    body = {"prompt": "x", "seconds": 1, "video_params": {"width": 64, "height": 48, "fps": 10}}
    reply = requests.post(f"{server.base_url}{PATH}/sync", json=body, timeout=30)
    assert played(reply.content) == ((64, 48), 10, 10.0, "h264")
    parameters = '{"num_frames": 5, "width": 32, "height": 32}'
    reply = form(server, f"{PATH}/sync", video_params=parameters, lora="{}", seed=3)
    assert played(reply.content)[:2] == ((32, 32), 5)
    files = {"prompt": (None, "x"), "size": (None, "32x32"), "input_reference": ("a.png", b"1")}
    assert requests.post(server.base_url + PATH, files=files, timeout=30).json()["size"] == "32x32"
    assert form(server).json()["size"] == "832x480"


def test_aibrix_route(server: Server) -> None:
    body = {"prompt": "A cat", "duration": 1.5, "fps": 10, "size": "64x64"}
    answer = requests.post(f"{server.base_url}/v1/video/generations", json=body, timeout=30).json()
    assert (answer["object"], answer["model"]) == ("video.generation", "llama2-7b")
    (entry,) = answer["data"]
    assert (entry["duration"], entry["fps"], entry["size"]) == (1.5, 10, "64x64")
    assert played(requests.get(entry["url"], timeout=30).content) == ((64, 64), 15, 10.0, "h264")
    body["response_format"] = "b64_json"
    (entry,) = requests.post(f"{server.base_url}/v1/video/generations", json=body, timeout=30).json()["data"]
    assert played(base64.b64decode(entry["b64_json"]))[1] == 15


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "body.prompt"),
        ({"seconds": "0"}, "body.seconds"),
        ({"seconds": "99999999"}, "seconds"),
        ({"seconds": "61", "size": "32x32"}, "seconds"),
        ({"size": "big"}, "size"),
        ({"size": "33x32"}, "size"),
        ({"size": "4096x4096", "seconds": "60"}, "size"),
        ({"fps": "0"}, "body.fps"),
        ({"num_frames": "-1"}, "body.num_frames"),
        ({"video_params": "{"}, "body.video_params"),
        ({"video_params": '{"fps": 0}'}, "body.video_params.fps"),
    ],
)
def test_refusals(fields: dict[str, str], param: str, server: Server) -> None:
    reply = form(server, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_refusals_of_the_request_as_a_whole(server: Server) -> None:
    assert form(server, model="nope").status_code == 404
    for path in (PATH, f"{PATH}/sync", "/v1/video/generations"):
        url = server.base_url + path
        assert requests.post(url, json={}, timeout=30).json()["error"]["param"] == "body.prompt"
        assert requests.post(url, data="{", headers={"Content-Type": "application/json"}, timeout=30).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = requests.post(server.base_url + PATH, data=b"garbage", headers=headers, timeout=30)
    assert (reply.status_code, reply.json()) == (400, {"detail": "Invalid multipart data."})


def test_openai_sdk(server: Server) -> None:
    client = server.openai()
    size: Any = "64x96"
    video = client.videos.create_and_poll(model="llama2-7b", prompt="A calm sea", seconds="4", size=size)
    assert (video.status, video.seconds, video.size) == ("completed", "4", "64x96")
    assert played(client.videos.download_content(video.id).read())[:2] == ((64, 96), 96)
    for variant, kind in (("thumbnail", "WEBP"), ("spritesheet", "JPEG")):
        shown: Any = variant
        image = PIL.Image.open(io.BytesIO(client.videos.download_content(video.id, variant=shown).read()))
        assert (image.format, image.size) == (kind, (64, 96))
    remix = client.videos.remix(video.id, prompt="A rough sea")
    assert (remix.remixed_from_video_id, remix.size) == (video.id, "64x96")
    assert remix.id in [listed.id for listed in client.videos.list(limit=5)]
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
