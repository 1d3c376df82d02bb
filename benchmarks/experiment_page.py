"""The page of the experiment, from its rows alone. Read `page_lines` first."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiment_figure import figure_svg
from experiment_reading import (
    RARE_PERCENT,
    Row,
    against_plain,
    answered,
    arms_of,
    differences,
    interval_text,
    new_streets,
    over_drives,
    reading,
    rows_of,
    step_ratios,
    title,
    with_groups,
)
from experiment_studies import BALANCED, FASTER, SEEDS, Study
from experiment_table import table

from artoolkit.evaluation.experiment import COLUMNS, difference_interval, markdown_table, summarise
from artoolkit.evidence.seal import write_atomically
from artoolkit.words import CONTROL

PARTS = {"mIoU": "mIoU", "boundary_mIoU": "at class borders", "interior_mIoU": "away from them"}
GROUPS = {
    "rare_mIoU": f"classes of less than {RARE_PERCENT:g} % of the pixels",
    "frequent_mIoU": "the other classes",
}
VARIANTS = {FASTER: "the baseline's own rate, five times as high",
            BALANCED: "class weights (median-frequency balancing)"}  # fmt: skip

LIMITS = (
    "All seeds of a study start from one baseline, so that an interval by study covers the luck of",
    "the fine-tuning, not that of the baseline (studies that end in `-b2` start from another one)",
    "nor the choice of the drives. The interval for new streets covers all three.",
)
SHARED = (
    "Runs may have shared their machine with others; arms side by side, step by step, are measured",
    "by `training_step.py` and stand in [docs/speed.md](../../docs/speed.md).",
)


def write_page(rows: Sequence[Row], studies: Sequence[Study], results: Path) -> list[Path]:
    """The page and the figure beside the file of the rows; returns their paths."""
    figure, page = results.with_suffix(".svg"), results.with_suffix(".md")
    names = [study.name for study in studies]
    shown = [row for row in rows if row.get("study") in names]
    lines = page_lines(shown, studies, results.name, figure.name if shown else None)
    write_atomically(page, "\n".join(lines).encode())
    if not shown:
        return [page]
    plain = [study for study in studies if not study.variant]
    unseen = [s.name for s in plain if s.unseen and s.baseline_seed == 1]
    kept = [row for row in shown if row["study"] in {study.name for study in plain}]
    write_atomically(figure, figure_svg(kept, unseen, [s.name for s in plain]).encode())
    return [page, figure]


def page_lines(
    rows: Sequence[Row], studies: Sequence[Study], source: str, figure: str | None
) -> list[str]:
    plain = [study for study in studies if not study.variant]
    unseen = rows_of(rows, [s for s in plain if s.unseen and s.baseline_seed == 1])
    lines = [
        "# Does the affinity-regression loss help on CamVid?",
        "",
        f"Made from `{source}` by `python benchmarks/experiment.py --render`; do not edit.",
        "What was planned, and why so, stands in `benchmarks/experiment_studies.py`.",
        "",
        *missing_lines(rows, studies),
        "",
        "## The answer",
        "",
        *answer_lines(rows, plain),
        "",
    ]
    if figure:
        lines += [f"![Paired differences to control]({figure})", ""]
    if rows:
        lines += [
            *table(rows),
            "",
            "## Where the differences lie, on unseen drives, from the first baseline",
            "",
            *where_lines(unseen),
            "",
        ]
        lines += ["## Would something simpler do?", "", *simpler_lines(rows, studies), ""]
        lines += ["## What it costs", "", *cost_lines(rows_of(rows, plain)), ""]
    for study in studies:
        found = rows_of(rows, [study])
        if found:
            lines += [f"## {study.name}", "", _judged_on(found[0]), ""]
            lines += [*markdown_table(summarise(found, metrics=tuple(COLUMNS))), ""]
    return lines


def missing_lines(rows: Sequence[Row], studies: Sequence[Study]) -> list[str]:
    """Number of the planned runs that there are, one line per study."""
    done = {(row["study"], row["arm"], row["ar_weight"], row["seed"]) for row in rows}
    planned = {study.name: study.runs(SEEDS) for study in studies}
    counts = {name: sum((name, *run) in done for run in runs) for name, runs in planned.items()}
    total, have = sum(map(len, planned.values())), sum(counts.values())
    missing = f"{total - have} are missing" if have < total else "none is missing"
    lines = [f"**{have} of {total} planned runs are finished; {missing}.**", ""]
    lines += ["| study | finished | planned |", "|---|---|---|"]
    return lines + [f"| {name} | {counts[name]} | {len(runs)} |" for name, runs in planned.items()]


def answer_lines(rows: Sequence[Row], studies: Sequence[Study]) -> list[str]:
    """A sentence an arm: on the unseen drives together, from each baseline, and where seen."""
    unseen = rows_of(rows, [study for study in studies if study.unseen])
    lines = [
        "New streets (over unseen drives, baselines and seeds, all three drawn at random):",
        "",
    ]
    lines += [*(streets_line(unseen, arm) for arm in arms_of(unseen)), ""]
    for seed in sorted({study.baseline_seed for study in studies}):
        mine = rows_of(rows, [s for s in studies if s.unseen and s.baseline_seed == seed])
        about = f"Unseen drives, baseline of seed {seed} (mean over drives; one value per seed)"
        lines += [f"{about}:", "", *_answers([(a, over_drives(mine, a)) for a in arms_of(mine)])]
        lines += [*above_lines(mine), ""] if mine else []
    seen = rows_of(rows, [study for study in studies if not study.unseen])
    lines += ["Usual split (validation drive seen in training):", ""]
    lines += _answers([(arm, differences(seen, arm)) for arm in arms_of(seen)])
    return [*lines, *LIMITS]


def streets_line(rows: Sequence[Row], arm: tuple[str, float]) -> str:
    """The gain on streets that nobody has seen, from all drives, baselines and seeds."""
    found = new_streets(rows, arm)
    if found is None:
        return f"* {title(arm)}: nothing can be said yet"
    return (
        f"* {title(arm)}: {answered(found.interval)} points of mIoU; about {found.about}, from "
        f"{found.drives} drives, {found.baselines} baselines, {found.runs} pairs"
    )


def _answers(found: Sequence[tuple[tuple[str, float], list[float]]]) -> list[str]:
    told = [f"* {title(arm)}: {reading(values)}" for arm, values in found]
    return [*(told or ["* no run yet"]), ""]


def above_lines(rows: Sequence[Row]) -> list[str]:
    """Number of single runs that were better than the control of their study and seed."""
    told = []
    for arm in arms_of(rows):
        found = differences(rows, arm)
        told.append(f"{sum(value > 0 for value in found)} of {len(found)} with {title(arm)}")
    return [f"Single runs better than their control: {'; '.join(told)}."]


def where_lines(rows: Sequence[Row]) -> list[str]:
    """Mean paired difference by part of the image, rare and frequent classes, and class."""
    grouped = [with_groups(row) for row in rows]
    arms = arms_of(grouped)
    if not arms:
        return ["No run yet."]
    classes = {key: key[4:] for key in grouped[0] if key.startswith("IoU.")}
    lines = [f"| points | {' | '.join(map(title, arms))} |", f"|{'---|' * (len(arms) + 1)}"]
    for key, name in {**PARTS, **GROUPS, **classes}.items():
        cells = []
        for arm in arms:
            found = differences(grouped, arm, key)
            cells.append(f"{statistics.fmean(found):+.2f}" if found else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def simpler_lines(rows: Sequence[Row], studies: Sequence[Study]) -> Iterator[str]:
    """Other changes tried from the same baselines, all against the plain control of the seed."""
    varied = [study for study in studies if study.variant]
    starts = [s for s in studies if s.name in {study.baseline for study in varied}]
    yield "Differences to the same control as above: the fine-tuning rate, no class weights, no AR."
    yield ""
    yield f"| | {' | '.join(study.name for study in starts)} |"
    yield f"|{'---|' * (len(starts) + 1)}"
    arms = [(CONTROL, 0.0), *arms_of(rows_of(rows, varied))]
    for arm in arms[1:]:
        yield _simpler_row(rows, title(arm), starts, arm)
    for variant, name in VARIANTS.items():
        mine = [study for start in starts for study in varied
                if (study.baseline, study.variant) == (start.name, variant)]  # fmt: skip
        for arm in arms:
            label = f"{name}, no AR" if arm[0] == CONTROL else f"{name}, and {title(arm)}"
            yield _simpler_row(rows, label, mine, arm)


def _simpler_row(
    rows: Sequence[Row], label: str, studies: Sequence[Study], arm: tuple[str, float]
) -> str:
    cells = []
    for study in studies:
        found = against_plain(rows, study, arm)
        interval = difference_interval(found)
        cells.append(f"{interval_text(interval)}, {len(found)} pairs" if interval else "-")
    return f"| {label} | {' | '.join(cells)} |"


def cost_lines(rows: Sequence[Row]) -> list[str]:
    """Time of a step beside control's."""
    lines = ["| arm | time of a step / control, median | runs |", "|---|---|---|"]
    for arm in arms_of(rows):
        ratios = step_ratios(rows, arm)
        if ratios:
            lines.append(f"| {title(arm)} | {statistics.median(ratios):.3f} | {len(ratios)} |")
    return [*lines, "", *SHARED]


def _judged_on(row: Row) -> str:
    return (
        f"Trained on {', '.join(row['train'])}, judged on the {row['images']} images of "
        f"{', '.join(row['val'])}, {row['epochs']} epochs from a baseline of seed "
        f"{row['baseline_seed']} with {row['baseline_mIoU']:.2f} % mIoU, crops of "
        f"{row['crop'][0]} x {row['crop'][1]}; on {row['device']}."
    )
