"""What the server's process does with files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from countersign.server.serve import write_private


def test_a_private_file_written_by_several_at_once_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "server.secret"
    contents = [bytes([number]) * 200_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_private(path, content), contents))
    assert path.read_bytes() in contents
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
