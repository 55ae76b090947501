"""Looking for markup in texts that go on."""


def held_back(text: str, marker: str) -> int:
    """How many characters at the end of a text could be the beginning of a marker, but not all of it."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
