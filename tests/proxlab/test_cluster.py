"""Work elsewhere: the same bits come back, what dies is done again, what is missing is said in a sentence."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import proxlab
from imaging.files.errors import PictureError
from imaging.files.picture import read_picture, write_picture
from proxlab import cluster
from proxlab.__main__ import main
from proxlab.cluster import Promise, Workers, check_cluster, connected
from proxlab.errors import ClusterError, MemoryLimitError, UsageError

TILED = {"method": "richardson-lucy", "num_iter": 3, "sigma": 0.01, "tile": 96}
OWN = {"seconds", "peak_memory", "memory_estimate"}  # what a record has of the process it was made in


def test_without_dask_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"needs Dask, which is not installed: pip install 'proxlab\[cluster\]'"
    ):
        check_cluster("local:2")


def test_a_cluster_is_a_text_or_a_client():
    pytest.importorskip("distributed")
    check_cluster("tcp://10.0.0.1:8786")
    for wrong in ("local:", "local:0", "tcp:", "", 3):
        with pytest.raises(UsageError, match="is no cluster: give 'local:N'"):
            check_cluster(wrong)


def test_no_cluster_is_no_workers():
    with connected(None) as workers:
        assert workers is None


@pytest.fixture(scope="module")
def client():
    """A scheduler and two workers in threads of this process."""
    distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'proxlab[cluster]'")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
        ) as workers,
        distributed.Client(workers, set_as_default=False) as found,
    ):
        yield found


@pytest.mark.parametrize("options", [TILED, {"method": "wiener"}], ids=["tiles", "one piece"])
def test_the_same_bits_and_the_same_record(client, picture, options):
    here, said = proxlab.deblur(picture, "disk:2", return_info=True, **options)
    there, told = proxlab.deblur(picture, "disk:2", return_info=True, cluster=client, **options)
    assert there.dtype == here.dtype and np.array_equal(there, here)
    assert {name for name in said if said[name] != told[name]} <= OWN
    other = proxlab.deblur(picture, "disk:3", cluster=client, **options)
    assert not np.array_equal(there, other)


def test_tiles_are_told_of_and_errors_come_back(client, picture):
    seen = []
    proxlab.deblur(picture, "disk:2", cluster=client, callback=lambda u: seen.append(u.iteration), **TILED)
    assert seen == list(range(1, 10))
    with pytest.raises(PictureError, match="NaN or infinite"):
        proxlab.deblur(np.full((20, 20), np.nan), "disk:2", sigma=0.01, method="wiener", cluster=client)


@pytest.fixture
def named(monkeypatch, client):
    """Any text names the cluster of the tests."""
    monkeypatch.setattr(cluster, "_client", lambda text, stack: client)
    return "local:2"


@pytest.fixture
def three(folder, grey):
    write_picture("b.png", grey[::-1])
    np.save("kernel.npy", np.ones((3, 3)))
    Path("broken.png").write_bytes(b"nothing")
    write_picture("c.png", np.stack([grey, grey, grey], axis=2))
    return folder


def test_a_folder_is_the_same_as_without(three, named):
    args = ["deblur", "a.png", "b.png", "broken.png", "c.png", "-p", "kernel.npy", "--method", "wiener"]
    assert main([*args, "-o", "here/"]) == main([*args, "-o", "there/", "--cluster", named]) == 6
    for name in "abc":
        assert np.array_equal(
            *(read_picture(f"{where}/{name}_deblurred.png").pixels for where in ("here", "there"))
        )
        one, other = (json.loads(Path(f"{w}/{name}_deblurred.json").read_text()) for w in ("here", "there"))
        assert {k for k in one["info"] if one["info"][k] != other["info"][k]} <= OWN
        assert one["options"] == {k: v for k, v in other["options"].items() if k != "cluster"}
    ends = [row["exit"] for row in json.loads(Path("there/summary.json").read_text())["each"]]
    assert ends == [0, 0, 3, 0]
    assert main(["replay", "there/a_deblurred.json"]) == 0
    assert main([*args, "-o", "here/", "--resume", "--cluster", named]) == 6  # done before, wherever
    ends = [row["end"] for row in json.loads(Path("here/summary.json").read_text())["each"]]
    assert ends[:2] == ["done before"] * 2


def test_what_pictures_share_is_sent_once(three, named, monkeypatch):
    shared, share = [], Workers.share
    monkeypatch.setattr(Workers, "share", lambda self, value: shared.append(value) or share(self, value))
    args = ["a.png", "b.png", "-p", "kernel.npy", "--method", "wiener", "-o", "out/", "--cluster", named]
    assert main(["deblur", *args]) == 0
    assert [type(value).__name__ for value in shared] == ["Work", "Blur"]


def test_a_stream_of_tiles_is_shared_out(tmp_path, monkeypatch, picture, named):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", picture)
    args = ["-p", "disk:2", "--method", "richardson-lucy", "--iter", "3", "--sigma", "0.01", "--tile", "96"]
    assert main(["deblur", "a.npy", *args, "-o", "b.npy", "--cluster", named]) == 0
    assert np.array_equal(np.load("b.npy"), proxlab.deblur(picture, "disk:2", **TILED))


def test_workers_keep_their_memory_even_where_dask_is_imported_late():
    pytest.importorskip("distributed")
    code = """
import dask
from proxlab import cluster

class Client:
    nthreads = dict

def client(text, stack):
    print(dask.config.get("distributed.nanny.pre-spawn-environ"))
    return Client()

cluster._client, cluster._check_versions = client, print
with cluster.connected("local:1"):
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "OMP_NUM_THREADS" in done.stdout and "MALLOC_TRIM" not in done.stdout


def test_nobody_answers(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        with connected("tcp://127.0.0.1:9"):
            pass


def test_on_the_command_line_one_sentence_says_that_nobody_answers(folder, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    assert main(["deblur", "a.png", "-p", "disk:1", "--cluster", "tcp://127.0.0.1:9"]) == 1
    told = capsys.readouterr().err
    assert (
        "proxlab: error: no Dask scheduler answers at tcp://127.0.0.1:9" in told
        and "ClusterError" not in told
    )


def test_what_kills_every_worker_is_told_as_want_of_memory():
    scheduler = pytest.importorskip("distributed.scheduler")

    class Future:
        def result(self):
            task = "task"
            raise scheduler.KilledWorker(task, None, 3)

    with pytest.raises(MemoryLimitError, match="each worker that tried a part of the work died of it"):
        Promise(Future()).result()


def children():
    """Processes that this one started, and those that they started; multiprocessing's own keeper stays."""
    import psutil

    started = psutil.Process().children(recursive=True)
    return [p for p in started if "resource_tracker" not in " ".join(p.cmdline())]


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_time_not_results(picture):
    pytest.importorskip("distributed")
    here = proxlab.deblur(picture, "disk:2", **TILED)
    with connected("local:2") as workers:
        before = set(workers._client.run(os.getpid).values())
        assert set(workers._client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_").values()) == {None}
        for name in ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX"):
            assert set(workers._client.run(os.getenv, name).values()) == {"1"}

        def kill(update):
            if update.iteration == 2:
                os.kill(min(before), signal.SIGKILL)

        there = proxlab.deblur(picture, "disk:2", cluster=workers._client, callback=kill, **TILED)
        after, patience = before, time.monotonic() + 500
        while (min(before) in after or len(after) < 2) and time.monotonic() < patience:
            time.sleep(0.1)
            after = set(workers._client.run(os.getpid, on_error="ignore").values())
    assert np.array_equal(there, here)
    assert min(before) not in after and len(after) == 2  # the dead one was replaced
    assert not {p.pid for p in children()} & (before | after)  # and none is left


@pytest.mark.slow
def test_the_only_worker_killed_and_everything_shared_with_it(folder, grey, monkeypatch):
    pytest.importorskip("distributed")
    from proxlab.cli.batch import Batch

    names = [f"{n}.png" for n in range(12)]
    for n, name in enumerate(names):
        write_picture(name, np.roll(grey, n, axis=1))
    tell, killed = Batch._tell, []

    def kill(self, target, jobs):
        tell(self, target, jobs)
        if not killed:
            killed.extend(p.pid for p in children() if "multiprocessing.spawn" in " ".join(p.cmdline()))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    args = ["-p", "disk:1", "--method", "pnp", "--iter", "2", "--sigma", "0.02"]
    assert main(["deblur", *names, *args, "-o", "here/"]) == 0
    monkeypatch.setattr(Batch, "_tell", kill)
    assert main(["deblur", *names, *args, "-o", "there/", "--cluster", "local:1"]) == 0
    assert len(killed) == 1
    for name in Path("here").glob("*.png"):
        assert np.array_equal(read_picture(name).pixels, read_picture(Path("there") / name.name).pixels)
    assert children() == []


@pytest.mark.slow
def test_an_interruption_leaves_no_process_and_no_half_file(folder, grey):
    pytest.importorskip("distributed")
    import psutil

    large = np.tile(grey, (10, 10))
    for n in range(30):
        write_picture(f"{n}.png", np.roll(large, n, axis=1))
    command = [sys.executable, "-m", "proxlab", "deblur", ".", "-p", "disk:2", "--method", "tv", "-o", "out/"]
    paths = os.pathsep.join([str(Path(proxlab.__file__).parents[1]), *sys.path])
    run = subprocess.Popen(
        [*command, "--cluster", "local:2"],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that started the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    patience = time.monotonic() + 500
    while not list(Path("out").glob("*.json")) and time.monotonic() < patience:
        time.sleep(0.05)
    inside = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, said = run.communicate(timeout=500)
    assert run.returncode == 130 and "interrupted, nothing half-written" in said and "Traceback" not in said
    assert len(inside) >= 2 and not psutil.wait_procs(inside, timeout=60)[1]
    results = {path.stem for path in Path("out").glob("*.png")}
    assert 0 < len(results) < 31 and results == {path.stem for path in Path("out").glob("*.json")}


def half(op, y, sigma):
    """Half way to the mean."""
    return 0.5 * y + 0.5 * y.mean()


def test_a_study_gives_the_same_units(client, tmp_path, monkeypatch):
    from proxlab import robustness
    from proxlab.trials import subjects

    monkeypatch.setattr(subjects, "BASELINES", ("identity",))
    sizes = {
        "pictures": 2,
        "side": 32,
        "levels": (0.03,),
        "attack_levels": (0.03,),
        "draws": 2,
        "attacked": 2,
        "iterations": 3,
        "boxes": (),
        "shifted": 1,
        "short_shifts": True,
        "detailed": 1,
        "lipschitz": 0,
        "resamples": 10,
        "minutes": None,
    }
    rng = np.random.default_rng(1)
    pictures = [rng.random((12, 12)).repeat(4, 0).repeat(4, 1) for _ in range(2)]

    def study(name, **more):
        robustness({"half": half}, pictures, np.ones((3, 3)) / 9, sizes=sizes, out=tmp_path / name, **more)
        units = {
            path.name: json.loads(path.read_text()) for path in (tmp_path / name / "units").glob("*.json")
        }
        for unit in units.values():
            unit.pop("seconds", None)  # of an attack: the clock's, not the study's
        return units

    here, there = study("here"), study("there", cluster=client)
    assert len(here) > 10 and any(name.startswith("transfer") for name in here) and here == there
    done = next((tmp_path / "there" / "units").glob("noise_half*.json"))
    done.unlink()
    assert study("there", cluster=client, resume=True) == there
