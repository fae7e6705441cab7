"""A FastAPI application that embeds the Predictor; `feredge serve` is the ready service with limits and metrics.

uvicorn --app-dir examples fastapi_app:app
curl --data-binary @group.jpg http://127.0.0.1:8000/faces
"""

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from feredge import FeredgeError, Predictor

MAX_BODY_BYTES = 10_000_000

app = FastAPI()
predictor = Predictor()  # thread-safe: one serves all requests


@app.post("/faces")
async def classify(request: Request) -> list[dict[str, object]]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BODY_BYTES:,} bytes")
    try:
        faces = await run_in_threadpool(predictor.frame, bytes(body))
    except FeredgeError as error:
        raise HTTPException(400, str(error)) from error
    return [face.to_dict() for face in faces]
