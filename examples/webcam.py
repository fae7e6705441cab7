"""Show the faces of a webcam with their labels; q ends. A video file's path instead of 0 works as well.

python examples/webcam.py 0
"""

import sys

import cv2

from feredge import Predictor

predictor = Predictor()
source = sys.argv[1] if len(sys.argv) > 1 else "0"
video = cv2.VideoCapture(int(source) if source.isdigit() else source)
window = "--no-window" not in sys.argv
while True:
    is_read, frame = video.read()
    if not is_read:
        break
    for face in predictor.frame(frame):
        x, y, width, height = face.box
        cv2.rectangle(frame, (x, y), (x + width, y + height), (0, 255, 0), 2)
        cv2.putText(frame, face.label, (x, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 0), 2)
        print(face.label, f"{face.confidence:.2f}")
    if window:
        cv2.imshow("feredge", frame)
        if cv2.waitKey(1) == ord("q"):
            break
video.release()
