"""What the documentation says runs, and what it names exists."""

import ast
import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from markov_icl.interfaces.cli import main
from tests.docs_blocks import agree, blocks_of, commands_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/markov_icl"
PAGES = sorted(
    [
        *(p for p in (ROOT / "docs").rglob("*.md") if "build" not in p.parts),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]
)
PAGES_WITH_CODE = [p for p in PAGES if re.search(r"^```(python|console)$", p.read_text(), re.M)]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
TOO_SLOW = {
    "optimum --length 65": "137,280 unknowns: 12 s",
    "evaluate": "scores eleven predictors on 10,000 prompts: a minute",
    "layers --length 5": "trains ten layers: 15 s",
    "train --length 3 --context 10 --save": "a thousand steps: 10 s; the command is tested in test_cli.py",
    "attention --model": "needs the model that train keeps; tested in test_kernel_attention.py",
    "hardness reduce --example": "SCIP: 10 s",
    "hardness independent-set": "a search of 10 s with checked annotations",
    "train --length 6": "10 s with checked annotations, under a second without",
    "mi.train(": "a thousand steps of 4,000 prompts: half a minute",
    "mi.evaluate(": "scores eleven predictors on 10,000 prompts: a minute",
    "explore": "a server, which runs until it is stopped",
    "reproduce fig5": "two minutes of trainings and certificates",
    "map": "1,960 exact minimizers: 5 s; the command is tested in test_cli.py",
}
"""Commands and statements of README.md that its test leaves out, and why. Other pages say so beside the block."""


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder to work in, with the repository's examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return tmp_path


def run_command(words):
    """Run a ``markov-icl`` command here; return its exit code and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as stop:
        main(words)
    return stop.value.code or 0, out.getvalue()


def run_console(block, where, skip, excerpts):
    """Run its commands; an excerpt shows some lines of what they print, in order."""
    for command in commands_of(block.text):
        program, *words = shlex.split(command.words)
        assert program == "markov-icl", f"{where}: {command.words}: only markov-icl runs in a console block"
        if any(" ".join(words).startswith(start) for start in skip):
            continue
        began = time.perf_counter()
        code, printed = run_command(words)
        print(f"{time.perf_counter() - began:6.1f} s {command.words}")
        shown = ("\n...\n" if excerpts else "\n").join(command.shown)
        if excerpts and shown:
            shown = f"...\n{shown}\n..."
        assert code == (2 if "markov-icl: error" in shown else 0), (
            f"{where}: {command.words}: exit code {code}: {printed}"
        )
        assert not shown.strip() or agree(shown, printed), (
            f"{where}: {command.words}: shown\n{shown}\nprinted\n{printed}"
        )


def run_python(block, where, names, skip):
    tree = ast.parse(block.text)
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith(tuple(skip))]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tree, where, "exec"), names)
    if block.shown is not None:
        assert agree(block.shown, out.getvalue()), f"{where}: shown\n{block.shown}\nprinted\n{out.getvalue()}"


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=name_of)
def test_code_on_the_page_does_what_the_page_shows(page, desk):
    names = {"__name__": "__page__"}
    skip = TOO_SLOW if page.name == "README.md" else {}
    for block in blocks_of(page.read_text()):
        began = time.perf_counter()
        where = f"{name_of(page)}:{block.line}"
        if block.reason is not None:
            print(f"{where} not run: {block.reason}")
        elif block.language == "python":
            run_python(block, where, names, skip)
        elif block.language == "console":
            run_console(block, where, skip, excerpts=page.name == "README.md")
        print(f"{where} {block.language}: {time.perf_counter() - began:.1f} s")


def test_comparison_sees_differences():
    assert agree("loss  0.25\n...\nend", "loss 0.2500001 and more end")
    assert agree("[Fraction(4, 57)]", "[Fraction(4, 57)]")
    assert agree("0.2546...", "0.25460478")
    assert agree("─── a ───", "a ─")
    assert not agree("loss 0.25", "loss 0.28")
    assert not agree("n 25", "n 26")
    assert not agree("loss 0.25", "loss 0.25 more")
    assert not agree("... end", "end more")
    assert agree("1e-16", "2e-16")
    assert not agree("1e-16", "9e-16")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)\s]*)?\)", text):
        if target and not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_exist(page):
    """A path in code letters is one of the repository, the package, or the docs; ``*`` is a wildcard."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for named in re.findall(r"`([\w*./-]+/[\w*.-]+\.(?:py|md|csv|json|png|txt|toml|yaml))`", text):
        found = [p for folder in (ROOT, PACKAGE, ROOT / "docs") for p in folder.glob(named)]
        assert found, f"{name_of(page)}: {named}"


def test_symbols_stand_in_the_files_named():
    rows = re.findall(r"^\| (.*?) \| (.*?) \| .*?\| `([\w/]+\.py)` \|$", (ROOT / "docs/symbols.md").read_text(), re.M)
    assert len(rows) > 50
    for symbol, code, file in rows:
        words = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]*)`", code))))
        text = set(re.findall(r"\w+", (PACKAGE / file).read_text()))
        assert words & text or "length - 1" in code, f"{symbol}: {code} in {file}"


def commands_named():
    """Yield what stands in code letters or behind a prompt; prose such as "markov-icl computes" does not."""
    for page in PAGES:
        for words in re.findall(r"(?:`|^\$ )markov-icl ([a-z][^`\n]*)", page.read_text(), re.M):
            yield page, re.sub(r"\s+#.*$", "", words)


def known_commands():
    import click
    from typer.main import get_command

    from markov_icl.interfaces.cli import app

    def walk(command, words):
        yield words, command
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, (*words, name))

    return dict(walk(get_command(app), ()))


def test_commands_and_options_named_exist():
    known = known_commands()
    seen = 0
    for page, line in commands_named():
        words = line.replace("|", " ").split()
        path = ()
        while len(path) < len(words) and (*path, words[len(path)]) in known:
            path = (*path, words[len(path)])
        assert path, f"{name_of(page)}: markov-icl {line}"
        options = {name for p in known[path].params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line):
            assert option in options or "commands" in dir(known[path]), f"{name_of(page)}: {line}"
            seen += 1
    assert seen > 50


def test_make_targets_named_exist():
    targets = set(re.findall(r"^([\w./]+):", (ROOT / "Makefile").read_text(), re.M)) | {".venv/.installed"}
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z.][\w./]*)", page.read_text(), re.M):
            assert target in targets, f"{name_of(page)}: make {target}"


@pytest.mark.parametrize("script", EXAMPLES, ids=name_of)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_example_runs_and_draws(script, desk, capsys):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    runpy.run_path(str(script), run_name="__main__")
    drawn = [plt.figure(number) for number in plt.get_fignums()]
    assert drawn, "no figure"
    assert all(figure.axes and any(axis.has_data() for axis in figure.axes) for figure in drawn)
    assert capsys.readouterr().out.strip()
    plt.close("all")


def test_examples_are_notebooks_as_scripts():
    assert len(EXAMPLES) == 4
    for script in EXAMPLES:
        text = script.read_text()
        assert text.startswith("# %% [markdown]\n# # "), script
        assert text.count("\n# %%\n") >= 3, script
        assert "assert " in text, script
        assert script.name in (ROOT / "docs/examples.md").read_text()


def test_citation_file():
    data = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert data["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license", "type"} <= data.keys()
    assert data["authors"] == [{"name": "The markov-icl developers"}]
    paper = data["references"][0]
    assert paper["type"] == "conference-paper"
    assert paper["title"].startswith("Optimality and NP-Hardness of Transformers")
    assert {"type": "other", "value": "arXiv:2510.18638"}.items() <= paper["identifiers"][0].items()
    assert all({"family-names"} <= person.keys() for person in paper["authors"])
    from markov_icl.tasks.spec import read_document  # the package's own reader is stricter about YAML

    assert read_document(ROOT / "CITATION.cff")["version"] == _version()


def _version():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_documentation_builds_without_warnings_and_without_network(tmp_path):
    missing = [m for m in ("sphinx", "myst_parser", "furo", "latex2mathml") if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"the extra docs is not installed: {', '.join(missing)}")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "html")]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command[-2:] = ["-d", str(tmp_path / "trees"), "docs", str(tmp_path / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-5000:]
    pages = [p.read_text() for p in (tmp_path / "html").rglob("*.html")]
    assert len(pages) > 30
    for page in pages:
        assert not re.search(r"""<(script|img|link|iframe|source)\b[^>]*\b(src|href)=["'](https?:)?//""", page)
    for style in (tmp_path / "html").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style
    assert sum(page.count("<math ") for page in pages) > 200
    assert not any("latex2mathml" in page or "\\mathbb" in page for page in pages)
