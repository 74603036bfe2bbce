"""What got slower is named, what the machine or noise explains is not."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def compare(benchmark_named):
    return benchmark_named("compare")


def records(factor, **more):
    noise = [1.0, 1.02, 0.98, 1.01, 0.99, 1.0]
    return {
        f"case {n}": {"code": "abc", "seconds": {"ours": (n + 1) * factor * noise[n] * more.get(f"c{n}", 1)}}
        for n in range(6)
    }


def test_only_what_left_the_others_is_named(compare):
    found, machine, noise = compare.changes(records(1.0), records(2.0, c3=1.5))
    named = compare.slower(found, noise, times=4.0, least=10.0)
    assert [change.key for change in named] == ["case 3 / seconds / ours"]
    assert machine == pytest.approx(2.0, rel=0.05) and named[0].relative == pytest.approx(1.5, rel=0.05)
    found, _, noise = compare.changes(records(1.0), records(2.0))
    assert compare.slower(found, noise, times=4.0, least=10.0) == []


def test_files_without_a_common_time_are_refused(compare):
    with pytest.raises(SystemExit, match="no time in common"):
        compare.changes(records(1.0), {"other": {"seconds": 1.0}})


def test_a_changed_file_is_held_against_the_committed_one(compare, tmp_path, monkeypatch, capsys):
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(records(1.0)))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "before"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    path.write_text(json.dumps(records(1.0, c2=3.0)))
    monkeypatch.setattr(sys, "argv", ["compare.py", str(path)])
    assert compare.main() == 1
    assert "case 2 / seconds / ours" in capsys.readouterr().out
    path.write_text(json.dumps(records(1.3)))
    assert compare.main() == 0
    monkeypatch.setattr(sys, "argv", ["compare.py", str(path), "--against", "nothing"])
    with pytest.raises(SystemExit, match="is not in nothing"):
        compare.main()
