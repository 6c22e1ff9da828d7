"""What was measured: text while it is measured, Markdown for docs/performance.md, goals and whether they are met."""
import re
import statistics
import sys
from pathlib import Path


class Spread:
    """Least, median and greatest of some numbers"""

    def __init__(self, values, digits=1):
        self.low, self.median, self.high = min(values), statistics.median(values), max(values)
        self.digits = digits

    def number(self, value):
        return f"{value:,.{self.digits}f}"

    def __str__(self):
        return f"{self.number(self.median)} ({self.number(self.low)} – {self.number(self.high)})"


class Ratio(Spread):
    """Of neighbours in time; above 1: amad is faster"""

    def __init__(self, more, less, digits=1):
        super().__init__([m / l for m, l in zip(more, less)], digits)

    def __str__(self):
        return f"{self.number(self.low)} / **{self.number(self.median)}** / {self.number(self.high)}"


class Goal:
    def __init__(self, what, goal, met):
        """met: measured value -> bool"""
        self.what, self.goal, self.met = what, goal, met
        self.measured = None  # (value, text)


def at_least(n):
    return lambda value: value >= n


def at_most(n):
    return lambda value: value <= n


GOALS = {
    "training": Goal("training, one core against one thread", "≥ 5 ×", at_least(5)),
    "two_cores": Goal("training, leader and one worker against two threads", "≥ 7 ×", at_least(7)),
    "second_worker": Goal("training, leader and one worker against the leader", "≥ 1.8 ×", at_least(1.8)),
    "scoring": Goal("scoring, one core against one thread", "≥ 10 ×", at_least(10)),
    "scored_rows": Goal("scored rows a second, one core", "≥ 100,000", at_least(1e5)),
    "journey": Goal("rows in a table to scores in a table, against CSV and back", "≥ 12 ×", at_least(12)),
    "peak_training": Goal("useful arithmetic of a training step, share of the SGEMM peak", "≥ 50 %", at_least(50)),
    "peak_scoring": Goal("useful arithmetic of a scored row, share of the SGEMM peak", "≥ 50 %", at_least(50)),
    "memory": Goal("memory above the backend while scoring", "≤ 32 MB", at_most(32)),
    "first_call": Goal("first scoring of a fresh backend, 300 rows", "≤ 30 ms", at_most(30)),
    "cancel": Goal("cancel while training or scoring, longest", "≤ 100 ms", at_most(100)),
}


class Report:
    def __init__(self):
        self.blocks = {}  # name -> Markdown
        self.failures = []  # names of what should have worked

    def goal(self, name, value, text):
        GOALS[name].measured = (value, text)

    def table(self, name, title, header):
        return Table(self, name, title, header)

    def text(self, name, title, lines):
        """Lines as they are"""
        print(f"\n{title}\n")
        print("\n".join(lines), flush=True)
        self.blocks[name] = "\n".join(["```", *lines, "```"])

    def skipped(self, name, why):
        print(f"\n{name}: not measured: {why}", flush=True)
        done = self.blocks.get(name)
        self.blocks[name] = f"{done}\n\nThe rest was not measured: {why}" if done else f"Not measured: {why}"

    def goals(self):
        table = self.table("goals", "Goals", ["", "goal", "measured", "met"])
        for goal in GOALS.values():
            value, text = goal.measured or (None, "not measured")
            table.row(goal.what, goal.goal, text, "" if value is None else "yes" if goal.met(value) else "**no**")

    def write(self, path):
        """Puts the blocks between their markers, <!-- bench:NAME --> and <!-- /bench -->"""
        text = Path(path).read_text(encoding="utf-8")
        for name, block in self.blocks.items():
            text, n = re.subn(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench -->)",
                              lambda m, block=block: f"{m[1]}{block}\n{m[2]}", text, flags=re.S)
            if n != 1:
                print(f"{path}: {n} places for bench:{name}, there should be one", file=sys.stderr)
        Path(path).write_text(text, encoding="utf-8")


class Table:
    """Printed row by row as it grows"""

    def __init__(self, report, name, title, header):
        self.report, self.name, self.rows = report, name, []
        self.header = header
        print(f"\n{title}\n", flush=True)
        self.print(header)

    def row(self, *cells):
        self.rows.append([str(c) for c in cells])
        self.print(self.rows[-1])
        self.report.blocks[self.name] = self.markdown()

    def print(self, cells):
        """The first column is wide, as it names what was measured"""
        first, *rest = [c.replace("*", "") for c in cells]
        print(f"{first:<44} " + " ".join(f"{c:<26}" for c in rest).rstrip(), flush=True)

    def markdown(self):
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
