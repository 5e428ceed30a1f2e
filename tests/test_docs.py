"""The words: what they mention exists, links lead somewhere, commands parse, Python compiles, some of it runs."""

import argparse
import ast
import re
import shlex
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
import tyro
import yaml

from depict_jax import cli
from depict_jax.settings import Settings
from docs.hooks import ELSEWHERE, PROJECT, commands, modules, parsers, presets, sentences
from experiments.approaches import DATASETS

WRITTEN = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
# options of other programs
OTHERS = {"--xla_dump_to", "--xla_force_host_platform_device_count", "--logdir"}
TABLE = re.compile(r"make table-([\w-]+) ARGS=\"([^\"]*)\"")
FENCE = re.compile(r"^( *)(<!-- runs -->\n)?(?: *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

documents = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(PROJECT)))


def blocks(path: Path, language: str) -> list[tuple[bool, str]]:
    """The fenced blocks of a language: whether marked as running, and what they hold."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [(bool(runs), textwrap.dedent(text)) for _, runs, kind, text in found if kind == language]


def real_options() -> set[str]:
    return {
        option
        for parser in parsers().values()
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }


def anchors(path: Path) -> set[str]:
    """What a link into a page may name: its headings as mkdocs and GitHub write them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    marks = {"commands": commands, "presets": presets}
    for mark, fill in marks.items():
        text = text.replace(f"<!-- {mark} -->", fill())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def navigation(entries: list) -> list[str]:
    """The pages that a mkdocs `nav` names."""
    found: list[str] = []
    for entry in entries:
        (target,) = entry.values() if isinstance(entry, dict) else (entry,)
        found += navigation(target) if isinstance(target, list) else [target]
    return found


def configuration() -> dict:
    return yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))


def test_every_page_in_the_navigation_is_there_and_every_page_is_in_it():
    named = navigation(configuration()["nav"])
    assert len(named) == len(set(named)) > 10
    written = {str(path.relative_to(PROJECT / "docs")) for path in (PROJECT / "docs").rglob("*.md")}
    assert set(named) == written | set(ELSEWHERE)
    for source in ELSEWHERE.values():
        assert (PROJECT / source).is_file()


@documents
def test_every_option_that_is_mentioned_exists(path):
    text = TABLE.sub("", path.read_text(encoding="utf-8"))  # those are of experiments, and parsed below
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", re.sub(r"<!--.*?-->", "", text)))
    assert mentioned - real_options() - OTHERS == set()


@documents
def test_every_command_parses(path):
    for _, text in blocks(path, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["depict-jax"] and "..." not in words:
                # parsed by the real parser, and not run
                start = cli._preset_in(words[1:])
                tyro.cli(cli._commands(start), args=words[1:], prog="depict-jax")


def tables() -> list[tuple[str, str]]:
    """What `make table-NAME` runs, and with which arguments: with none, and with those that the pages mention."""
    makefile = (PROJECT / "Makefile").read_text()
    (names,) = re.findall(r"^DATASETS := (.*)$", makefile, re.MULTILINE)
    makefile = makefile.replace("$(DATASETS)", names)
    targets = dict(re.findall(r"^table-([\w-]+): COMMAND = (.*)$", makefile, re.MULTILINE))
    mentioned = [found for path in WRITTEN for found in TABLE.findall(path.read_text(encoding="utf-8"))]
    return [(targets[name], arguments) for name, arguments in [*((name, "") for name in targets), *mentioned]]


@pytest.mark.parametrize(("command", "arguments"), tables())
def test_the_command_of_a_table_parses(command, arguments, monkeypatch):
    class Parsed(Exception):
        pass

    def parse_and_stop(parser, *given):
        parse(parser, *given)
        raise Parsed

    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    module, *given = shlex.split(f"{command} {arguments}")
    monkeypatch.setattr(sys, "argv", [module, *given])
    with pytest.raises(Parsed):
        import_module(f"experiments.{module}").main()


def test_the_pages_say_what_else_a_table_can_be_told():
    assert any(arguments for _, arguments in tables())


def test_the_tables_of_approaches_are_of_the_data_sets_that_make_runs():
    commands = {command for command, _ in tables() if command.startswith("approaches ")}
    assert len(commands) == 2
    assert {tuple(command.split(" --")[0].split()[1:]) for command in commands} == {DATASETS}


@documents
def test_every_make_target_that_is_mentioned_exists(path):
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for prefix, names in (("experiment", "DATASETS := "), ("table", "TABLES := $(addprefix table-,")):
        listed = re.search(rf"^{re.escape(names)}([\w\s-]+?)\)?$", makefile, re.MULTILINE)
        assert listed
        targets |= {f"{prefix}-{name}" for name in listed[1].split()}
    text = path.read_text(encoding="utf-8")
    code = [*re.findall(r"`make ([\w-]+)", text), *re.findall(r"^make ([\w-]+)", text, re.MULTILINE)]
    assert set(code) - targets == set()


@documents
def test_every_relative_link_leads_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert found.is_relative_to(PROJECT), target
        if anchor and found.suffix == ".md" and found.is_relative_to(PROJECT / "docs"):
            assert anchor in anchors(found), target


@documents
def test_python_compiles_and_marked_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for runs, text in blocks(path, "python"):
        code = compile(text, str(path), "exec")
        if runs:
            exec(code, {"__name__": "__main__"})


def test_some_blocks_run():
    assert sum(runs for path in WRITTEN for runs, _ in blocks(path, "python")) >= 3


def test_quoted_messages_are_the_program_s():
    """Every message that the page on troubles quotes is a part of one that the source has."""
    known = [*(text for texts in sentences().values() for text in texts), (PROJECT / "Makefile").read_text()]
    page = (PROJECT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+(?:`[^`]+)*?)` \|", page, re.MULTILINE)
    assert len(rows) > 40
    for message in rows:
        if message not in (
            "not a picture",
            "unreadable",
            "a decompression bomb perhaps",
            "No module named 'depict_jax'",
        ):
            assert any(message in text for text in known), message
    source = (PROJECT / "src/depict_jax/data/folders.py").read_text()
    for reason in ("not a picture", "unreadable", "a decompression bomb perhaps"):
        assert reason in source


def test_the_page_on_the_report_has_the_limits_of_its_warnings():
    from depict_jax.report import advice, maps

    page = (PROJECT / "docs/report.md").read_text(encoding="utf-8")
    limits = (advice.TINY, advice.SWALLOWING, advice.UNSURE, advice.MOVING)
    assert limits == (0.2, 3, 0.7, 0.01)
    for words in ("less than a fifth", "above three times", "confidence below 0.7", "more than 1 % of the images"):
        assert words in page
    assert f"at least {advice.SMALLER_LUMP:.0%}".replace("%", " %") in page
    assert f"a cluster of at least {advice.FEWEST} images" in page
    assert f"At most {maps.POINTS:,} images" in page


def test_the_generated_pages_have_all_commands_and_options():
    page = commands()
    for name in ("fit", "predict", "score", "report", "data"):
        assert f"## depict-jax {name}\n" in page
    for option in real_options() - {"--help"}:
        assert f">{option}<" in page or f">{option.replace('--no-', '--', 1)}<" in page
    assert "MISSING" not in page and "__tyro" not in page
    assert re.search(r"<code[^>]*>--rule</code> <code[^>]*>closed_form</code> or", page)
    assert f"`{Settings().dropout}` |" in page
    assert "| `--affine` | by the images | 0 | 0 |" in presets()


def test_the_module_list_has_every_module_below_what_it_imports():
    """No import leads in a circle: the order could not be made then."""
    rows = re.findall(r"^\| `([\w/.]+)` \| \S", modules(), re.MULTILINE)
    package = PROJECT / "src/depict_jax"
    assert set(rows) == {
        *(path.name for path in package.glob("[!_]*.py")),
        *(f"{path.parent.name}/" for path in package.glob("*/__init__.py")),
    }
    order = ["settings.py", "assignments.py", "objectives.py", "training.py", "stages.py", "estimator.py", "cli.py"]
    assert sorted(order, key=rows.index) == order


def test_sentences_are_whole():
    """Pieces of an f-string are put together, over several lines too."""
    assert any("already holds a run: resume it, overwrite it, or choose another folder" in text
               for text in sentences()["depict_jax.run_folder"])  # fmt: skip


def test_the_citation_names_the_paper_and_this_version():
    found = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(found)
    version = ast.literal_eval(
        re.search(r"__version__ = (.*)", (PROJECT / "src/depict_jax/__init__.py").read_text())[1]
    )
    assert found["version"] == version
    assert found["license"] == "Apache-2.0"
    paper = found["preferred-citation"]
    assert paper["type"] == "conference-paper" and paper["year"] == 2017
    assert paper["title"].startswith("Deep Clustering via Joint Convolutional Autoencoder Embedding")
    assert [author["family-names"] for author in paper["authors"]] == [
        "Ghasedi Dizaji",
        "Herandi",
        "Deng",
        "Cai",
        "Huang",
    ]


def test_the_changelog_has_the_unreleased_and_known_headings_alone():
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_api_pages_list_what_modules_have_and_what_other_pages_refer_to():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT / "docs/api").glob("*.md"))
    listed = dict(re.findall(r"^::: (depict_jax\.[a-z_]+)\n(?:    options:\n      members: \[(.*?)\]\n)?", text, re.M))
    assert "depict_jax.stages" in listed
    for module, members in listed.items():
        missing = [name for name in members.split(", ") if members and not hasattr(import_module(module), name)]
        assert not missing, module
    for path in WRITTEN:
        for module, name in re.findall(r"\]\[(depict_jax\.[\w.]+)\.(\w+)\]", path.read_text(encoding="utf-8")):
            assert module in listed and (not listed[module] or name in listed[module].split(", ")), (path, module, name)
