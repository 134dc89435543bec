"""Zips and tars of images from anywhere: checked before an image is read, never unpacked to files.

Only a .tar.gz, in which nothing can be looked up, is unpacked: into one nameless temporary file.
"""

import errno
import gzip
import mmap
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gan_vkd.errors import GanVkdError

LARGEST_FILE = 2**28  # bytes of one image file; Pillow's limit on pixels comes on top
LARGEST_UNPACKED = 2**30  # bytes of a .tar.gz once unpacked, or 100 times its size
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the ones that are read in bounded steps
ENCRYPTED, UTF8 = 0x1, 0x800  # flags of a zip's member
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive.

    Attributes:
        name: as the archive has it.
        size: bytes it says it has.
        is_folder: whether it is a folder.
        fault: why it is not to be trusted, beside its name and size, or None.
        read: returns its bytes; raises anything where it is damaged.
        checksum: returns another number where its bytes are others.
    """

    name: str
    size: int
    is_folder: bool
    fault: str | None
    read: Callable[[], bytes]
    checksum: Callable[[], int]


def is_archive(path: Path) -> bool:
    """Whether a file is to be opened as a zip, .tar or .tar.gz; by its bytes, or its name."""
    with path.open("rb") as file:
        head = file.read(262)
    named = path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))
    return named or head[:2] == GZIP or head[257:] == b"ustar" or zipfile.is_zipfile(path)


def open_archive(path: Path) -> tuple[dict[str, Member], list[str]]:
    """Open a zip, .tar or .tar.gz whose members are plain files with plain names.

    Returns:
        The members by name, with `/` between its parts, in the archive's order; and what is to be
        said of the names, in lines.

    Raises:
        GanVkdError: not a whole archive; or a member with an absolute path or one that leads out, a
            link or device file, one that is encrypted, compressed in a rare way, there twice, or
            larger than `LARGEST_FILE`. It is named.
    """
    zipped = path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)
    kind, members_of = ("zip", _of_zip) if zipped else ("tar", _of_tar)
    try:
        members = list(members_of(path))
        encoding = _encoding([raw for m in members if (raw := _undecoded(m.name)) is not None])
    except Exception as error:  # zipfile and tarfile raise whatever they trip over
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise GanVkdError(
                f"{path}: no space to unpack it in {tempfile.gettempdir()}: free some, or "
                "unpack it into a folder"
            ) from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise GanVkdError(f"{path}: not a whole {kind} ({reason}): pack it again") from None
    found: dict[str, Member] = {}
    notes: list[str] = []
    for member in members:
        raw = _undecoded(member.name)
        name = member.name if raw is None else raw.decode(encoding)
        name = name.replace("\\", "/")  # as some Windows programs write them
        if raw is not None and encoding != "utf-8" and not notes:
            notes.append(
                f"its names state no encoding and are read as {encoding.upper()}, such as {name}: "
                "pack it with UTF-8 names if that is wrong"
            )
        parts = [part for part in name.split("/") if part not in ("", ".")]
        plain = "/".join(parts)
        fault = member.fault
        if name.startswith("/") or (parts and parts[0].endswith(":")):
            fault = "is an absolute path"
        elif ".." in parts:
            fault = f"leads out of the {kind}"
        elif member.size > LARGEST_FILE:
            fault = f"says it has {member.size:,} bytes (at most {LARGEST_FILE:,} are read)"
        elif plain in found and not member.is_folder:
            fault = "is there twice"
        if fault is not None:
            raise GanVkdError(f"{path}: {name} {fault}: pack the {kind} without it")
        if parts:
            found[plain] = member
    return found, notes


# Zips -------------------------------------------------------------------------------------------


def _of_zip(path: Path) -> Iterator[Member]:
    archive = zipfile.ZipFile(path)
    for info in archive.infolist():
        name = info.filename
        if not info.flag_bits & UTF8 and not name.isascii():
            name = _escaped(name)
        yield Member(
            name,
            info.file_size,
            name.endswith(("/", "\\")),
            _zip_fault(info),
            read=lambda info=info: _read_zipped(archive, info),
            checksum=lambda info=info: info.CRC,
        )


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device file"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in COMPRESSIONS:
        return "is compressed in a rare way (deflate is read)"
    return None


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Never more than it declares, and its checksum is verified."""
    content = archive.read(info)
    if len(content) != info.file_size:
        raise OSError(f"it says it has {info.file_size:,} bytes and has {len(content):,}")
    return content


# Tars -------------------------------------------------------------------------------------------


class _Mapped(mmap.mmap):
    """A file in memory, of which no header, however long it says it is, is read beyond bounds."""

    def read(self, size: int | None = None) -> bytes:
        """`size` bytes from where it stands."""
        if size is not None and size > LARGEST_FILE:
            raise OSError(f"a header that says it has {size:,} bytes")
        return super().read(size)


def _of_tar(path: Path) -> Iterator[Member]:
    with path.open("rb") as file, tempfile.TemporaryFile() as unpacked:
        packed = file.read(2) == GZIP
        if packed:
            _unpack(path, unpacked)
        content = _Mapped((unpacked if packed else file).fileno(), 0, access=mmap.ACCESS_READ)
    archive, before = tarfile.TarFile(fileobj=content), -1
    while (info := archive.next()) is not None:
        start, end = info.offset_data, info.offset_data + info.size
        if not before < start <= end <= len(content):
            raise OSError(f"{info.name} has no place in it")
        before = start
        fault = None if info.isdir() or info.isreg() else "is a link or a device file"
        yield Member(
            info.name,
            info.size,
            info.isdir(),
            "is sparse" if info.issparse() else fault,
            read=lambda start=start, end=end: content[start:end],
            checksum=lambda start=start, end=end: zlib.crc32(content[start:end]),
        )
    if content[archive.offset : archive.offset + tarfile.BLOCKSIZE].strip(b"\0"):
        raise OSError(f"garbled at byte {archive.offset:,}")  # where tarfile takes it to have ended


def _unpack(path: Path, target: BinaryIO) -> None:
    limit = max(LARGEST_UNPACKED, 100 * path.stat().st_size)
    with gzip.open(path) as source:
        while block := source.read(2**20):
            target.write(block)
            if target.tell() > limit:
                raise OSError(f"it unpacks to more than {limit:,} bytes")
    target.flush()


# Names ------------------------------------------------------------------------------------------


def _escaped(name: str) -> str:
    """A zip's name that says no encoding, as tarfile has such names: bytes as lone surrogates."""
    try:
        raw = name.encode("cp437")  # what zipfile took it for
    except UnicodeEncodeError:  # another field gave it in Unicode
        return name
    return raw.decode("ascii", "surrogateescape")


def _undecoded(name: str) -> bytes | None:
    """The bytes of a name whose encoding is not known, or None."""
    if name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name):
        return None
    return name.encode("utf-8", "surrogateescape")


def _encoding(names: list[bytes]) -> str:
    """UTF-8 or GBK where that gives text, else code page 437, the zips' own."""

    def odd(encoding: str) -> set[str]:
        return {letter for name in names for letter in name.decode(encoding) if letter > "\x7f"}

    for encoding in ("utf-8", "gbk"):
        try:
            letters = odd(encoding)
        except UnicodeDecodeError:
            continue
        chinese = all(unicodedata.name(letter, "").startswith("CJK") for letter in letters)
        if encoding == "utf-8" or (chinese and not all(map(str.isalpha, odd("cp437")))):
            return encoding
    return "cp437"
