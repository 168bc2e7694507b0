"""The errors people see. Each message names the rule, the value that broke it, and the remedy.

The command line prints the message on one line and exits with `exit_code`; pages show it with `st.error`.
"""

from __future__ import annotations

import re
from collections.abc import Callable


class DeepMusicianError(Exception):
    """Base of every error the package raises on purpose; its message is written for a musician."""

    exit_code = 2


class DiskFullError(DeepMusicianError):
    """There was no room to write something; what was there before is as it was."""


class QuotaError(DeepMusicianError):
    """A person keeps as much as one may where a studio is open to several."""


class MidiError(DeepMusicianError):
    """A file or a song cannot be read, written or put on the keyboard."""


class BrokenOffError(MidiError):
    """Reading was broken off: it took too long ("time"), too much ("memory"), or its process down ("crash")."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class LibraryError(DeepMusicianError):
    """A folder, archive, corpus or data set cannot be found or holds no music."""


class OptionError(DeepMusicianError):
    """An option is outside its range, or two options contradict each other."""


class ClashError(OptionError):
    """Options contradict each other. The message names an option as {name} and a value of it as {name=value}: the
    command line prints them as they are, and a page may call them otherwise, by `words`."""

    def __init__(self, template: str) -> None:
        self.template = template
        super().__init__(self.words(lambda name: name, lambda _, value: value))

    def words(self, option: Callable[[str], str], value: Callable[[str, str], str]) -> str:
        """The message with other names: `option` of an option's, `value` of an option's and its value's."""
        named = lambda m: option(m[1]) if m[2] is None else value(m[1], m[2])  # noqa: E731
        return re.sub(r"\{(\w+)(?:=([^{}]*))?\}", named, self.template)


class CheckpointError(DeepMusicianError):
    """A checkpoint is missing, damaged or does not fit its own description."""


class RunError(DeepMusicianError):
    """A run is missing, already training, or cannot be resumed."""


class DoorError(DeepMusicianError):
    """The studio may not be opened this way, or somebody may not come in."""


class CapsuleError(DeepMusicianError):
    """A capsule is damaged, too large, or holds what no capsule of ours does."""


class RenderError(DeepMusicianError):
    """No sound can be made: a library or soundfont is missing, or the audio is unusable."""


class ScoreError(DeepMusicianError):
    """A piece that cannot be written down as a score."""


class ListeningError(DeepMusicianError):
    """A listening test or its votes are missing, cannot be made, or cannot be kept."""
