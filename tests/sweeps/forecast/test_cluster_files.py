"""The cluster files are what Ray and Slurm take, and say what is to be edited."""

import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "sweeps/cluster"
LAUNCHED = ["onprem.yaml", "aws.yaml", "gcp.yaml"]
EDITED = "# EDIT THESE TWO"
VARIABLES = ("LLFC_STORAGE", "MLFLOW_TRACKING_URI", "LLFC_GPUS_PER_TRIAL")


def test_every_file_is_known_here():
    files = {path.name for path in CLUSTER.iterdir()}
    assert files == {*LAUNCHED, "kuberay.yaml", "slurm.sh", "Dockerfile"}


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_the_file(name):
    validate_config(prepare_config(yaml.safe_load((CLUSTER / name).read_text())))


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_wrong_key_is_seen(name):
    config = prepare_config(yaml.safe_load((CLUSTER / name).read_text()))
    with pytest.raises(Exception, match="setup_comands"):
        validate_config(config | {"setup_comands": []})


@pytest.mark.parametrize("name", [*LAUNCHED, "kuberay.yaml", "slurm.sh"])
def test_what_is_to_be_edited_is_marked_at_the_top(name):
    lines = (CLUSTER / name).read_text().splitlines()
    (mark,) = (i for i, line in enumerate(lines) if EDITED in line)
    assert mark < 20
    assert "STORAGE" in lines[mark + 1]
    assert "MLFLOW_TRACKING_URI" in lines[mark + 2]
    assert "LLFC_GPUS_PER_TRIAL" in "\n".join(lines[mark + 3 : mark + 6])


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_login_shell_on_the_head_knows_where_everything_is(name, tmp_path):
    """What `ray submit` runs: the set-up lines that write ~/.llfc, twice, as `ray up` repeats."""
    config = yaml.safe_load((CLUSTER / name).read_text())
    commands = [
        line
        for line in [*config["setup_commands"], *config["head_setup_commands"]]
        if line.startswith(("echo", "grep"))
    ]
    (tmp_path / ".bashrc").write_text("# mine\n")
    script = "\n".join([*commands * 2, "echo", ". ~/.bashrc", "env"])
    said = subprocess.run(
        ["bash", "-c", script],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    assert found.keys() >= {*VARIABLES, "LLFC_NODE_TIMEOUT"}
    assert found["RAY_ADDRESS"] == "auto"
    assert found["RAY_AUTH_MODE"] == "token"
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert found["PATH"].startswith(f"{tmp_path}/llfc/.venv/bin:")
    assert (tmp_path / ".bashrc").read_text() == "# mine\n. ~/.llfc\n"


def test_the_ray_job_has_what_kuberay_requires():
    """Its own schema lives in the cluster; these are the fields that it cannot do without."""
    place, claim, job = yaml.safe_load_all((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(VARIABLES) <= place["data"].keys()
    assert all(isinstance(value, str) for value in place["data"].values())
    cluster = job["spec"]["rayClusterSpec"]
    (pin,) = (
        line.removeprefix("ray==")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("ray==")
    )
    assert cluster["rayVersion"] == pin
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        assert group["rayStartParams"] == {}
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["envFrom"][0] == {"configMapRef": {"name": place["metadata"]["name"]}}
        (volume,) = spec["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        assert place["data"]["LLFC_STORAGE"].startswith(f"{mount['mountPath']}/")


def test_the_slurm_script_parses():
    subprocess.run(["bash", "-n", str(CLUSTER / "slurm.sh")], check=True)


@pytest.mark.parametrize("name", LAUNCHED)
def test_statistics_are_off_where_ray_starts_and_the_token_is_the_users_own(name):
    config = yaml.safe_load((CLUSTER / name).read_text())
    for kind in ("head", "worker"):
        command = config[f"{kind}_start_ray_commands"][-1]
        assert "RAY_USAGE_STATS_ENABLED=0 ray start" in command  # `ray up` exports 1 before it
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]
    assert any("LLFC_DATA=" in line for line in config["setup_commands"])


def test_the_ray_job_asks_for_a_token_and_is_tried_again():
    place, _, job = yaml.safe_load_all((CLUSTER / "kuberay.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert job["spec"]["backoffLimit"] > 0
    assert place["data"]["LLFC_DATA"].startswith(place["data"]["LLFC_STORAGE"])


def test_the_slurm_script_is_requeued_and_its_token_is_the_users_own():
    text = (CLUSTER / "slurm.sh").read_text()
    for option in ("--requeue", "--cpus-per-task", "--mem"):
        assert f"#SBATCH {option}" in text
    assert "umask 077" in text
    assert "chmod 600" in text
