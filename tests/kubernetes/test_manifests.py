"""deploy/kubernetes, as far as it can be judged without a cluster: against the schemas of Kubernetes, and against each other.

Run by .venv/bin/python, which has the schemas. Rendering takes kubectl or kustomize; without both it is "not run".
"""

import copy
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
# The oldest that has everything used here, and the newest that was looked at.
VERSIONS = ("1.33", "1.37")
POD = MANIFESTS / "session" / "pod.yaml"
ADAPTER = MANIFESTS / "autoscaling" / "prometheus-adapter.yaml"


def objects_of(text):
    return [each for each in yaml.safe_load_all(text) if each]


def read(path):
    [only] = objects_of(path.read_text())
    return only


def manifests():
    """Every file but the kustomizations, which are judged rendered, and the values for somebody else's chart."""
    return [path for path in sorted(MANIFESTS.rglob("*.yaml")) if path.name != "kustomization.yaml" and path != ADAPTER]


def overlays():
    return sorted(path.parent for path in MANIFESTS.rglob("kustomization.yaml"))


def render(directory):
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(command[0]):
        # Not a failure even where everything must run: no registry of packages has a kustomize that is new enough.
        reason = "there is neither kubectl nor kustomize"
        print(f"not run: {reason}", flush=True)
        raise unittest.SkipTest(reason)
    done = subprocess.run([*command, directory], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return {(each["kind"], each["metadata"]["name"]): each for each in objects_of(done.stdout)}


def container(pod):
    [only] = pod["containers"]
    return only


def environment(pod):
    return {each["name"]: each for each in container(pod)["env"]}


class Manifests(unittest.TestCase):
    def is_valid(self, manifest):
        for version in VERSIONS:
            with self.subTest(kind=manifest["kind"], name=manifest["metadata"]["name"], version=version):
                kubernetes_validate.validate(manifest, version, strict=True)

    def test_each_file_is_what_kubernetes_expects(self):
        self.assertGreaterEqual(len(manifests()), 8)
        for path in manifests():
            self.is_valid(read(path))

    def test_each_overlay_renders_to_what_kubernetes_expects(self):
        self.assertEqual([path.name for path in overlays()], ["autoscaling", "base", "session", "shared-proc"])
        for directory in overlays():
            for manifest in render(directory).values():
                self.is_valid(manifest)
                self.assertEqual(manifest["metadata"]["namespace"], "sandboxes")

    def test_a_misspelt_field_and_a_wrong_type_are_noticed(self):
        deployment = read(MANIFESTS / "base" / "deployment.yaml")
        misspelt, mistyped = copy.deepcopy(deployment), copy.deepcopy(deployment)
        misspelt["spec"]["template"]["spec"]["hostUser"] = False
        mistyped["spec"]["replicas"] = "two"
        for wrong in (misspelt, mistyped):
            with self.assertRaises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


class SharedProc(unittest.TestCase):
    def test_it_takes_away_what_only_some_clusters_have_and_nothing_else(self):
        names = ("Deployment", "sandbox-executor")
        base, shared = (render(MANIFESTS / name) for name in ("base", "shared-proc"))
        expected, pod = (rendered[names]["spec"]["template"]["spec"] for rendered in (base, shared))
        del expected["hostUsers"]
        del container(expected)["securityContext"]["procMount"]
        environment(expected)["ISOLATION_MINIMUM"]["value"] = "shared-proc"
        # A patched list may have another order.
        for each in (expected, pod):
            container(each)["env"] = environment(each)
        self.assertEqual(shared, base)


class Autoscaling(unittest.TestCase):
    def metrics(self):
        autoscaler = read(MANIFESTS / "autoscaling" / "horizontal-pod-autoscaler.yaml")
        return {each["pods"]["metric"]["name"] for each in autoscaler["spec"]["metrics"]}

    def test_it_reads_what_the_daemon_says(self):
        said = re.findall(r"^\| `(\w+)` \| gauge \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
        self.assertEqual(len(self.metrics()), 2)
        self.assertLessEqual(self.metrics(), set(said))

    def test_the_adapter_passes_on_what_it_reads_and_nothing_else(self):
        [rule] = read(ADAPTER)["rules"]["custom"]
        pattern = re.search(r'__name__=~"([^"]*)"', rule["seriesQuery"])[1]
        said = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
        self.assertEqual({name for name in said if re.search(pattern, name)}, self.metrics())

    def test_it_scales_the_pool_whose_size_nothing_else_sets(self):
        rendered = render(MANIFESTS / "autoscaling")
        autoscaler = rendered["HorizontalPodAutoscaler", "sandbox-executor"]["spec"]
        deployment = rendered[autoscaler["scaleTargetRef"]["kind"], autoscaler["scaleTargetRef"]["name"]]
        self.assertNotIn("replicas", deployment["spec"])
        slots = int(environment(deployment["spec"]["template"]["spec"])["EXECUTOR_CONCURRENCY"]["value"])
        targets = {each["pods"]["metric"]["name"]: each["pods"]["target"]["averageValue"] for each in autoscaler["metrics"]}
        busy = int(targets["sandbox_executor_active_executions"].removesuffix("m")) / 1000
        self.assertLess(busy, slots, "with every slot busy nothing would be added")

    def test_without_it_the_pool_is_as_it_was(self):
        base, scaled = (render(MANIFESTS / name) for name in ("base", "autoscaling"))
        added = {("HorizontalPodAutoscaler", "sandbox-executor"), ("NetworkPolicy", "sandbox-executor-metrics")}
        self.assertEqual(set(scaled) - set(base), added)
        del base["Deployment", "sandbox-executor"]["spec"]["replicas"]
        base["PodDisruptionBudget", "sandbox-executor"]["spec"]["maxUnavailable"] = "10%"
        self.assertEqual({name: scaled[name] for name in base}, base)


class Session(unittest.TestCase):
    def test_its_pod_is_as_those_of_the_pool_but_for_what_makes_it_one_session(self):
        pool = read(MANIFESTS / "base" / "deployment.yaml")["spec"]["template"]["spec"]
        pod = read(POD)["spec"]
        self.assertEqual(pod.pop("restartPolicy"), "Always")
        self.assertGreater(pod.pop("activeDeadlineSeconds"), 0)
        env, pool_env = environment(pod), environment(pool)
        path = env.pop("SESSION_ID")["valueFrom"]["fieldRef"]["fieldPath"]
        [label] = re.findall(r"^metadata\.labels\['(.+)'\]$", path)
        self.assertIn(label, read(POD)["metadata"]["labels"])
        self.assertEqual(env.pop("EXECUTOR_CONCURRENCY")["value"], "1")
        pool_env.pop("EXECUTOR_CONCURRENCY")
        self.assertEqual(env, pool_env)
        for each in (pod, pool):
            for field in ("env", "resources"):
                self.assertTrue(container(each).pop(field))
        self.assertEqual(pod, pool)

    def test_the_pool_its_autoscaler_and_its_budget_leave_it_alone(self):
        labels = read(POD)["metadata"]["labels"].items()
        for name, field in (("deployment", "matchLabels"), ("pod-disruption-budget", "matchLabels"), ("service", None)):
            selector = read(MANIFESTS / "base" / f"{name}.yaml")["spec"]["selector"]
            self.assertFalse((selector[field] if field else selector).items() <= labels, name)

    def test_it_is_fenced_in_as_the_pool_is(self):
        policy, pool = (read(MANIFESTS / name / "network-policy.yaml")["spec"] for name in ("session", "base"))
        selected = policy.pop("podSelector")["matchLabels"]
        self.assertLessEqual(selected.items(), read(POD)["metadata"]["labels"].items())
        pool.pop("podSelector")
        self.assertEqual(policy, pool)

    def test_the_id_is_in_its_name_and_in_its_label_and_nowhere_else(self):
        text = "".join(line for line in POD.read_text().splitlines(keepends=True) if not line.startswith("#"))
        self.assertEqual(text.count("EXAMPLE"), 2)
        pod = objects_of(text.replace("EXAMPLE", "a" * 54))[0]
        self.assertLessEqual(len(pod["metadata"]["name"]), 63)


if __name__ == "__main__":
    unittest.main()
