"""What the README files show works: commands, snippets, links, and the numbers that they repeat."""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import io
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.conftest import write_store
from wsseg.benchmark import benchmark
from wsseg.benchmark.config import load_config
from wsseg.cli import main
from wsseg.cli.commands import COMMANDS
from wsseg.compression import compress
from wsseg.data.layouts import find_cases
from wsseg.data.preparation import prepare
from wsseg.data.tags import read_tags
from wsseg.export import export
from wsseg.inspection.check import check
from wsseg.inspection.init import init
from wsseg.phantom import write_phantom
from wsseg.prediction import predict
from wsseg.report import report

REPOSITORY = Path(__file__).resolve().parents[1]
READMES = sorted(
    REPOSITORY / name
    for folder in (".", "wsseg", "experiments", "tests")
    for name in REPOSITORY.glob("README.md" if folder == "." else f"{folder}/**/README.md")
)
BENCHMARKS = sorted((REPOSITORY / "experiments/benchmarks").glob("*.yaml"))
pytestmark = pytest.mark.usefixtures("one_thread")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONFIGURED = {  # whose numeric options must be in the table of tuned values
    "clustering/options.py": ["ClusteringOptions"],
    "clustering/scorers.py": ["EvidenceScorer"],
    "models/cam_module.py": ["CamModule"],
    "segmentation/module.py": ["SegmentationModule"],
    "segmentation/pseudo_masks.py": ["PseudoMasks"],
    "data/augmentation.py": ["SliceAugmentation"],
}
OF_USERS = {"cases.yaml", "config.yaml", "mine.py", "wsseg.yaml"}  # files that examples name
NOT_TUNED = {"seed", "batch_size", "mirror"}
FLAGS = {"help", "ckpt_path", "config", "print_config"}
COMMANDS_OF_OURS = (
    init,
    check,
    compress,
    prepare,
    predict,
    report,
    export,
    benchmark,
    write_phantom,
)
OPTIONS = FLAGS.union(*(inspect.signature(f).parameters for f in COMMANDS_OF_OURS))


def blocks(path: Path, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(path.read_text()) if kind == language]


def prose(path: Path) -> str:
    """Everything but blocks of code, and tables."""
    lines = FENCE.sub("", path.read_text()).splitlines()
    return "\n".join(line for line in lines if not line.startswith("|"))


def shell_lines(path: Path) -> Iterator[list[str]]:
    for code in blocks(path, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def inline(path: Path, start: str) -> list[str]:
    """What stands between single backticks and begins so."""
    return re.findall(rf"(?<!`)`({start}[^`\n]*)`(?!`)", FENCE.sub("", path.read_text()))


@pytest.fixture(params=READMES, ids=lambda path: str(path.parent.relative_to(REPOSITORY)))
def readme(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the placeholders of commands stand for."""
    folder = tmp_path_factory.mktemp("readme")
    write_store(folder / "STORE")
    for name in ("RUN", "RUN2"):
        (folder / name).mkdir()
        (folder / name / "last.ckpt").touch()
        text = (REPOSITORY / "experiments/quickstart.yaml").read_text()
        (folder / name / "config.yaml").write_text(f"{text}  root: {folder / 'STORE'}\n")
    (folder / "experiments").symlink_to(REPOSITORY / "experiments")
    return folder


def parse(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a command of wsseg and do nothing else."""
    monkeypatch.chdir(folder)
    only_shows = any(word.rpartition(".")[2] == "help" for word in words[:-1]) or "--help" in words
    with pytest.raises(SystemExit) as leaving:  # main returns only where it refuses
        main([*words, *([] if only_shows else ["--print_config"])])
    assert not leaving.value.code, words


def test_the_readme_is_one_page() -> None:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose(REPOSITORY / "README.md"))
    assert len([word for word in text.split() if re.search(r"\w", word)]) <= 900


def test_links_lead_somewhere(readme: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", readme.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (readme.parent / name) if name else readme
        assert path.exists(), target
        if anchor:
            page = path / "README.md" if path.is_dir() else path
            titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
            kept = (re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)
            assert anchor in kept, target


def test_files_that_are_named_exist(readme: Path) -> None:
    for name in re.findall(r"(?:experiments|tests|wsseg)/[\w/.-]+\.\w+", readme.read_text()):
        assert "NAME" in name or (REPOSITORY / name).exists(), name
    for name in re.findall(r"[`(]([\w./-]+\.(?:py|yaml|sbatch))[`)]", readme.read_text()):
        if name not in OF_USERS and "/NAME" not in name:
            assert (readme.parent / name).exists() or (REPOSITORY / name).exists(), name


def test_python_runs(readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with the images of the README; trainings of 16 epochs are cut to 5."""
    write_pictures(image_table(REPOSITORY / "README.md"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["mine.py"])
    for code in blocks(readme, "python"):
        shorter = code.replace("max_epochs=16", "max_epochs=5")
        exec(compile(shorter, str(readme), "exec"), {"__name__": "__main__"})


def test_commands_are_understood(
    readme: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = list(shell_lines(readme))
    lines += [
        shlex.split(each) for each in inline(readme, r"(?:[A-Z_]+=\S+ )?(?:wsseg|make|python) ")
    ]
    for words in lines:
        while "=" in words[0]:
            words = words[1:]
        program, *rest = words
        if program == "wsseg":
            assert rest[0] in COMMANDS, words
            if rest[1:]:
                known = ["brats" if word == "LAYOUT" else word for word in rest]
                parse(known, folder, monkeypatch)
        elif program == "make":
            check_make(rest)
        elif program == "python":
            check_script(rest)
        else:
            assert program == "pip", words
            (extras,) = re.findall(r"\[([\w,-]+)\]", rest[-1])
            project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
            assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_commands_in_configurations_are_understood(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first comments say how they are used."""
    for path in sorted((REPOSITORY / "experiments").rglob("*.yaml")):
        comments = "\n".join(re.findall(r"^#(.*)$", path.read_text(), re.MULTILINE))
        for line in re.findall(r"^ {3}(wsseg .*)$", comments.replace("\\\n", " "), re.MULTILINE):
            parse(shlex.split(line)[1:], folder, monkeypatch)


def check_make(words: list[str]) -> None:
    target, *settings = words
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE), words
    for setting in settings:
        name = setting.removeprefix("TABLE=")
        assert name == "NAME" or (REPOSITORY / f"experiments/benchmarks/{name}.yaml").is_file()


def check_script(words: list[str]) -> None:
    source = (REPOSITORY / words[0]).read_text()
    for word in words[1:]:
        assert not word.startswith("--") or f'"{word}"' in source, words


def test_options_that_are_named_exist(
    readme: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those in the text, as `--model.symmetry=false`; with their values if these are given."""
    for option in inline(readme, "--"):
        name, given, _ = option.replace(" ", "=", 1)[2:].partition("=")
        if "." not in name:
            assert name in OPTIONS, option
            continue
        second = name.startswith("model.targets")
        config = f"experiments/{'segmentation' if second else 'quickstart'}.yaml"
        words = ["fit", f"--config={config}", "--data.root=STORE"]
        capsys.readouterr()
        parse([*words, *(option.split() if given else [])], folder, monkeypatch)
        settings = yaml.safe_load(capsys.readouterr().out)
        for part in name.removesuffix("+").split("."):
            settings = settings[-1] if isinstance(settings, list) else settings
            settings = settings if part in settings else settings["init_args"]
            assert part in settings, option
            settings = settings[part]


def test_configurations_are_understood(
    readme: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in blocks(readme, "yaml"):
        if "trainer" in yaml.safe_load(code):
            (tmp_path / "mine.yaml").write_text(code)
            words = ["fit", f"--config={tmp_path / 'mine.yaml'}", "--data.root=STORE"]
            parse(words, folder, monkeypatch)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_tables_can_be_rebuilt(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    settings = {(each.config, each.overrides) for each in load_config(path).methods if each.config}
    for config, overrides in settings:
        parse(["fit", f"--config={config}", "--data.root=STORE", *overrides], folder, monkeypatch)


def image_table(path: Path) -> str:
    (table,) = (block for block in blocks(path, "") if block.startswith("image,"))
    return table


def slice_table(path: Path) -> str:
    (table,) = (block for block in blocks(path, "") if block.startswith("slice,"))
    return table


def write_pictures(table: str, folder: Path) -> None:
    """Write a table of pictures and the files that it names: noise, with a square where tagged."""
    (folder / "tags.csv").write_text(table)
    for number, row in enumerate(csv.DictReader(io.StringIO(table))):
        pixels = np.random.default_rng(number).integers(1, 90, (32, 32)).astype(np.uint8)
        square = np.zeros((32, 32), np.uint8)
        square[8:20, 8:20] = 100
        if "1" in row.values():
            pixels += square
        for name, array in ((row["image"], pixels), (row.get("mask"), square)):
            if name:
                (folder / name).parent.mkdir(exist_ok=True)
                Image.fromarray(array).save(folder / name)


def write_listed(datalist: str, table: str, folder: Path) -> None:
    """Write a datalist and the files that it names, made of noise."""
    (folder / "cases.yaml").write_text(datalist)
    noise, listed = np.random.default_rng(0), yaml.safe_load(datalist)
    for case in listed["cases"]:
        volumes = {name: noise.uniform(1, 2, (32, 32, 6)) for name in case["images"].values()}
        if "mask" in case:  # all labels in every second slice
            labels = sorted({label for own in listed["classes"].values() for label in own})
            rows = np.resize(labels, 32)[:, None, None]
            volumes[case["mask"]] = np.arange(6) % 2 * rows * np.ones((32, 32, 6))
        for name, volume in volumes.items():
            (folder / name).parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), folder / name)
        if isinstance(case.get("tags"), str):
            header, *lines = table.splitlines()
            more = [f"{number},{lines[-1].partition(',')[2]}" for number in range(len(lines), 6)]
            (folder / case["tags"]).write_text("\n".join([header, *lines, *more]))


def test_datalists_are_prepared(readme: Path, tmp_path: Path) -> None:
    for number, code in enumerate(blocks(readme, "yaml")):
        listed = yaml.safe_load(code)
        if "cases" in listed:
            (tmp_path / "tags.csv").write_text(slice_table(readme))
            read_tags(tmp_path / "tags.csv", "anna", listed["classes"], 3)
            write_listed(code, slice_table(readme), tmp_path)
            store = tmp_path / f"store{number}"
            prepare("datalist", tmp_path / "cases.yaml", store, folds=2, workers=1)
            found = json.loads((store / "manifest.json").read_text())["cases"]
            assert [case["id"] for case in found] == [case["id"] for case in listed["cases"]]


def test_tables_are_read(tmp_path: Path) -> None:
    for folder in (REPOSITORY, REPOSITORY / "wsseg/data"):
        table = image_table(folder / "README.md")
        write_pictures(table, tmp_path)
        found = find_cases("table", tmp_path / "tags.csv")
        assert len(found.cases) == len(table.splitlines()) - 1
        assert list(found.classes) == table.splitlines()[0].partition("patient,")[2].split(",")


def test_the_steps_of_the_readme_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands on own data, on the table that is shown, with small networks."""
    path = REPOSITORY / "README.md"
    write_pictures(image_table(path), tmp_path)
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    monkeypatch.chdir(tmp_path)
    lines = [words[1:] for words in shell_lines(path) if words[0] == "wsseg"]
    made = []
    for command, *rest in lines:
        words = ["tags.csv" if word == "CASE_OR_FOLDER" else word for word in rest]
        if command == "fit":
            words += ["--trainer.max_epochs=2", "--model.widths=[4,8,8]"]
            words += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
            words += ["--clustering.warmup_epochs=1"] * any("quickstart" in w for w in words)
        if "BRATS_FOLDER" not in words:
            assert main([command, *words]) == 0, words
            made.append(command)
    assert made == ["prepare", "fit", "test", "report", "predict", "fit"]
    assert (tmp_path / "RUN/report.html").is_file()
    assert (tmp_path / "OUT/masks/scans/anna_1.png").is_file()
    assert (tmp_path / "RUN2/last.ckpt").is_file()


def test_results_are_those_of_the_tables() -> None:
    columns = ("brats2018_demo", "phantom")
    rows: dict[tuple[str, str], tuple[str, str]] = {}
    for table in columns:
        text = (REPOSITORY / f"experiments/results/{table}/table.md").read_text()
        for method, dice, hd95 in re.findall(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \|", text, re.M):
            rows[table, method] = dice, hd95
    shown = re.findall(
        r"^\|[^`\n]*\(`(\w+)`\)[^|]*\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
        (REPOSITORY / "README.md").read_text().replace("**", ""),
        re.MULTILINE,
    )
    assert {"cam", "crs", "segmentation", "supervised", "crs_authors"} <= {row[0] for row in shown}
    for method, *numbers in shown:
        expected: list[Any] = [number for table in columns for number in rows[table, method]]
        assert numbers == expected, method


def tuned_values() -> list[tuple[str, str, str]]:
    """File, name and value of each row of the table, which has the name and the file in one."""
    text = (REPOSITORY / "wsseg/README.md").read_text()
    return re.findall(r"^\| `([\w.]+)` \((\S+)\) \| ([^|]+) \|", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "file", "value"), tuned_values())
def test_tuned_values_are_those_of_the_code(name: str, file: str, value: str) -> None:
    path = REPOSITORY / "wsseg" / file
    if path.suffix == ".yaml":
        found = yaml.safe_load(path.read_text())
        for part in name.split("."):
            found = found[int(part) if part.isdecimal() else part]
    else:
        found = value_of(file, name)
    assert found == ast.literal_eval(value)


def value_of(file: str, name: str) -> Any:
    """Return a constant of a module, an attribute of a class, or a default of its arguments."""
    module = importlib.import_module(f"wsseg.{file.removesuffix('.py').replace('/', '.')}")
    first, _, option = name.partition(".")
    found = getattr(module, first)
    assert getattr(found, "__module__", module.__name__) == module.__name__, "defined elsewhere"
    if not option:
        return found
    arguments = inspect.signature(found).parameters
    return arguments[option].default if option in arguments else getattr(found, option)


def test_every_tuned_value_of_the_method_is_in_the_table() -> None:
    """Numbers that have a name, and the numeric options of what a user configures."""
    listed = {(file, name) for name, file, _ in tuned_values()}
    bounds = set(re.findall(r"`(\w+)`", section("Bounds that change no result")))
    for package in ("clustering", "models", "segmentation", "prediction"):
        for path in sorted((REPOSITORY / "wsseg" / package).glob("*.py")):
            for statement in ast.parse(path.read_text()).body:
                for name in named_numbers(statement):
                    known = (f"{package}/{path.name}", name) in listed or name in bounds
                    assert known, f"{path}: {name} is missing in wsseg/README.md, Tuned values"
    for file, names in CONFIGURED.items():
        for owner in names:
            module = importlib.import_module(f"wsseg.{file.removesuffix('.py').replace('/', '.')}")
            for option, given in inspect.signature(getattr(module, owner)).parameters.items():
                if type(given.default) in (int, float) and option not in NOT_TUNED:
                    assert (file, f"{owner}.{option}") in listed, (
                        f"{owner}.{option} is missing in wsseg/README.md, Tuned values"
                    )


def named_numbers(statement: ast.stmt) -> list[str]:
    """Return the constants that a statement names, if their values are numbers."""
    if not isinstance(statement, ast.Assign):
        return []
    try:
        value = eval(compile(ast.Expression(statement.value), "", "eval"), {"__builtins__": {}})
    except (NameError, TypeError, AttributeError):
        return []
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(each, float | int) for each in values):
        return []
    return [node.id for node in ast.walk(statement.targets[0]) if isinstance(node, ast.Name)]


def section(title: str) -> str:
    text = (REPOSITORY / "wsseg/README.md").read_text()
    return re.split(r"^#", text.split(f"# {title}\n")[1], flags=re.MULTILINE)[0]


def test_the_glossary_is_short() -> None:
    assert 8 <= section("Words").count("\n- ") <= 15
