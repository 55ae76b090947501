"""POST /v1/images/generations and /v1/images/edits."""

import base64
import io
import time
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.media import picture
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.openai import file_links, forms, headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.working import Work, working
from vllm_mock.routes.replies import Reply, json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.media import ImageRequest
    from vllm_mock.services import Services

DEFAULT_SIZE = (1024, 1024)
# Steps of the diffusion where none are asked for, each as long as a token.
DEFAULT_STEPS = 20
IMAGE_FIELDS = ("image", "image[]", "url", "url[]")
_PIXELS_PER_TOKEN = 1024


class Drawing:
    """One validated request: what to draw, and how large. `source` is the picture that an edit begins with."""

    def __init__(self, body: "ImageRequest", model: str, kind: str, source: bytes | None = None) -> None:
        from vllm_mock.protocol.sizes import parse_size

        self.body = body
        self.model = model
        self.kind = kind
        self.source = source
        self.format = body.output_format or "png"
        if body.size is not None and body.size != "auto":
            self.size = parse_size(body.size)
        else:
            self.size = DEFAULT_SIZE if source is None else _size_of(source)

    @property
    def size_text(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"

    def file(self, number: int) -> bytes:
        """The picture `number` of the n that are asked for. Raises ApiError."""
        try:
            image = picture.draw(self.body.prompt, *self.size, number, self.source)
        except picture.BadPicture as refusal:
            raise ApiError.bad_request(str(refusal), "image") from None
        # Drawing takes a few hundredths of a second: let others go on.
        time.sleep(0)
        return picture.encoded(image, self.format)

    def wait(self, work: Work, share: float = 1.0) -> None:
        """Block until that share of the work is done."""
        work.wait((self.body.num_inference_steps or DEFAULT_STEPS) * self.body.n * share)


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def generations() -> Response:
        from vllm_mock.protocol.media import ImageRequest

        environ = request.environ
        body = headers.read(environ, ImageRequest)
        return _answer(services, environ, Drawing(body, resolve_model(services, body.model), "image_generation"))

    def edits() -> Response:
        return _edit(services, request.environ)

    blueprint.add_url_rule("/v1/images/generations", "images", generations, methods=["POST"])
    blueprint.add_url_rule("/v1/images/edits", "image_edits", edits, methods=["POST"])


def _edit(services: "Services", environ: dict[str, Any]) -> Response:
    from vllm_mock.protocol.media import ImageRequest
    from vllm_mock.protocol.parsing import validate

    data = forms.form_data(environ, IMAGE_FIELDS)
    given = [value for name in IMAGE_FIELDS for value in data.pop(name, [])]
    body = validate(data, ImageRequest)
    model = resolve_model(services, body.model)
    if not given:
        raise ApiError.bad_request("An edit needs an image: send a file in the field image.", "image")
    with working(services, environ):
        pictures = [_uploaded(value) for value in given]
        return _answer(services, environ, Drawing(body, model, "image_edit", pictures[0]))


def _uploaded(value: Any) -> bytes:
    """The content of a file, or of a data URL. Raises ApiError."""
    data = forms.upload(value)
    if data is None:
        head, _, encoded = str(value).partition(";base64,")
        if not head.startswith("data:"):
            raise ApiError(422, "An image must be a file or a data URL; this server fetches none.")
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise ApiError.bad_request("The data URL is not valid base64.", "image") from None
    try:
        picture.opened(data)
    except picture.BadPicture as refusal:
        raise ApiError.bad_request(str(refusal), "image") from None
    return data


def _size_of(data: bytes) -> tuple[int, int]:
    image = picture.opened(data)
    return min(image.width, picture.MAX_SIDE), min(image.height, picture.MAX_SIDE)


def _answer(services: "Services", environ: dict[str, Any], drawing: Drawing) -> Response:
    if drawing.body.stream:
        return stream_reply(_events(services, environ, drawing))
    with working(services, environ) as work:
        files = [drawing.file(number) for number in range(drawing.body.n)]
        drawing.wait(work)
    if drawing.body.response_format == "file":
        return _as_file(files, drawing)
    body = {
        "created": int(time.time()),
        "model": drawing.model,
        "data": [_entry(environ, drawing, number, file) for number, file in enumerate(files)],
        "output_format": drawing.format,
        "size": drawing.size_text,
        "usage": _usage(services, drawing),
    }
    return json_reply(compact(body))


def _entry(environ: dict[str, Any], drawing: Drawing, number: int, file: bytes) -> dict[str, Any]:
    """One picture as asked for: inside the answer, or as a link; both where nothing is said."""
    wanted = drawing.body.response_format
    return {
        "b64_json": None if wanted == "url" else base64.b64encode(file).decode(),
        "url": None if wanted == "b64_json" else _url(environ, drawing, number, file),
        "revised_prompt": drawing.body.prompt,
    }


def _url(environ: dict[str, Any], drawing: Drawing, number: int, file: bytes) -> str:
    if drawing.source is not None:
        return f"data:image/{drawing.format};base64,{base64.b64encode(file).decode()}"
    return file_links.image(environ, drawing.body.prompt, drawing.size, number, drawing.format)


def _usage(services: "Services", drawing: Drawing) -> dict[str, Any]:
    asked = len(services.tokenizer.encode(drawing.body.prompt, add_special_tokens=False))
    tokens_of_one = max(1, drawing.size[0] * drawing.size[1] // _PIXELS_PER_TOKEN)
    source = 0 if drawing.source is None else tokens_of_one
    made = tokens_of_one * drawing.body.n
    return {
        "input_tokens": asked + source,
        "input_tokens_details": {"image_tokens": source, "text_tokens": asked},
        "output_tokens": made,
        "total_tokens": asked + source + made,
    }


def _as_file(files: list[bytes], drawing: Drawing) -> Response:
    """The picture itself; several in an archive."""
    if len(files) == 1:
        reply = Reply(files[0], 200, f"image/{drawing.format}")
        reply.headers["Content-Disposition"] = f'attachment; filename="image.{drawing.format}"'
        return reply
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for number, file in enumerate(files):
            target.writestr(f"image_{number}.{drawing.format}", file)
    reply = Reply(archive.getvalue(), 200, "application/zip")
    reply.headers["Content-Disposition"] = 'attachment; filename="images.zip"'
    return reply


def _events(services: "Services", environ: dict[str, Any], drawing: Drawing) -> Iterator[bytes]:
    """OpenAI's events: previews while the work goes on, then each picture."""
    previews = drawing.body.partial_images or 0
    with working(services, environ) as work:
        for number in range(drawing.body.n):
            told = {
                "b64_json": base64.b64encode(drawing.file(number)).decode(),
                "background": drawing.body.background or "opaque",
                "created_at": int(time.time()),
                "output_format": drawing.format,
                "quality": drawing.body.quality or "auto",
                "size": drawing.size_text,
            }
            for index in range(previews):
                drawing.wait(work, (number + (index + 1) / (previews + 1)) / drawing.body.n)
                yield _event({"type": f"{drawing.kind}.partial_image", **told, "partial_image_index": index})
            drawing.wait(work, (number + 1) / drawing.body.n)
            yield _event({"type": f"{drawing.kind}.completed", **told, "usage": _usage(services, drawing)})


def _event(payload: dict[str, Any]) -> bytes:
    return to_bytes(f"event: {payload['type']}\ndata: {compact(payload)}\n\n")
