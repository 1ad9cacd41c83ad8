"""The pages that are committed, and shipped, are those that the source gives."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from countersign.console.files import BUILT
from tests.console.built import CONSOLE, STATIC, require_build_tools


def test_committed_pages_are_a_fresh_build(tmp_path: Path) -> None:
    subprocess.run([require_build_tools(), str(CONSOLE / "build.mjs"), str(tmp_path)], check=True, timeout=60)
    assert {path.name for path in tmp_path.iterdir()} == set(BUILT)
    for name in BUILT:
        fresh, committed = (tmp_path / name).read_bytes(), (STATIC / name).read_bytes()
        assert fresh == committed, f"{name} is not what console/ gives: make console"


def test_nothing_but_the_table_is_shipped() -> None:
    assert {path.name for path in STATIC.iterdir()} == set(BUILT)


def test_pages_name_no_other_host_and_hold_no_script_or_style_of_their_own() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    linked = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert [target for target in linked if not target.startswith(("console/", "#"))] == []
    assert re.findall(r"<script(?![^>]* src=)|<style|style=|\son\w+=", page) == []
    style = (STATIC / "app.css").read_text(encoding="utf-8")
    assert re.findall(r"url\(|@import", style) == []
    script = (STATIC / "app.js").read_text(encoding="utf-8")
    assert re.findall(r"\beval\(|new Function|innerHTML|document\.write", script) == []
