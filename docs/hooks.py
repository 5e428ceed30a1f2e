"""What mkdocs does beside its own work: the command line's options, pages from elsewhere in the project, equations.

Nothing here is a copy: options come from the real parser, figures from the files that the benchmarks write.
"""

from __future__ import annotations

import ast
import html
import posixpath
import re
import warnings
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any, get_args

PROJECT = Path(__file__).resolve().parent.parent
# Pages of the site that are files elsewhere in the project; links to the files become links to the pages.
ELSEWHERE = {
    "results.md": "experiments/RESULTS.md",
    "claims.md": "experiments/CLAIMS.md",
    "scaling.md": "experiments/benchmarks/SCALING.md",
    "changelog.md": "CHANGELOG.md",
}
MARK = re.compile(r"^<!-- (commands|presets|messages|modules) -->$", re.MULTILINE)
# What a group of options is about, by the title that the parser gives it.
GROUPS = {
    "options": ("", ""),
    "processes options": (
        "Several processes",
        "One run over several processes, on one machine or many: [From laptop to pod](scaling_up.md).",
    ),
    "sorting options": (
        "Sorting pictures",
        "A folder of pictures sorted into a folder for each cluster; the originals stay as they are.",
    ),
    "reading options": (
        "How a source is read",
        "Each belongs to a kind of source, as its first word says, and is refused for another kind.",
    ),
    "settings options": (
        "How a run is trained",
        "The same for every data set. [Choosing settings](settings.md) says when to change what; the "
        "[presets](#presets) change several at once.",
    ),
}


def parsers() -> dict[str, Any]:
    """The parser of each command, as `depict-jax` itself makes it."""
    import tyro

    from depict_jax import cli
    from depict_jax.settings import preset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other way to ask for it
        whole = tyro.extras.get_parser(cli._commands(preset()))
    return next(action.choices for action in whole._actions if isinstance(action.choices, dict))


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    found, shown = [], set()
    for name, parser in parsers().items():
        groups = {group.title: group for group in parser._action_groups if group._group_actions}
        positional = groups.pop("positional arguments")._group_actions if "positional arguments" in groups else []
        synopsis = " ".join(["depict-jax", name, *(_metavar(action) for action in positional), "[options]"])
        found.append(f"## depict-jax {name}\n\n{parser.description}\n\n```\n{synopsis}\n```\n")
        if positional:
            found.append(_table(positional, "argument"))
        for title, group in groups.items():
            heading, about = GROUPS.get(title, (title.removesuffix(" options").capitalize(), group.description or ""))
            options = [action for action in group._group_actions if "--help" not in action.option_strings]
            if title in shown and heading:
                anchor = heading.lower().replace(" ", "-")
                found.append(f"And the options of [{heading[0].lower()}{heading[1:]}](#{anchor}), as for `fit`.\n")
            elif options:
                found.append((f"### {heading}\n\n{about}\n\n" if heading else "") + _table(options, "option"))
            shown.add(title)
    return "\n".join(found)


def presets() -> str:
    """What each preset changes, as a Markdown table."""
    from depict_jax.settings import Preset, Settings, preset

    names = get_args(Preset)
    rows = [(field.name, [getattr(preset(name), field.name) for name in names]) for field in fields(Settings)]
    lines = [f"| option | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for option, values in rows:
        if len(set(values)) > 1:
            cells = [_preset_value(option, value) for value in values]
            cells[1:] = ["" if cell == cells[0] else cell for cell in cells[1:]]
            lines.append(f"| `--{option.replace('_', '-')}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _preset_value(option: str, value: object) -> str:
    if value is None:
        return "by the images" if option in ("affine", "brightness") else "by steps"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _table(actions: list[Any], what: str) -> str:
    lines = [f"| {what} | meaning | default |", "|---|---|---|"]
    for action in actions:
        meaning, default = _meaning(action)
        lines.append(f"| {_name(action)} | {meaning} | {default} |")
    return "\n".join(lines) + "\n"


def _name(action: Any) -> str:
    if not action.option_strings:
        return _code(_metavar(action))
    name = _code(action.option_strings[0])
    if action.choices:
        return f"{name} {' or '.join(_code(choice) for choice in action.choices if choice != 'None')}"
    return name if action.nargs == 0 else f"{name} {html.escape(_metavar(action)).replace('|', ' or ')}"


def _code(text: str) -> str:
    """Code that is not broken over lines, and may stand in a table."""
    return f'<code class="whole">{html.escape(text).replace("|", "&#124;")}</code>'


def _metavar(action: Any) -> str:
    if not action.option_strings and action.choices:
        return "|".join(action.choices)
    name = action.dest.rpartition(".")[2]
    metavar = str(action.metavar).removeprefix("{None}|")
    return metavar if action.option_strings else f"[{name}]" if metavar.startswith("[") else name


def _meaning(action: Any) -> tuple[str, str]:
    """The help's words, and the default that tyro put in brackets after them."""
    text = re.sub(r"--[a-z][a-z-]*", r"`\g<0>`", " ".join(str(action.help).split()).replace("|", r"\|"))
    words, _, default = text.removesuffix(")").rpartition(" (default: ")
    if words:
        return words, "" if default == "False" else f"`{default}`"
    return text.removesuffix(" (required)"), "required" if text.endswith(" (required)") else ""


def sentences() -> dict[str, list[str]]:
    """What the package refuses or warns with, module by module; … stands for what is filled in."""
    found: dict[str, list[str]] = {}
    for path in sorted((PROJECT / "src").rglob("*.py")):
        texts = [
            text
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(call, ast.Call) and re.search(r"Error$|^_?fail|^warn$|^Skipped$", _called(call))
            for argument in call.args
            if len(text := _text(argument)) > 15
        ]
        module = ".".join(path.relative_to(PROJECT / "src").with_suffix("").parts).removesuffix(".__init__")
        if texts:
            found[module] = list(dict.fromkeys(texts))
    return found


def messages() -> str:
    """The sentences as Markdown, a heading for each module."""
    lists = {
        module: "\n".join(f"<li>{html.escape(text, quote=False)}</li>" for text in texts)
        for module, texts in sentences().items()
    }
    return "\n".join(f"## `{module}`\n\n<ul>\n{items}\n</ul>\n" for module, items in lists.items())


def modules() -> str:
    """The package's modules with the first sentence of their docstrings, each below those that it imports."""
    package = PROJECT / "src/depict_jax"
    paths = {
        path.stem: path
        for path in sorted(package.iterdir())
        if (path / "__init__.py").is_file() or (path.suffix == ".py" and not path.stem.startswith("__"))
    }
    graph = {name: _imported(path, package) & paths.keys() - {name} for name, path in paths.items()}
    lines = ["| module | what it is |", "|---|---|"]
    for name in TopologicalSorter(graph).static_order():
        path = paths[name] / "__init__.py" if paths[name].is_dir() else paths[name]
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = re.split(r"(?<=\.)\s", " ".join(words.split()))[0].removesuffix(".").replace("|", r"\|")
        lines.append(f"| `{name}{'/' if paths[name].is_dir() else '.py'}` | {first} |")
    return "\n".join(lines) + "\n"


def _imported(path: Path, package: Path) -> set[str]:
    """The names of the package's modules that a module, or any file of a package in it, imports when it runs."""
    found: set[str] = set()
    for file in [path] if path.is_file() else path.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typing = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        for skipped in typing:
            skipped.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == len(file.relative_to(package).parts):
                found |= {node.module.partition(".")[0]} if node.module else {name.name for name in node.names}
    return found


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return (_text(node.left) or "…") + (_text(node.right) or "…")
    return ""


def mathml(found: re.Match[str]) -> str:
    """An equation in TeX, as arithmatex leaves it, to MathML, which browsers draw without a script."""
    from math_core import LatexToMathML

    inline, block = found.groups()
    source = html.unescape(block if inline is None else inline).strip()
    return LatexToMathML().convert_with_local_state(source, displaystyle=inline is None)


EQUATION = re.compile(
    r'<span class="arithmatex">\\\((.*?)\\\)</span>|<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL
)


LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?![a-z]+:)([^)#]+)(#[^)]*)?\)")
INLINE = re.compile(r"<code>[^<]+</code>")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are files elsewhere, with their pictures, and the font of the equations."""
    from mkdocs.structure.files import File

    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(PROJECT / source).read_text(encoding="utf-8")))
        for picture in _pictures(PROJECT / source):
            path = str(picture.relative_to((PROJECT / source).parent))
            files.append(File.generated(config, path, abs_src_path=str(picture)))
    import ziamath

    font = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    files.append(File.generated(config, f"stylesheets/{font.name}", abs_src_path=str(font)))
    return files


def _pictures(markdown: Path) -> Iterator[Path]:
    for target in re.findall(r"!\[[^]]*\]\(([^):]+)\)", markdown.read_text(encoding="utf-8")):
        yield markdown.parent / target


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the marks; let links to files elsewhere lead to their pages, and others to the project lead nowhere."""
    marks = {"commands": commands, "presets": presets, "messages": messages, "modules": modules}
    markdown = MARK.sub(lambda found: marks[found[1]](), markdown)
    own = page.file.src_uri
    here = PurePosixPath(ELSEWHERE.get(own, f"docs/{own}")).parent
    pages = {path: name for name, path in ELSEWHERE.items()}

    def lead(link: re.Match[str]) -> str:
        text, target, anchor = link.groups(default="")
        path = posixpath.normpath(here / target)
        if path.startswith("docs/") and own not in ELSEWHERE:
            return link[0]
        if path in pages:
            return f"[{text}]({posixpath.relpath(pages[path], posixpath.dirname(own) or '.')}{anchor})"
        return f"{text} (`{path}`)" if text.strip("`/") not in path else f"`{path}`"

    return LINK.sub(lead, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Draw the equations; keep an option in running text on one line."""
    html = INLINE.sub(lambda code: OPTION.sub(r'<span class="whole">\g<0></span>', code[0]), html)
    return EQUATION.sub(mathml, html)


def on_post_build(config: Any) -> None:
    """Refuse a site that would fetch anything from the network, or has an equation that was not drawn."""
    fetched = re.compile(
        r'<(?:script|img|source|iframe)[^>]+src="?(?:https?:)?//|<link[^>]+stylesheet[^>]+href="?(?:https?:)?//'
    )
    for path in Path(config.site_dir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if found := fetched.search(text):
            raise ValueError(f"{path} fetches from the network: {found[0]}")
        if 'class="arithmatex"' in text:
            raise ValueError(f"{path} has an equation that was not drawn")
