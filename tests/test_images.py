"""Pictures: real files of the asked size that show the prompt, links that work, edits, streams, refusals."""

import base64
import io
import json
import zipfile
from typing import Any

import openai
import PIL.Image
import pytest
import requests
from server import INSTANT, TINY, Server, ServerPool

PATH = "/v1/images/generations"


def post(server: Server, **fields: Any) -> requests.Response:
    return requests.post(server.base_url + PATH, json={"prompt": "A cat on a mat", **fields}, timeout=30)


def edit(server: Server, files: Any, **fields: Any) -> requests.Response:
    url = f"{server.base_url}/v1/images/edits"
    return requests.post(url, data={"prompt": "Add a hat", **fields}, files=files, timeout=30)


def opened(data: bytes) -> PIL.Image.Image:
    image = PIL.Image.open(io.BytesIO(data))
    image.load()
    return image


def png(width: int = 60, height: int = 40, colour: str = "red") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def light(image: PIL.Image.Image) -> int:
    """How many pixels are as white as the text."""
    return sum(image.convert("L").histogram()[250:])


def test_both_forms_where_none_is_asked_for(server: Server) -> None:
    body = post(server, n=2, size="320x200").json()
    assert list(body) == ["created", "model", "data", "output_format", "size", "usage"]
    assert (body["model"], body["output_format"], body["size"]) == ("llama2-7b", "png", "320x200")
    assert len(body["data"]) == 2
    for entry in body["data"]:
        data = base64.b64decode(entry["b64_json"])
        image = opened(data)
        assert (image.format, image.size) == ("PNG", (320, 200))
        # The prompt is there, and not all over the picture.
        assert 300 < light(image) < 20_000
        reply = requests.get(entry["url"], timeout=30)
        assert (reply.headers["content-type"], reply.content) == ("image/png", data)
    assert body["data"][0]["b64_json"] != body["data"][1]["b64_json"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens_details"]["text_tokens"] == usage["input_tokens"] > 0


def test_the_text_is_the_prompt(server: Server) -> None:
    def drawn(prompt: str) -> int:
        body = post(server, prompt=prompt, size="400x400", response_format="b64_json").json()
        return light(opened(base64.b64decode(body["data"][0]["b64_json"])))

    assert drawn("WWWW") > 2 * drawn("i")
    assert drawn(" ") == 0


@pytest.mark.parametrize("shape", ["png", "jpeg", "webp"])
def test_formats_and_single_forms(shape: str, server: Server) -> None:
    entry = post(server, size="64x48", output_format=shape, response_format="b64_json").json()["data"][0]
    image = opened(base64.b64decode(entry["b64_json"]))
    assert (image.format, image.size, entry["url"]) == (shape.upper(), (64, 48), None)
    entry = post(server, size="64x48", output_format=shape, response_format="url").json()["data"][0]
    assert entry["b64_json"] is None
    assert opened(requests.get(entry["url"], timeout=30).content).format == shape.upper()


def test_default_size_and_files(server: Server) -> None:
    assert post(server, size="auto", response_format="url").json()["size"] == "1024x1024"
    reply = post(server, size="50x60", response_format="file")
    assert (reply.headers["content-type"], opened(reply.content).size) == ("image/png", (50, 60))
    reply = post(server, size="50x60", response_format="file", n=3)
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert {opened(archive.read(name)).size for name in archive.namelist()} == {(50, 60)}
        assert len(archive.namelist()) == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "body.prompt"),
        ({"prompt": None}, "body.prompt"),
        ({"prompt": "x" * 32_001}, "body.prompt"),
        ({"n": 0}, "body.n"),
        ({"n": 11}, "body.n"),
        ({"size": "large"}, "size"),
        ({"size": "0x10"}, "size"),
        ({"size": "5000x10"}, "size"),
        ({"size": 7}, "body.size"),
        ({"response_format": "fax"}, "body.response_format"),
        ({"output_format": "gif"}, "body.output_format"),
        ({"num_inference_steps": 0}, "body.num_inference_steps"),
        ({"guidance_scale": 21}, "body.guidance_scale"),
    ],
)
def test_refusals(fields: dict[str, Any], param: str, server: Server) -> None:
    reply = post(server, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_unknown_models_and_broken_links(server: Server, servers: ServerPool) -> None:
    assert post(server, model="nope").status_code == 404
    lenient = servers.get(*TINY, *INSTANT, environ={"VLLM_SKIP_MODEL_NAME_VALIDATION": "1"})
    assert post(lenient, model="dall-e-3", size="32x32").json()["model"] == "dall-e-3"
    for path in ("/images/zzz.png", "/images/eNo.png", "/videos/%00.mp4", "/images/a.gif"):
        assert server.get(path).status == 404, path


def test_links_need_no_key(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--api-key", "secret")
    assert post(server).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    reply = requests.post(server.base_url + PATH, json={"prompt": "x", "size": "32x32"}, headers=headers, timeout=30)
    assert opened(requests.get(reply.json()["data"][0]["url"], timeout=30).content).size == (32, 32)


def test_edits_show_the_picture(server: Server) -> None:
    body = edit(server, {"image": ("a.png", png())}, response_format="b64_json").json()
    image = opened(base64.b64decode(body["data"][0]["b64_json"]))
    # As large as the picture, which is at the top.
    assert image.size == (60, 40)
    assert image.convert("RGB").getpixel((30, 5)) == (255, 0, 0)
    assert body["usage"]["input_tokens_details"]["image_tokens"] > 0
    several = [("image[]", ("a.png", png(), "image/png")), ("image[]", ("b.png", png(), "image/png"))]
    body = edit(server, several, size="100x80", n="2", response_format="url").json()
    assert len(body["data"]) == 2
    head, _, encoded = body["data"][1]["url"].partition(",")
    assert (head, opened(base64.b64decode(encoded)).size) == ("data:image/png;base64", (100, 80))
    url = f"data:image/png;base64,{base64.b64encode(png(20, 30)).decode()}"
    assert edit(server, {"url": (None, url)}).json()["size"] == "20x30"


def test_refused_edits(server: Server) -> None:
    for files, status in (
        ({"mask": ("m.png", png())}, 400),
        ({"image": ("a.png", b"no image")}, 400),
        ({"image": ("a.png", b"")}, 400),
        ({"image": ("a.png", png()[:60])}, 400),
        ({"image": (None, "https://example.com/a.png")}, 422),
        ({"image": (None, "data:image/png;base64,!")}, 400),
    ):
        reply = edit(server, files)
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, status), files
    assert edit(server, {"image": ("a.png", png())}, n="many").json()["error"]["param"] == "body.n"
    headers = {"Content-Type": "multipart/form-data"}
    url = f"{server.base_url}/v1/images/edits"
    reply = requests.post(url, data=b"x", headers=headers, timeout=30)
    assert (reply.status_code, reply.json()) == (400, {"detail": "Missing boundary in multipart."})


def test_openai_sdk(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="llama2-7b", prompt="A boat", n=2, size="256x256")
    assert answer.data is not None
    assert [opened(base64.b64decode(entry.b64_json or "")).size for entry in answer.data] == [(256, 256)] * 2
    edited = client.images.edit(model="llama2-7b", image=[("a.png", png()), ("b.png", png())], prompt="Bluer")
    assert edited.data is not None
    assert edited.data[0].b64_json
    events = list(
        client.images.generate(model="llama2-7b", prompt="A boat", size="256x256", stream=True, partial_images=2)
    )
    kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.type for event in events] == kinds
    assert all(opened(base64.b64decode(event.b64_json)).size == (256, 256) for event in events)


def test_pictures_take_time(servers: ServerPool) -> None:
    server = servers.get("--time-to-first-token", "0.1s", "--inter-token-latency", "10ms")
    assert post(server, size="32x32").elapsed.total_seconds() >= 0.3
    assert post(server, size="32x32", num_inference_steps=1).elapsed.total_seconds() >= 0.11
    page = server.get("/metrics").body.decode()
    assert 'handler="/v1/images/generations"' in page
    assert json.dumps(post(server, size="32x32").json()["usage"])
