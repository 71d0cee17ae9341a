"""Where are pairs connected, and does LLFC hold in the same trials?"""

import pandas as pd

from analysis.answers.agreement import LLFC_THRESHOLDS, agreements, roc, roc_area
from analysis.answers.answer import SCOPE
from analysis.answers.onset import onsets, with_unfinished
from analysis.answers.searched import asked_of, onset_text
from analysis.answers.tables import estimate, estimates, filled_columns
from analysis.figures.statistics import agreement_figure, forest_figure
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis
from analysis.runs.columns import label, of_classes, phrase
from analysis.runs.grid import lines_along, name
from analysis.runs.schema import BARRIER, INSTABILITY, INSTABILITY_SE, LLFC, STABLE
from analysis.statistics.powers import powers

ONSET_AXES = ("width", "spawn_epoch", "spawn_step")
LEAST_PLACES = 3  # of two widths any law holds
HOLDS = f"LMC holds where {phrase(INSTABILITY)} is below {100 * STABLE:g} % (Frankle et al. 2020)"


def onset_section(findings: Findings) -> Part | None:
    """From which width, or spawn epoch, on pairs are connected."""
    trials, unfinished = findings.runs.trials, findings.runs.unfinished
    if asked_of(trials) is not None:
        return None  # each seed has places of its own: `bracket_section` tells
    if not of_classes(trials):
        return None  # the rule is of error rates
    known = with_unfinished(trials, unfinished)
    axes = [axis for axis in ONSET_AXES if lines_along(known, axis)]
    if not axes or INSTABILITY not in trials:
        return None
    found = pd.concat(
        [onsets(trials, axis, unfinished=unfinished).assign(axis=name(axis)) for axis in axes]
    )
    rows = found.assign(
        panel=[f"onset in {axis}" for axis in found["axis"]],
        series="",
        label=[group or "all trials" for group in found["group"]],
        value=found["onset"],
    )
    title = f"From which {' and which '.join(map(name, axes))} on pairs are connected"
    scales = {
        panel: "log" if (trials[axis].dropna() > 0).all() else "symlog"
        for panel, axis in zip(rows["panel"].unique(), axes, strict=True)
    }
    drawn = None
    if found["onset"].notna().any():
        drawn = forest_figure(rows, ", ".join(map(name, axes)), zero=None, scales=scales)
    noise = NOISE_KNOWN if INSTABILITY_SE in trials else NOISE_UNKNOWN
    return Part(
        key="onset",
        title=title,
        figure=drawn,
        caption=(
            f"{HOLDS}. The onset of a seed is the value of the axis from which on it holds for all"
            " larger values, interpolated linearly on a logarithmic axis between two values of the"
            f" grid. {INTERVAL} {noise} {basis(trials)}"
        ),
        tables=[_onset_table(rows, found)],
    )


def _onset_table(rows: pd.DataFrame, found: pd.DataFrame) -> PageTable:
    shown = {
        "axis": found["axis"],
        "group": rows["label"],
        "onset (interval)": [onset_text(*row) for row in found[ENDS].to_numpy()],
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"Onset, in the unit of the axis, averaged over seeds. {INTERVAL} Where a seed has no onset"
        f" inside the grid, only an end of it can be given. {HOLDS}."
    )
    return PageTable(key="onset", frame=filled_columns(shown), caption=caption, numbers=found)


def power_section(findings: Findings) -> Part | None:
    """As which power of the width the barrier falls."""
    trials = findings.trials
    if "width" not in trials or not lines_along(trials, "width"):
        return None
    found = powers(trials, "width")
    found = found[found["places"] >= LEAST_PLACES].reset_index(drop=True)
    if found["power"].isna().all():
        return None
    rows = found.assign(
        panel="", series="", label=found["group"].replace("", "all trials"), value=found["power"]
    )
    shown = {
        "group": rows["label"],
        "power (95 % interval)": estimates(found, "power"),
        "widths": [
            f"{places:g} of {least:g} to {most:g}"
            for least, most, places in found[["least", "most", "places"]].to_numpy()
        ],
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"The exponent of the power law of {phrase(BARRIER)} in the width, a least-squares line"
        f" through a seed's logarithms; -0.5 where four times the width halves it. {SEEDS}"
    )
    return Part(
        key="powers",
        title="As which power of the width the barrier goes",
        figure=forest_figure(rows, "power of the width"),
        caption=f"{caption} {basis(trials)}",
        tables=[
            PageTable(
                key="powers",
                frame=filled_columns(shown),
                caption="The exponents, and the widths that they are of.",
                numbers=found,
            )
        ],
    )


def agreement_section(findings: Findings) -> Part | None:
    """The 2×2 table of LMC and LLFC at several thresholds, and the ROC over all of them."""
    trials = findings.runs.trials
    if INSTABILITY not in trials:
        return None
    title = "Does LLFC hold where LMC holds?"
    if not of_classes(trials):
        note = f"Left out: {HOLDS}, which is a rule for error rates, and not all trials have one."
        return Part(key="agreement", title=title, note=note)
    found = agreements(trials, lmc=[STABLE])
    if found[["both", "lmc_only"]].iloc[0].sum() in (0, found.iloc[0][COUNTS].sum()):
        word = "no" if found.iloc[0]["both"] + found.iloc[0]["lmc_only"] == 0 else "every"
        note = f"Left out: {HOLDS}, which is so in {word} trial, so there is nothing to tell apart."
        return Part(key="agreement", title=title, note=note)
    best = found.iloc[int(found["kappa"].fillna(-1).argmax())]
    curve, area = roc(trials), roc_area(trials).iloc[0]
    square = pd.DataFrame(
        [[best["both"], best["lmc_only"]], [best["llfc_only"], best["neither"]]],
        index=["LMC", "no LMC"],
        columns=[f"LLFC error < {best['llfc']:g}", "not so"],
    )
    size = estimate(area["area"], area["low"], area["high"])
    return Part(
        key="agreement",
        title=title,
        figure=agreement_figure(square, curve, f"trials, κ = {best['kappa']:.2f}", f"area {size}"),
        caption=(
            f"{HOLDS}; LLFC holds where {label(LLFC)} is below a threshold, of which nature gives"
            f" none. Left, the one of {', '.join(map(str, LLFC_THRESHOLDS))} with the highest κ of"
            " these very trials, so that it flatters; right, every threshold. The area under it is"
            " how often, of two trials of a seed of which one is connected, that one has the"
            f" smaller LLFC error; 0.5 is chance. Its interval is over {area['seeds']} seeds"
            f" (Student's t). {SCOPE} {basis(trials)}"
        ),
        tables=[_agreement_table(found)],
    )


def _agreement_table(found: pd.DataFrame) -> PageTable:
    shown = {
        "LLFC error below": [f"{threshold:g}" for threshold in found["llfc"]],
        "both": found["both"],
        "LMC only": found["lmc_only"],
        "LLFC only": found["llfc_only"],
        "neither": found["neither"],
        "agree (95 % interval)": estimates(found, "agree"),
        "kappa": [estimate(kappa) for kappa in found["kappa"]],
    }
    caption = (
        "Counts of trials at each threshold of the LLFC error; agree is the fraction of trials in"
        " which both hold or neither does, within a seed; kappa is Cohen's, 0 for agreement by"
        " chance alone."
    )
    return PageTable(key="agreement", frame=filled_columns(shown), caption=caption, numbers=found)


ENDS = ["onset", "low", "high"]
INTERVAL = (
    "A seed's onset is only known to lie between the last value of the grid at which the pair is"
    " not connected and the first from which on it is; the interval runs from the lower end of the"
    " 95 % interval over seeds (Student's t) of the former to the upper end of that of the latter."
    f" {SCOPE}"
)
NOISE_KNOWN = (
    "A pair whose barrier is within 1.96 standard errors (of the test set as a sample) of the"
    " threshold counts as neither connected nor not."
)
NOISE_UNKNOWN = "The standard error of the barriers was not recorded and is not in the interval."
COUNTS = ["both", "lmc_only", "llfc_only", "neither"]
