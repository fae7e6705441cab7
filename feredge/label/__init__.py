"""Classification of many pictures and of videos: picture lists, resumable tables, face tracking, annotations."""

from feredge.callable_module import make_callable

make_callable(__name__, "feredge.api.labelling:label")
