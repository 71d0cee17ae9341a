"""Nothing that is read is run."""

import ast

from tests.helpers.source_files import modules, nodes

# Calls and switches that run what a file or a word says.
RUNNING = {"eval", "exec", "torch.load", "os.system", "os.popen", "yaml.load"}
SWITCHES = {("shell", True), ("allow_pickle", True), ("weights_only", False)}


def risks(path):
    """What in a file would run what it reads."""
    for node in nodes(path):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        safe = name == "torch.load" and "weights_only=True" in map(ast.unparse, node.keywords)
        if (name in RUNNING and not safe) or name.split(".")[-1] == "read_pickle":
            yield name
        for word in node.keywords:
            if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in SWITCHES:
                yield f"{name}({word.arg}={word.value.value})"


def test_nothing_that_is_read_is_run():
    assert {module: risk for module, path in modules().items() if (risk := list(risks(path)))} == {}


def test_what_runs_what_it_reads_is_seen(tmp_path):
    lines = [
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(words, shell=True)",
        "exec(text)",
        "pd.read_pickle(path)",
    ]
    safe = ["model.eval()", "np.load(path)", "torch.load(path, weights_only=True)"]
    (tmp_path / "file.py").write_text("\n".join([*lines, *safe]))
    assert len(list(risks(tmp_path / "file.py"))) == len(lines)
