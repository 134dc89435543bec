"""Malformed inputs of every kind that a command takes, beside a good one of each kind."""

import io
import json
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from gan_vkd.config.core import Recipe
from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.gan.exported import ExportedGenerator, save_generator
from gan_vkd.gan.networks.biggan import Generator


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Attributes:
        kind: of `KINDS`.
        name: what is wrong with it.
        content: the bytes of the file, or what writes the input to a path.
        culprit: what the error line must name.
    """

    kind: str
    name: str
    content: bytes | Callable[[Path], None]
    culprit: str = "the-input"

    def write(self, path: Path) -> None:
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)


# Recipes ----------------------------------------------------------------------------------------

RECIPES = {
    "empty": b"",
    "a list": b"- 1\n- 2\n",
    "a text": b"hello",
    "no UTF-8": b"data: {dataset: \xff\xfe}",
    "a NUL": b"data: {dataset: 'a\0b'}",
    "a tab": b"data:\n\tdataset: digits",
    "unclosed": b"data: {dataset: digits",
    "code": b"data: !!python/object/apply:os.system ['touch ran']",
    "an unknown tag": b"data: !wanted {}",
    "deep": b"[" * 5_000,
    "deep and closed": b"[" * 3_000 + b"]" * 3_000,
    "deep mappings": b"{a: " * 3_000 + b"}" * 3_000,
    "an alias": b"gan: &a {channels: 8}\ntraining: *a",
    "billions of laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghi")
    + b"gan: {generator_widths: *i}",
    "an alias of itself": b"gan: &a [*a]",
    "too large": b"# " + b"x" * 300_000,
    "an integer of 5,000 digits": b"training: {iterations: " + b"9" * 5_000 + b"}",
    "no date": b"data: {dataset: 2001-13-45}",
    "an empty integer": b"training: {iterations: !!int ''}",
    "no bool": b"data: {flip: !!bool perhaps}",
    "no base64": b"data: {dataset: !!binary '*'}",
    "a list for a key": b"? [1, 2]\n: 3",
    "numbers for keys": b"1: 2",
    "numbers for fields": b"data: {1: 2}",
    "an unknown group": b"discriminator: {channels: 8}",
    "an unknown field": b"gan: {chanels: 8}",
    "a group that is none": b"gan: 8",
    "a term that is none": b"terms: {lecan: {}}",
    "a term without fields": b"terms: {lecam: 3}",
    "a list for a term": b"terms: {? [1] : {}}",
    "a list for a method": b"distill: {method: [1]}",
    "a number for the distillation": b"distill: 3",
    "null for a group": b"gan:",
    "escapes in a name": b'"\\e[31mred": {}',
}


def recipe_fields() -> Iterator[Case]:
    """Every field with values that are none of its kind."""
    for group, fields in Recipe.fields_of_groups().items():
        for field, details in fields.items():
            default = details.default
            wrong: tuple = ("{a: 1}", "[[1]]")
            if isinstance(default, bool):
                wrong += ("maybe", "3")
            elif isinstance(default, (int, float)) or field in ("ratio", "weight", "ema_half_life"):
                wrong += ("many", "-1", ".nan", ".inf", "1" + "0" * 40, "true")
            elif field.endswith("widths"):
                wrong += ("many", "[0]", "[-4, 4, 4]", "[.inf, 4, 4]")
            else:
                wrong += ("3.5", "true")
            for value in wrong:
                text = f"{group}: {{{field}: {value}}}".encode()
                yield Case("recipe", f"{group}.{field}: {value[:20]}", text)


# Images -----------------------------------------------------------------------------------------


def encoded(suffix: str, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, suffix)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels."""
    whole = bytearray(encoded("PNG"))
    whole[16:24] = struct.pack(">II", 60_000, 60_000)
    import zlib

    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    return bytes(whole)


def images() -> Iterator[Case]:
    for suffix in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        content = encoded(suffix)
        for share in (0.02, 0.2, 0.5, 0.8):
            yield Case("image", f"{suffix} cut at {share}", content[: int(share * len(content))])
        yield Case("image", f"{suffix} of zeros", content[:4] + bytes(len(content) - 4))
        noise = random.Random(suffix).randbytes(len(content) - 8)
        yield Case("image", f"{suffix} of noise", content[:8] + noise)
    others = {
        "no bytes": b"",
        "a text": b"no image at all",
        "HTML": b"<!doctype html><title>404</title>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "PCX": encoded("PCX", "P"),
        "a bomb": bomb(),
        "a pickle": pickle.dumps({"a": 1}),
        "a zip": b"PK\x03\x04" + bytes(100),
    }
    file = io.BytesIO()
    Image.new("F", (8, 8), 0.5).save(file, "TIFF")
    others["floats"] = file.getvalue()
    for name, content in others.items():
        yield Case("image", name, content)


# Zips -------------------------------------------------------------------------------------------


def zipped(
    *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED, **fields: int
) -> bytes:
    """A good image and `members`, whose entries get `fields`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/good.png", encoded("PNG"))
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            for field, value in fields.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return file.getvalue()


def patched(content: bytes, field: int, value: bytes, which: int) -> bytes:
    """The zip with bytes of the `which`-th entry of its central directory replaced."""
    changed, place = bytearray(content), -1
    for _ in range(which):
        place = changed.index(b"PK\x01\x02", place + 1)
    changed[place + field : place + field + len(value)] = value
    return bytes(changed)


def zips() -> Iterator[Case]:
    image, link = encoded("PNG"), 0o120777 << 16
    for name in (
        *("/etc/bad.png", "../bad.png", "a/../../bad.png", "..\\bad.png", "\\bad.png"),
        *("C:\\bad.png", "C:/bad.png", "a/../bad.png", "//host/bad.png"),
    ):
        yield Case("zip", f"a member {name}", zipped((name, image)), "bad.png")
    bad = ("a/bad.png", image)
    for name, content in {
        "a link": zipped(("a/bad.png", b"/etc/passwd"), external_attr=link),
        "a device": zipped(bad, external_attr=0o020666 << 16),
        "a pipe": zipped(bad, external_attr=0o010666 << 16),
        "bzip2": zipped(bad, compression=zipfile.ZIP_BZIP2),
        "LZMA": zipped(bad, compression=zipfile.ZIP_LZMA),
        "an encrypted one": patched(zipped(bad), 8, b"\x01\x00", 2),
        "a huge one": patched(zipped(bad), 24, struct.pack("<I", 2**31), 2),
        "another checksum": patched(zipped(bad), 16, b"\1\2\3\4", 2),
        "less than it holds": patched(zipped(bad), 24, struct.pack("<I", 100), 2),
        "more than it holds": patched(zipped(bad), 24, struct.pack("<I", 100_000), 2),
        "another place": patched(zipped(bad), 42, struct.pack("<I", 7), 2),
        "an unknown compression": patched(zipped(bad), 10, b"\x63\x00", 2),
        "a cut image": zipped(("a/bad.png", image[:500])),
        "an image of escapes": zipped(("a/\x1b[2J\nbad.png", b"x")),
    }.items():
        yield Case("zip", name, content, "bad.png")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Case("zip", "one name twice", zipped(bad, bad), "bad.png")
    whole = zipped(bad)
    for share in (0.01, 0.3, 0.9, 0.99):
        yield Case("zip", f"cut at {share}", whole[: int(share * len(whole))])
    place = whole.index(b"PK\x01\x02")
    garbage = whole[:place] + b"\xff" * 40 + whole[place + 40 :]
    yield Case("zip", "a garbled directory", garbage)
    yield Case("zip", "no members", b"PK\x05\x06" + bytes(18))
    yield Case("zip", "no bytes", b"")
    yield Case("zip", "a text", b"PK, said nobody")


# Folders ----------------------------------------------------------------------------------------


def files(**contents: bytes) -> Callable[[Path], None]:
    """Writes a folder; `__` in a name stands for a level."""

    def write(root: Path) -> None:
        root.mkdir()
        for name, content in contents.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".png").write_bytes(content)

    return write


def loops(root: Path) -> None:
    root.mkdir()
    (root / "a").symlink_to(root)


def odd_name(root: Path) -> None:
    folder = root / "a" / "\x1b]0;owned\x07\u202e\udcff"
    folder.mkdir(parents=True)
    (folder / "bad.png").write_bytes(b"no image")


def folders() -> Iterator[Case]:
    image = encoded("PNG")
    yield Case("folder", "a link to itself", loops)
    yield Case("folder", "images beside classes", files(a__x=image, y=image))
    yield Case("folder", "a test class alone", files(train__a__x=image, test__b__x=image))
    yield Case("folder", "a broken one", files(a__x=image, a__bad=b"no"), "a/bad.png")
    yield Case("folder", "only broken test images", files(train__a__x=image, test__a__bad=b""))
    yield Case("folder", "escapes in a name", odd_name, r"\x1b]0;owned\x07\u202e\udcff/bad.png")
    yield Case("folder", "nothing", Path.mkdir)


# safetensors ------------------------------------------------------------------------------------


class Payload:
    """Pickles into a call that leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def payload(path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": Payload(path.with_name("ran"))}, path)


def old_payload(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.with_name("ran")), protocol=2))


def generator(path: Path) -> None:
    network = Generator(num_classes=2, image_size=16, channels=2, z_dim=4, spectral_norm=False)
    save_generator(ExportedGenerator(network, ("a", "b"), torch.tensor([1, 2]), {}), path)


def classifier(path: Path) -> None:
    save_classifier(SmallResNet(("a", "b"), 16, (4, 8)), path, {})


def parts(content: bytes) -> tuple[dict, bytes]:
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: dict | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def broken_tensors(kind: str, content: bytes) -> Iterator[Case]:
    """What any safetensors file can suffer."""
    header, data = parts(content)
    first, second = [name for name in header if name != "__metadata__"][:2]
    for name, harmed in {
        "no bytes": b"",
        "a length alone": content[:8],
        "a cut header": content[:60],
        "cut data": content[:-1],
        "more data": content + b"x",
        "a header of 2^63 bytes": struct.pack("<Q", 2**63) + content[8:],
        "a header of 200 MB": struct.pack("<Q", 200_000_000) + content[8:],
        "no JSON": joined(b"{" + b"x" * 50 + b"}", data),
        "a list": joined(b"[1, 2]", data),
        "deep": joined(b'{"a":' + b"[" * 100_000, data),
        "no UTF-8": joined(b'{"\xff": 1}', data),
    }.items():
        yield Case(kind, name, harmed)
    for name, change in {
        "offsets beyond the end": {"data_offsets": [0, 2**40]},
        "negative offsets": {"data_offsets": [-8, 0]},
        "offsets the wrong way round": {"data_offsets": [8, 0]},
        "an overlap": {"data_offsets": header[second]["data_offsets"]},
        "an unknown dtype": {"dtype": "I3"},
        "another shape": {"shape": [2**40, 2**40]},
        "a negative shape": {"shape": [-1]},
    }.items():
        yield Case(kind, name, joined({**header, first: {**header[first], **change}}, data))
    only = {"__metadata__": header.get("__metadata__", {})}
    yield Case(kind, "no tensors", joined(only, b""))
    yield Case(kind, "no metadata", save({"a": torch.ones(2)}))
    yield Case(kind, "a pickle with a payload", payload)
    yield Case(kind, "an old pickle with a payload", old_payload)


def headers(kind: str, content: bytes, changes: dict[str, list[str | None]]) -> Iterator[Case]:
    """The file with entries of its metadata changed, or without them."""
    header, data = parts(content)
    for key, values in changes.items():
        for number, value in enumerate(values):
            entries = {**header["__metadata__"], key: value}
            entries = {name: text for name, text in entries.items() if text is not None}
            yield Case(
                kind,
                f"{key} {number}: {value}"[:60],
                joined({**header, "__metadata__": entries}, data),
            )


def content_of(write: Callable[[Path], None], folder: Path) -> bytes:
    write(folder / "good")
    return (folder / "good").read_bytes()


def shape(**changes: object) -> str:
    whole = {"num_classes": 2, "image_size": 16, "channels": 2, "z_dim": 4, "widths": [4, 4, 4]}
    return json.dumps({**whole, **changes})


JSONS = [None, "", "{", "null", "[]", "3", "[" * 50_000]
GENERATOR_HEADERS = {
    "format": [None, "gan_vkd-classifier-1", "pickle"],
    "shape": [
        *(*JSONS, shape(channels=2**31), shape(channels=2**62), shape(channels="2")),
        *(shape(image_size=2**20), shape(image_size="16"), shape(widths=[4] * 1000)),
        *(shape(extra=1), shape(num_classes=10**9), shape(z_dim=-1), shape(widths=[4, 4, 1e999])),
    ],
    "class_names": [*JSONS, '["a"]', "[1, 2]", '[["a"], "b"]'],
    "class_counts": [*JSONS, "[1]", "[-1, 2]", "[0, 0]", '["1", 2]', "[1.5, NaN]", "[1e400, 1]"],
    "card": [None, "", "{", "3"],
}
CLASSIFIER_HEADERS = {
    "format": [None, "gan_vkd-generator-1"],
    "class_names": [*JSONS, "[1, 2]", '["a"]'],
    "image_size": [None, "", "big", "-3", "0", "9" * 30],
    "widths": [*JSONS, "[4]", "[4, 9]", "[4, 4000000000]", '["4", "8"]', json.dumps([4] * 10_000)],
    "blocks": [*JSONS[1:], "[2]", "[-1]", "[1, 1]", "[0.5]", '["1"]', "[1000000000]"],
}


# Checkpoints and runs ---------------------------------------------------------------------------

MANIFESTS = {
    "empty": b"",
    "cut": b'{"format": "gan_vkd-check',
    "a list": b"[1]",
    "a number": b"7",
    "deep": b"[" * 60_000,
    "no UTF-8": b'{"format": "\xff"}',
    "too large": b" " * 70_000 + b"{}",
    "no files": b'{"format": "gan_vkd-checkpoint-2", "iteration": 12, "files": {}}',
    "other types": b'{"format": 1, "iteration": "12", "files": [["state.safetensors", null]]}',
    "an integer of 5,000 digits": b'{"iteration": ' + b"1" * 5_000 + b"}",
}
STATES = {"no bytes": b"", "a text": b"no tensors", "a pickle": pickle.dumps([1])}
CONFIGS = {
    "empty": b"",
    "cut": b"data:\n  datas",
    "a list": b"- 1",
    "no UTF-8": b"\xff",
    "unknown": b"data: {nothing: 1}",
    "an alias of itself": b"data: &a {dataset: *a}",
}


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def arrays() -> Iterator[Case]:
    """Of .npz files; NumPy tells a .npy by its bytes."""
    pixels = np.zeros((4, 16, 16, 3), np.uint8)
    whole, bare = packed(images=pixels), io.BytesIO()
    np.save(bare, pixels)
    header = bare.getvalue()[:128]
    for share in (0.1, 0.5, 0.9):
        yield Case("arrays", f"cut at {share}", whole[: int(share * len(whole))])
    others = {
        "no bytes": b"",
        "a text": b"no arrays at all",
        "noise in it": whole[:300] + b"noise" + whole[305:],
        "a header alone": header,
        "a header that claims a terabyte": header.replace(
            b"(4, 16, 16, 3)", b"(9" + b"9" * 8 + b", 64)"
        ),
        "a pickle": pickle.dumps([1]),
        "objects": packed(images=np.array([{}, []], dtype=object)),
        "a zip of no arrays": zipped(("a/x.png", encoded("PNG"))),
        "no array": packed(),
        "floats": packed(images=pixels.astype(float)),
        "no images": packed(images=pixels[:0]),
        "labels of others": packed(images=pixels, labels=np.arange(3)),
        "texts for labels": packed(images=pixels, labels=np.array(["a", "b", "c", "d"])),
        "too few class names": packed(images=pixels, labels=np.arange(4), class_names=["a"]),
        "statistics": packed(mu=np.zeros(3), sigma=np.eye(3)),
    }
    for name, content in others.items():
        yield Case("arrays", name, content)


def corpus(folder: Path) -> list[Case]:
    """All of them; `folder` is for scratch."""
    ours, theirs = content_of(generator, folder), content_of(classifier, folder)
    return [
        *(Case("recipe", name, content) for name, content in RECIPES.items()),
        *recipe_fields(),
        *images(),
        *zips(),
        *folders(),
        *arrays(),
        *broken_tensors("generator", ours),
        *headers("generator", ours, GENERATOR_HEADERS),
        *broken_tensors("classifier", theirs),
        *headers("classifier", theirs, CLASSIFIER_HEADERS),
        *(Case("manifest", name, content, "00000012") for name, content in MANIFESTS.items()),
        *(Case("state", name, content, "00000012") for name, content in STATES.items()),
        Case("state", "a pickle with a payload", payload, "00000012"),
        *(Case("config", name, content, "config.yaml") for name, content in CONFIGS.items()),
    ]


# How each kind is handed to a command, and a good one of it -------------------------------------


@dataclass(frozen=True)
class Kind:
    """Attributes: the input's name in the folder; the command on (folder, input); a good input."""

    file: str
    command: Callable[[Path, Path], list]
    good: bytes | Callable[[Path], None] | None = None


def describe(folder: Path, _: Path) -> list:
    return ["data", "describe", folder / "the-input", "--quiet"]


def resume(folder: Path, _: Path) -> list:
    return ["train", "--resume", "--run-dir", folder / "the-input", "--quiet"]


KINDS = {
    "recipe": Kind(
        "the-input.yaml",
        lambda _, path: ["train", "--preset", "tiny", "--dry-run", "--config", path, "--quiet"],
        b"teacher: {spec: none}\ntraining: {d_lr: 1e-3}\n",
    ),
    "image": Kind("the-input/a/bad.png", describe, encoded("PNG")),
    "zip": Kind("the-input", describe, zipped(("a/bad.png", encoded("PNG")))),
    "folder": Kind("the-input", describe, files(a__x=encoded("PNG"), b__x=encoded("JPEG"))),
    "arrays": Kind(
        "the-input.npz",
        lambda _, path: ["data", "describe", path, "--quiet"],
        packed(images=np.zeros((4, 16, 16, 3), np.uint8)),
    ),
    "generator": Kind("the-input", lambda _, path: ["sample", path, "--columns", 1], generator),
    "classifier": Kind(
        "the-input", lambda _, path: ["teacher", "describe", f"file:{path}"], classifier
    ),
    "manifest": Kind("the-input/checkpoints/00000012/manifest.json", resume),
    "state": Kind("the-input/checkpoints/00000012/state.safetensors", resume),
    "config": Kind("the-input/config.yaml", resume),
}


def lay_out(case: Case, folder: Path, run: Path) -> list:
    """Put the input where it belongs; returns the command."""
    kind = KINDS[case.kind]
    if kind.command is resume:
        shutil.copytree(run, folder / "the-input")
    path = folder / kind.file
    path.parent.mkdir(parents=True, exist_ok=True)
    case.write(path)
    return kind.command(folder, path)
