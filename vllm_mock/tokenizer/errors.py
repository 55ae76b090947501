"""What can go wrong between text and token ids. Routes show these messages in a 400."""


class TokenizerError(ValueError):
    """A text or an id that cannot be converted, for example a text with an unpaired surrogate."""


class ChatTemplateError(TokenizerError):
    """The chat template cannot be compiled, raised an exception, or there is none."""
