"""Which versions of glibc does a binary need? Nothing above manylinux2014's may be released.

glibc.py FILE...    each must be an ELF file; the check itself is checked, too
"""

import io
import re
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

# manylinux2014.
NEWEST = (2, 17)


def is_elf(body):
    return body.startswith(b"\x7fELF")


def too_new(body):
    """What this binary needs that is newer, one line each."""
    for section in ELFFile(io.BytesIO(body)).iter_sections():
        if not isinstance(section, GNUVerNeedSection):
            continue
        for library, versions in section.iter_versions():
            for version in versions:
                # GLIBC_2.17; also GLIBC_ABI_DT_RELR, which came with 2.36.
                text = version.name.removeprefix("GLIBC_")
                if text == version.name:
                    continue
                numbers = tuple(int(n) if n.isdigit() else 999 for n in text.split("."))
                if numbers > NEWEST:
                    yield f"{version.name} of {library.name}"


def made_newer(body):
    """The same binary, but that it needs something of glibc 2.18."""
    # What the dynamic loader reads is a name in a table of names: one of the same length.
    newer = re.sub(rb"\0GLIBC_2\.\d\d\0", b"\0GLIBC_2.18\0", body)
    assert newer != body, "it needs no version of glibc with two digits"
    return newer


def main():
    broken = []
    for name in sys.argv[1:]:
        body = Path(name).read_bytes()
        if not is_elf(body):
            broken.append(f"{name} is no ELF file")
            continue
        broken += [f"{name} needs {symbol}" for symbol in too_new(body)]
        if not list(too_new(made_newer(body))):
            broken.append(f"{name}: a newer version would go unseen")
    for line in broken:
        print(f"glibc: {line}", file=sys.stderr)
    if broken or len(sys.argv) == 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
