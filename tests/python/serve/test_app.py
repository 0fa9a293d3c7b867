"""The application: health, metadata, metrics, page, API key, number of requests, and shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yolort
from serving import SAMPLE, TestClient, error_of
from streaming import Gated
from yolort import serve
from yolort.serve import answers


def test_it_tells_what_it_is(client: Any, detector: yolort.Detector) -> None:
    for path in ("/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/scenes/ready"):
        assert client.get(path).status_code == 200
    assert client.get("/v2").json()["version"] == yolort.__version__
    model = client.get("/v2/models/scenes").json()
    assert model["parameters"]["names"] == list(detector.names.values())
    assert {one["name"] for one in model["outputs"]} == {"counts", "boxes", "scores", "classes"}
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        assert "this server runs 'scenes'" in error_of(client.get(path), 404)
    assert "this server runs 'scenes'" in error_of(client.post("/v2/models/other/infer", content=b"{}"), 404)
    assert error_of(client.get("/nothing"), 404)
    assert error_of(client.get("/detect"), 405)


def test_metrics(detector: yolort.Detector, expected: yolort.Detections) -> None:
    with TestClient(serve.create_app(detector)) as client:
        client.post("/detect", content=SAMPLE)
        client.post("/detect", content=b"")
        client.get("/a/path/of/a/stranger")
        text = client.get("/metrics").text
    assert 'yolort_requests_total{path="/detect",status="200"} 1.0' in text
    assert 'yolort_requests_total{path="/detect",status="400"} 1.0' in text
    assert "stranger" not in text
    assert f"yolort_detections_total {float(len(expected))}" in text
    assert "yolort_images_total 1.0" in text
    assert "yolort_request_seconds_count 2.0" in text


def test_the_page(client: Any) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", answer.text)  # loads nothing else
    assert client.get("/sample.jpg").content == SAMPLE


def test_the_key(detector: yolort.Detector) -> None:
    with TestClient(serve.create_app(detector, api_key="a secret")) as client:
        for headers in (
            {},
            {"Authorization": "Bearer a secre"},
            {"X-API-Key": "ä"},
            {"Authorization": "Basic a secret"},
        ):
            encoded = {name: value.encode() for name, value in headers.items()}
            assert "API key" in error_of(client.post("/detect", content=SAMPLE, headers=encoded), 401)
        assert client.get("/metrics").status_code == client.get("/v2/models/yolo").status_code == 401
        for headers in ({"Authorization": "Bearer a secret"}, {"X-API-Key": "a secret"}):
            assert client.post("/detect", content=SAMPLE, headers=headers).status_code == 200
        assert client.get("/healthz").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize(
    "options", [{"api_key": ""}, {"api_key": " x"}, {"api_key": "ä"}, {"name": "a/b"}, {"name": ""}]
)
def test_options_out_of_range(detector: yolort.Detector, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options)).replace("_", " ").replace("api", "API")):
        serve.create_app(detector, **options)


def test_more_requests_than_allowed_are_turned_away() -> None:
    gated = Gated()
    app = serve.create_app(gated, limits=serve.Limits(requests=1))  # type: ignore[arg-type]
    with TestClient(app) as client:
        first: list[Any] = []
        waiting = threading.Thread(target=lambda: first.append(client.post("/detect", content=SAMPLE)))
        waiting.start()
        assert gated.entered.wait(60)
        refused = client.post("/detect", content=SAMPLE)
        assert "1 requests are in the server already; try again later" in error_of(refused, 429)
        assert refused.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        gated.gate.set()
        waiting.join(60)
        assert first[0].status_code == 200
        assert client.post("/detect", content=SAMPLE).status_code == 200


def test_without_workers_it_is_not_ready(detector: yolort.Detector) -> None:
    app = serve.create_app(detector)
    with TestClient(app) as client:
        app.state.service.batcher.close()
        assert error_of(client.get("/v2/health/ready"), 503)
        assert error_of(client.post("/detect", content=SAMPLE), 503)
        assert client.get("/v2/health/live").status_code == 200


def test_a_process_that_is_stopped_finishes_its_requests(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a secret\n")
    command = ["serve", yolort.demo_model("ncnn"), "--port", 0, "--api-key-file", tmp_path / "key", "--engine", "ncnn"]
    process = subprocess.Popen(
        [sys.executable, "-m", "yolort", *map(str, command)], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stderr
    log = ""
    while not (found := re.search(r"running on (http://\S+)", log)):
        log += process.stderr.readline()
        assert process.poll() is None, log

    def ask() -> int:
        request = urllib.request.Request(f"{found[1]}/detect", SAMPLE, {"X-API-Key": "a secret"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return len(json.load(answer)["detections"])

    def accepted() -> float:
        request = urllib.request.Request(f"{found[1]}/metrics", headers={"X-API-Key": "a secret"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return sum(
            map(float, re.findall(r'^yolort_requests(?:_active|_total{path="/detect",status="200"}) (.*)$', text, re.M))
        )

    assert ask()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{found[1]}/metrics", timeout=60)
    refused.value.close()
    results: list[Any] = []
    clients = [threading.Thread(target=lambda: results.append(ask())) for _ in range(8)]
    for client in clients:
        client.start()
    while accepted() < 1 + len(clients):
        pass
    process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join(60)
    log += process.communicate(timeout=60)[1]
    assert len(results) == len(clients)
    assert len(set(results)) == 1
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    assert process.returncode == 143


def test_a_request_counts_until_its_answer_is_read(detector: yolort.Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    long = bytes(200_000)
    monkeypatch.setattr(answers, "one_answer", lambda *_: long)
    app = serve.create_app(detector, limits=serve.Limits(requests=1))
    scope = {"type": "http", "method": "POST", "path": "/detect", "query_string": b"", "headers": []}

    async def ask(reading: asyncio.Event, begun: asyncio.Event) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": SAMPLE, "more_body": False}

        async def send(message: Any) -> None:
            if sent:
                begun.set()
                await reading.wait()
            sent.append(message)

        await app(dict(scope), receive, send)
        return sent

    async def scenario() -> None:
        read, unread, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
        read.set()
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(ask(unread, begun))
            await asyncio.wait_for(begun.wait(), 60)
            assert (await ask(read, asyncio.Event()))[0]["status"] == 429
            unread.set()
            sent = await asyncio.wait_for(first, 60)
            assert sent[0]["status"] == 200
            assert [len(one["body"]) for one in sent[1:]] == [65_536, 65_536, 65_536, 3_392]
            assert (await ask(read, asyncio.Event()))[0]["status"] == 200

    asyncio.run(scenario())


def test_a_mounted_application(detector: yolort.Detector) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = serve.create_app(detector, name="m", api_key="k")
    outer = TestClient(Starlette(routes=[Mount("/yolo", inner)]))
    assert "lifespan" in error_of(outer.post("/yolo/detect", content=SAMPLE, headers={"X-API-Key": "k"}), 503)
    with TestClient(inner):
        assert outer.get("/yolo/healthz").status_code == 200
        assert outer.get("/yolo/").status_code == 200
        assert outer.get("/yolo/metrics").status_code == 401
        assert outer.post("/yolo/detect", content=SAMPLE, headers={"X-API-Key": "k"}).status_code == 200
