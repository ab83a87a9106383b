"""Boxes drawn on source pictures: what is saved in boxes.json, what the catalog found, and the pictures to draw on."""

from __future__ import annotations

import io
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import read_json, write_text
from figment.base.pictures import list_pictures, named, relative_name
from figment.base.pixels import open_image

LARGEST = 1600
"""Pictures are shown with at most this longer side; boxes are in the whole picture's pixels."""
SMALL = 160
"""The same in the list of pictures."""
REMEMBERED = 500
"""Small ones that are kept in memory."""
MOST = 500
"""Boxes a picture may have."""
LEAST = 3.0
"""Pixels a box must measure at least."""


class Boxes:
    """The file boxes.json, {"relative/path.png": [[x0, y0, x1, y1], ...]}, and the folder it speaks of."""

    def __init__(
        self,
        pictures: Path,  # the folder of source pictures
        out: Path,  # boxes.json
        found: Mapping[str, list[list[float]]] | None = None,  # boxes a detector found, by picture; None: no catalog
    ) -> None:
        self.pictures, self.out, self.found = pictures, out, dict(found or {})
        self.lock = threading.Lock()
        if found is None:
            found = {relative_name(path, pictures): [] for path in list_pictures(pictures)}
        self.names = sorted(found)
        self.known = set(self.names)
        if not self.names:
            raise FigmentError(f"{pictures}: holds no pictures to draw boxes on")
        self.saved = self._read()
        self.thumbs: dict[str, bytes] = {}

    def _read(self) -> dict[str, list[list[float]]]:
        """What boxes.json holds; a file of another form is an error, never overwritten."""
        if not self.out.exists():
            return {}
        saved = read_json(self.out)
        if not isinstance(saved, dict) or not all(isinstance(boxes, list) for boxes in saved.values()):
            raise FigmentError(f'{self.out}: must be of the form {{"picture.png": [[x0, y0, x1, y1], ...]}}')
        return saved

    def page(
        self,
        *,
        which: str = "all",  # all, todo (without saved boxes), done
        after: str = "",  # the last name before the page
        limit: int = 60,
    ) -> dict[str, Any]:
        """A page of pictures by name, and how many there are of each kind."""
        wanted = [
            name
            for name in self.names
            if name > after and (which == "all" or (name in self.saved) == (which == "done"))
        ]
        items = [
            {"name": name, "saved": name in self.saved, "boxes": len(self._boxes(name))} for name in wanted[:limit]
        ]
        done = sum(name in self.saved for name in self.names)
        return {
            "items": items,
            "next": wanted[limit - 1] if len(wanted) > limit else None,
            "counts": {"all": len(self.names), "done": done, "todo": len(self.names) - done},
        }

    def _boxes(self, name: str) -> list[list[float]]:
        return self.saved.get(name, self.found.get(name, []))

    def picture(self, name: str) -> dict[str, Any]:
        """A picture's size and boxes, and whether they are saved, found by the detector, or not there yet."""
        image = open_image(self.path(name))
        source = "saved" if name in self.saved else "found" if self.found.get(name) else "none"
        return {
            "name": name,
            "width": image.width,
            "height": image.height,
            "source": source,
            "boxes": [box[:4] for box in self._boxes(name)],
        }

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of the picture; the last few hundred are remembered."""
        if name not in self.thumbs:
            made = self.jpeg(name, SMALL)
            with self.lock:
                self.thumbs[name] = made
                while len(self.thumbs) > REMEMBERED:
                    self.thumbs.pop(next(iter(self.thumbs)))
            return made
        return self.thumbs.get(name) or self.jpeg(name, SMALL)

    def jpeg(self, name: str, largest: int = LARGEST) -> bytes:
        """The picture, upright and in sRGB, as a JPEG of at most `largest` pixels on its longer side."""
        image = open_image(self.path(name))
        image.thumbnail((largest, largest), reducing_gap=2.0)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
        return buffer.getvalue()

    def path(self, name: str) -> Path:
        """The file of a picture; raises FigmentError for what is none of the folder's pictures."""
        if name not in self.known:
            raise FigmentError(f"picture {name!r}: not one of this folder's")
        path = named(self.pictures, name)
        if Path(name).is_absolute() or ".." in Path(name).parts:  # links may lead anywhere, as for `figment crop`
            raise FigmentError(f"picture {name!r}: lies outside of {self.pictures}")
        if not path.is_file():
            raise UnreadableImage("unreadable", f"picture {name!r}: not found in {self.pictures}")
        return path

    def save(self, name: str, boxes: object) -> list[list[float]]:
        """Write a picture's boxes into boxes.json, whole, beside what others wrote there; the boxes as written.

        An empty list says that the picture holds no head. Boxes are cut at the picture's border.
        """
        image = open_image(self.path(name))
        checked = check_boxes(boxes, image.width, image.height)
        with self.lock:
            saved = self._read()

            # A box that was left as it is keeps what else its row holds, such as a detector's score.
            former = {tuple(row[:4]): row for row in saved.get(name, [])}
            saved[name] = [former.get(tuple(box), box) for box in checked]
            rows = ",\n".join(f"  {_json(key)}: {_json(saved[key])}" for key in sorted(saved))
            write_text(self.out, f"{{\n{rows}\n}}\n")
            self.saved = saved
        return checked


def check_boxes(boxes: object, width: int, height: int) -> list[list[float]]:
    """Boxes as a page sent them, cut at the border, corners in order; raises FigmentError for what is none."""
    if not isinstance(boxes, list) or len(boxes) > MOST:
        raise FigmentError(f"boxes: must be a list of at most {MOST}")
    checked = []
    for box in boxes:
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in box)
        ):
            raise FigmentError(f"boxes: {str(box)[:60]} must be four finite numbers, x0, y0, x1, y1")
        x0, x1 = sorted(min(max(float(x), 0.0), float(width)) for x in (box[0], box[2]))
        y0, y1 = sorted(min(max(float(y), 0.0), float(height)) for y in (box[1], box[3]))
        if x1 - x0 < LEAST or y1 - y0 < LEAST:
            raise FigmentError(f"boxes: {str(box)[:60]} is smaller than {LEAST:g} pixels inside the picture")
        checked.append([round(x, 2) for x in (x0, y0, x1, y1)])
    return checked


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
