"""The server: what it refuses, that nobody waits for another, that a map from it is the map, and that memory stays bounded."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewer_data import unpacked

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from loose_options import attribute
from serving import RAW, SIDE, Client, gallery, hears_ctrl_c, picture, serving, small

from vgg_viz.attribution import methods
from vgg_viz.attribution.cam_reduction import CAMS
from vgg_viz.attribution.single_pass import SHARED
from vgg_viz.cli import main
from vgg_viz.data.folder import read_images
from vgg_viz.errors import DataRefused, ImageRefused, InputRefused
from vgg_viz.gallery.page import document, render_index
from vgg_viz.maths.images import encode_jpeg
from vgg_viz.models.build import architecture, build
from vgg_viz.records import Checkpoint
from vgg_viz.serve.galleries import NOTHING, Galleries, offer, page_policy
from vgg_viz.serve.guard import ListenAddress
from vgg_viz.serve.intake import Intake
from vgg_viz.serve.jobs import Jobs
from vgg_viz.serve.lanes import Full, Lane
from vgg_viz.serve.listening import listening
from vgg_viz.serve.live import Live
from vgg_viz.serve.network import ServedNetwork, rank_classes
from vgg_viz.serve.store import Store, StoredPicture

HOSTILE = (
    "</script><script>alert(1)</script>",
    "__proto__",
    "a\u202eb",
    "{{ 7 * 7 }}",
    "",
    "../..",
    '"',
    "'",
    "&amp;",
    "x" * 300,
)
ONE = {"methods": ["saliency"], "classes": [0]}


@pytest.fixture(scope="module")
def network() -> ServedNetwork:
    return ServedNetwork(small())


@pytest.fixture(scope="module")
def client(network, tmp_path_factory) -> Any:
    """A server with a gallery, things beside it that are none of anybody's business, and a live page."""
    place = tmp_path_factory.mktemp("served")
    (place / "secret.html").write_text("SECRET")
    root = place / "gallery"
    one = gallery(root / "one")
    (root / "loose.html").write_text("SECRET")  # in the folder, but in no gallery
    (one / ".hidden.json").write_text("SECRET")
    (one / ".git").mkdir()
    (one / ".git" / "config.json").write_text("SECRET")
    (one / "key.pem").write_text("SECRET")
    (one / "out.html").symlink_to(place / "secret.html")
    (one / "up").symlink_to(place)
    (one / "inside.html").symlink_to(one / "index.html")
    (one / "veiled.json").symlink_to(one / ".hidden.json")
    (one / "loop.html").symlink_to(one / "loop.html")
    os.mkfifo(one / "pipe.html")
    gallery(place / "elsewhere")
    (root / "linked").symlink_to(place / "elsewhere")
    (root / "endless").symlink_to(root / "endless")
    gallery(root / ".half")
    gallery(root / "a b#c?d")
    with serving(galleries=root, live=Live(network)) as asked:
        yield asked


# ---------------------------------------------------------------- galleries


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/galleries/", "text/html; charset=utf-8"),
        ("/galleries/index.html", "text/html; charset=utf-8"),
        ("/galleries/one/", "text/html; charset=utf-8"),
        ("/galleries/one/index.html", "text/html; charset=utf-8"),
        ("/galleries/one/figures/one.png", "image/png"),
        ("/galleries/one/figures/one.svg", "image/svg+xml"),
        ("/galleries/one/manifest.json", "application/json"),
        ("/galleries/one/inside.html", "text/html; charset=utf-8"),
        ("/galleries/a%20b%23c%3Fd/", "text/html; charset=utf-8"),
    ],
)
def test_what_belongs_to_a_gallery_is_served_with_its_type(client, path, media_type):
    answer = client("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == media_type
    assert b"SECRET" not in answer.body
    assert client("HEAD", path).status in (200, 405)


CLIMBING = [
    "/galleries/../secret.html",
    "/galleries/one/../../secret.html",
    "/galleries/%2e%2e/secret.html",
    "/galleries/one/%2e%2e/%2e%2e/secret.html",
    "/galleries/one/..%2f..%2fsecret.html",
    "/galleries/one/%2e%2e%2f%2e%2e%2fsecret.html",
    "/galleries/one/..%5c..%5csecret.html",
    "/galleries/one/%252e%252e/%252e%252e/secret.html",
    "/galleries/one/....//....//secret.html",
    "/galleries/one/./index.html",
    "/galleries//etc/passwd",
    "/galleries/one//etc/passwd",
    "/galleries/%2fetc%2fpasswd",
    "/galleries/one/%2fetc/passwd",
    "/galleries/one/index.html%00.png",
    "/galleries/%00",
    "/galleries/one/index.html%0a",
    "/galleries/one/c:index.html",
    "/galleries/one/out.html",
    "/galleries/one/up/secret.html",
    "/galleries/linked/index.html",
    "/galleries/.half/index.html",
    "/galleries/one/.hidden.json",
    "/galleries/one/.git/config.json",
    "/galleries/one/veiled.json",
    "/galleries/one/key.pem",
    "/galleries/loose.html",
    "/galleries/one/loop.html",
    "/galleries/one/pipe.html",
    "/galleries/one/figures",
    "/galleries/one/figures/",
    "/galleries/one/index.html/x",
    "/galleries/" + "a" * 5000,
    "/galleries/one/" + "a/" * 3000,
    "/galleries/one/%ff%fe.html",
    "/galleries/one/%ed%a0%80.html",
    "/galleries/nothing/",
    "/secret.html",
    "//galleries/one/",
    "/gallery/one/",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_no_spelling_of_an_address_leaves_the_galleries(client, path):
    answer = client("GET", path)
    assert answer.status == 404
    assert b"SECRET" not in answer.body
    assert b"root:" not in answer.body


def test_the_spellings_would_have_reached_something(client):
    # Without this, the test above could pass because the files that it wants are not there.
    assert client("GET", "/galleries/one/figures/one.png").body == picture()


def test_the_index_lists_whole_visible_galleries_and_the_live_page(client):
    page = client("GET", "/galleries/").body.decode()
    assert 'href="./one/index.html"' in page
    assert 'href="./a%20b%23c%3Fd/index.html"' in page
    assert 'href="./../live"' in page
    assert "half" not in page
    assert "linked" not in page


def test_a_gallery_without_its_last_slash_is_led_to_its_page(client):
    for name in ("one", "a%20b%23c%3Fd"):
        answer = client("GET", f"/galleries/{name}")
        assert (answer.status, answer.headers["location"]) == (307, f"/galleries/{name}/")
    assert client("GET", "/").headers["location"] == "/galleries/"
    assert client("GET", "/galleries").headers["location"] == "/galleries/"


def test_a_folder_that_is_itself_a_gallery_is_served_by_its_name(tmp_path):
    found = Galleries(gallery(tmp_path / "own"))
    assert list(found.folders()) == ["own"]
    assert found.find("own/") is not None
    assert found.find("own/../own/index.html") is None


def test_every_answer_carries_the_headers_that_keep_others_out(client):
    for method, path in [
        ("GET", "/galleries/"),
        ("GET", "/galleries/one/figures/one.svg"),
        ("GET", "/live"),
        ("GET", "/nothing"),
        ("PUT", "/live"),
        ("POST", "/live/pictures"),
        ("GET", "/"),
    ]:
        headers = client(method, path, b"" if method == "POST" else None).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_the_policy_in_the_header_is_that_of_the_page_and_no_framing(client):
    for path in ("/galleries/one/index.html", "/galleries/", "/live"):
        answer = client("GET", path)
        own = answer.body.decode().split('Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
        assert "sha256-" in own
        assert answer.headers["content-security-policy"] == f"{own}; frame-ancestors 'none'"
    assert client("GET", "/galleries/one/figures/one.svg").headers["content-security-policy"] == NOTHING


@pytest.mark.parametrize(
    "policy",
    [
        "default-src *",
        "default-src 'none'; script-src 'unsafe-inline'",
        "default-src 'none'; connect-src 'self'",
        "script-src 'none'",
        "",
        "default-src 'none'; script-src 'self'",
        "default-src 'none'; img-src https://example.org",
        "default-src 'none'; report-uri /x",
    ],
)
def test_a_page_with_a_weaker_policy_may_do_nothing(policy):
    assert page_policy(f'<meta http-equiv="Content-Security-Policy" content="{policy}">') == NOTHING
    assert page_policy("<p>no policy</p>") == NOTHING


def test_only_the_live_page_may_ask_the_server(client):
    assert "connect-src 'self'" in client("GET", "/live").headers["content-security-policy"]
    assert "connect-src" not in client("GET", "/galleries/").headers["content-security-policy"]
    assert "connect-src" not in render_index([])
    assert "connect-src &#39;self&#39;" in document("index.html", may_fetch=True, rows=[], columns=[], live_href="")


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("127.0.0.1", 400),
        ("127.0.0.1:80", 400),
        ("evil.example:{port}", 400),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:{port}", 400),
        ("localhost.:{port}", 400),
        ("127.0.0.1:{port}@evil.example", 400),
        ("evil.example#localhost:{port}", 400),
        ("", 400),
        ("0.0.0.0:{port}", 400),
        ("127.0.0.1:{port},evil.example", 400),
        ("[::1:{port}", 400),
        ("192.168.0.7:{port}", 400),
        ("127.0.0.1:{port}0", 400),
        ("localhost:9{port}", 400),
    ],
)
def test_the_host_must_be_this_machine_with_our_port(client, host, status):
    assert client("GET", "/galleries/", headers={"Host": host.format(port=client.port)}).status == status


def test_two_hosts_or_none_are_refused(client):
    for lines in (
        b"GET /live HTTP/1.1\r\n\r\n",
        b"GET /live HTTP/1.0\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost:%d\r\nHost: evil.example\r\n\r\n" % client.port,
    ):
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as plain:
            plain.sendall(lines)
            assert b" 400 " in plain.recv(1000)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("http://localhost:{port}", 200),
        ("null", 403),
        ("http://evil.example", 403),
        ("https://127.0.0.1:{port}", 403),
        ("http://127.0.0.1:1", 403),
        ("http://127.0.0.1:{port}.evil.example", 403),
        ("", 403),
        ("http://127.0.0.1", 403),
        ("file://", 403),
    ],
)
def test_an_origin_must_be_ours(client, origin, status):
    origin = origin.format(port=client.port)
    assert client("GET", "/live", headers={"Origin": origin}).status == status
    assert client("POST", "/live/pictures", picture(), {**RAW, "Origin": origin}).status == status


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("odd", 403)]
)
def test_a_browser_says_which_site_asks_and_others_may_not_send(client, site, status):
    assert client("POST", "/live/pictures", picture(), {**RAW, "Sec-Fetch-Site": site}).status == status
    assert client("GET", "/live", headers={"Sec-Fetch-Site": site}).status == 200  # a link from elsewhere may lead here


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_unknown(client, method):
    assert client(method, "/live").status in (400, 405)  # CONNECT and unknown words may be refused by the parser


def test_an_address_knows_its_own_methods(client):
    assert client("POST", "/live", b"").status == 405
    assert client("GET", "/live/pictures").status == 405
    assert client("POST", "/galleries/one/index.html", b"").status == 405


def test_a_server_for_other_machines_takes_plain_addresses_but_no_names():
    place = ListenAddress("0.0.0.0", 8000)
    assert not place.loopback
    assert place.is_ours("192.168.0.7:8000")
    assert place.is_ours("[fe80::1]:8000")
    assert not place.is_ours("evil.example:8000")
    assert ListenAddress("pc.lan", 80).is_ours("pc.lan")
    assert not ListenAddress("pc.lan", 80).loopback
    assert ListenAddress("127.0.0.9", 1).loopback
    assert ListenAddress("localhost", 1).loopback


# ---------------------------------------------------------------- what comes in


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int, *, whole: bool = False) -> bytes:
    """A PNG that claims a size; `whole`: with all its rows, of one grey."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + width)) for _ in range(height)) if whole else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows + packed.flush()) + chunk(b"IEND", b"")


JPEG = encode_jpeg(torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (JPEG[: len(JPEG) // 2], 400, "damaged or cut short"),
        (picture()[:-40], 400, "damaged or cut short"),
        (b"", 400, "is empty (0 bytes)"),
        (b"<script>alert(1)</script>" * 9, 400, "is an XML file; pictures are JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 400, "is not a picture"),
        (bomb(60_000, 60_000), 400, "50 million pixels"),
        (bomb(8000, 7000, whole=True), 400, "more than 50 million pixels"),
        (bomb(300, 200), 400, "damaged or cut short"),
        (b"GIF89a" + bytes(30), 400, "The picture"),
        (bytes(20_000_001), 413, "more than 20 MB"),
    ],
    ids=[
        "half a JPEG",
        "cut PNG",
        "nothing",
        "a page",
        "PostScript",
        "bomb by header",
        "whole bomb",
        "no rows",
        "empty GIF",
        "20 MB and 1",
    ],
)
def test_what_is_no_good_picture_is_refused_in_a_sentence(client, body, status, words):
    answer = client.send(body)
    assert answer.status == status
    assert words in answer.error
    assert answer.error.endswith(".")
    assert client.send(picture()).status == 200  # and the server is as well as before


def test_a_picture_of_many_pixels_that_is_allowed_is_answered(client):
    assert client.send(bomb(3000, 2000, whole=True)).status == 200


def test_too_long_a_body_is_refused_by_its_content_length_before_it_comes(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as plain:
        plain.sendall(
            b"POST /live/pictures HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: 20000001\r\n\r\n" % client.port
        )
        assert plain.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_too_long_a_body_without_content_length_is_refused_while_it_comes(client):
    answer = client("POST", "/live/pictures", iter([bytes(1_000_000)] * 25), RAW, chunked=True)
    assert answer.status == 413
    assert client("POST", "/live/pictures", iter([picture()]), RAW, chunked=True).status == 200


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain", ""]
)
def test_what_a_form_of_another_site_could_send_is_not_taken(client, kind):
    assert client("POST", "/live/pictures", picture(), {"Content-Type": kind}).status == 415
    assert client("POST", "/live/pictures/x/maps", b"{}", {"Content-Type": kind}).status == 415


def test_large_pictures_wait_in_a_short_line_of_their_own(network):
    live, go = Live(network, large=1), threading.Event()
    with serving(live=live) as asked:
        inside = live.large.enter(go.wait)  # somebody else's large picture is being unpacked
        large = asked.send(bomb(3000, 2000, whole=True))
        assert (large.status, large.headers["retry-after"]) == (503, "2")
        assert asked.send(picture()).status == 200
        go.set()
        assert inside.result(20)
        assert asked.send(bomb(3000, 2000, whole=True)).status == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF"])
def test_damaged_bytes_of_every_kind_are_refused_and_never_an_accident(network, kind):
    file, dice = io.BytesIO(), random.Random(kind)
    try:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file, kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    assert network.prepared(file.getvalue()).shape == (1, 3, SIDE, SIDE)
    refused = 0
    for _ in range(400):
        data = bytearray(file.getvalue())
        for _ in range(dice.choice((1, 5, 20))):
            data[dice.randrange(min(len(data), dice.choice((60, 400, len(data)))))] = dice.randrange(256)
        try:
            network.prepared(bytes(data))
        except ImageRefused:
            refused += 1
    assert refused > 10


def test_a_body_that_never_ends_is_given_up(network):
    with serving(live=Live(network, intake=Intake(patience=0.3))) as asked:
        with socket.create_connection(("127.0.0.1", asked.port), timeout=20) as plain:
            plain.sendall(
                b"POST /live/pictures HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: 1000\r\n\r\nabc" % asked.port
            )
            assert plain.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert asked.send(picture()).status == 200


def test_all_bodies_together_are_bounded_and_given_back(network):
    intake = Intake(most_at_once=50_000)
    live = Live(network, intake=intake)
    with serving(live=live) as asked:
        answer = asked.send(bytes(60_000))
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert asked.send(picture()).status == 200
        with socket.create_connection(("127.0.0.1", asked.port), timeout=20) as plain:  # one who leaves in the middle
            plain.sendall(
                b"POST /live/pictures HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: 30000\r\n\r\n" % asked.port + bytes(20_000)
            )
            until(lambda: intake.held > 0)
        until(lambda: intake.held == 0)


def until(true: Any, seconds: float = 20) -> None:
    """Wait for something that another thread does; fails when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_nothing_that_is_sent_is_written_to_disk(client, tmp_path, monkeypatch):
    opened = []
    wrote = threading.Event()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not wrote.is_set() and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    (tmp_path / "proof").write_text("x")
    assert len(opened) == 1  # the hook sees what is written
    token = client.send(encode_jpeg(torch.rand(3, 900, 900))).json()["id"]
    client.wish(token, **ONE)
    wrote.set()
    assert len(opened) == 1


# ---------------------------------------------------------------- what comes out


def test_the_answer_is_what_the_network_says(client, network, tmp_path):
    (tmp_path / "x.png").write_bytes(picture())
    batch = read_images(tmp_path / "x.png", image_side=SIDE)
    truth = build(small())(batch.images)[0].softmax(0)
    found = client.send(picture()).json()
    assert [index for index, _ in found["top"]] == truth.topk(5).indices.tolist()
    assert [share for _, share in found["top"]] == pytest.approx(truth.topk(5).values.tolist(), abs=1e-6)
    assert found["seconds"] >= 0


@pytest.mark.parametrize("method", sorted(methods()))
def test_a_map_from_the_server_is_the_map(client, network, tmp_path, method):
    (tmp_path / "x.png").write_bytes(picture(1))
    images = read_images(tmp_path / "x.png", image_side=SIDE).images
    said = events(
        client.wish(client.send(picture(1)).json()["id"], methods=[method], classes=[3])
    )  # no map of which is flat
    viewer = said[-1]["viewer"]
    layers = network.layers if method in CAMS else [network.usual_layer if methods()[method].layered else None]
    assert len(viewer["maps"]) == len(layers)
    for entry, layer in zip(viewer["maps"], layers, strict=True):
        truth = attribute(build(small()), images, method=method, target=3, layer=layer)
        assert entry["class"] == 3
        assert entry["layer"] == truth.layer
        assert viewer["methods"][0]["id"] == method
        assert close(entry, truth.values[0].numpy())


def close(entry: dict[str, Any], truth: np.ndarray) -> bool:
    """Whether a map as bytes is `truth`, to half a step of its 256 and what float32 forgets."""
    span = entry["high"] - entry["low"]
    values = (
        entry["low"]
        + np.frombuffer(base64.b64decode(entry["data"]), np.uint8).reshape(entry["h"], entry["w"]) * span / 255
    )
    if values.shape != truth.shape:  # occlusion: one value a square
        factor = truth.shape[0] // values.shape[0]
        values = values.repeat(factor, 0).repeat(factor, 1)
    return bool(span > 0 and np.abs(values - truth).max() <= span * (0.5 / 255 + 1e-4))


def test_a_wrong_map_would_be_noticed(client):
    entry = events(client.wish(client.send(picture(1)).json()["id"], **ONE))[-1]["viewer"]["maps"][0]
    right = entry["low"] + np.frombuffer(base64.b64decode(entry["data"]), np.uint8).reshape(
        entry["h"], entry["w"]
    ) / 255 * (entry["high"] - entry["low"])
    assert close(entry, right)
    assert not close(entry, right.T)
    assert not close(entry, right * 1.01 + 0.01 * entry["high"])


def events(answer: Any) -> list[dict[str, Any]]:
    """The lines of a stream of maps."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    told = [json.loads(line) for line in answer.body.splitlines()]
    return [{**said, "viewer": unpacked(said["viewer"])} if "viewer" in said else said for said in told]


def test_several_methods_classes_and_one_layer_come_together(client, network):
    token = client.send(picture()).json()["id"]
    layer = network.layers[1]
    wish = {"methods": ["saliency", "grad_cam", "guided_grad_cam", "saliency"], "classes": [2, 7, 2], "layer": layer}
    maps = events(client.wish(token, **wish))[-1]["viewer"]["maps"]
    assert [(one["method"], one["layer"], one["class"]) for one in maps] == [
        (method, layer if method == "grad_cam" else None, index)
        for index in (2, 7)
        for method in ("saliency", "grad_cam", "guided_grad_cam")
    ]
    assert len({one["target"] for one in maps}) == 2


def test_all_methods_of_the_shared_pass_come_from_one_forward_pass_a_class(network):
    seen, forward = network.seen(network.prepared(picture(1))), []
    viewer = unpacked(
        network.maps(seen, network.wish({"methods": list(SHARED), "classes": [1, 3]}), lambda *_: None, forward.append)
    )
    assert forward == [1, 1]
    assert len(viewer["maps"]) == 2 * (2 + len(CAMS) * len(network.layers))


def test_maps_of_a_larger_network_travel_whole():
    wanted = architecture("vgg11", image_side=128, width=0.05, num_classes=3)
    large = ServedNetwork(Checkpoint(wanted, ("a", "b", "c"), build(wanted, seed=1).state_dict()))
    seen = large.seen(large.prepared(picture(0, 128)))
    wish = large.wish({"methods": ["grad_cam", "saliency"], "classes": [1]})
    viewer = unpacked(large.maps(seen, wish, lambda *_: None, lambda _: None))
    assert {(one["layer"], one["h"]) for one in viewer["maps"]} >= {(None, 128), ("relu1_1", 128), ("relu5_2", 8)}
    assert len(viewer["maps"]) == 9
    for entry in viewer["maps"]:
        truth = attribute(build(wanted, seed=1), seen.image, method=entry["method"], target=1, layer=entry["layer"])
        assert close(entry, truth.values[0].numpy())


def test_the_word_for_a_class_is_its_rank_and_no_two_share_one():
    probabilities = torch.linspace(1, 0, 123)
    words = [rank_classes(probabilities, index) for index in range(123)]
    assert words[:4] == ["predicted", "runner-up", "3rd-ranked", "4th-ranked"]
    assert [words[i - 1] for i in (11, 12, 13, 21, 22, 23, 101, 111, 112, 113, 121)] == [
        f"{word}-ranked"
        for word in ("11th", "12th", "13th", "21st", "22nd", "23rd", "101st", "111th", "112th", "113th", "121st")
    ]
    assert len(set(words)) == 123
    assert len({rank_classes(torch.zeros(5), index) for index in range(5)}) == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 9000, "no JSON"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"methods": ["saliency"], "classes": [0], "steps": 1000000}', "cannot be read"),
        (b'{"methods": [], "classes": [0]}', "No method"),
        (b'{"methods": "saliency", "classes": [0]}', "No method"),
        (b'{"methods": [["saliency"]], "classes": [0]}', "No method"),
        (b'{"methods": ["salienzy"], "classes": [0]}', "did you mean 'saliency'"),
        (b'{"methods": ["saliency"], "classes": []}', "1 to 5 classes"),
        (b'{"methods": ["saliency"], "classes": [0,1,2,3,4,5]}', "1 to 5 classes"),
        (b'{"methods": ["saliency"], "classes": [true]}', "1 to 5"),
        (b'{"methods": ["saliency"], "classes": [10]}', "classes 0 to 9"),
        (b'{"methods": ["saliency"], "classes": [-1]}', "classes 0 to 9"),
        (b'{"methods": ["grad_cam"], "classes": [0], "layer": "conv9"}', "no layer 'conv9'"),
        (b'{"methods": ["grad_cam"], "classes": [0], "layer": ["x"]}', "no layer"),
        (b'{"methods": ["saliency"], "classes": [NaN]}', "1 to 5"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_in_a_sentence(client, body, words):
    token = client.send(picture()).json()["id"]
    answer = client("POST", f"/live/pictures/{token}/maps", body, {"Content-Type": "application/json"})
    assert answer.status == 400
    assert words in answer.error


def test_a_long_wish_is_refused(client):
    answer = client("POST", "/live/pictures/x/maps", b" " * 10_001, {"Content-Type": "application/json"})
    assert answer.status == 413
    assert "10 kB" in answer.error


def test_a_picture_is_found_by_its_token_alone(client):
    token = client.send(picture()).json()["id"]
    assert len(token) >= 22
    assert client.send(picture()).json()["id"] != token
    for other in (token[:-1], token + "A", "..", "%2e%2e", "0", token.swapcase()):
        assert client.wish(other, **ONE).status == 404
    assert client.wish(token, **ONE).status == 200


def test_hostile_class_names_stay_text_in_the_page():
    with serving(live=Live(ServedNetwork(small(HOSTILE, file="</title><script>alert(1)</script>.pt")))) as asked:
        page = asked("GET", "/live").body.decode()
        assert asked("GET", "/").headers["location"] == "/live"
        assert asked("GET", "/galleries/").status == 404
    assert "<script>alert" not in page
    assert page.count("</script>") == 3  # the early one, the data, the late one
    assert "\u202e" not in page


# ---------------------------------------------------------------- nobody waits for another


class Slow(ServedNetwork):
    """A network whose maps take until they are let go, in steps like those of a true one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.running, self.go = threading.Event(), threading.Event()
        self.ended = 0

    def maps(self, picture: Any, wish: Any, tell: Any, passed: Any) -> dict[str, Any]:
        self.running.set()
        try:
            tell("Slow", 0, 1)
            while not self.go.wait(0.01):
                passed(1)
            return super().maps(picture, wish, tell, passed)
        finally:
            self.running.clear()
            self.ended += 1


@pytest.fixture
def slow() -> Any:
    network = Slow(small())
    yield network
    network.go.set()


def test_predictions_and_pages_are_answered_while_a_map_takes_its_time(slow, tmp_path):
    with ThreadPoolExecutor(1) as beside, serving(live=Live(slow), galleries=gallery(tmp_path / "one")) as asked:
        token = asked.send(picture()).json()["id"]
        maps = beside.submit(asked.wish, token, **ONE)
        assert slow.running.wait(20)
        for i in range(5):
            assert asked.send(picture(i)).status == 200
            assert asked("GET", "/galleries/one/").status == 200
            assert asked("GET", "/live").status == 200
        time.sleep(0.3)  # a word on how far it is comes every fifth of a second
        assert slow.running.is_set()  # all that happened meanwhile
        slow.go.set()
        told = events(maps.result(30))
    assert told[0]["state"] == "running"
    assert told[0]["part"] == "Slow"
    assert told[-1]["state"] == "done"
    assert told[-1]["viewer"]["maps"]
    assert told[-1]["seconds"] > 0


def test_too_many_jobs_are_sent_away_for_a_while(slow):
    live = Live(slow, jobs=Jobs(most=2))
    with ThreadPoolExecutor(2) as beside, serving(live=live) as asked:
        token = asked.send(picture()).json()["id"]
        waiting = [beside.submit(asked.wish, token, **ONE) for _ in range(2)]
        until(lambda: live.jobs.lane.inside == 2)
        refused = asked.wish(token, **ONE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert asked.send(picture()).status == 200
        slow.go.set()
        assert [events(one.result(30))[-1]["state"] for one in waiting] == ["done", "done"]
        until(lambda: live.jobs.lane.inside == 0)
        assert asked.wish(token, **ONE).status == 200


def test_a_job_ends_when_its_reader_goes_away_and_so_does_one_that_waits(slow):
    live = Live(slow)
    with serving(live=live) as asked:
        token = asked.send(picture()).json()["id"]
        body = json.dumps(ONE).encode()
        request = (
            f"POST /live/pictures/{token}/maps HTTP/1.1\r\nHost: localhost:{asked.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        readers = [socket.create_connection(("127.0.0.1", asked.port), timeout=20) for _ in range(2)]
        for reader in readers:
            reader.sendall(request)
            assert b"200 OK" in reader.recv(1000)
        until(lambda: live.jobs.lane.inside == 2 and slow.running.is_set())
        for reader in readers:
            reader.close()
        until(lambda: live.jobs.lane.inside == 0)
        assert not slow.go.is_set()
        assert slow.ended == 1  # the one that waited never began
        until(lambda: not live.jobs.current)


def test_a_job_that_takes_too_long_is_ended_with_a_sentence(slow):
    with serving(live=Live(slow, jobs=Jobs(most_seconds=0.2))) as asked:
        last = events(asked.wish(asked.send(picture()).json()["id"], **ONE))[-1]
    assert last["state"] == "failed"
    assert "took longer" in last["error"]


def test_a_true_method_ends_before_its_next_pass(network):
    passes = []

    class Enough(Exception):
        pass

    def passed(pictures: int) -> None:
        passes.append(pictures)
        if len(passes) == 3:
            raise Enough

    seen = network.seen(network.prepared(picture()))
    hooks = [len(module._forward_pre_hooks) for module in network.shows.modules()]
    with pytest.raises(Enough):
        network.maps(seen, network.wish({"methods": sorted(methods()), "classes": [0, 1, 2]}), lambda *_: None, passed)
    assert len(passes) == 3
    assert [len(module._forward_pre_hooks) for module in network.shows.modules()] == hooks


def test_the_fault_of_a_method_costs_its_job_alone(slow, monkeypatch, caplog):
    monkeypatch.setattr(ServedNetwork, "maps", lambda *_: 1 / 0)
    slow.go.set()
    with serving(live=Live(slow)) as asked:
        token = asked.send(picture()).json()["id"]
        last = events(asked.wish(token, **ONE))[-1]
        assert (last["state"], "ZeroDivisionError" in last["error"]) == ("failed", True)
        assert "Traceback" not in last["error"]
        monkeypatch.undo()
        assert events(asked.wish(token, **ONE))[-1]["state"] == "done"
    assert "a job failed" in caplog.text


def test_the_two_networks_share_their_weights_and_nothing_else(network):
    for one, other in zip(network.says.parameters(), network.shows.parameters(), strict=True):
        assert one is not other
        assert one.data_ptr() == other.data_ptr()


def test_fifty_at_once_get_their_own_answers(client):
    bodies = [picture(i % 7) for i in range(50)]
    alone = {body: client.send(body).json()["top"] for body in bodies[:7]}
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(client.send, bodies))
    assert [answer.status for answer in answers] == [200] * 50
    for body, answer in zip(bodies, answers, strict=True):
        assert [index for index, _ in answer.json()["top"]] == [index for index, _ in alone[body]]
    assert len({answer.json()["id"] for answer in answers}) == 50


def test_a_lane_takes_no_more_than_it_may_and_forgets_those_who_leave():
    async def trial() -> None:
        lane, go = Lane("test", 2), threading.Event()
        first = asyncio.ensure_future(lane.run(go.wait))
        second = asyncio.ensure_future(lane.run(go.wait))
        await asyncio.sleep(0.05)
        with pytest.raises(Full):
            await lane.run(go.wait)
        second.cancel()
        await asyncio.sleep(0.05)
        assert lane.inside == 1
        third = asyncio.ensure_future(lane.run(lambda: 3))
        go.set()
        assert await first
        assert await third == 3
        lane.close()

    ThreadPoolExecutor(1).submit(asyncio.run, trial()).result()  # the browser tests may keep a loop in this thread


# ---------------------------------------------------------------- memory


def held(size: int = 10) -> StoredPicture:
    return StoredPicture(torch.zeros(1, 1, size, size), torch.zeros(2))


def test_the_store_keeps_few_pictures_for_a_while_and_the_newest():
    now = 0.0
    store = Store(most=3, most_bytes=5000, lifetime=60, clock=lambda: now)
    tokens = [store.put(held()) for _ in range(3)]
    assert store.get(tokens[0]) is not None  # asked about, so it counts as new
    tokens.append(store.put(held()))
    assert [store.get(token) is not None for token in tokens] == [True, False, True, True]
    large = store.put(held(34))
    assert len(store) == 1
    assert store.size <= 5000
    huge = store.put(held(100))  # alone above the bound: it stays until another comes
    assert (store.get(large), len(store)) == (None, 1)
    now = 59.0
    assert store.get(huge) is not None
    now = 120.0
    store.sweep()
    assert len(store) == 0


def test_a_picture_that_the_store_has_dropped_is_told_to_be_gone(network):
    with serving(live=Live(network, store=Store(most=2))) as asked:
        tokens = [asked.send(picture(i)).json()["id"] for i in range(3)]
        assert [asked.wish(token, **ONE).status for token in tokens] == [404, 200, 200]


# ---------------------------------------------------------------- the command


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "vgg_viz", "serve", *arguments],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hears_ctrl_c,
    )


def test_ctrl_c_ends_it_with_130_and_no_traceback_also_while_maps_are_made(tmp_path):
    process = command("--port", "0", cwd=tmp_path)
    url = process.stdout.readline()
    assert url.startswith("http://127.0.0.1:")
    asked = Client(int(url.strip().rstrip("/").rsplit(":", 1)[1]))
    assert asked("GET", "/").headers["location"] == "/live"
    token = asked.send(picture()).json()["id"]
    with ThreadPoolExecutor(1) as beside:
        # Far more than two seconds of work.
        wish = {"methods": ["integrated_gradients", "smoothgrad", "occlusion"], "classes": [0, 1, 2, 3, 4]}
        waiting = beside.submit(asked.wish, token, **wish)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert waiting.result().status == 200
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "live page of the bundled Tiny VGG" in err
    assert "interrupted" in err
    assert "warning" not in err


def test_json_names_the_address_other_machines_are_let_in_with_a_warning_and_a_sigterm_ends_it_with_143(tmp_path):
    process = command("--host", "0.0.0.0", "--port", "0", "--json", "--quiet", cwd=tmp_path)
    url = json.loads(process.stdout.readline())["url"]
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert url.startswith("http://127.0.0.1:")
    assert (out, process.returncode) == ("", 143)
    (warning,) = err.splitlines()
    assert "warning: 0.0.0.0 can be reached from other machines" in warning


def refused(capsys: Any, *arguments: object) -> str:
    assert main(["serve", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("vgg_viz serve: ")
    assert line.endswith(".")
    return line


def test_without_the_extra_the_remedy_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert 'pip install "vgg_viz[serve]"' in refused(capsys)


def test_a_folder_without_galleries_is_refused_unless_there_is_a_network(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "'nothing' does not exist" in refused(capsys, tmp_path / "nothing")
    assert "'empty' holds no gallery" in refused(capsys, tmp_path / "empty")
    assert "'file' is a file" in refused(capsys, tmp_path / "file")
    galleries, source, said = offer(str(tmp_path / "empty"), "net.pt")
    assert (galleries, source) == (None, "net.pt")
    assert "no gallery" in said


def test_what_is_served_is_decided_by_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert offer(None, None)[:2] == (None, "")  # nothing at all: the bundled network
    gallery(tmp_path / "gallery" / "one")
    galleries, source, said = offer(None, None)
    assert (list(galleries.folders()), source) == (["one"], None)
    assert "1 gallery of 'gallery', to browse only" in said
    assert offer(None, "vgg16")[1] == "vgg16"
    with pytest.raises(DataRefused):
        offer("other", None)


def test_a_port_that_is_taken_is_refused_and_the_usual_one_gives_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} is taken" in refused(capsys, "--port", port)
        monkeypatch.setattr("vgg_viz.serve.listening.USUAL_PORT", port)
        with listening("127.0.0.1") as (_, place):
            assert place.port != port
    with listening("127.0.0.1") as (_, place):
        assert place.port == port


@pytest.mark.parametrize(
    ("host", "words"),
    [("no.such.host.invalid", "no host"), ("203.0.113.7", "no address of this machine"), ("a" * 300, "no host")],
)
def test_a_host_that_is_not_here_is_refused(host, words):
    with pytest.raises(InputRefused, match=words), listening(host, 0):
        pass


@pytest.mark.parametrize("port", ["65536", "-1", "http", "1e3"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", port])
    assert ended.value.code == 2
    assert "port" in capsys.readouterr().err
