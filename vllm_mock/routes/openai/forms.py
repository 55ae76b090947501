"""Forms as FastAPI reads them: text fields, uploads, and its refusals of what is no form."""

from collections.abc import Collection
from typing import Any

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from vllm_mock.protocol.errors import ApiError

MULTIPART = "multipart/form-data"
_FORMS = (MULTIPART, "application/x-www-form-urlencoded")
_MAX_FIELD_BYTES = 1 << 20
_MAX_PARTS = 1000


def is_form(environ: dict[str, Any]) -> bool:
    """Whether the body claims to be a form."""
    return _media_type(environ) in _FORMS


def form_data(environ: dict[str, Any], lists: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a form, empty for any other body; those named in `lists` as lists. Raises ApiError."""
    if not is_form(environ):
        return {}
    content_type = environ.get("CONTENT_TYPE", "")
    if _media_type(environ) == MULTIPART and "boundary=" not in content_type:
        raise ApiError(400, "Missing boundary in multipart.", detail=True)
    parser = FormDataParser(max_form_memory_size=_MAX_FIELD_BYTES, max_form_parts=_MAX_PARTS, silent=False)
    try:
        _, texts, files = parser.parse_from_environ(environ)
    except RequestEntityTooLarge:
        raise ApiError(413, "The fields of the form are too large.") from None
    except ValueError:
        raise ApiError(400, "Invalid multipart data.", detail=True) from None
    data: dict[str, Any] = {}
    for fields in (texts, files):
        for name, values in fields.lists():
            data[name] = values if name in lists else values[-1]
    return data


def upload(value: Any) -> bytes | None:
    """The content of an uploaded file; None if the field is none."""
    return value.read() if isinstance(value, FileStorage) else None


def size_of(value: FileStorage) -> int:
    """The length of an uploaded file in bytes, without reading it."""
    end = value.stream.seek(0, 2)
    value.stream.seek(0)
    return end


def _media_type(environ: dict[str, Any]) -> str:
    return environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
