"""The curate stage: every head gets a verdict with a reason, once measured never again, and people's words stand."""

import pytest

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.pixels import open_image
from figment.base.records import Verdict
from figment.curate import curate as stage
from figment.curate.curate import CurateSummary, curate
from figment.curate.verdicts import Thresholds

EXPECTED = {
    "good": "duplicate",
    "other": "",
    "twin": "",
    "tiny": "too-small",
    "soft": "blurred",
    "flat": "flat",
    "armour": "not-a-head",
    "gone": "unreadable",
    "damaged": "unreadable",
}


def reasons(folder):
    with Catalog(folder) as catalog:
        verdicts = catalog.verdicts()
        return {head.file.removesuffix(".png"): verdicts[head.id].reason for head in catalog.heads()}


def test_every_head_gets_a_verdict_and_nothing_is_deleted(heads):
    files = set(heads.iterdir())
    summary = curate(heads)
    assert reasons(heads) == EXPECTED
    assert summary.kept == 2
    assert summary.rejected == {
        "unreadable": 2,
        "blurred": 1,
        "flat": 1,
        "duplicate": 1,
        "too-small": 1,
        "not-a-head": 1,
    }
    assert set(heads.iterdir()) - files == {heads / "rejects.png"} and files <= set(heads.iterdir())
    assert summary.line().startswith("kept 2 of 9 heads; rejected ")


def test_a_second_run_opens_no_picture_and_compares_nothing(heads, monkeypatch):
    curate(heads)
    (heads / "gone.png").write_bytes(b"no picture")
    monkeypatch.setattr(stage, "find_pairs", lambda prints: pytest.fail("compared again"))
    opened = []
    monkeypatch.setattr(stage, "open_image", lambda path: opened.append(path.name) or open_image(path))
    assert curate(heads, Thresholds(min_size=120, max_difference=0)).kept == 1
    assert reasons(heads)["other"] == "too-small"
    curate(heads)
    assert reasons(heads) == EXPECTED
    assert set(opened) == {"gone.png", "damaged.png"}, "only files that could not be measured are tried again"


def test_a_run_that_was_stopped_goes_on(heads, monkeypatch):
    measure, calls = stage.measure_quality, []

    def stop(image, head, *size):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(head.file)
        return measure(image, head, *size)

    monkeypatch.setattr(stage, "measure_quality", stop)
    monkeypatch.setattr(stage, "AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        curate(heads)
    monkeypatch.setattr(
        stage, "measure_quality", lambda image, head, *size: calls.append(head.file) or measure(image, head, *size)
    )
    curate(heads)
    assert len(calls) == len(set(calls)) == 7
    assert reasons(heads) == EXPECTED


def test_a_person_is_never_overruled(heads):
    with Catalog(heads) as catalog:
        ids = {head.file: head.id for head in catalog.heads()}
        catalog.put_verdicts(
            [Verdict(ids["tiny.png"], "keep", by="person"), Verdict(ids["twin.png"], "reject", "not-mine", by="person")]
        )
    curate(heads)
    found = reasons(heads)
    assert (found["tiny"], found["twin"], found["good"]) == ("", "not-mine", "")


def test_a_file_that_vanished_later_is_noticed(heads):
    curate(heads)
    (heads / "twin.png").unlink()
    curate(heads)
    found = reasons(heads)
    assert (found["twin"], found["good"]) == ("unreadable", "")


def test_an_empty_catalog_and_none_at_all(tmp_path):
    with pytest.raises(FigmentError, match=r"holds no catalog\.db"):
        curate(tmp_path / "nothing")
    Catalog(tmp_path, create=True).db.close()
    assert curate(tmp_path) == CurateSummary(0, {})


def test_groups_stand_in_the_catalog_and_verdicts_say_when(heads):
    curate(heads)
    with Catalog(heads) as catalog:
        ids = {head.file.removesuffix(".png"): head.id for head in catalog.heads()}
        groups = {head_id: values["group"] for head_id, values in catalog.measures(["group"]).items()}
        assert all(verdict.at > "2020" for verdict in catalog.verdicts().values())
    assert groups[ids["good"]] == groups[ids["twin"]] == ids["twin"]
    assert groups[ids["other"]] == ids["other"] and groups[ids["gone"]] == ids["gone"]


def test_other_processes_measure_the_same(heads, monkeypatch):
    curate(heads)
    with Catalog(heads) as catalog:
        before = catalog.measures(["true_size", "thumb", "vhash", "cut"])
        with catalog.db:
            catalog.db.execute("DELETE FROM measures")
    monkeypatch.setattr(stage, "FEW", 0)
    curate(heads, workers=2)
    with Catalog(heads) as catalog:
        assert catalog.measures(["true_size", "thumb", "vhash", "cut"]) == before
    assert reasons(heads) == EXPECTED
