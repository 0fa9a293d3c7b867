"""Class names survive PyYAML's YAML, Python literals, and JSON unchanged."""

from __future__ import annotations

import random
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import metadata, write_ncnn, write_onnx

yaml = pytest.importorskip("yaml")

TEXT = r"""
08 8 007 1e3 1E3 1.0 1.50 .5 -1 +1 0x1F 0b11 0o17 1_000 12:30:45 1:1 2024-01-01 2024-01-01T00:00:00Z nan .nan .inf
-.inf NaN inf None none NONE null Null NULL ~ True true TRUE False false yes no on off y n Yes NO On OFF = << --
--- ... - ? : , [] {} () # ! & * | > % @ ` ' " \ / ; a:b a: :a a#b #a -a a- ?a !a &a *a |a >a %a @a `a [a] {a} (a)
a,b [a {a a] a} 'a' "a" it's say"so "it's" 'say"so' \n \x41 \ a\ \\ C:\dir %41 $HOME {{x}} <b> 人 犬猫 ünï Ünï 😀 👩‍🔬
café العربية עברית naïve é İ ß ﬁ 1,5 1.2.3 v8 yolo26n.pt key=value a&b a*b a|b a>b a%b a@b a`b a~b ~a ...a a...
---a a---
"""
WORDS = TEXT.split()
ODD = [
    "",
    " ",
    "  ",
    " a",
    "a ",
    "a  b",
    "a b",
    "traffic light",
    "driver's cab",
    'a "sign"',
    "naïve: #1",
    "a #b",
    "a # b",
    "# a",
    "a: b",
    "a : b",
    "a:",
    ": a",
    "- a",
    "-",
    "? a",
    "! a",
    "a, b",
    "[a, b]",
    "{a: b}",
    "a\tb",
    "\t",
    "a\nb",
    "a\n\nb",
    "\na",
    "a\n",
    "a\r\nb",
    "\r",
    "a\x00b",
    "\x01",
    "\x07\x08\x0b\x0c\x1b[31m",
    "\x7f",
    "\x85",
    "a\x85b",
    "\xa0",
    "a\xa0b",
    "\u2028",
    "a\u2028b\u2029c",
    "\ufeff",
    "\ufeffa",
    "\u202ea",
    "\u200b",
    "\U0001f600 \U0001f4a9",
    "\U0010fffd",
    "a" * 79,
    "a" * 200,
    "word " * 30 + "end",
    "word, " * 30 + "end",
    "it's " * 30 + "end",
    'say "so" ' * 20 + "end",
    "back\\slash " * 20 + "end",
    "hash # and colon: " * 10 + "end",
    "ünï " * 30 + "end",
    "😀 " * 40 + "end",
    "two  spaces  " * 15 + "end",
    "line\nbreak " * 15 + "end",
    "tab\tand " * 20 + "end",
    "null " * 25 + "null",
    "\x1b " * 30 + "x",
    "a" * 75 + " # b",
    "a" * 76 + ": b",
    "a" * 77 + " - b",
    "a" * 78 + " 'b'",
    "1 " * 50 + "1",
    "\\" * 40 + " " + "\\" * 41,
    "'" * 50,
    '"' * 50,
    "' " * 50 + "'",
    "ends with a backslash " * 5 + "\\",
    "a " * 39 + "\\ b",
    "a " * 38 + "\\\\ b",
]
LETTERS = [f"{a}{b}" for a in "0-~:#'" for b in string.punctuation]
NAMES = list(dict.fromkeys([*WORDS, *ODD, *LETTERS]))


def test_there_are_many() -> None:
    assert len(NAMES) > 300


def check(detector: yolort.Detector, names: list[str]) -> None:
    assert list(detector.names.values()) == names


HEAD = {"out0": np.zeros((4 + len(NAMES), 4), np.float32)}


@pytest.mark.parametrize("dump", [yaml.dump, yaml.safe_dump])
@pytest.mark.parametrize("unicode", [False, True])
@pytest.mark.parametrize("width", [80, 20, sys.maxsize])
@pytest.mark.parametrize("kind", [dict, list])
def test_yaml(dump: Any, unicode: bool, width: int, kind: type, tmp_path: Path) -> None:
    """Dumped as in Ultralytics' `YAML.save`, and in other ways."""
    options = {"sort_keys": False, "allow_unicode": unicode, "width": width}
    written = [name for name in NAMES if yaml.safe_load(dump([name], **options)) == [name]]
    assert len(written) > 300  # PyYAML itself loses a line separator or two
    model = write_ncnn(tmp_path, {"out0": np.zeros((4 + len(written), 4), np.float32)}, {})
    names = dict(enumerate(written)) if kind is dict else written
    (model / "metadata.yaml").write_text(dump({**metadata(), "names": names}, **options), encoding="utf-8")
    check(yolort.Detector(model, engine="ncnn"), written)


LETTERS_OF_NAMES = [
    *"ab09 \t\n'\"\\:#-?,[]{}&*!|>%@`~=<./_+eExX\r\x00\x1b\x85\xa0é犬😀\u2028\u2029\ufeff\u200b\x7f\x9f   ",
    *(": ", " #", "\n\n", "- ", "...", "---", "null", "1e3"),
]


@pytest.mark.parametrize("seed", range(20))
def test_yaml_of_random_names(seed: int, tmp_path: Path) -> None:
    """In all styles and widths of PyYAML, the core reads the same as PyYAML."""
    chosen = random.Random(seed)
    options = {
        "sort_keys": False,
        "allow_unicode": chosen.random() < 0.5,
        "width": chosen.choice([80, 20, 10, sys.maxsize]),
        "indent": chosen.choice([None, 4]),
        "default_style": chosen.choice([None, None, "'", '"']),
        "default_flow_style": chosen.choice([False, None, True]),
        "line_break": chosen.choice([None, "\r\n"]),
        "explicit_start": chosen.random() < 0.5,
    }
    names = ["".join(chosen.choices(LETTERS_OF_NAMES, k=chosen.choice([1, 2, 5, 13, 40, 120]))) for _ in range(300)]
    names = [name for name in names if yaml.safe_load(yaml.safe_dump([name], **options)) == [name]]
    text = yaml.safe_dump({**metadata(), "names": dict(enumerate(names))}, **options)
    model = write_ncnn(tmp_path, {"out0": np.zeros((4 + len(names), 4), np.float32)}, {})
    (model / "metadata.yaml").write_bytes(text.encode())
    check(yolort.Detector(model, engine="ncnn"), list(yaml.safe_load(text)["names"].values()))


@pytest.mark.parametrize("head", ["|", "|-", "|+", ">", ">-", ">+", "|2", ">2-", "|+2  # so", ">  # so"])
@pytest.mark.parametrize(
    "body", ["a", "a\nb", "a\n\nb\n\n\n", "\n\na\n", " a\nb\n  c\n\n d", "a # b\nc: d\n- e", "\ta\nb"]
)
def test_block_scalars(head: str, body: str, tmp_path: Path) -> None:
    lines = "".join(f"  {line}\n" if line else "\n" for line in body.split("\n"))
    text = f"imgsz: 64\nnames: [a]\nnote: {head}\n{lines}other: x\n"
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        expected = None
    model = write_ncnn(tmp_path, {"out0": np.zeros((5, 4), np.float32)}, {})
    (model / "metadata.yaml").write_text(text)
    if expected:
        found = yolort.Detector(model, engine="ncnn").metadata
        assert (found["note"], found["other"]) == (expected["note"], "x")
    else:
        with pytest.raises(yolort.ModelError, match=r"metadata\.yaml: .* at line"):
            yolort.Detector(model, engine="ncnn")


@pytest.mark.parametrize("kind", [dict, list])
def test_literals(kind: type, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    names = dict(enumerate(NAMES)) if kind is dict else NAMES
    model = write_onnx(tmp_path, HEAD, {**metadata(), "names": names})
    check(yolort.Detector(model, engine="onnxruntime"), NAMES)


def test_plain_names_of_numbers(tmp_path: Path) -> None:
    """Names from a hand-written file, or that were not strings."""
    model = write_ncnn(tmp_path, {"out0": np.zeros((4 + 9, 4), np.float32)}, {})
    for names, expected in [
        ("names: [08, 1e3, None, true, ~, 1.50, 0x1F, yes, a b]", "08 1e3 None true ~ 1.50 0x1F yes a_b"),
        ("names: {0: 08, 1: 1e3, 2: None, 3: true, 4: ~, 5: 1.50, 6: 0x1F, 7: yes, 8: a b}",
         "08 1e3 None true ~ 1.50 0x1F yes a_b"),
        ("names:\n- 08\n- 1e3\n- None\n- true\n- ~\n- 1.50\n- 0x1F\n- yes\n- a b\n",
         "08 1e3 None true ~ 1.50 0x1F yes a_b"),
    ]:  # fmt: skip
        (model / "metadata.yaml").write_text(f"imgsz: 64\n{names}\n")
        check(yolort.Detector(model, engine="ncnn"), [name.replace("_", " ") for name in expected.split()])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffimgsz: 64\nnames: [a, b, c]\n",
        "imgsz:\t64\nnames:\t[a, b, c]\n",
        "imgsz: 64 # pixels\nnames: # of classes\n  0: a # first\n  # between\n  1: 'b' # quoted\n\n  2: c\n# end\n",
        '# first\n---\nimgsz: 64\nnames:\n- a # x\n- "b" # y\n- c\n...\nnot: read\n',
        "imgsz: 64\r\nnames:\r\n- a\r\n- b\r\n- c\r\n",
        "imgsz: 64\nnames: [a,\n  b,\n  c] # folded\n",
        "imgsz: 64\nnames: {0: a,\n  1: b, 2: c}\n",
        "%YAML 1.1\n---\nimgsz: 64\nnames: [a, b, c]\n",
        "imgsz: 64   \nnames:   \n  - a   \n  - b\t\n  - c\n",
        "{imgsz: 64, names: [a, b, c]}\n",
        "--- {imgsz: 64, names: {0: a,\n 1: b, # second\n 2: c}}\n",
        "imgsz: 64\nnames: !!python/tuple\n- !!str a\n- b\n- c\n",
        "imgsz: 64\nnames:\n- |-\n  a\n- >-\n  b\n- |-\n\n  c\n".replace("\n\n  c", "\n  c"),
        "imgsz: 64\nnames:\n- !!str\n  a\n-\n  b\n- c",
        "imgsz: 64\rnames:\r- a\r- b\r- c\r",
    ],
)
def test_yaml_by_hand(text: str, tmp_path: Path) -> None:
    model = write_ncnn(tmp_path, {"out0": np.zeros((4 + 3, 4), np.float32)}, {})
    (model / "metadata.yaml").write_bytes(text.encode())
    check(yolort.Detector(model, engine="ncnn"), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imgsz: 64\n", "no 'names' in the metadata.yaml beside it"),
        ("names: &x [a]\n", "anchors and aliases are not supported at line 1"),
        ("imgsz: 64\nnames: [a]\nb: *x\n", "anchors and aliases are not supported at line 3"),
        ("imgsz: 64\nnames: !!set {a}\n", "the tag !!set is not supported at line 2"),
        ("names: [a]\n--- \nimgsz: 64\n", "a second document begins at line 2"),
        ("imgsz: 64\nnames: [a\n", "expected ',' or ']'"),
        ("imgsz: 64\nnames:\n- a\n  b: c\n", "text after the value, or a wrong indentation at line 4"),
        ("imgsz: 64\nnames:\n- 'a\n", "a string has no closing quote"),
        ("imgsz: 64\nnames:\n- @a\n", "a value cannot begin with '@' at line 3"),
        ("? a\n: b\n", "keys with '? ' are not supported at line 1"),
        ("names:\n\t- a\n", "a tab indents the line at line 2"),
    ],
)
def test_unsupported_syntax_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    model = write_ncnn(tmp_path, {"out0": np.zeros((5, 4), np.float32)}, {})
    (model / "metadata.yaml").write_text(text)
    with pytest.raises(yolort.ModelError, match="yaml") as error:
        yolort.Detector(model, engine="ncnn")
    assert message in str(error.value)
    (model / "metadata.yaml").unlink()
    with pytest.raises(yolort.ModelError, match=r"no metadata\.yaml beside it"):
        yolort.Detector(model, engine="ncnn", imgsz=64)


def test_other_metadata_is_text_as_written(tmp_path: Path) -> None:
    model = write_ncnn(tmp_path, {"out0": np.zeros((5, 4), np.float32)}, {})
    (model / "metadata.yaml").write_text("imgsz: 64\nnames: [a]\nversion: 1.10\ndate: 2024-01-01\nbuild: 007\n")
    found = yolort.Detector(model, engine="ncnn").metadata
    assert (found["version"], found["date"], found["build"]) == ("1.10", "2024-01-01", "007")


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = write_ncnn(tmp_path, {"out0": np.zeros((5, 4), np.float32)}, {})
    (model / "metadata.yaml").write_text("imgsz: 64\nnames: [a]\nnames: [b]\n")
    with pytest.raises(yolort.ModelError, match="its metadata has 'names' twice"):
        yolort.Detector(model, engine="ncnn")
    path = write_onnx(tmp_path, {"out0": np.zeros((1, 5, 4), np.float32)}, {"imgsz": "[64, 64]", "names": "['a']"})
    proto = onnx.load(path)
    proto.metadata_props.add(key="names", value="['b']")
    onnx.save(proto, path)
    with pytest.raises(yolort.ModelError, match="its metadata has 'names' twice"):
        yolort.Detector(path, engine="onnxruntime")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc here")
@pytest.mark.parametrize("target", ["/proc/self/mem", "/dev/zero"])
def test_metadata_that_cannot_be_read(target: str, tmp_path: Path) -> None:
    model = write_ncnn(tmp_path, {"out0": np.zeros((5, 4), np.float32)}, {})
    (model / "metadata.yaml").symlink_to(target)
    with pytest.raises(yolort.ModelError, match=r"metadata\.yaml cannot be read"):
        yolort.Detector(model, engine="ncnn")


@pytest.mark.parametrize("name", [r"\101b", r"\q", r"\N{BULLET}", "a\\\nb"])
def test_unsupported_escapes_are_errors(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    output = {"out0": np.zeros((1, 5, 4), np.float32)}
    model = write_onnx(tmp_path, output, {"imgsz": "[64, 64]", "names": "{0: '" + name + "'}"})
    with pytest.raises(yolort.ModelError, match="escape"):
        yolort.Detector(model, engine="onnxruntime")
