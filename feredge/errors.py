"""feredge's exceptions. Each message is one line: the expected and the actual condition."""

from __future__ import annotations


class FeredgeError(Exception):
    """Base class of all errors that a user can cause. The command line prints it and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(str(message).replace("\n", "\\n"))  # from a file name or a library's message


class DataError(FeredgeError):
    """A data set that cannot be read."""


class PictureError(FeredgeError):
    """A picture or box that cannot be converted to a network's input."""


class RecipeError(FeredgeError):
    """A recipe that does not exist, or has an invalid key or value."""


class ArtifactError(FeredgeError):
    """A model file or manifest that is missing, damaged or inconsistent with its metadata."""


class UnsupportedNetworkError(ArtifactError):
    """A network with operators that have no layer here; as ONNX it can still be exported."""


class Cancelled(FeredgeError):
    """Work that its caller stopped between two steps."""

    exit_code = 130


class MissingPackageError(ArtifactError):
    """A package that an optional part of feredge needs and that is not installed."""


class NoCardError(ArtifactError):
    """A model file without a feredge card."""


class RunError(FeredgeError):
    """A run folder that is incomplete for the step, or belongs to something else."""


class DivergedError(RunError):
    """A training whose loss is no longer finite."""


class VerificationError(FeredgeError):
    """An exported file whose outputs exceed their tolerance."""

    exit_code = 1


class ResultsError(FeredgeError):
    """A results file that is missing, of another schema, or from other data."""


class DeviceError(FeredgeError):
    """A remote machine that cannot be reached, refuses, or lacks a requirement of a measurement."""


def one_line(error: BaseException, max_length: int = 200) -> str:
    """Return an exception's message as one line of at most `max_length` characters, or its type if it is empty."""
    return " ".join(str(error).split())[:max_length] or type(error).__name__


def describe_schema(value: object) -> str:
    """Return the schema that a parsed file states, for the message of an unreadable one."""
    if not isinstance(value, dict):
        return type(value).__name__
    schema = value.get("schema", "none")
    return "1, which tools/migrate rewrites" if schema == 1 else f"{schema!s:.40}"
