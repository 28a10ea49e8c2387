"""The audit: networks whose answer is known by construction, and one trained on a planted shortcut, through the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vgg_viz.cli import main
from vgg_viz.data.cache import paint_labelled
from vgg_viz.data.shape_files import write_shapes
from vgg_viz.data.shortcuts import Shortcut
from vgg_viz.errors import DataRefused
from vgg_viz.maths.clusters import agreement, k_means, silhouette
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import save
from vgg_viz.records import Batch, Checkpoint, Provenance
from vgg_viz.sections.audit.summary import sentence, summary
from vgg_viz.shortcuts.findings import audit, suspicion
from vgg_viz.shortcuts.intervention import ClassShift, log_odds, permutation_test, standing_out
from vgg_viz.shortcuts.region import Region, emptied, paint_over, patch_overlap, tiled, transplant
from vgg_viz.shortcuts.search import SuspectRegion, narrowest, steady, within
from vgg_viz.shortcuts.strategies import strategies
from vgg_viz.studies.candidate_regions import suspects
from vgg_viz.studies.request import RunRequest

SIDE = 32


class Reader(nn.Module):
    """A closed form: class 0 where one part of the picture is red; class 1 or 2 by which half of its middle is the lighter.

    Without such a part, class 0 is told by its middle too: lighter above than below.
    """

    def __init__(self, where, strength=25.0):
        super().__init__()
        self.strength = strength
        self.where = None if where is None else nn.Parameter(where.float() / where.sum(), requires_grad=False)
        # A convolution for Grad-CAM: it passes the picture on.
        self.conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, images):
        red, green, blue = self.conv(images).unbind(1)
        left, upper = (
            green[:, 12:20, 12:16].mean((1, 2)) - green[:, 12:20, 16:20].mean((1, 2)),
            green[:, 12:16, 12:20].mean((1, 2)) - green[:, 16:20, 12:20].mean((1, 2)),
        )
        if self.where is None:
            return torch.stack([10 * upper, 10 * left, -10 * left], 1)
        mark = ((red - 0.5 * green - 0.5 * blue) * self.where).sum((1, 2))
        return torch.stack([self.strength * mark - 5, 10 * left, -10 * left], 1)


def world(mark, *, count=180, seed=0, upper=False):
    """Grey noise with a middle that is light on one side; a third of the pictures, class 0, have `mark` red as well.

    upper  whether the middle of class 0 is light above; else it is that of class 1 or 2
    """
    dice = torch.Generator().manual_seed(seed)
    images = 0.45 + 0.1 * torch.rand(count, 3, SIDE, SIDE, generator=dice)
    labels = torch.arange(count) % 3
    left = torch.where(labels == 0, torch.rand(count, generator=dice) > 0.5, labels == 1)
    half = torch.full((8, 8), 0.2)
    half[:, :4] = 0.8
    middles = torch.where(left[:, None, None], half, half.flip(1))
    middles = torch.where((labels == 0)[:, None, None], half.T, middles) if upper else middles
    images[:, :, 12:20, 12:20] = middles[:, None]
    red = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    images[labels == 0] = torch.where(mark, red, images[labels == 0])
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    masks[:, 11:21, 11:21] = True
    return Batch(images, labels, tuple(f"{int(label)}/{i}.png" for i, label in enumerate(labels)), masks)


CORNER, BORDER = Region("patch", (1, 25, 7, 31)), Region("border", (0, 0, SIDE, SIDE), 2)


def test_a_network_that_reads_a_corner_is_found_out():
    mark = CORNER.mask(SIDE)
    seen = audit(Wrapped(Reader(mark)), world(mark))
    found = seen.findings[0]
    assert (found.wanted, found.region.kind) == (0, "patch")
    assert patch_overlap(found.region.box, CORNER.box) >= 0.25
    assert found.verdict.turned > 0.6
    assert abs(found.verdict.control) < 0.05
    assert found.verdict.interval[0] > 0.3
    assert found.mass[0] > 10 * found.mass[1]
    assert found.elsewhere < 0.05
    assert found.recall[0] == 1
    assert all(seen.labels[place] == 0 for place in found.places)


def test_a_network_that_reads_the_border_is_found_out():
    mark = BORDER.mask(SIDE)
    seen = audit(Wrapped(Reader(mark)), world(mark))
    found = seen.findings[0]
    assert (found.wanted, found.region.kind) == (0, "border")
    assert found.recall[1] < found.recall[0]


@pytest.mark.parametrize("masks", [True, False])
def test_a_network_that_reads_only_the_object_is_left_alone_whatever_the_pictures_carry(masks):
    batch = world(CORNER.mask(SIDE), seed=3, upper=True)
    seen = audit(Wrapped(Reader(None)), Batch(batch.images, batch.labels, batch.names, batch.masks if masks else None))
    assert seen.right.all()
    assert seen.findings == ()


@pytest.mark.parametrize(("strength", "kinds"), [(25.0, ["patch"]), (3.0, [])])
def test_a_mark_that_moves_the_score_and_turns_no_picture_is_a_leaning_and_no_finding(strength, kinds):
    mark = CORNER.mask(SIDE)
    seen = audit(Wrapped(Reader(mark, strength)), world(mark))
    assert [one.region.kind for one in seen.findings if one.wanted == 0] == kinds
    leaning = [(suspect, verdict) for suspect, verdict in seen.leanings if suspect.wanted == 0]
    assert len(leaning) + len(kinds) == 1
    for suspect, verdict in leaning:
        assert suspect.region.kind == "patch"
        assert verdict.odds > 1
        assert verdict.turned == 0
    names = ("boat", "car", "dog")
    said = [one.text for one in summary(seen, names)]
    assert any(text.startswith("Leanings, no shortcuts: boat by the lower left") for text in said) == (not kinds)
    assert said[0].startswith("Class boat" if kinds else "No shortcut was found")


def test_what_is_carried_nowhere_in_particular_is_told_with_what_a_reader_must_judge():
    mark = CORNER.mask(SIDE)
    seen = audit(Wrapped(Reader(mark)), world(mark))
    found = seen.findings[0]
    assert "in the world" not in sentence(found, ("boat", "car", "dog"), SIDE)
    cast = replace(seen, findings=(replace(found, region=Region("colour")),))
    assert [summary(one, ("boat", "car", "dog"))[0].level for one in (seen, cast)] == ["bad", "warn"]
    colours = sentence(replace(found, region=Region("colour")), ("boat", "car", "dog"), SIDE)
    assert "without them the network still knows" in colours
    assert colours.endswith("Whether that is a shortcut depends on whether boat has these colours in the world, too.")
    assert sentence(replace(found, region=Region("background", None, 6)), ("boat", "car", "dog"), SIDE).endswith(
        "depends on whether boat is found before such backgrounds in the world, too."
    )


@pytest.mark.parametrize(
    ("count", "labels", "words"),
    [(12, None, "the fullest class that was asked for has 4 pictures"), (30, 1, "they show one class only")],
)
def test_too_few_pictures_for_a_trial_are_ranked_all_the_same_and_nothing_is_said_to_be_tested(count, labels, words):
    batch = world(CORNER.mask(SIDE), count=count)
    batch = batch if labels is None else replace(batch, labels=torch.full((count,), labels))
    seen = audit(Wrapped(Reader(CORNER.mask(SIDE))), batch)
    assert (seen.suspects, seen.tried, seen.findings) == ((), (), ())
    (said,) = summary(seen, ("boat", "car", "dog"))
    assert said.level == "warn"
    assert said.text.startswith("Nothing was tested")
    assert words in said.text
    assert suspicion(seen)[0].shape == (count,)
    with pytest.raises(DataRefused, match="1 labelled picture came"):
        audit(Wrapped(Reader(CORNER.mask(SIDE))), Batch(batch.images[:1], batch.labels[:1], batch.names[:1]))


class Wrapped(nn.Module):
    """The network with the names that this package asks layers by."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images)


def test_donors_that_differ_are_told_from_donors_that_do_not():
    dice = torch.Generator().manual_seed(0)
    own = torch.arange(60) < 15
    noise = torch.randn(60, 10, generator=dice)
    same, moved = (ClassShift(own, noise + shift * own[:, None], torch.zeros(60, 10)) for shift in (0.0, 1.0))
    assert permutation_test(same).p > 0.05
    assert permutation_test(moved).p <= 1 / 5000 + 1e-9
    assert permutation_test(moved).odds - permutation_test(same).odds == pytest.approx(1.0, abs=1e-5)
    assert standing_out(moved) > standing_out(same) + 5


def test_exchanges_reject_an_innocent_network_as_often_as_promised():
    own = torch.arange(40) < 10
    dice = torch.Generator().manual_seed(1)
    p = [
        permutation_test(ClassShift(own, torch.randn(40, 4, generator=dice), torch.zeros(40, 4)), rounds=199).p
        for _ in range(200)
    ]
    assert np.mean([value <= 0.05 for value in p]) == pytest.approx(0.05, abs=0.04)


def test_log_odds_are_those_of_the_softmax_and_do_not_break_when_one_class_has_all():
    logits = torch.tensor([[1.0, 2.0, -1.0], [80.0, 0.0, 0.0]])
    p = logits.double().softmax(1)
    assert torch.allclose(log_odds(logits)[0].double(), torch.logit(p[0]), atol=1e-5)
    assert log_odds(logits)[1, 0] == pytest.approx(80 - np.log(2), abs=1e-4)


def test_a_region_is_carried_whole_and_nothing_else_is():
    donors, recipients = torch.zeros(2, 3, SIDE, SIDE), torch.ones(3, 3, SIDE, SIDE)
    for region in (CORNER, BORDER):
        made = transplant(region, donors, recipients)
        assert made.shape == (2, 3, 3, SIDE, SIDE)
        assert made[..., region.mask(SIDE)].max() < 1e-6
        assert made[..., region.soft(SIDE) == 0].min() == 1
    halves = transplant(Region("colour"), torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.4))
    assert torch.allclose(halves, torch.full_like(halves, 0.2))
    assert torch.allclose(paint_over(BORDER, donors + 0.3), donors + 0.3)
    assert all(patch_overlap(place.box, CORNER.box) == 0 for place in CORNER.moved(SIDE))


def test_what_is_spared_stays_the_recipients_own():
    donors, recipients = torch.zeros(1, 3, SIDE, SIDE), torch.ones(2, 3, SIDE, SIDE)
    made = transplant(Region("border", (0, 0, SIDE, SIDE), 8, spared=CORNER), donors, recipients)
    assert made[..., CORNER.mask(SIDE)].min() == 1
    assert made[..., :6, :].max() < 1e-6


def test_a_narrow_region_is_named_where_it_explains_the_wide_one_and_else_the_wide_one_is():
    patch, border, ground = (
        SuspectRegion(0, region, 5.0, 0.1, odds)
        for region, odds in ((CORNER, 0.4), (BORDER, 2.0), (Region("background"), 3.0))
    )
    tried = [patch, border, ground]
    assert narrowest(tried, lambda wide, narrow: 0.1) is patch
    assert narrowest(tried, lambda wide, narrow: 0.9 if narrow is patch else 0.1) is border
    assert narrowest(tried, lambda wide, narrow: 0.9) is ground
    # Colours lie in no other region: the narrower that does nearly as much is named, whatever is left.
    colours = SuspectRegion(0, Region("colour"), 5.0, 0.1, 2.0)
    assert narrowest([colours, ground], lambda wide, narrow: 0.9) is colours
    assert narrowest([replace(one, stands_out=1.0) for one in tried], lambda wide, narrow: 0.1) is None
    assert [
        within(CORNER, wide) for wide in (BORDER, Region("background"), Region("background", None, 6), Region("colour"))
    ] == [True, True, False, False]
    assert not within(Region("patch", (2, 24, 8, 30)), BORDER)


def test_a_patch_of_like_pixels_is_told_from_one_that_objects_reach():
    own = torch.arange(60) < 20
    images = torch.rand(60, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert not steady(CORNER, images, own)
    images[:14] = torch.where(CORNER.mask(SIDE), 0.3, images[:14])  # seven in ten of the class carry the mark
    assert steady(CORNER, images, own)
    assert not steady(Region("patch", (20, 1, 26, 7)), images, own)


def test_a_background_is_carried_without_the_form_of_the_donors_object():
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    masks[0, 10:22, 14:18] = True
    masks[1, 14:18, 10:22] = True
    donors = torch.where(masks[:, None], 1.0, 0.25).expand(-1, 3, -1, -1)
    assert torch.equal(*emptied(donors, masks).split(1))
    assert (tiled(torch.full((3, 3, SIDE, SIDE), 0.5)) == 0.5).all()


def test_groups_of_vectors_are_found_and_measured():
    dice = torch.Generator().manual_seed(0)
    vectors = torch.cat(
        [torch.randn(n, 4, generator=dice) * 0.1 + place for n, place in ((30, 0.0), (20, 3.0), (10, -3.0))]
    )
    chosen, spread = k_means(vectors, 3)
    assert chosen.bincount().tolist() == [30, 20, 10]
    assert spread < k_means(vectors, 2)[1]
    assert silhouette(vectors, chosen) > 0.8 > silhouette(vectors, torch.arange(60) % 3)
    assert agreement(chosen, (chosen + 1) % 3) == pytest.approx(1)
    assert abs(agreement(chosen, torch.randint(3, (60,), generator=dice))) < 0.1


def test_suspicion_names_confident_mistakes_and_evidence_at_the_edge():
    mark = CORNER.mask(SIDE)
    batch = world(mark)
    batch.images[4] = torch.where(mark, torch.tensor([0.9, 0.1, 0.1])[:, None, None], batch.images[4])
    seen = audit(Wrapped(Reader(mark)), batch)
    score, why = suspicion(seen)
    assert score[4] > 0.9 > score[1]
    assert "confident and wrong" in why[4]
    assert "looks at the edge" in why[0]
    found, stable = strategies(seen)
    assert stable >= 0.6
    assert any(one.wanted == 0 and one.purity > 0.9 for one in found)


# ---------------------------------------------------------------- through the command


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A Tiny VGG that has learned a tag in a corner, and a folder of pictures that carry it."""
    place = tmp_path_factory.mktemp("audit")
    torch.set_num_threads(1)
    shortcut = Shortcut("corner", "star", held_out=1.0, seed=6)
    pictures = paint_labelled(600, side=SIDE, shortcut=shortcut)
    model = build("tiny_vgg", image_side=SIDE)
    optimizer = torch.optim.AdamW(model.parameters(), 0.004)
    model.train()
    for epoch in range(4):
        for images, labels in pictures.batches(32, torch.randperm(600, generator=torch.Generator().manual_seed(epoch))):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    names = ("arrow", "circle", "crescent", "cross", "heart", "hexagon", "ring", "square", "star", "triangle")
    blank = Provenance("", "", "vgg_viz")
    save(place / "taught.pt", Checkpoint(model.architecture, names, model.eval().state_dict(), provenance=blank))
    write_shapes(place / "pictures", train=0, val=0, test=300, side=SIDE, shortcut=shortcut)
    return place


def test_the_command_names_class_and_place_and_leaves_a_page(taught, capsys):
    line = ["audit", str(taught / "taught.pt"), "--data", str(taught / "pictures"), "--out", str(taught / "gallery")]
    assert main([*line, "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    first = told["findings"][0]
    assert {"kind", "class", "region", "effect", "interval", "images"} <= first.keys()
    assert (first["kind"], first["class"]) == ("patch", "star")
    true = json.loads((taught / "pictures" / "shortcut.json").read_text())["region"]
    assert patch_overlap(tuple(first["region"]), tuple(true)) > 0.1
    assert first["interval"][0] <= first["effect"] <= first["interval"][1]
    assert first["images"]
    assert all(name.startswith("star/") for name in first["images"])
    folder = taught / "gallery" / "taught-audit"
    page = (
        (folder / "index.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    )  # which holds sizes together
    assert "lower" in first["sentence"] or "upper" in first["sentence"]
    assert first["sentence"].split(";")[0] in page
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["audit"][0]["region"] == first["region"]
    # `compare RUN_DIR --findings` reads what this command printed.
    (folder / "audit.json").write_text(json.dumps(told), encoding="utf-8")
    classes = sorted(path.name for path in (taught / "pictures" / "test").iterdir())
    suspected = suspects(RunRequest(run=folder, findings=folder / "audit.json"), classes, SIDE)
    assert (suspected[0].name, suspected[0].region.kind, list(suspected[0].region.box)) == (
        "star",
        "patch",
        first["region"],
    )
    assert suspected[0].pictures == told["pictures"]
    assert len(suspected) == min(4, len(told["findings"]))
    assert {"finding-1", "class-attention", "suspicion"} <= {exhibit["slug"] for exhibit in manifest["exhibits"]}
    assert str(taught) not in page


def test_the_order_of_files_and_names_from_outside_do_no_harm(taught, capsys, tmp_path):
    evil = ["</script><b>", "__proto__", "{{ 7*7 }}", "../..", "a\u202eb", "x" * 300, "'\"", "star ", "heart", "tri"]
    source = taught / "pictures" / "test"
    (tmp_path / "data").mkdir()
    # Folder names in the order of the outputs; what no file system takes is given by --classes alone.
    for number, old in enumerate(sorted(path.name for path in source.iterdir())):
        (tmp_path / "data" / f"class {number}").symlink_to(source / old)
    data = str(tmp_path / "data")
    assert (
        main(
            [
                "audit",
                str(taught / "taught.pt"),
                "--data",
                data,
                "--classes",
                data,
                "--out",
                str(tmp_path / "out"),
                "--quiet",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip().endswith("index.html")
    from vgg_viz.sections.audit.attention import attention
    from vgg_viz.sections.audit.findings import findings
    from vgg_viz.sections.audit.search import search
    from vgg_viz.sections.audit.suspicion import ranking
    from vgg_viz.studies.subject import Case

    mark = CORNER.mask(SIDE)
    seen = audit(Wrapped(Reader(mark)), world(mark))
    case = Case(Wrapped(Reader(mark)), seen, tuple(evil), 0)
    shown = [exhibit for make in (findings, attention, ranking, search) for exhibit in make(case)]
    assert "</script><b>" in summary(seen, evil)[0].text  # escaped where the page is made
    assert all(exhibit.slug.replace("-", "").isalnum() for exhibit in shown)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--class", "boat"], "there is no class 'boat'"),
        (["--limit", "1"], "1 labelled picture came"),
        (["--data", "nowhere"], "does not exist"),
    ],
)
def test_what_cannot_be_audited_is_refused_with_status_2(taught, capsys, tmp_path, words, sentence):
    line = ["audit", str(taught / "taught.pt"), "--out", str(tmp_path / "out"), "--quiet"]
    given = line if "--data" in words else [*line, "--data", str(taught / "pictures")]
    assert main([*given, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "taught-audit").exists()


def test_a_folder_of_few_pictures_gets_a_page_that_says_that_nothing_was_tested(taught, capsys, tmp_path):
    line = [
        "audit",
        str(taught / "taught.pt"),
        "--data",
        str(taught / "pictures"),
        "--out",
        str(tmp_path),
        "--limit",
        "20",
    ]
    assert main([*line, "--json", "--quiet"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["findings"], facts["searched"], facts["tried"], facts["missing"]) == ([], 0, 0, [])
    assert len(facts["not_searched"]) == 10
    manifest = json.loads((tmp_path / "taught-audit" / "manifest.json").read_text())
    slugs = {exhibit["slug"] for exhibit in manifest["exhibits"]}
    assert {"class-attention", "suspicion"} <= slugs
    assert not slugs & {"search", "finding-1"}
    assert [(one["key"], one["text"][:18]) for one in manifest["findings"]][1:] == [("", "Nothing was tested")]
    assert manifest["findings"][0]["key"] == "few"


def test_a_checkpoint_without_pictures_and_pictures_without_labels_are_refused(taught, capsys, tmp_path):
    assert main(["audit", str(taught / "taught.pt"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "carries no labelled pictures" in capsys.readouterr().err
    with pytest.raises(DataRefused, match="no labels"):
        audit(Wrapped(Reader(CORNER.mask(SIDE))), Batch(torch.rand(20, 3, SIDE, SIDE), None, ("a",) * 20))
