"""The plan: this machine's trial beside published figures."""

import pytest

from figment.train import planning
from figment.train.planning import plan, print_plan
from tests.train.conftest import TINY


def test_time_and_money(zip_path, monkeypatch, capsys):
    monkeypatch.setattr(planning, "measure_sec_per_kimg", lambda *_: 36.0)
    monkeypatch.setitem(planning.CARDS, "a card", ("a page", {16: 7.2}))
    given = {name: value for name, value in TINY.items() if name != "kimg"}
    rows = plan(zip_path, kimg=1000, watts=500, kwh=0.4, rent=3.0, device="cpu", **given)
    assert [row.sec for row in rows] == [36000, 7200]
    assert rows[0].cost == pytest.approx(10 * 0.5 * 0.4) and rows[1].cost == pytest.approx(2 * 3.0)
    print_plan(rows, 1000)
    out = capsys.readouterr().out
    assert "this machine" in out and "a card" in out and "10h" in out


def test_the_cards_figures_are_the_published_ones():
    assert planning.CARDS["A100, StyleGAN2"][1][512] == 41.06
    assert all(source for source, _ in planning.CARDS.values())
