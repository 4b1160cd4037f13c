"""What others could reach or read back: Ray's sockets, its token, paths in a YAML, pickles."""

from __future__ import annotations

import ast
import io
import ipaddress
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from study.bases.files import check_files
from study.data.section import DataSection
from study.errors import BadInput
from study.space.loading import load_space
from study.tune.ray_local import kept_local, sessions_folder, sweep_sessions
from study.watch.progress import Progress

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.ray
def test_local_ray_starts_no_process_that_no_study_uses(ray_running_here: None) -> None:
    """It stands first: those below let Ray start workers."""
    started = psutil.Process().children(recursive=True)
    assert any(one.name() == "raylet" for one in started)
    unused = ("monitor.py", "dashboard.py", "ray::IDLE")
    told = [word for one in started for word in one.cmdline()]
    assert not [word for word in told if word.endswith(unused)]


@pytest.fixture
def listening(ray_running_here: None) -> dict[str, str]:
    """Address and port -> process, of everything that this Ray listens on."""
    import ray

    ray.get(ray.remote(lambda: 0).remote())  # a worker is up
    me = psutil.Process()
    return {
        f"{one.laddr.ip}|{one.laddr.port}": process.name()
        for process in [me, *me.children(recursive=True)]
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    }


@pytest.mark.ray
def test_ray_listens_on_loopback_alone(listening: dict[str, str]) -> None:
    assert any("raylet" in name for name in listening.values())
    reachable = {}
    for place, name in listening.items():
        address = ipaddress.ip_address(place.split("|")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_loopback:
            reachable[place] = name
    assert not reachable


@pytest.mark.ray
def test_ray_has_no_dashboard_and_asks_for_a_token(listening: dict[str, str]) -> None:
    import ray

    assert not any(place.endswith("|8265") for place in listening)
    assert not ray._private.worker._global_node.webui_url  # type: ignore[attr-defined]
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_project_never_turns_the_token_off() -> None:
    for path in [*(PROJECT / "study").rglob("*.py"), *(PROJECT / "analysis").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert '"disabled"' not in text, path


def _session(root: Path, pid: int) -> Path:
    folder = root / f"session_2026-01-01_00-00-00_000000_{pid}"
    folder.mkdir(parents=True)
    return folder


def test_sessions_of_dead_drivers_are_swept_and_no_others(tmp_path: Path) -> None:
    dead = 2**22 - 1  # above every process number of this kernel's default
    gone, alive = _session(tmp_path, dead), _session(tmp_path, os.getppid())
    other = tmp_path / "session_latest"
    other.mkdir()
    assert sweep_sessions(tmp_path) == 1
    assert [path.exists() for path in (gone, alive, other)] == [False, True, True]


@pytest.mark.ray
def test_signals_are_heard_after_ray_has_ended(project_root: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from study import ending\n"
        "ending.listen(lambda: 'go on')\n"
        "from study.tune.ray_tuner import ray_running\n"
        "with ray_running(None, 1): pass\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted. go on\n")


@pytest.mark.ray
def test_running_session_is_not_swept_and_its_owners_alone(ray_running_here: None) -> None:
    import ray

    folder = Path(ray._private.worker._global_node.get_session_dir_path())  # type: ignore[attr-defined]
    assert folder.parent == sessions_folder()
    assert sweep_sessions(folder.parent) == 0
    assert (folder / "logs").is_dir()
    owners = folder.parent.parent.stat()
    assert (owners.st_mode & 0o777, owners.st_uid) == (0o700, os.getuid())


@pytest.mark.ray
def test_token_of_a_local_ray_lies_in_no_file(ray_running_here: None) -> None:
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> Path:
    """The folder that TMPDIR names, made; RAY_TMPDIR names none."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    root = tmp_path / name
    root.mkdir()
    monkeypatch.setenv("TMPDIR", str(root))
    return root


@pytest.mark.parametrize("name", ["a" * 42, "ü"])
def test_sockets_of_ray_lie_elsewhere_where_tmpdir_cannot_hold_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    root = _root(monkeypatch, tmp_path, name)
    folder = sessions_folder()
    assert root not in folder.parents
    assert len(str(folder)) < 45


def test_sockets_of_ray_lie_where_they_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        assert sessions_folder() == Path(short) / f"ood-ray-{os.getuid()}" / "r"


def test_folder_of_somebody_else_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short, tempfile.TemporaryDirectory() as other:
        (Path(short) / f"ood-ray-{os.getuid()}").symlink_to(other)
        monkeypatch.setenv("RAY_TMPDIR", short)
        assert Path(short) not in sessions_folder().parents


def test_machine_without_a_folder_for_rays_sockets_is_told_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    monkeypatch.setattr("study.tune.ray_local.FALLBACK", "/proc")
    with pytest.raises(BadInput, match=r"no folder .*\(/proc cannot be used: .*Set RAY_TMPDIR"):
        sessions_folder()


def test_user_without_a_home_has_one_while_ray_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with kept_local() as sessions:
        assert Path.home() == sessions.parent
    assert "HOME" not in os.environ


# Modules that read what a YAML names; none of them may write beside it.
READERS = ("pictures", "images", "catalogue", "formats/folder", "formats/parquet", "formats/npy")


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


@pytest.mark.parametrize("module", READERS)
def test_what_reads_a_yamls_paths_writes_nothing(module: str) -> None:
    writing = {"write_text", "write_bytes", "mkdir", "unlink", "rename", "touch", "rmtree"}
    assert not _calls(PROJECT / "study" / "data" / f"{module}.py") & writing


def test_paths_of_a_yaml_are_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is opened to be written while a space with such paths is loaded."""
    from study.data.plan import make_plan

    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.png").write_text("years of work")
    inside = tmp_path / "cwd" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    written: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                written.append(str(arguments[0]))
        elif event in ("os.mkdir", "os.rename", "os.remove", "shutil.rmtree"):
            written.append(str(arguments[0]))

    sys.addaudithook(hook)  # it cannot be taken back: it only appends to a list of this test
    for names in (["../../victim"], [str(victim)], ["../../../../etc/passwd"]):
        section = DataSection(id="demo", outliers=names)
        with pytest.raises(BadInput):
            make_plan(section, "demo", None).load_study(section)
    spec = load_space("energy", ["model.init=../../victim/thesis.png"])
    with pytest.raises(BadInput), Progress(io.StringIO(), live=False, quiet=True) as progress:
        check_files(spec, progress)
    allowed = (str(tmp_path / "cache"), "/dev/")
    assert [path for path in written if not path.startswith(allowed)] == []
    assert (victim / "thesis.png").read_text() == "years of work"
    assert [path.name for path in victim.iterdir()] == ["thesis.png"]


@pytest.mark.parametrize("key", ["out", "cache", "runs", "path", "checkpoints", "tensorboard"])
def test_no_key_of_a_space_names_a_place_to_write_to(key: str) -> None:
    with pytest.raises(BadInput):
        load_space("energy", [f"tune.{key}=../elsewhere"])


def test_nothing_of_a_runs_folder_is_unpickled() -> None:
    """Each reader that could run code is told not to, where it is called."""
    for path in [*(PROJECT / "study").rglob("*.py"), *(PROJECT / "analysis").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "pickle.load" not in text, path
        assert "yaml.load(" not in text, path
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) in ("np.load", "torch.load"):
                told = {ast.unparse(keyword) for keyword in call.keywords}
                assert told & {"allow_pickle=False", "weights_only=True"}, path
