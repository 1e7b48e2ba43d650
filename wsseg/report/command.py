"""``wsseg report``: one page about a run that needs no other file."""

from __future__ import annotations

from pathlib import Path

from wsseg.report.card import model_card
from wsseg.report.cluster_facts import cluster_facts
from wsseg.report.curves import draw_curves
from wsseg.report.data_facts import data_facts
from wsseg.report.dice_chart import draw_dice_of_cases
from wsseg.report.held_out import held_out
from wsseg.report.map_sheets import map_sheets
from wsseg.report.page import Page, render
from wsseg.report.predicted import predicted
from wsseg.report.run_folder import read_run
from wsseg.report.suspicious import suspicious_tags
from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable, write_text

REPORT_FILE = "report.html"
LOG = Path("logs", "metrics.csv")


def report(
    run: Path,
    *,
    output: Path | None = None,
    store: Path | None = None,
    predictions: Path | None = None,
) -> Path:
    """Write a page about a training: data, curves, clusters, held-out cases and a model card.

    The page is one HTML file that opens without a network. It shows images and names of cases, so
    keep it where these may be kept. What a run lacks is said in the page, with the command that
    makes it.

    Args:
        run: Folder of the run, which ``wsseg fit`` wrote.
        output: File to write; by default ``report.html`` in the folder of the run. An earlier one
            is replaced.
        store: Store that the run was trained on, if it is not where the run's ``config.yaml`` says.
        predictions: Folder that ``wsseg predict`` wrote with the run's checkpoint, to show what it
            has found in new images.

    Returns:
        The file.

    Raises:
        InputError: There is no run, one of its files cannot be used, or the output cannot be
            written.

    Example:
        >>> report(Path("nowhere"))
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: nowhere: does not exist; give the folder of a run...
    """
    folder = Path(run)  # from Python it may be a string
    path = Path(output) if output else folder / REPORT_FILE
    found = read_run(folder, Path(store) if store else None)
    if path.is_dir():
        raise InputError(f"--output {path}: is a folder; name a file, {path / REPORT_FILE}")
    check_writable(path.parent)
    classes = list(found.spec.classes)
    new = predicted(Path(predictions), classes) if predictions else None
    data, cases = data_facts(found), held_out(found)
    page = Page(
        name=folder.resolve().name,
        classes=classes,
        unit="mm" if found.spec.plan.unit == "mm" else "pixels",
        data=data,
        suspicious=suspicious_tags(found),
        curves=draw_curves(folder / LOG),
        log=folder / LOG,
        clusters=cluster_facts(found),
        maps=map_sheets(found),
        cases=cases,
        dice=draw_dice_of_cases(cases.scores),
        predicted=new,
        card=model_card(found, data, cases),
    )
    write_text(path, render(page))
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path
