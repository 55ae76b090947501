"""The one exception of this package, and how a converter refuses a value."""


class SettingsError(Exception):
    """The server cannot start with these settings; the text is one clear line for the operator."""


class Refused(ValueError):
    """A value does not fit its flag; the text says what is wrong with it, to be put into a SettingsError."""
