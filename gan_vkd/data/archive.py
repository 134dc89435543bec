"""Zips of images from anywhere: checked before a byte is read, never unpacked to the disk."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from gan_vkd.errors import GanVkdError

LARGEST_FILE = 2**28  # bytes of one image file; Pillow's limit on pixels comes on top
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the ones that are read in bounded steps
ENCRYPTED = 0x1


def open_archive(path: Path) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """Open a zip whose members are plain files with plain names.

    Returns:
        The zip, and its files (without the folders) in the archive's order.

    Raises:
        GanVkdError: not a whole zip; or a member with an absolute path or one that leads out, a
            link or device file, one that is encrypted, compressed in a rare way, there twice, or
            larger than `LARGEST_FILE`. It is named.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile, too, raises whatever it trips over
        raise GanVkdError(f"{path}: not a whole zip ({_one_line(error)}): pack it again") from None
    files = [info for info in archive.infolist() if not info.is_dir()]
    seen: set[str] = set()
    for info in files:
        fault = _fault(info)
        if info.filename in seen:
            fault = "is there twice"
        if fault is not None:
            archive.close()
            raise GanVkdError(f"{path}: {info.filename} {fault}: pack the zip without it")
        seen.add(info.filename)
    return archive, files


def _fault(info: zipfile.ZipInfo) -> str | None:
    """Why a member is not to be trusted, or None."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.is_absolute() or name.parts[0].endswith(":"):
        return "is an absolute path"
    if ".." in name.parts:
        return "leads out of the zip"
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device file"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in COMPRESSIONS:
        return "is compressed in a rare way (deflate is read)"
    if info.file_size > LARGEST_FILE:
        return f"says it has {info.file_size:,} bytes (at most {LARGEST_FILE:,} are read)"
    return None


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a zip's member: never more than it declares, and its checksum is verified.

    Raises:
        Exception: of any class; the member is damaged, or holds more or less than it declares.
    """
    content = archive.read(name)
    declared = archive.getinfo(name).file_size
    if len(content) != declared:
        raise OSError(f"it says it has {declared:,} bytes and has {len(content):,}")
    return content


def read_file(path: Path) -> bytes:
    """The bytes of a file that lies in a folder.

    Raises:
        OSError: it can't be read, or is larger than `LARGEST_FILE`.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise OSError(f"it has {size:,} bytes; at most {LARGEST_FILE:,} are read")
    return path.read_bytes()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
