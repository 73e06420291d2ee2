"""deploy/prometheus and deploy/grafana: every expression parses, names metrics and labels of docs/metrics.md only, and every alert has
the runbook it names. So do the expressions in the pages themselves.

Run by .venv/bin/python, which has a parser of PromQL. What alerts fire on takes promtool (Debian: prometheus); without it that is "not run".
"""

import json
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "sandbox-executor.json"
RUNBOOKS = ROOT / "docs" / "operations.md"
# Prometheus adds them to whatever it scrapes.
EVERYWHERE = {"job", "instance"}


def rows(page, head):
    """The cells of each row of the table that begins with `head`."""
    lines = iter((ROOT / "docs" / page).read_text().splitlines())
    for line in lines:
        if line.startswith(head):
            break
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    assert found, f"{page} has no table {head}"
    return found


def words(cell):
    return set(re.findall(r"`([^`]*)`", cell))


METRICS = {cells[0].strip("`"): (cells[1], words(cells[2])) for cells in rows("metrics.md", "| name |")}
WORDS = {cells[0].strip("`"): words(cells[1]) for cells in rows("metrics.md", "| label |")}


def series():
    """Each name that a scrape has → the labels it has there."""
    for name, (kind, labels) in METRICS.items():
        if kind == "histogram":
            yield f"{name}_bucket", labels | {"le"}
            yield f"{name}_sum", labels
            yield f"{name}_count", labels
        else:
            yield name, labels


SERIES = dict(series())


def alerts():
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return group["rules"]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions():
    """(where, expression) of everything that somebody evaluates."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "5m")
    for page in ("metrics.md", "operations.md"):
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S)
        for language, block in blocks:
            if not language:
                yield from ((page, expression) for expression in block.split("\n\n"))


def anchor_of(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page):
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


def nodes(expression):
    """Every node of the expression, those that select over time among those that select."""
    found = []
    promql_parser.walk(promql_parser.parse(expression), pre_visit=lambda node: found.append(node))
    return found


def selectors(expression):
    for node in nodes(expression):
        if isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql_parser.VectorSelector):
            yield node


class Expressions(unittest.TestCase):
    def test_every_expression_parses_and_names_only_what_is_documented(self):
        count = 0
        for where, expression in expressions():
            with self.subTest(where, expression=expression):
                selected = list(selectors(expression))
                self.assertTrue(selected)
                for selector in selected:
                    self.assertIn(selector.name, SERIES)
                    for matcher in selector.matchers.matchers:
                        self.assertIn(matcher.name, SERIES[selector.name] | EVERYWHERE, selector.name)
                        if matcher.name in WORDS:
                            self.assertIn(matcher.op, (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual))
                            self.assertIn(matcher.value, WORDS[matcher.name], expression)
                count += 1
        self.assertGreater(count, 40)

    def test_what_is_grouped_by_is_a_label_of_what_is_selected(self):
        for where, expression in expressions():
            with self.subTest(where, expression=expression):
                for node in nodes(expression):
                    if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
                        labels = set().union(*(SERIES[one.name] for one in selectors(str(node.expr))))
                        self.assertLessEqual(set(node.modifier.labels), labels | EVERYWHERE)

    def test_every_metric_is_on_the_dashboard_but_the_one_that_says_the_same_as_another(self):
        shown = {
            selector.name
            for where, expression in expressions()
            if where.startswith("panel ")
            for selector in selectors(expression)
        }
        shown = {re.sub("_(bucket|sum|count)$", "", name) if name not in METRICS else name for name in shown}
        self.assertEqual(set(METRICS) - shown, {"sandbox_executor_start_time_seconds"})

    def test_what_the_dashboard_offers_to_choose_from_is_there(self):
        variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
        queries = [variable["query"]["query"] for variable in variables if variable["type"] == "query"]
        self.assertEqual(len(queries), 2)
        for query in queries:
            name = re.fullmatch(r"label_values\((\w+)[{,].*\)", query).group(1)
            self.assertIn(name, METRICS)

    def test_panels_do_not_lie_on_each_other_and_each_has_its_own_id(self):
        everything = json.loads(DASHBOARD.read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in everything}), len(everything))
        taken = set()
        for panel in everything:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells


class Alerts(unittest.TestCase):
    def test_every_alert_has_a_runbook_that_names_it_and_its_metrics(self):
        page = RUNBOOKS.read_text()
        for alert in alerts():
            with self.subTest(alert["alert"]):
                path, anchor = alert["annotations"]["runbook_url"].split("#")
                self.assertEqual(ROOT / path, RUNBOOKS)
                self.assertIn(anchor, anchors(RUNBOOKS))
                sections = re.split(r"^### ", page, flags=re.M)
                [runbook] = [one for one in sections if anchor_of(one.splitlines()[0]) == anchor]
                self.assertIn(f"`{alert['alert']}`", runbook)
                for part in ("**Shows as**", "**Why.**", "**Do.**", "**Over** when"):
                    self.assertIn(part, runbook)
                for selector in selectors(alert["expr"]):
                    self.assertIn(f"`{selector.name}", runbook)

    def test_every_runbook_has_an_alert(self):
        page = RUNBOOKS.read_text()
        runbooks = re.findall(r"^### (.*)$", page[page.index("## Runbooks") :], re.M)
        named = {alert["annotations"]["runbook_url"].split("#")[1] for alert in alerts()}
        self.assertEqual({anchor_of(title) for title in runbooks}, named)

    def test_every_alert_says_how_urgent_it_is_and_what_it_is_about(self):
        names = [alert["alert"] for alert in alerts()]
        self.assertEqual(len(set(names)), len(names))
        for alert in alerts():
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], ("warning", "critical"))
                self.assertIn("{{ $labels.instance }}", alert["annotations"]["summary"])
                # A label that the result of the expression does not have would be written as nothing.
                used = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
                labels = set().union(*(SERIES[selector.name] for selector in selectors(alert["expr"])))
                self.assertLessEqual(used, labels | EVERYWHERE)


class Firing(unittest.TestCase):
    """What promtool says: the file is right, and each alert fires when it shall and only then."""

    def promtool(self, *arguments):
        if not shutil.which("promtool"):
            # Not a failure even where everything must run: it comes with 96 MB of Prometheus.
            reason = "there is no promtool"
            print(f"not run: {reason}", flush=True)
            raise unittest.SkipTest(reason)
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_prometheus_takes_the_file(self):
        self.promtool("check", "rules", str(ALERTS))

    def test_each_alert_fires_when_it_shall_and_is_silent_when_not(self):
        cases = ROOT / "tests" / "monitoring" / "alerts_test.yaml"
        self.promtool("test", "rules", str(cases))

    def test_each_alert_has_a_case(self):
        cases = yaml.safe_load((ROOT / "tests" / "monitoring" / "alerts_test.yaml").read_text())["tests"]
        tested = {(case["alertname"], bool(case.get("exp_alerts"))) for one in cases for case in one["alert_rule_test"]}
        names = {alert["alert"] for alert in alerts()}
        self.assertEqual(tested, {(name, fires) for name in names for fires in (True, False)})


if __name__ == "__main__":
    unittest.main()
