"""Classification of many pictures and of videos: picture lists, resumable tables, face tracking, annotations."""
