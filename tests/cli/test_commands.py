"""Every command: help with an example, one clear line and exit code 2 for what a user can mend."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from paser_opt.cli import app

COMMANDS = sorted(command.name for command in app.registered_commands)


def test_the_commands():
    assert COMMANDS == [
        "cache",
        "compare",
        "devices",
        "experiment",
        "export",
        "pick",
        "predict",
        "profile",
        "record",
        "report",
        "retarget",
        "search",
        "static",
        "train",
        "validate",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, paser_opt):
    shown = paser_opt(command, "--help")
    assert shown.returncode == 0
    assert f"Example: paser-opt {command}" in shown.stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['paser-opt', '--help']\n"
        "from paser_opt.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'optuna', 'plotly', 'numpy', 'pydantic') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_version(paser_opt):
    from importlib.metadata import version

    assert paser_opt("--version").stdout.strip() == version("paser-opt")


def one_line(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("paser-opt: ")
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("profil",), "No such command 'profil'"),
        (("profile", "--trials", "3"), "No such option"),
        (("search", "--trials", "many"), "--trials"),
        (("predict",), "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line(arguments, words, paser_opt):
    one_line(paser_opt(*arguments), words, "--help` says what it takes")


def test_a_misspelt_study_or_device(paser_opt, tmp_path, tiny_toml):
    one_line(paser_opt("search", "quickstrat", "-q"), "did you mean quickstart?")
    one_line(paser_opt("profile", tiny_toml, "--device", "jetsn", "-q"), "did you mean jetson?")


def test_a_device_that_is_not_here_says_what_to_do_and_makes_nothing_up(paser_opt, tmp_path, tiny_toml):
    out = tmp_path / "p.json"
    one_line(paser_opt("profile", tiny_toml, "--device", "jetson", "--out", out, "-q"), "jetson is not this machine")
    assert not out.exists()
    one_line(paser_opt("search", tiny_toml, "--device", "jetson", "--out", tmp_path / "run", "-q"), "not this machine")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('name = "tiny"', 'name = "tiny', ("not valid TOML",)),
        ("trials = 5", "trails = 5", ("trails", "did you mean 'trials'?")),
        ("trials = 5", "trials = 0", ("trials", "greater than or equal to 1")),
        ("low = 0.01, high = 0.9", "low = 0.9, high = 0.01", ("cost_weight", "low = 0.9 is not below high = 0.01")),
        ('["2x2", "4x4"]', '"four"', ("grid", 'not of the form "4x4"')),
        ("scale = [1.0, 0.5]", "scale = 0.3", ("scale", "1, 0.5, 0.25 or 0.125")),
        ('kind = "synthetic"', 'kind = "folder"', ("data", "path")),
        ('["iou", "latency"]', '["iou"]', ("objectives", "at least one of")),
    ],
)
def test_a_broken_study_names_the_field_and_the_mend(before, after, words, paser_opt, tmp_path, tiny_toml):
    broken = tmp_path / "broken.toml"
    broken.write_text(tiny_toml.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    one_line(paser_opt("search", broken, "--out", tmp_path / "run", "-q"), "broken.toml", *words)
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written(paser_opt, tmp_path, tiny_toml):
    (tmp_path / "file").write_text("")
    one_line(paser_opt("profile", tiny_toml, "--out", tmp_path / "file" / "p.json", "-q"), "cannot write", "file")
    one_line(paser_opt("profile", tiny_toml, "--out", "/proc/nowhere/p.json", "-q"), "cannot write", "/proc/nowhere")


def test_no_run_here(paser_opt, tmp_path):
    one_line(paser_opt("report", tmp_path), "holds no run")
    one_line(paser_opt("pick", tmp_path), "holds no run")
    one_line(paser_opt("validate", tmp_path), "holds no run")


@pytest.fixture(scope="module")
def searched(paser_opt, tiny_toml, tiny_profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "cpu.json").write_text(tiny_profile, encoding="utf-8")
    return folder, paser_opt("search", tiny_toml, "--out", folder, "--trials", "3", "--json")


def test_search_answers_in_json_and_writes_the_report(searched):
    folder, done = searched
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "front.json").read_text(encoding="utf-8"))
    assert (folder / "report.html").stat().st_size > 1e6
    assert "trial 2 (3 of 3, corner: richest): iou" in done.stderr
    assert "distill" not in done.stderr  # whoever asks for JSON reads results, not stages


def test_a_log_of_a_search_tells_what_is_trained_and_not_what_is_stored(searched, paser_opt, tiny_toml, tmp_path):
    profile = (searched[0] / "profiles" / "cpu.json").read_text(encoding="utf-8")
    said = []
    for name in ("first", "second"):
        (tmp_path / name / "profiles").mkdir(parents=True)
        (tmp_path / name / "profiles" / "cpu.json").write_text(profile, encoding="utf-8")
        shared = ("--out", tmp_path / name, "--store", tmp_path / "store", "--trials", "1")
        said.append(re.sub(r": iou .*", ": iou …", paser_opt("search", tiny_toml, *shared).stderr).splitlines())
    first, second = said
    trained = ["pretrain f_1", "pretrain f_2", "teacher logits", "distill f_0", "policy"]
    assert first[:7] == ["tiny on cpu", *(f"trial 0: {name}" for name in trained), "trial 0 (1 of 1, paper): iou …"]
    assert second[:2] == ["tiny on cpu", "trial 0 (1 of 1, paper): iou …"]


def test_report_and_pick_on_a_run(searched, paser_opt):
    folder, _ = searched
    (folder / "report.html").unlink()
    assert paser_opt("report", folder).stdout.strip() == str(folder / "report.html")
    picked = paser_opt("pick", folder, "--max-latency", "10s")
    assert picked.returncode == 0, picked.stderr
    assert picked.stdout.startswith("trial ")
    assert json.loads(paser_opt("pick", folder, "--json").stdout)["state"] == "complete"
    for option, limit in (("--max-latency", "1ns"), ("--max-gflops", "1e-9"), ("--min-iou", "1")):
        done = paser_opt("pick", folder, option, limit)
        one_line(done, "no finished trial", f"{option} that a trial keeps is ")
        bound, number = re.search(rf"{option} that a trial keeps is (\S+) \(trial (\d+)\)", done.stderr).groups()
        assert paser_opt("pick", folder, option, bound).stdout.startswith(f"trial {number}: ")
    both = paser_opt("pick", folder, "--max-latency", "1ns", "--min-iou", "1")
    one_line(both, "the lowest --max-latency that", ", the highest --min-iou that", "each by itself; loosen one")
    for nonsense in ("20 parsec", "20"):
        one_line(paser_opt("pick", folder, "--max-latency", nonsense), f"--max-latency '{nonsense}'", "ms")
    measured = json.loads(paser_opt("pick", folder, "--json").stdout)["measured_latency"]
    assert ("end to end" in picked.stdout) == bool(measured)


def test_validate_a_run(searched, paser_opt):
    folder, _ = searched
    done = paser_opt("validate", folder, "--families", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {one["cost"] for one in result["agreement"]} >= {"this cost model", "FLOPs", "parameters"}
    assert {"all kept", "all to the largest"} <= {pair["route"] for pair in result["pairs"]}
    assert "Spearman" in paser_opt("validate", folder, "--families", "1").stderr
    one_line(paser_opt("validate", folder, "--device", "jetson", "-q"), "jetson is not this machine")


def test_compare_on_a_run(searched, paser_opt, tmp_path):
    folder, _ = searched
    options = ("--points", "2", "--models", "1", "--no-reinforce", "--out", tmp_path / "compare")
    done = paser_opt("compare", folder, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "entropy threshold" in done.stderr and "pipeline less this" in done.stderr
    page, table, record = (tmp_path / "compare" / f"compare.{kind}" for kind in ("html", "csv", "json"))
    assert page.stat().st_size > 1e6 and table.read_text(encoding="utf-8").startswith("router,group,operating")
    again = paser_opt("compare", folder, *options, "--workers", "2", "--json", "-q")
    assert json.loads(again.stdout) == json.loads(record.read_text(encoding="utf-8"))
    assert again.stderr == ""


def test_compare_what_is_not_there(searched, paser_opt, tmp_path, tiny_toml):
    folder, _ = searched
    one_line(paser_opt("compare", folder, "--trial", "9"), "has no trial 9")
    one_line(paser_opt("compare", tmp_path), "holds no run")
    one_line(paser_opt("compare", "quickstrat"), "did you mean quickstart?")
    one_line(paser_opt("compare", tiny_toml, "--trial", "1"), "--trial names a trial of a run")


def test_an_experiment_on_a_run(searched, paser_opt, tmp_path):
    folder, _ = searched
    page = tmp_path / "pages" / "mc.md"
    done = paser_opt("experiment", "mc-samples", folder, "--trial", "2", "--out", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Passes of f_0" in done.stderr
    text = page.read_text(encoding="utf-8")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["data"]["fingerprint"] in text and "--trial 2 --seeds 1" in text
    assert str(folder.parent) not in text
    again = paser_opt("experiment", "mc-samples", folder, "--trial", "2", "--json", "-q")
    record = (folder / "experiments" / "mc-samples.json").read_text(encoding="utf-8")
    assert json.loads(again.stdout) == json.loads(record)
    assert again.stderr == ""


def test_an_experiment_that_is_not_there(searched, paser_opt, tmp_path):
    folder, _ = searched
    help_text = paser_opt("experiment", "--help").stdout
    for name in ("mc-samples", "cost-kinds", "ablation", "adaptability"):
        assert name in help_text
    one_line(paser_opt("experiment", "ablatoin", folder), "did you mean ablation?", "cost-kinds")
    one_line(paser_opt("experiment", "ablation", folder, "--trial", "9"), "has no trial 9")
    one_line(paser_opt("experiment", "ablation", tmp_path), "holds no run")
    (tmp_path / "file").write_text("")
    out = ("--out", tmp_path / "file" / "page.md", "-q")
    one_line(paser_opt("experiment", "mc-samples", folder, "--trial", "2", *out), "cannot write", "file")
    one_line(paser_opt("record", "quickstrat", "-q"), "did you mean quickstart?")


def test_a_study_of_record_is_one_page(paser_opt, tiny_toml, run_folder, tmp_path):
    options = (
        "--trials",
        "3",
        "--seeds",
        "1",
        "--models",
        "2",
        "--no-reinforce",
        "--run",
        run_folder(),
        "--out",
        tmp_path / "results",
    )
    done = paser_opt("record", tiny_toml, *options, "--json", "-q")
    assert done.returncode == 0, done.stderr
    names = [record["name"] for record in json.loads(done.stdout)]
    assert names == ["mc-samples", "cost-kinds", "ablation", "adaptability"]
    text = (tmp_path / "results" / "tiny.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[:2] == ["What to know", "The front"] and headings[3].startswith("Routers on trial")
    assert headings[4:] == ["Mc-samples", "Cost-kinds", "Ablation", "Adaptability"]
    assert "paser-opt record tiny --seeds 1 --trials 3 --models 2 --no-reinforce" in text
    assert str(tmp_path) not in text


def test_retarget_and_a_report_beside(searched, paser_opt, tmp_path):
    folder, _ = searched
    one_line(paser_opt("retarget", tmp_path, "--device", "cpu"), "holds no run")
    one_line(paser_opt("retarget", folder, "--device", "jetson", "-q"), "jetson is not this machine")
    one_line(paser_opt("report", folder, "--device", "jetson"), "paser-opt retarget", "--device jetson")
    done = paser_opt("retarget", folder, "--device", "jetson", "--estimate", "--json")
    assert done.returncode == 0, done.stderr
    made = folder.with_name("run-jetson")
    assert json.loads(done.stdout) == json.loads((made / "front.json").read_text(encoding="utf-8"))
    assert "trial 2 (3 of 3, corner: richest): iou" in done.stderr
    assert paser_opt("pick", made).stdout.startswith("trial ")
    beside = paser_opt("report", folder, "--device", "cpu", "--device", "jetson", "--json")
    assert beside.returncode == 0, beside.stderr
    assert [one["device"] for one in json.loads(beside.stdout)["fronts"]] == ["cpu", "jetson"]
    assert (folder / "devices.html").stat().st_size > 1e6


def test_a_run_whose_steps_computed_something_else_is_looked_at_only(searched, paser_opt, tiny_toml, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(searched[0], folder)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del run["steps"]  # as versions before there was this field wrote it
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    for command in (
        ("search", tiny_toml, "--out", folder, "--trials", "4"),
        ("export", folder, "--trial", "2", "--out", tmp_path / "bundle"),
        ("compare", folder, "--trial", "2"),
        ("static", folder),
        ("retarget", folder, "--device", "jetson", "--estimate"),
        ("experiment", "mc-samples", folder, "--trial", "2"),
    ):
        one_line(paser_opt(*command, "-q"), "earlier version of paser-opt", "search anew")
    assert not (tmp_path / "bundle").exists()
    assert paser_opt("pick", folder).returncode == 0
    assert paser_opt("report", folder).returncode == 0


def test_cache_looks_and_makes_room(searched, paser_opt, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(searched[0], folder)
    stages = json.loads(paser_opt("cache", folder, "--json").stdout)["stages"]
    assert {"pretrain", "distill", "policy", "table", "teacher"} <= {one["stage"] for one in stages}
    small = json.loads(paser_opt("cache", folder, "--max-size", "0MB", "--json").stdout)
    trials = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("trials/*/trial.json")]
    weights = {key for trial in trials for key in trial["weights"].values()}
    assert {one["key"] for one in small["stages"]} == weights
    assert small["removed"]["stages"] == len(stages) - len(weights)
    cleared = paser_opt("cache", folder, "--clear")
    assert f"removed {len(weights)} stages" in cleared.stderr
    one_line(paser_opt("cache", tmp_path / "nothing"), "no folder")
    one_line(paser_opt("cache", folder, "--max-size", "2 parsec"), "--max-size '2 parsec'", "2GB")
    one_line(paser_opt("cache", folder, "--max-size", "2GB", "--clear"), "one of them")


def test_new_moves_the_former_run_aside(searched, paser_opt, tiny_toml):
    folder, _ = searched
    done = paser_opt("search", tiny_toml, "--out", folder, "--trials", "1", "--new", "--timeout", "1")
    assert done.returncode == 0, done.stderr
    assert (folder.with_name("run-old1") / "report.html").is_file()
    assert len(list(folder.glob("trials/*/trial.json"))) == 1


def test_new_leaves_unets_that_were_trained_ahead(paser_opt, tiny_toml, tmp_path):
    unet = tmp_path / "run" / "artifacts" / "distill-0.safetensors"
    unet.parent.mkdir(parents=True)
    unet.write_bytes(b"a UNet")
    done = paser_opt("search", tiny_toml, "--out", tmp_path / "run", "--trials", "1", "--new", "--timeout", "1")
    assert done.returncode == 0, done.stderr
    assert unet.is_file() and (tmp_path / "run" / "report.html").is_file()
    assert not (tmp_path / "run-old1").exists() and "moved" not in done.stderr


def test_devices_lists_this_machine(paser_opt):
    rows = {row["name"]: row for row in json.loads(paser_opt("devices", "--json").stdout)}
    assert rows["cpu"]["here"] == "cpu"
    assert rows["jetson"]["here"] == ""


def test_what_a_device_says_of_itself_is_no_markup(paser_opt, tmp_path):
    board = tmp_path / "board.toml"
    board.write_text('name = "board"\ndescription = "[/red] \\u001b[31m [link=x]y"\nlocal = true\n')
    shown = paser_opt("devices", board)
    assert shown.returncode == 0, shown.stderr
    assert "[/red]" in shown.stdout and "[link=x]y" in shown.stdout and "\x1b" not in shown.stdout


def test_an_estimate_is_asked_for_and_never_mixed(paser_opt, tiny_toml, tmp_path, searched):
    out = tmp_path / "p.json"
    done = paser_opt("profile", tiny_toml, "--device", "jetson", "--estimate", "--out", out, "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert {entry["latency"]["how"] for entry in json.loads(done.stdout)["entries"].values()} == {"estimated"}
    assert (
        "as if every layer ran at its peak; not measured"
        in paser_opt("profile", tiny_toml, "--device", "jetson", "--estimate", "--out", out).stderr
    )
    folder, _ = searched
    cpu = tmp_path / "cpu.toml"
    figure = '{ value = 1e9, source = "a sheet" }'
    cpu.write_text(f'name = "cpu"\nlocal = true\npeak_flops_per_s = {figure}\nmemory_bytes_per_s = {figure}\n')
    one_line(
        paser_opt("search", tiny_toml, "--device", cpu, "--estimate", "--out", folder, "-q"),
        "measured on another machine or set-up", "runtime eager there, roofline here",
    )  # fmt: skip


def test_a_search_is_not_priced_with_a_runtime_of_other_masks(paser_opt, tiny_toml, tmp_path):
    done = paser_opt("search", tiny_toml, "--runtime", "onnx-int8", "--out", tmp_path / "run", "-q")
    one_line(done, "onnx-int8", "search with onnx")


def test_profile_in_json(paser_opt, tiny_toml, tmp_path):
    done = paser_opt("profile", tiny_toml, "--out", tmp_path / "p.json", "--json", "-q", "--no-energy")
    assert done.returncode == 0, done.stderr
    profile = json.loads(done.stdout)
    assert profile == json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert all(entry["latency"]["median_s"] > 0 for entry in profile["entries"].values())
    table = paser_opt("profile", tiny_toml, "--out", tmp_path / "p.json", "--no-energy")
    assert "refine" in table.stderr


def test_a_profile_is_replaced_only_by_a_whole_one(start, paser_opt, tiny_toml, tiny_profile, tmp_path):
    out = tmp_path / "p.json"
    out.write_text("my notes\n")
    one_line(paser_opt("profile", tiny_toml, "--out", out, "--new", "-q"), "p.json is damaged")
    assert out.read_text() == "my notes\n"
    out.write_text(tiny_profile)
    one_line(paser_opt("profile", tiny_toml, "--device", "jetson", "--out", out, "--new", "-q"), "jetson is not this")
    assert out.read_text() == tiny_profile
    command = ["profile", tiny_toml, "--out", out, "--new", "--no-energy", "-q"]
    process = start(*command)
    while not (half := list(tmp_path.glob(".p.json.new"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert out.read_text() == tiny_profile and not half[0].exists()
    assert paser_opt(*command).returncode == 0
    before, after = (json.loads(text)["entries"] for text in (tiny_profile, out.read_text()))
    assert before.keys() == after.keys() and before != after
    assert [one.name for one in tmp_path.iterdir()] == ["p.json"]
