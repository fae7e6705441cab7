"""The errors that feredge raises on purpose. Each message is one line: what was expected, and what was found."""

from __future__ import annotations


class FeredgeError(Exception):
    """Base of every error that a user can cause. The command line prints it and ends with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(str(message).replace("\n", "\\n"))  # of a file's name, or of what a library said


class DataError(FeredgeError):
    """A data set that cannot be read as what it claims to be."""


class PictureError(FeredgeError):
    """A picture, or a box in it, that cannot become a network's input."""


class RecipeError(FeredgeError):
    """A recipe that does not exist, or that holds a key or value it cannot hold."""


class ArtifactError(FeredgeError):
    """A model file, or its manifest, that is missing, damaged or not what it claims to be."""


class NoCardError(ArtifactError):
    """A model file without a feredge card: someone else's."""


class RunError(FeredgeError):
    """A run folder that is not complete enough for the step, or belongs to something else."""


class VerificationError(FeredgeError):
    """An exported file whose outputs left their tolerance."""

    exit_code = 1


class ResultsError(FeredgeError):
    """A results file that is missing, of another schema, or on other data."""


class DeviceError(FeredgeError):
    """Another machine that cannot be reached, refuses, or lacks what a measurement needs."""


class Cancelled(FeredgeError):
    """Work that its caller stopped between two steps."""

    exit_code = 130


def one_line(error: BaseException, most: int = 200) -> str:
    """Return what another library's error says, as one line of at most `most` characters; of an empty one, its kind."""
    return " ".join(str(error).split())[:most] or type(error).__name__
