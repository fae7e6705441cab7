"""Naming the expressions in many pictures, or along a video: lists, resumable tables, tracks, drawings."""
