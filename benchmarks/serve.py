"""How a server bears a crowd: N clients at once on a Tiny VGG, in rounds, with the memory before and after each.

    python benchmarks/serve.py [--clients 50] [--requests 20] [--rounds 3] [--maps 2] [--checkpoint CKPT]

Each client sends pictures one after the other and asks for maps of some; the server runs in a process of its own. Nothing
is asserted. Memory that grows from the second round to the last would be a leak; the first round fills the store.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from vgg_viz.data import shapes
from vgg_viz.maths.images import encode_jpeg

RAW, JSON = {"Content-Type": "application/octet-stream"}, {"Content-Type": "application/json"}
WISH = json.dumps({"methods": ["grad_cam", "saliency", "input_x_gradient"], "classes": [0]})


@dataclass
class Round:
    """What came back in one round: seconds a request, and what went wrong."""

    predictions: list[float] = field(default_factory=list)
    maps: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    later: int = 0  # 503: come back later


def client(port: int, bodies: list[bytes], maps: int, found: Round) -> None:
    """One reader: sends every picture, and asks for the maps of the first few, again where the server asks for patience."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for i, body in enumerate(bodies):
        answer = ask(connection, "/live/pictures", body, RAW, found.predictions, found)
        if answer and i < maps:
            token = json.loads(answer)["id"]
            lines = ask(connection, f"/live/pictures/{token}/maps", WISH.encode(), JSON, found.maps, found)
            if lines and json.loads(lines.splitlines()[-1])["state"] != "done":
                found.errors.append(lines.splitlines()[-1].decode()[:200])
    connection.close()


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes,
    headers: dict[str, str],
    times: list[float],
    found: Round,
) -> bytes | None:
    """One request, timed until its last byte; waits and asks again where the server says 503."""
    while True:
        began = time.perf_counter()
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            found.errors.append(repr(error))
            connection.close()
            return None
        if answer.status == 503:
            found.later += 1
            time.sleep(0.1)
            continue
        if answer.status != 200:
            found.errors.append(f"{answer.status}: {content[:200]!r}")
            return None
        times.append(time.perf_counter() - began)
        return content


def memory(process: int) -> float:
    """Resident memory of a process [MB]; Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def said(times: list[float]) -> str:
    """Median, 95th percentile and the longest [ms]."""
    if not times:
        return "none"
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return f"p50 {1000 * statistics.median(ordered):,.0f} ms, p95 {1000 * p95:,.0f} ms, longest {1000 * ordered[-1]:,.0f} ms"


def main() -> None:
    """Start a server, send the crowd, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20, help="pictures of each client in a round")
    parser.add_argument("--maps", type=int, default=2, help="of them with maps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=640, help="of a picture [px]")
    parser.add_argument("--checkpoint", help="default: the bundled Tiny VGG")
    options = parser.parse_args()

    painted = shapes.paint(options.requests, seed=1, split="test", side=64).images
    bodies = [
        encode_jpeg(image.repeat_interleave(options.side // 64, 1).repeat_interleave(options.side // 64, 2))
        for image in painted
    ]
    network = ["--checkpoint", options.checkpoint] if options.checkpoint else ["--checkpoint"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vgg_viz", "serve", "--port", "0", *network], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1])
        print(
            f"{options.clients} clients at once, {options.requests} JPEGs of {options.side} px each "
            f"({sum(map(len, bodies)) / len(bodies) / 1000:.0f} kB), maps of {options.maps} of them"
        )
        print(f"memory before: {memory(process.pid):.0f} MB")
        for number in range(options.rounds):
            found = Round()
            began = time.perf_counter()
            with ThreadPoolExecutor(options.clients) as crowd:
                for one in [crowd.submit(client, port, bodies, options.maps, found) for _ in range(options.clients)]:
                    one.result()
            seconds = time.perf_counter() - began
            count = len(found.predictions) + len(found.maps)
            print(
                f"round {number + 1}: {count:,} answers in {seconds:.1f} s ({count / seconds:,.0f} a second), "
                f"{len(found.errors)} errors, {found.later} times asked to come back later"
            )
            print(f"  predictions: {said(found.predictions)}")
            print(f"  maps:        {said(found.maps)}")
            print(f"  memory after: {memory(process.pid):.0f} MB")
            for error in found.errors[:3]:
                print(f"  {error}")
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
