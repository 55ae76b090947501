"""Links to pictures and films, which hold all that is needed to make the file again, and the routes that do."""

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.media import film, links, picture
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.sizes import MAX_SIDE
from vllm_mock.routes.openai.working import working
from vllm_mock.routes.replies import Reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

# Beyond what a picture shows there is no need to tell more of a prompt.
_TOLD_CHARS = 2000
_MAX_FRAMES = 3600
_MAX_FPS = 60


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint. They are outside of /v1: whoever has a link needs no key."""

    def image_file(token: str, format: str) -> Response:
        content = links.content(token) or {}
        if format not in picture.FORMATS or not _is_image(content):
            raise ApiError.not_found("There is no such image.")
        with working(services, request.environ):
            width, height = content["size"]
            image = picture.draw(content["prompt"], width, height, content["number"])
            return Reply(picture.encoded(image, format), 200, f"image/{format}")

    pod = services.settings.pod_name

    def film_file(token: str) -> Response:
        content = links.content(token) or {}
        if not _is_film(content):
            raise ApiError.not_found("There is no such video.")
        with working(services, request.environ):
            width, height = content["size"]
            data = film.film(content["prompt"], width, height, content["frames"], content["fps"], pod)
        return Reply(data, 200, film.CONTENT_TYPE)

    blueprint.add_url_rule("/images/<token>.<format>", "image_file", image_file, methods=["GET"])
    blueprint.add_url_rule("/videos/<token>.mp4", "film_file", film_file, methods=["GET"])


def image(environ: dict[str, Any], prompt: str, size: tuple[int, int], number: int, format: str) -> str:
    """The URL of a picture, at the address under which the client knows this server."""
    content = {"prompt": _told(prompt), "size": size, "number": number}
    return f"{_base(environ)}/images/{links.token(content)}.{format}"


def video(environ: dict[str, Any], prompt: str, size: tuple[int, int], frames: int, fps: int) -> str:
    """The URL of a film."""
    content = {"prompt": _told(prompt), "size": size, "frames": frames, "fps": fps}
    return f"{_base(environ)}/videos/{links.token(content)}.mp4"


def _told(prompt: str) -> str:
    # What could not be sent as UTF-8 cannot be drawn either.
    return prompt[:_TOLD_CHARS].encode("utf-8", "replace").decode()


def _base(environ: dict[str, Any]) -> str:
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{environ['wsgi.url_scheme']}://{host}{environ.get('SCRIPT_NAME', '')}"


def _is_image(content: dict[str, Any]) -> bool:
    return _has_prompt_and_size(content) and _is_count(content.get("number"), 0, MAX_SIDE)


def _is_film(content: dict[str, Any]) -> bool:
    return (
        _has_prompt_and_size(content)
        and _is_count(content.get("frames"), 1, _MAX_FRAMES)
        and _is_count(content.get("fps"), 1, _MAX_FPS)
        and film.is_possible(content["size"][0], content["size"][1], content["frames"])
    )


def _has_prompt_and_size(content: dict[str, Any]) -> bool:
    size = content.get("size")
    fits = isinstance(size, list) and len(size) == 2 and all(_is_count(side, 1, MAX_SIDE) for side in size)
    return fits and isinstance(content.get("prompt"), str)


def _is_count(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
