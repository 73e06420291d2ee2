"""Whether a program is linked the way a release must be: static, and with what makes a flaw in it harder to use. Standard library only.

It reads the file, not what a tool says about it; elf(5) and the System V ABI are the source of the numbers.
"""

import struct
from dataclasses import dataclass, field

X86_64 = 62
EXEC, DYN = 2, 3
LOAD, DYNAMIC, INTERP, GNU_STACK, GNU_RELRO = 1, 2, 3, 0x6474E551, 0x6474E552
EXECUTABLE, WRITABLE = 1, 2
NEEDED, RPATH, TEXTREL, FLAGS, RUNPATH, FLAGS_1 = 1, 15, 22, 30, 29, 0x6FFFFFFB
FLAGS_TEXTREL, FLAGS_BIND_NOW = 4, 8
FLAGS_1_NOW, FLAGS_1_PIE = 1, 0x08000000
SYMTAB = 2


@dataclass
class Segment:
    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass
class Program:
    kind: int
    machine: int
    segments: list
    # Tag: its values, of the dynamic section.
    dynamic: dict = field(default_factory=dict)
    has_symbols: bool = False

    def segment(self, kind):
        return next((segment for segment in self.segments if segment.kind == kind), None)

    def bits(self, tag):
        return self.dynamic.get(tag, [0])[0]


class NotElf(Exception):
    pass


def read(data):
    """A 64-bit little-endian ELF file, as a Program."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElf("it is no 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    segments_at, sections_at = struct.unpack_from("<QQ", data, 32)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<HHHH", data, 54)
    segments = []
    for index in range(segment_count):
        what, flags, offset, address, _, file_size, memory_size, _ = struct.unpack_from("<IIQQQQQQ", data, segments_at + index * segment_size)
        segments.append(Segment(what, flags, offset, address, file_size, memory_size))
    program = Program(kind, machine, segments)
    for index in range(section_count):
        _, what = struct.unpack_from("<II", data, sections_at + index * section_size)
        program.has_symbols |= what == SYMTAB
    if table := program.segment(DYNAMIC):
        for offset in range(table.offset, table.offset + table.file_size, 16):
            tag, value = struct.unpack_from("<QQ", data, offset)
            if tag == 0:
                break
            program.dynamic.setdefault(tag, []).append(value)
    return program


def problems(program):
    """What is not as it must be, one sentence each."""
    stack = program.segment(GNU_STACK)
    now = program.bits(FLAGS) & FLAGS_BIND_NOW or program.bits(FLAGS_1) & FLAGS_1_NOW
    rules = [
        (program.machine == X86_64, "it is not for x86_64"),
        (program.kind == DYN and program.bits(FLAGS_1) & FLAGS_1_PIE, "it is not position independent (PIE)"),
        (program.segment(INTERP) is None, "it needs a loader (PT_INTERP)"),
        (NEEDED not in program.dynamic, "it needs shared libraries (DT_NEEDED)"),
        (RPATH not in program.dynamic and RUNPATH not in program.dynamic, "it says where to look for libraries (RPATH, RUNPATH)"),
        (program.segment(GNU_RELRO) is not None, "what is relocated is not marked to be protected (PT_GNU_RELRO)"),
        (now, "functions are bound late, so their table stays writable (no BIND_NOW)"),
        (stack is not None and not stack.flags & EXECUTABLE, "its stack is executable (PT_GNU_STACK)"),
        (not any(s.kind == LOAD and s.flags & WRITABLE and s.flags & EXECUTABLE for s in program.segments), "memory is writable and executable at once"),
        (TEXTREL not in program.dynamic and not program.bits(FLAGS) & FLAGS_TEXTREL, "its code is relocated (TEXTREL)"),
        (not program.has_symbols, "it has symbols (not stripped)"),
    ]
    return [sentence for holds, sentence in rules if not holds]


def unprotected(program, maps, path):
    """Of what the running program should have made read-only, the mappings that are writable all the same: lines of /proc/PID/maps."""
    mappings = []
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        begin, end = (int(number, 16) for number in fields[0].split("-"))
        mappings.append((begin, end, fields[1], fields[5] if len(fields) == 6 else "", line))
    # The first page of the file is where the first segment is loaded.
    first = min(s.address for s in program.segments if s.kind == LOAD)
    base = min(begin for begin, _, _, name, _ in mappings if name == path) - first
    relro = program.segment(GNU_RELRO)
    page = 4096
    start = (base + relro.address) // page * page
    stop = (base + relro.address + relro.memory_size) // page * page
    return [line for begin, end, mode, _, line in mappings if "w" in mode and begin < stop and end > start]
