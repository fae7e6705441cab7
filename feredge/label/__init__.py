"""Naming the expressions in many pictures, or along a video: lists, resumable tables, tracks, drawings."""

from feredge.callable_module import make_callable

make_callable(__name__, "feredge.api.labelling:label")
