"""Where boxes may lie around a folder of pictures, and which picture a file, or a name inside of one, is about."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vgg_viz.errors import BoxesRefused

# A folder of such a name holds all pictures of a set, and their boxes lie in a folder beside it (VOC's JPEGImages, YOLO's images).
PICTURE_ROOMS = frozenset({"images", "jpegimages", "imgs", "img", "pictures"})
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
TABLE_ROOMS = ("", "boxes", "annotations", "Annotations")


@dataclass(frozen=True, slots=True)
class BoxTable:
    """One file about many pictures; `strict` where it lies above them and its name is not theirs: it must then name their folder."""

    path: Path
    strict: bool


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """A folder and the pictures below it that boxes may be about.

    Attributes:
        root: The folder: an ImageFolder, one split of it, or that of --images.
        pictures: Files below `root`.
    """

    root: Path
    pictures: tuple[Path, ...]
    _by_stem: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _by_path: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _by_name: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for file in self.pictures:
            relative = file.relative_to(self.root)
            self._by_path[relative.with_suffix("").as_posix()].append(file)
            self._by_stem[file.stem].append(file)
            self._by_name[_composed(file.name)].append(file)

    def shown(self, path: Path) -> str:
        """A path as a sentence names it: below the folder, or below the one around it."""
        near = next(
            (top for top in (self.root, self.root.parent, self.root.parent.parent) if path.is_relative_to(top)),
            path.parent,
        )
        return os.fsencode(path.relative_to(near).as_posix()).decode("utf-8", "backslashreplace")

    # ------------------------------------------------------------ one file a picture

    def files_of_pictures(
        self, rooms: Sequence[str], suffix: str, *, beside: bool = False
    ) -> dict[Path, Path | BoxesRefused]:
        """{picture: its own file}, by the order in which masks are looked for: in a room below the folder, then beside the folder.

        A file that may be about several pictures is a refusal for each of them.

        Args:
            rooms: Names of folders that hold such files; in them lies <class>/NAME, or NAME where one picture only is
                called so.
            suffix: Of the file, such as ".xml".
            beside: Whether the file may lie beside its picture; asked last.
        """
        bases = [base for room in rooms for base in self._bases(room) if base.is_dir()]
        files: dict[Path, Path | BoxesRefused] = {}
        for picture in self.pictures if bases or beside else ():
            own = picture.relative_to(self.root).with_suffix(suffix)
            tries = [(base / own, self._by_path[own.with_suffix("").as_posix()]) for base in bases]
            tries += [(base / own.name, self._by_stem[picture.stem]) for base in bases if len(own.parts) > 1]
            if beside:
                tries.append((picture.with_suffix(suffix), self._by_path[own.with_suffix("").as_posix()]))
            for path, about in tries:
                if path.is_file():
                    files[picture] = (
                        path
                        if len(about) == 1
                        else BoxesRefused(
                            f"{self.shown(path)} may be about {self._few(about)}; lay it under the path of one of them, or rename them."
                        )
                    )
                    break
        return files

    def _bases(self, room: str) -> Iterator[Path]:
        yield self.root / room
        yield self.root.parent / room / self.root.name
        if self.root.name.lower() in PICTURE_ROOMS:
            yield self.root.parent / room
        if self.root.parent.name.lower() in PICTURE_ROOMS:
            yield self.root.parent.parent / room / self.root.name

    # ------------------------------------------------------------ one file for many pictures

    def tables(self, *patterns: str) -> list[BoxTable]:
        """Files of these names in the folder, and beside it; of the latter, those that bear its name, else all of them, strictly."""
        within = [path for room in TABLE_ROOMS for path in _matching(self.root / room, patterns)]
        if within:
            return [BoxTable(path, False) for path in within]
        around = [path for room in TABLE_ROOMS for path in _matching(self.root.parent / room, patterns)]
        if self.root.name.lower() in PICTURE_ROOMS:
            return [BoxTable(path, False) for path in around]
        own = [
            path
            for path in around
            if self.root.name.lower() in path.stem.lower().replace("-", "_").replace(".", "_").split("_")
        ]
        return [BoxTable(path, False) for path in own] if own else [BoxTable(path, True) for path in around]

    def named(self, name: str, table: BoxTable) -> list[Path]:
        """The pictures that a name inside a table may mean: none, one, or several that nothing tells apart.

        A name is a path below the folder, or the end of one, or a longer path that ends with it; a folder of another split is no match.
        """
        parts = PurePosixPath(_composed(name.replace("\\", "/"))).parts
        if not parts:
            return []
        meant, root = [], _composed(self.root.name)
        for picture in self._by_name.get(parts[-1], ()):
            own = PurePosixPath(_composed(picture.relative_to(self.root).as_posix())).parts
            common = min(len(own), len(parts))
            if own[-common:] != parts[-common:]:
                continue
            above = parts[: len(parts) - common]
            contradicts = bool(above) and above[-1] != root and above[-1].lower() in SPLITS
            if not contradicts and not (table.strict and above[-1:] != (root,)):
                meant.append((own == parts, common, picture))
        closest = max((whole, common) for whole, common, _ in meant) if meant else None
        return [picture for whole, common, picture in meant if (whole, common) == closest]

    def _few(self, pictures: Iterable[Path]) -> str:
        names = [self.shown(picture) for picture in pictures]
        return " and ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")

    def ambiguous(self, table: BoxTable, name: str, meant: Sequence[Path]) -> BoxesRefused:
        """The refusal of a name that several pictures bear."""
        return BoxesRefused(
            f"{self.shown(table.path)} names {name[:80]!r}, which may be {self._few(meant)}; write the path below the folder instead."
        )


def _composed(name: str) -> str:
    """One spelling of letters with accents: file systems and tables write them in one sign or in two."""
    return unicodedata.normalize("NFC", name)


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
