"""Films: AIBrix's /v1/video/generations, and OpenAI's /v1/videos as vllm-omni serves it."""

import base64
import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.media import film, picture
from vllm_mock.media.jobs import Job, Jobs, new_id
from vllm_mock.protocol.errors import ApiError, validation_error
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import file_links, forms, headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.working import working
from vllm_mock.routes.replies import Reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.media import VideoRequest
    from vllm_mock.services import Services

DEFAULT_SIZE = (832, 480)
DEFAULT_FPS = 24
DEFAULT_SECONDS = 4
_MAX_SECONDS = 60
# How long a download waits for a film that is not finished.
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_MOST_LISTED = 100
_VARIANTS = ("video", "thumbnail", "spritesheet")


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    VideoRoutes(services, Jobs(services.store)).register(blueprint)


class VideoRoutes:
    """The views, which share the jobs of all workers."""

    def __init__(self, services: "Services", jobs: Jobs) -> None:
        self._services = services
        self._jobs = jobs

    def register(self, blueprint: Blueprint) -> None:
        for path, name, view, method in (
            ("/v1/video/generations", "video_generations", self.generate, "POST"),
            ("/v1/videos", "create_video", self.create, "POST"),
            ("/v1/videos", "videos", self.list, "GET"),
            ("/v1/videos/sync", "video_sync", self.sync, "POST"),
            ("/v1/videos/<video_id>", "video", self.retrieve, "GET"),
            ("/v1/videos/<video_id>", "delete_video", self.delete, "DELETE"),
            ("/v1/videos/<video_id>/content", "video_content", self.content, "GET"),
            ("/v1/videos/<video_id>/remix", "remix_video", self.remix, "POST"),
        ):
            blueprint.add_url_rule(path, name, view, methods=[method])

    def generate(self) -> Response:
        """AIBrix's route: waits, and answers with a link."""
        from vllm_mock.protocol.media import VideoGenerationRequest
        from vllm_mock.protocol.sizes import parse_size

        environ = request.environ
        body = headers.read(environ, VideoGenerationRequest)
        model = resolve_model(self._services, body.model)
        size, frames = parse_size(body.size), max(1, round(body.duration * body.fps))
        _check_possible(*size, frames)
        with working(self._services, environ) as work:
            inside = body.response_format == "b64_json"
            data = film.film(body.prompt, *size, frames, body.fps, self._services.settings.pod_name) if inside else b""
            work.wait(frames)
        entry = {
            "url": None if inside else file_links.video(environ, body.prompt, size, frames, body.fps),
            "b64_json": base64.b64encode(data).decode() if inside else None,
            "duration": body.duration,
            "fps": body.fps,
            "size": body.size,
            "revised_prompt": body.prompt,
        }
        created = int(time.time())
        answer = {"id": f"video-{created}", "object": "video.generation", "created": created, "model": model}
        return json_reply(compact({**answer, "data": [entry]}))

    def create(self) -> Response:
        job = self._job()
        self._jobs.add(job)
        return json_reply(compact(job.view(time.monotonic())))

    def sync(self) -> Response:
        """The film itself, when it is finished."""
        job = self._job()
        with working(self._services, request.environ) as work:
            data = _film(job)
            work.wait(job.frames)
        return _file(data, film.CONTENT_TYPE, f"{job.id}.mp4")

    def remix(self, video_id: str) -> Response:
        from vllm_mock.protocol.media import VideoRequest

        environ = request.environ
        source = self._found(video_id)
        body = headers.read(environ, VideoRequest)
        job = self._started(source.model, body.prompt, source.size, source.frames, source.fps, source.quality)
        job.remixed_from = source.id
        self._jobs.add(job)
        return json_reply(compact(job.view(time.monotonic())))

    def list(self) -> Response:
        after, order = request.args.get("after"), request.args.get("order", "desc")
        limit = _limit(request.args.get("limit"))
        if order not in ("asc", "desc"):
            raise _bad_query("order", order, "literal_error", "Input should be 'asc' or 'desc'")
        jobs = self._jobs.all()
        if order == "desc":
            jobs.reverse()
        if after is not None:
            ids = [job.id for job in jobs]
            jobs = jobs[ids.index(after) + 1 :] if after in ids else []
        shown = jobs if limit is None else jobs[:limit]
        now = time.monotonic()
        answer = {
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": len(shown) < len(jobs),
            "data": [job.view(now) for job in shown],
            "object": "list",
        }
        return json_reply(compact(answer))

    def retrieve(self, video_id: str) -> Response:
        return json_reply(compact(self._found(video_id).view(time.monotonic())))

    def delete(self, video_id: str) -> Response:
        job = self._found(video_id)
        self._jobs.remove(job.id)
        return json_reply(compact({"id": job.id, "deleted": True, "object": "video.deleted"}))

    def content(self, video_id: str) -> Response:
        variant = request.args.get("variant", "video")
        if variant not in _VARIANTS:
            expected = "'video', 'thumbnail' or 'spritesheet'"
            raise _bad_query("variant", variant, "literal_error", f"Input should be {expected}")
        job = self._found(video_id)
        self._await(job)
        with working(self._services, request.environ):
            if variant == "video":
                return _file(_film(job), film.CONTENT_TYPE, f"{job.id}.mp4")
            shape = "webp" if variant == "thumbnail" else "jpeg"
            image = picture.draw(job.prompt, job.size[0], job.size[1])
            return _file(picture.encoded(image, shape), f"image/{shape}", f"{job.id}.{shape}")

    def _await(self, job: Job) -> None:
        """AIBrix downloads without asking first whether a film is finished."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (now := time.monotonic()) < job.done:
            if time.monotonic() >= deadline or self._services.lifecycle.aborting:
                text = f"Video {job.id} is not ready: {job.status(now)}"
                raise ApiError(404, text, "invalid_request_error", code="video_not_ready")
            time.sleep(min(_LOOK_SECONDS, job.done - now))

    def _found(self, video_id: str) -> Job:
        job = self._jobs.get(video_id)
        if job is None:
            raise ApiError(404, f"Video {video_id} not found", "invalid_request_error", code="video_not_found")
        return job

    def _job(self) -> Job:
        """A new job, as the request asks for it. Raises ApiError."""
        from vllm_mock.protocol.media import VideoRequest
        from vllm_mock.protocol.parsing import validate

        environ = request.environ
        if forms.is_form(environ):
            body = validate(forms.form_data(environ), VideoRequest)
        else:
            body = headers.read(environ, VideoRequest)
        model = resolve_model(self._services, body.model)
        size, frames, fps = _measures(body)
        return self._started(model, body.prompt, size, frames, fps, body.quality or "default")

    def _started(self, model: str, prompt: str, size: Any, frames: int, fps: int, quality: str) -> Job:
        settings = self._services.settings
        created = time.monotonic()
        begun = created + settings.time_to_first_token
        done = begun + frames * settings.inter_token_latency
        pod = settings.pod_name
        return Job(
            new_id(),
            model,
            prompt,
            [*size],
            frames,
            fps,
            quality,
            created,
            begun,
            done,
            pod,
            epoch=time.time() - created,
        )


def _measures(body: "VideoRequest") -> tuple[tuple[int, int], int, int]:
    """Size in pixels, number of frames, frames per second. Raises ApiError."""
    from vllm_mock.protocol.media import VideoParams
    from vllm_mock.protocol.sizes import parse_size

    block = body.video_params or VideoParams()
    width, height = body.width or block.width, body.height or block.height
    size = (width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1])
    if body.size is not None:
        size = parse_size(body.size)
    fps = body.fps or block.fps or DEFAULT_FPS
    seconds = DEFAULT_SECONDS if body.seconds is None else int(body.seconds[:6])
    frames = body.num_frames or block.num_frames or seconds * fps
    if frames > _MAX_SECONDS * fps:
        raise ApiError.bad_request(f"A video may last {_MAX_SECONDS} seconds at most.", "seconds")
    _check_possible(*size, frames)
    return size, frames, fps


def _check_possible(width: int, height: int, frames: int) -> None:
    if not film.is_possible(width, height, frames):
        text = (
            f"Width and height must be even numbers from {film.MIN_SIDE} to {film.MAX_SIDE} pixels, "
            f"and all frames together have {film.MAX_PIXELS} pixels at most."
        )
        raise ApiError.bad_request(text, "size", f"{width}x{height}")


def _film(job: Job) -> bytes:
    return film.film(job.prompt, job.size[0], job.size[1], job.frames, job.fps, job.pod)


def _file(data: bytes, content_type: str, name: str) -> Response:
    reply = Reply(data, 200, content_type)
    reply.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return reply


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text[:6]) <= _MOST_LISTED:
        raise _bad_query("limit", text, "int_parsing", f"Input should be an integer from 1 to {_MOST_LISTED}")
    return int(text)


def _bad_query(name: str, value: str, kind: str, message: str) -> ApiError:
    return validation_error([{"type": kind, "loc": ("query", name), "msg": message, "input": value}])
