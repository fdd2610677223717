"""The benchmark suite: that it measures what it says, what it prints and writes.  No figure is held to a time."""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest

import batten
from batten import _kernels as kernels
from batten import benchmark, cli
from batten.benchmark import cases, machine, picture, report, suite, worker
from batten.benchmark.suite import Peer
from batten.cli.bench import peers_of

BENCH = Path(__file__).resolve().parent.parent / "bench"

needs_checkout = pytest.mark.skipif(not BENCH.exists(), reason="needs the source tree")


def bench(*arguments, command=BENCH):
    """`python bench`, or a file of it: exit code, lines printed, lines on stderr."""
    done = subprocess.run([sys.executable, command, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def load(name):
    """A file of bench/, which is no package, but whose files find each other."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCH))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCH))
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run beside NumPy and, if it is installed, PyTorch: what was printed, what was written, and the picture."""
    folder = tmp_path_factory.mktemp("bench")
    files = ["--json", folder / "run.json"]
    if importlib.util.find_spec("matplotlib"):
        files += ["--plot", folder / "run.png"]
    peers = ["batten", "numpy", *(["torch"] if importlib.util.find_spec("torch") else [])]
    code, out, err = bench("--quick", "--peers", *peers, "--only", "gemm NN 64", "mlp_digits", "--threads", 1, *files)
    assert (code, err) == (0, [])
    return out, json.loads((folder / "run.json").read_text()), folder / "run.png"


@pytest.fixture
def command(capfd, threads):
    """A command line of the installed `batten`: exit code, lines printed, lines on stderr."""

    def run(*arguments):
        try:
            code = cli.main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capfd.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run


# ---- a run ----


@needs_checkout
def test_what_is_written(run):
    _, written, _ = run
    peers = written["peers"]
    assert list(peers)[:2] == ["batten", "numpy"] and peers["numpy"] == np.__version__
    assert (written["threads"], written["quick"], written["rounds"]) == (1, True, suite.QUICK.rounds)
    assert written["machine"]["isa"] == kernels.isa() and written["machine"]["processors"] >= 1
    assert written["limits"]["arithmetic"] > 0 and [m["room"] for m in written["limits"]["memory"]] == cases.ROOMS
    assert all(set(m) == {"room", "read", "copy", "triad", "change", "scale"} for m in written["limits"]["memory"])
    assert all(m[name] > 0 for m in written["limits"]["memory"] for name in m)
    assert len(written["stolen"]) == 3 and all(0 <= share < 1 for share in written["stolen"])  # limits, two groups
    assert written["notes"] == []
    product, step = written["cases"]
    assert (product["name"], list(product["results"])) == ("gemm NN 64", list(peers))
    assert (step["name"], list(step["results"])) == ("mlp_digits", [name for name in peers if name != "numpy"])
    assert (product["images"], step["images"]) == (0, 32)
    for case in written["cases"]:
        assert case["limit"] > 0 and case["bound"] in ("arithmetic", "memory")
        for result in case["results"].values():
            assert 1 <= len(result["seconds"]) == len(result["faults"]) <= suite.QUICK.rounds
            assert all(s > 0 for s in result["seconds"]) and all(f >= 0 for f in result["faults"])
            assert result["memory"] >= result["imported"] > 1e6


@needs_checkout
def test_what_is_printed(run):
    out, written, _ = run
    product, step = written["cases"]
    assert out[0].endswith(f"1 thread, {kernels.isa()}") and f"numpy {np.__version__}" in out[1]
    lines = {line.strip().split("  ")[0]: line.split() for line in out}
    assert {"read", "copy", "triad", "change", "scale", "arithmetic", "gemm NN 64"} <= set(lines)
    low, middle, high = report.ratio(product, "batten", list(written["peers"])[-1])
    assert lines["gemm NN 64"][-2:] == [f"{middle:.2f}x", f"({low:.2f}-{high:.2f})"]
    assert " ".join(lines["mlp_digits"][1:]) == "time images/s limit faults peak of step beside batten"
    assert " ".join(lines["batten"][1:3]) == report.duration(median(step["results"]["batten"]["seconds"]))
    assert "torch" not in written["peers"] or lines["torch"][-2].endswith("x")


@needs_checkout
def test_the_picture(run):
    pytest.importorskip("matplotlib")
    assert run[2].read_bytes().startswith(b"\x89PNG")


def test_the_installed_command_measures_batten_alone(capfd, tmp_path, threads):
    assert cli.main(["bench", "--quick", "--only", "relu 2 Ki", "--json", str(tmp_path / "run.json")]) == 0
    printed = capfd.readouterr()
    assert printed.err == "" and "relu 2 Ki" in printed.out
    written = json.loads((tmp_path / "run.json").read_text())
    assert list(written["peers"]) == ["batten"] and written["threads"] == batten.get_num_threads()


# ---- peers that are not there, or fail ----


def measure(peers, names, rounds=2, budget=60):
    chosen = [case for case in cases.CASES if case.name in names]
    measured = suite.Suite(chosen, peers, 1, suite.Effort(rounds, 0.001, budget))
    measured.report["limits"]["memory"] = [{"room": 1, "read": 1e9}]
    for group in measured.groups:
        measured.measure(group)
    return measured.report


FAILING = {
    "absent": ("import no_such_module", "absent cannot begin: ModuleNotFoundError: No module named 'no_such_module'"),
    "wrong": ("return lambda case: 1 / 0", "wrong cannot do gemm NN 64: ZeroDivisionError: division by zero"),
    "dying": (
        "import os; return lambda case: os._exit(3)",
        "dying cannot do gemm NN 64: its process ended with code 3",
    ),
    "late": (
        "left = [1] * 4; return lambda case: left.pop",
        "late cannot do gemm NN 64: IndexError: pop from empty list",
    ),
    "without": ("print('hello'); return lambda case: None", None),  # it has no such thing, which is no failure
}


def test_peers_that_fail_are_noted_and_left_out(tmp_path):
    path = tmp_path / "peculiar.py"
    path.write_text("".join(f"def {name}(): {code}\n" for name, (code, _) in FAILING.items()))
    measured = measure(
        {"batten": suite.BATTEN, **{name: Peer("numpy", path, name) for name in FAILING}}, ["gemm NN 64"]
    )
    (case,) = measured["cases"]
    assert list(case["results"]) == ["batten"] and len(case["results"]["batten"]["seconds"]) == 2
    assert sorted(measured["notes"]) == sorted(note for _, note in FAILING.values() if note)
    assert set(measured["notes"]) <= set(report.warnings(measured))
    assert report.table(measured, "products").splitlines()[-1].startswith("gemm NN 64")


def test_what_is_not_installed_is_left_out_with_a_word(capsys):
    parser = cli.Parser()
    cli.add_bench_options(parser, {"ghost": Peer("no_such_package", Path("none.py"), "none")})
    assert peers_of(parser.parse_args([])) == {"batten": suite.BATTEN}
    assert capsys.readouterr().out == "ghost is left out, as no_such_package is not installed\n"
    with pytest.raises(cli.UserError, match="there is nothing to measure; not installed: ghost"):
        peers_of(parser.parse_args(["--peers", "ghost"]))


# ---- what is refused ----


@pytest.mark.parametrize(
    "options, message",
    [
        (["--threads", "0"], "argument --threads: expected a whole number from 1 to 1024, got '0'"),
        (["--only"], "argument --only: expected at least one argument"),
        (["--only", "gem m"], "no case has 'gem m' in its name; there are cases of gemm, relu, dropout"),
        (["--json", "/no/where/x.json"], "cannot write /no/where/x.json (No such file or directory)"),
        (["--plot", "/no/where/x.png"], "cannot write /no/where/x.png (No such file or directory)"),
        (["--peers", "torch"], "unrecognized arguments: --peers torch"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_options(command, options, message):
    code, out, err = command("bench", *options)
    assert (code, out) == (2, []) and len(err) == 1
    assert err[0].startswith("batten: ") and message in err[0]


@needs_checkout
@pytest.mark.parametrize(
    "options, message",
    [
        (["--peers", "tensorflow"], "argument --peers: invalid choice: 'tensorflow' (choose from"),
        (["--peers", "numpy", "--only", "mlp"], "numpy cannot do mlp_digits, mlp_mnist, mlp_wide"),
    ],
)
def test_wrong_options_of_the_checkout(options, message):
    code, out, err = bench(*options)
    assert (code, out) == (2, []) and len(err) == 1
    assert err[0].startswith("batten: ") and message in err[0]


def test_a_picture_takes_matplotlib(command, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command("bench", "--plot", tmp_path / "x.png") == (
        2, [], ["batten: a picture takes matplotlib, which is not installed: pip install 'batten[labs]'"],
    )  # fmt: skip


@needs_checkout
def test_ctrl_c_leaves_no_worker_behind():
    process = subprocess.Popen(
        [sys.executable, BENCH, "--quick", "--peers", "batten", "numpy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("arithmetic"):
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while children.exists() and len(children.read_text().split()) < 2:
        assert process.poll() is None
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "batten: interrupted\n")
    deadline = time.monotonic() + 20  # one that had only just begun ends by itself
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_help_tells_how_it_measures(command):
    code, out, _ = command("bench", "--help")
    assert code == 0 and set(benchmark.__doc__.splitlines()) <= set(out)


# ---- comparing two runs ----


@pytest.fixture
def two_runs(tmp_path):
    """Writes two small reports, and compares them."""

    def report_of(seconds, threads=2, **options):
        results = {"batten": {"seconds": seconds}}
        return {
            "cases": [{"name": name, "results": results} for name in ("relu 2 Ki", options.get("other", "gemm"))],
            "machine": {"isa": "avx2", "load": 0.1 * threads, "used_by_others": options.get("busy", 0)},
            "peers": {"batten": "0.1.0"}, "threads": threads, "quick": True, "stolen": [0.01], "notes": [],
        }  # fmt: skip

    def compare(old, new):
        paths = [tmp_path / "old.json", tmp_path / "new.json"]
        for path, arguments in zip(paths, (old, new), strict=True):
            path.write_text(json.dumps(report_of(**arguments)))
        code, out, err = bench(*paths, command=BENCH / "compare.py")
        assert (code, err) == (0, [])
        return [" ".join(line.split()) for line in out]

    return compare


@needs_checkout
def test_compare(two_runs):
    old = {"seconds": [2e-3, 1e-3, 3e-3]}
    assert two_runs(old, old) == [
        "case framework old new speed",
        "relu 2 Ki batten 2 ms 2 ms 1.00x",
        "gemm batten 2 ms 2 ms 1.00x",
    ]
    assert two_runs(old, {"seconds": [0.5e-3, 0.9e-3, 0.8e-3]})[1] == "relu 2 Ki batten 2 ms 800 us 2.50x faster"
    assert two_runs(old, {"seconds": [0.5e-3, 1.1e-3, 0.8e-3]})[1] == "relu 2 Ki batten 2 ms 800 us 2.50x"
    assert two_runs(old, {"seconds": [4e-3]})[1] == "relu 2 Ki batten 2 ms 4 ms 0.50x slower"


@needs_checkout
def test_compare_says_what_else_differs(two_runs, tmp_path):
    lines = two_runs({"seconds": [1e-3]}, {"seconds": [1e-3], "threads": 1, "other": "sgd", "busy": 1.5})
    assert lines[1:] == [
        "relu 2 Ki batten 1 ms 1 ms 1.00x",
        f"note: {tmp_path}/old.json: 1 figures are only here",
        f"note: {tmp_path}/new.json: 1 figures are only here",
        f"note: {tmp_path}/new.json: the machine was not idle, and figures may be off: "
        "others used 1.5 processors before the run",
        "note: not the same in both: threads, 2 and 1",
    ]


@needs_checkout
@pytest.mark.parametrize(
    "content, message",
    [(None, "cannot read {} (No such file or directory)"), ("{", "{} is no JSON file: "), ("[1]", "{} is not what")],
)
def test_compare_refuses_other_files(tmp_path, content, message):
    path = tmp_path / "run.json"
    if content:
        path.write_text(content)
    code, out, err = bench(path, path, command=BENCH / "compare.py")
    assert (code, out) == (2, []) and len(err) == 1 and err[0].startswith("batten: " + message.format(path))


# ---- counting instructions ----

PROFILE = """\
events: Ir
summary: 1000

fn=measured
0 4
cfn=batten_gemm
calls=2 0
0 300

fn=batten_gemm
0 10
cfn=batten_gemm_f32_avx2
calls=2 0
0 290

fn=relu
0 600
cfn=batten_relu
calls=1 0
0 96

fn=batten_relu
0 6
fi=elsewhere.c
0 40
fe=here.c
0 50

fn=batten_team
0 2
"""


@needs_checkout
def test_instructions_of_a_kernel_are_its_own_and_those_it_calls():
    assert load("instructions").totals(PROFILE) == {"gemm": 300, "relu": 96, "the whole step": 1000}


@pytest.fixture
def counting(monkeypatch, tmp_path, capsys):
    """Holds some counts against a record: exit code, lines printed, lines on stderr."""

    def run(counts, compiler="gcc 12.2.0", options=()):
        module = load("instructions")
        record = tmp_path / "instructions.json"
        if not record.exists():
            record.write_text(json.dumps({"compiler": "gcc 12.2.0", "counts": {"gemm": 2000, "relu": 100}}))
        monkeypatch.setattr(module, "RECORD", record)
        monkeypatch.setattr(module, "count", lambda program: {"compiler": compiler, "counts": counts})
        monkeypatch.setattr(sys, "argv", ["instructions.py", "program", *options])
        code, printed = module.main(), capsys.readouterr()
        return code, [" ".join(line.split()) for line in printed.out.splitlines()], printed.err.splitlines()

    return run


@needs_checkout
def test_more_instructions_than_recorded_are_an_error(counting):
    table = ["instructions recorded now change", "gemm 2,000 2,200 +10.0%", "relu 100 104 +4.0%"]
    error = "batten: over 5% more instructions than recorded: gemm"
    assert counting({"gemm": 2200, "relu": 104}) == (2, table, [error])
    other = "note: made by clang 19, recorded by gcc 12.2.0: nothing follows from it"
    assert counting({"gemm": 2200, "relu": 104}, "clang 19") == (0, [*table, other], [])


@needs_checkout
def test_fewer_instructions_and_other_kernels_ask_to_be_recorded(counting):
    code, out, err = counting({"gemm": 1000, "sgd": 7})
    assert (code, err) == (0, []) and out[-1] == "note: not what is recorded, so record it: gemm, relu, sgd"
    assert counting({"gemm": 1000, "sgd": 7}, options=["--record"]) == (0, [], [])
    assert counting({"gemm": 1000, "sgd": 7})[1][1:] == ["gemm 1,000 1,000 +0.0%", "sgd 7 7 +0.0%"]


@needs_checkout
def test_counting_takes_valgrind(monkeypatch, capsys):
    module = load("instructions")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["instructions.py", "program"])
    assert module.main() == 2
    assert capsys.readouterr().err == "batten: counting instructions takes valgrind, which is not installed\n"


# ---- the cases ----


def test_names_and_functions_are_one_to_a_case():
    names = [case.name for case in cases.CASES]
    assert len(set(names)) == len(names)
    steps = {case.name for case in cases.CASES if case.name == case.group}
    groups = {"products", "layers", "images", "optimizers", "augment", "data"}
    assert {case.group for case in cases.CASES} == groups | steps
    assert {case.group for case in cases.CASES if case.images} == {"augment", "data", *steps}
    assert all(case.bytes > 0 and case.room > 0 for case in cases.CASES)
    assert all(case.flops > 0 for case in cases.CASES if case.group != "data")  # which computes nothing


def test_the_work_of_the_training_steps():
    work = {case.name: (case.flops, case.images) for case in cases.CASES if case.name == case.group}
    assert work == {
        "mlp_digits": (4_440_064, 32),
        "mlp_mnist": (410_779_648, 128),
        "mlp_wide": (36_356_227_072, 256),
        "lenet_mnist": (843_648_000, 64),
        "vgg11_bn_cifar": (43_683_741_696, 64),
        "resnet20_cifar": (28_274_786_304, 128),
        "resnet20_gn": (28_274_786_304, 128),
        "alexnet_cifar": (115_752_173_568, 128),
    }


@pytest.mark.parametrize(
    "network, layers, widths, size",
    [
        ("lenet5", cases.LENET5, (800, 500, 10), (1, 28, 28)),
        ("vgg11", cases.VGG11, (512, 10), (3, 32, 32)),
        ("resnet20", cases.RESNET20, (64, 10), (3, 32, 32)),
        ("alexnet", cases.ALEXNET, (2304, 1024, 1024, 10), (3, 32, 32)),
    ],
)
def test_the_layers_that_are_counted_are_those_of_the_model(network, layers, widths, size):
    multiplications = [layer.features * len(layer.places) ** 2 * layer.channels * layer.kernel**2 for layer in layers]
    multiplications += [a * b for a, b in pairwise(widths)]
    model = getattr(batten.models, network)()
    assert multiplications == [each.multiply_adds for each in model.summary((1, *size)).layers if each.multiply_adds]


def test_products_with_padding_are_not_counted():
    layer = cases.Layer(5, 7, 6, 3, stride=2, padding=1)
    windows = batten.nn.functional.conv2d(batten.ones(1, 5, 6, 6), batten.ones(7, 5, 3, 3), stride=2, padding=1)
    assert layer.products == windows.sum().item() and layer.outputs == windows.numel()
    assert cases.Layer(5, 5, 6, 3, 2, 1, groups=5).products == layer.products / 7
    (every, third) = (cases.convolution(2, 4, 4, 9, 1, stride=stride) for stride in (1, 3))
    assert (every.bytes, third.bytes) == (4 * (5 * 2 * 324 + 48), 4 * (2 * (4 * 36 + 324) + 48))


@needs_checkout
@pytest.mark.parametrize("name, norm", [("lenet5", {}), ("alexnet", {})] + [
    (name, {"norm": norm}) for name in ("vgg11", "resnet20") for norm in ("batch", "group")
])  # fmt: skip
def test_the_models_for_torch_are_those_of_batten(name, norm):
    pytest.importorskip("torch")
    theirs, ours = (getattr(models, name)(**norm) for models in (load("torch_models"), batten.models))
    shapes = [{key: tuple(x.shape) for key, x in model.state_dict().items()} for model in (theirs, ours)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


PREPARE = worker.batten()
SMALL = [
    ("gemm", ("NN", 5, 4, 3)), ("gemm", ("NT", 5, 4, 3)), ("gemm", ("TN", 5, 4, 3)), ("gemm", ("TT", 5, 4, 3)),
    ("relu", (7, 3)), ("softmax", (7, 3)), ("batch_norm", (7, 3)), ("batch_norm_relu", (7, 3)),
    ("layer_norm", (7, 3)), ("rms_norm", (7, 3)), ("cross_entropy", (7, 3)), ("sgd", (2, 5)), ("adam", (2, 5)),
    ("rmsprop", (2, 5)), ("adadelta", (2, 5)), ("clip_grad_norm", (2, 5)), ("l1_penalty", (2, 5)),
    ("l2_penalty", (2, 5)),
    ("drop_connect", (5, 7, 3, 0.0)), ("drop_connect_inference", (5, 7, 3, 0.3)), ("gaussian_noise", (7, 3)),
]  # fmt: skip
SMALL_OF_TORCH = (
    "drop_connect", "drop_connect_inference", "rmsprop", "adadelta", "clip_grad_norm", "l1_penalty", "l2_penalty",
)  # fmt: skip
SMALL_IMAGES = [
    ("conv", (3, 4, 6, 7, 3, 1, 1, 1)), ("conv", (3, 4, 6, 8, 3, 2, 1, 1)), ("conv", (3, 5, 6, 7, 5, 1, 0, 1)),
    ("conv", (3, 4, 6, 7, 1, 2, 0, 1)), ("conv", (3, 3, 6, 7, 3, 1, 1, 1)), ("conv", (3, 1, 6, 7, 5, 1, 0, 1)),
    ("conv", (3, 4, 4, 7, 3, 1, 1, 4)), ("max_pool", (3, 5, 8, 2, 2, 0)), ("max_pool", (3, 5, 8, 3, 2, 1)),
    ("batch_norm2d_relu", (3, 16, 4, 4)), ("batch_norm2d_add_relu", (3, 16, 4, 4)),
    ("l1_batch_norm2d", (3, 16, 4, 4)),
    ("group_norm", (3, 16, 4, 4)), ("group_norm_add_relu", (3, 16, 4, 4)), ("instance_norm2d", (3, 16, 4, 4)),
    ("local_response_norm", (3, 7, 4, 4)),
]  # fmt: skip


def small(name, sizes):
    return cases.Case("small", name, getattr(cases, name), sizes)


def plain(result):
    """Arrays of what a run leaves: a product, gradients, or parameters; of other results the first."""
    if isinstance(result, tuple):
        result = result[:1]
    if not isinstance(result, (tuple, list)):
        result = [result]
    return [np.asarray(each.detach() if hasattr(each, "detach") else each) for each in result]


@needs_checkout
@pytest.mark.parametrize("name, sizes", SMALL, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("peer, function", [("numpy", "arrays"), ("torch", "eager"), ("jax", "jitted")])
def test_peers_do_the_same_work(peer, function, name, sizes):
    pytest.importorskip(peer)
    ours, theirs = PREPARE(small(name, sizes)), getattr(load(f"{peer}_peer"), function)()(small(name, sizes))
    absent = {*SMALL_OF_TORCH, *(("batch_norm_relu", "layer_norm", "rms_norm") if peer == "numpy" else ())}
    if peer != "torch" and name in absent:
        assert theirs is None
        return
    for _ in range(3):
        mine, result = ours(), theirs()
    for ones, others in zip(plain(mine), plain(result), strict=True):
        np.testing.assert_allclose(others, ones, rtol=1e-5, atol=1e-6)


def as_torch_has_them(arrays):
    """JAX's gradients: images are (N, H, W, C), and before a bias comes the weight, (H, W, C, features)."""
    orders = [(0, 3, 1, 2)] * len(arrays)
    orders[-2:-1] = [(3, 2, 0, 1)] if len(arrays) > 1 else []
    return [x.transpose(order) if x.ndim == 4 else x for x, order in zip(arrays, orders, strict=True)]


@needs_checkout
@pytest.mark.parametrize("name, sizes", SMALL_IMAGES, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("peer, function", [("torch", "eager"), ("torch", "channels_last"), ("jax", "jitted")])
def test_peers_do_the_same_work_on_images(peer, function, name, sizes):
    pytest.importorskip(peer)
    case = small(name, sizes)
    ours, theirs = PREPARE(case), getattr(load(f"{peer}_peer"), function)()(case)
    if peer == "jax" and name not in ("conv", "max_pool"):
        assert theirs is None
        return
    mine, result = plain(ours()), plain(theirs())
    for ones, others in zip(mine, as_torch_has_them(result) if peer == "jax" else result, strict=True):
        np.testing.assert_allclose(others, ones, rtol=1e-5, atol=1e-6 * abs(ones).max())


@needs_checkout
def test_images_lie_as_they_are_said_to():
    torch = pytest.importorskip("torch")
    peers = load("torch_peer")
    for framework, images, between in ((peers.Eager(), False, False), (peers.ChannelsLast(), True, True)):
        for function, last in ((cases.images, images), (cases.between, between)):
            assert function(framework, 2, 3, 4, 5).is_contiguous(memory_format=torch.channels_last) == last


SMALL_AUGMENTED = [
    ("crop_flip_normalize", (5, 8, 0, 1.0)), ("crop_flip_normalize", (5, 8, 0, 0.0)),
    ("rotation", (5, 9, "nearest", (20.0, 20.0))), ("rotation", (5, 9, "bilinear", (20.0, 20.0))),
    ("resized_crop", (5, 9, 4, (1.0, 1.0))), ("resized_crop", (5, 9, 14, (1.0, 1.0))),
]  # fmt: skip


@needs_checkout
@pytest.mark.parametrize(
    "peer, function", [("numpy", "arrays"), ("torchvision", "each_image"), ("torchvision", "whole_batch")]
)
def test_peers_augment_alike_where_nothing_is_random(peer, function):
    """What is rounded to bytes, once or after each axis, may differ by one; and images fade at their edges twice as
    fast as NumPy's, as torchvision's do."""
    pytest.importorskip(peer)
    prepare = getattr(load("numpy_peer" if peer == "numpy" else "torch_peer"), function)()
    for name, sizes in SMALL_AUGMENTED:
        case = small(name, sizes)
        (mine,), (result,) = plain(PREPARE(case)()), plain(prepare(case)())
        assert (mine.shape, mine.dtype) == (result.shape, result.dtype), (name, sizes)
        difference = abs(mine.astype(np.float64) - result)
        if peer == "numpy" and "bilinear" in sizes:
            difference = difference[:, :, 2:-2, 2:-2]
        assert difference.max() <= (1e-6 if mine.dtype == np.float32 else 1), (name, sizes)
        assert difference.mean() < 0.3, (name, sizes)


@needs_checkout
@pytest.mark.parametrize("peer", ["batten", "numpy"])
def test_images_are_augmented_at_random(peer):
    prepare = PREPARE if peer == "batten" else load("numpy_peer").arrays()
    for name, sizes in (
        ("crop_flip_normalize", (9, 12, 4, 0.5)), ("rotation", (9, 12, "nearest", (-90.0, 90.0))),
        ("rotation", (9, 12, "bilinear", (-90.0, 90.0))), ("resized_crop", (9, 12, 12, (0.08, 1.0))),
    ):  # fmt: skip
        run = prepare(small(name, sizes))
        first, second = plain(run())[0], plain(run())[0]
        assert (first != second).any(axis=(1, 2, 3)).sum() >= 5, name


@needs_checkout
@pytest.mark.parametrize("peer, function", [("batten", None), ("torch", "eager")])
def test_the_loader_goes_on_with_the_next_epoch(peer, function, prepared):
    run = prepared(peer, function, "loader", (10, 3, 4))
    everything = cases.values(batten, 10, 3).numpy()
    for _ in range(3):
        epoch = np.concatenate([np.asarray(run()[0]) for _ in range(2)])
        assert epoch.shape == (8, 3) and len({tuple(row) for row in epoch}) == 8
        assert {tuple(row) for row in epoch} <= {tuple(row) for row in everything}


def test_rates_are_images_a_second_where_there_are_images():
    case = {"images": 128, "flops": 4e9, "bytes": 1e9, "bound": "memory"}
    assert report.rate(case, 0.001) == "128,000 images/s"
    assert report.rate({**case, "images": 0}, 0.5) == "2.0 GB/s"
    assert report.rate({**case, "images": 0, "bound": "arithmetic"}, 0.5) == "8.0 GFLOP/s"


@pytest.fixture
def prepared(request):
    """A case of this name and sizes as a framework does it, on one thread and from one seed."""

    def prepare(peer, function, name, sizes):
        library = pytest.importorskip(peer)
        if peer != "batten" and not BENCH.exists():
            pytest.skip("needs the source tree")
        if peer != "jax":
            library.manual_seed(0)
            before = library.get_num_threads()
            library.set_num_threads(1)  # the others only wait here, and a busy machine makes that long
            request.addfinalizer(lambda: library.set_num_threads(before))
        return (PREPARE if peer == "batten" else getattr(load(f"{peer}_peer"), function)())(small(name, sizes))

    return prepare


@pytest.mark.parametrize(
    "peer, function", [("batten", None), ("torch", "eager"), ("torch", "fused"), ("jax", "jitted")]
)
@pytest.mark.parametrize("name", ["mlp_digits", "mlp_mnist", "mlp_wide"])
def test_training_steps_learn(peer, function, name, prepared):
    run = prepared(peer, function, name, (16, 20, 64, 64, 3))
    losses = [plain(run())[0].item() for _ in range(100)]
    assert losses[0] > 0.7 and np.mean(losses[-10:]) < 0.5 * losses[0]


@pytest.mark.parametrize(
    "peer, function", [("batten", None), ("torch", "eager"), ("torch", "channels_last"), ("jax", "jitted")]
)
@pytest.mark.parametrize(
    "name, steps",
    [("lenet_mnist", 9), ("vgg11_bn_cifar", 4), ("resnet20_cifar", 12), ("resnet20_gn", 20), ("alexnet_cifar", 30)],
)
def test_training_steps_on_images_learn(peer, function, name, steps, prepared):
    run = prepared(peer, function, name, (4,))
    if (peer, name) == ("jax", "resnet20_gn"):
        assert run is None
        return
    losses = [plain(run())[0].item() for _ in range(steps)]
    assert 1 < losses[0] < 5 and np.mean(losses[-3:]) < 0.9 * losses[0]


def test_dropout_case_drops_half():
    (gradient,) = plain(PREPARE(small("dropout", (10_000,)))())
    assert 0.45 < np.mean(gradient == 0) < 0.55


@pytest.mark.parametrize("peer, function", [("batten", None), ("torch", "eager")])
def test_drop_connect_case_drops_half(peer, function, prepared):
    """A weight that the only example has dropped has no gradient."""
    _, gradient, _ = plain(prepared(peer, function, "drop_connect", (1, 100, 80, 0.5))())
    assert 0.45 < np.mean(gradient == 0) < 0.55


def test_every_case_that_a_quick_run_has_can_be_prepared_and_run():
    for case in suite.choose([], quick=True):
        PREPARE(case)()


def test_choosing():
    every, quick = suite.choose([], False), suite.choose([], True)
    assert every == cases.CASES and set(quick) < set(every)
    assert not {"mlp_wide", "gemm NN 4096", "relu 16 Mi", "resnet20_cifar"} & {case.name for case in quick}
    assert {"lenet_mnist", "conv 64x20->50x12 5x5", "conv 128x64->64x8 3x3"} <= {case.name for case in quick}
    assert [case.name for case in suite.choose(["wide", "4096x4096x256"], True)] == [
        "gemm TN 4096x4096x256",
        "mlp_wide",
    ]


# ---- how it measures ----


def test_a_turn():
    calls = []
    result = worker.turn(lambda: calls.append(1), 0.01)
    assert 2 <= len(result["samples"]) < len(calls) and all(0 < s < 0.1 for s in result["samples"])
    assert worker.turn(lambda: None, 0)["samples"][1:] == []


def test_page_faults_are_counted():
    pages = 200

    def touch():
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as block:
            for page in range(pages):
                block[page * mmap.PAGESIZE] = 1

    assert pages <= worker.turn(touch, 0.01)["faults"] < 1.5 * pages


def test_the_most_memory_held():
    code = """if True:
        import worker
        before = worker.peak_memory()
        block = bytearray(40 << 20)
        block = None
        print(worker.peak_memory() - before)"""
    folder = Path(worker.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert 39 << 20 <= int(done.stdout) < 44 << 20


def test_limits_are_those_of_arithmetic_or_of_the_nearest_memory():
    measured = suite.Suite([], {}, 1, suite.QUICK)
    measured.report["limits"] = {
        "arithmetic": 1e9,
        "memory": [{"room": 100, "read": 5e9, "copy": 8e9}, {"room": 1000, "read": 2e9, "copy": 1e9}],
    }

    def limit(flops, traffic, room):
        return measured.limit(cases.Case("", "", None, (), flops, traffic, room))

    assert limit(1000, 8, 100) == (1e-6, "arithmetic")
    assert limit(0, 8000, 100) == (1e-6, "memory")
    assert limit(0, 8000, 101) == (4e-6, "memory")
    assert limit(0, 8000, 10_000) == (4e-6, "memory")


def test_no_further_round_begins_when_the_time_is_up():
    measured = measure({"batten": suite.BATTEN}, ["gemm NN 64"], rounds=5, budget=0)
    assert len(measured["cases"][0]["results"]["batten"]["seconds"]) == 1


def test_a_group_that_nobody_can_do(tmp_path):
    path = tmp_path / "peculiar.py"
    path.write_text("def never():\n raise MemoryError('too little')")
    measured = measure({"other": Peer("numpy", path, "never")}, ["mlp_digits"])
    assert measured["notes"] == ["other cannot begin: MemoryError: too little"]
    assert report.table(measured, "mlp_digits") == "mlp_digits: nobody could do any of it"
    pytest.importorskip("matplotlib")
    assert picture.draw(measured).startswith(b"\x89PNG")


def test_ratios_are_of_rounds():
    case = {"results": {"a": {"seconds": [1, 2, 4]}, "b": {"seconds": [3, 2, 8]}}}
    assert report.ratio(case, "a", "b") == (1, 2, 3)


def test_a_machine_that_is_not_idle():
    quiet = {"machine": {"load": 0.2, "used_by_others": 0.01}, "stolen": [0.01, 0.02], "notes": ["a note"]}
    assert report.warnings(quiet) == ["a note"]
    for busy in (
        {"machine": {"load": 2.0, "used_by_others": 0}},
        {"machine": {"load": 0.0, "used_by_others": 1}},
        {"stolen": [0, 0.5]},
    ):
        assert report.warnings({**quiet, **busy})[0].startswith("the machine was not idle")


def test_the_machine():
    about = machine.describe()
    assert about["processor"] and about["isa"] == kernels.isa() and 0 <= about["used_by_others"] < 1.5 * os.cpu_count()
    available = machine.processors(1024)
    assert len(set(available)) == len(available) == about["processors"]
    assert set(machine.processors(1)) < {*available, -1}


# ---- the probes beyond what every kernel is asked (test_kernels.py) ----


@pytest.mark.kernels
def test_a_probe_in_place_goes_over_its_array_so_many_times(isa, dtype, threads):
    for n in (1, 2):
        threads(n)
        x, z = np.zeros(5000, dtype), np.arange(5000, dtype=dtype)
        assert kernels.probe_triad(x, x, z, 2.0, 7) is x
        assert (x == 14 * z).all()


@pytest.mark.kernels
@pytest.mark.parametrize("times", [0, -1])
def test_probes_refuse_no_pass_at_all(times):
    x, y, z, s = (np.ones(n, np.float32) for n in (5, 5, 5, 1))
    for probe, arguments in (
        (kernels.probe_fma, (y, x, 1, 1)),
        (kernels.probe_read, (s, x)),
        (kernels.probe_copy, (y, x)),
        (kernels.probe_triad, (y, x, z, 1)),
    ):
        with pytest.raises(ValueError, match=f"expected at least one pass, got {times}"):
            probe(*arguments, times)


@needs_checkout
def test_sigmoids_prints_a_row_for_each_learning_rate():
    pytest.importorskip("sklearn")
    code, out, err = bench("--epochs", 4, "--seeds", 1, command=BENCH / "sigmoids.py")
    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out[2:]] == ["0.01", "0.1", "1"]
    assert all(line.count("%") == 6 for line in out[2:])


@needs_checkout
def test_deep_sigmoids_need_batch_normalization():
    """The lecture's claim, in numbers: with it all three learning rates do, without it none does so soon."""
    pytest.importorskip("sklearn")
    sigmoids = load("sigmoids")
    for rate in sigmoids.RATES:
        assert sigmoids.accuracy(True, rate, epochs=5, seed=0) > 0.8
        assert sigmoids.accuracy(False, rate, epochs=5, seed=0) < 0.2
