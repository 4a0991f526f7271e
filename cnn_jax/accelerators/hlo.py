"""What a compiled program does, read from its HLO text: kernels, bytes, collectives, cycles."""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Instructions that are no work of their own: names for memory, or the ends of what `-start` began.
NO_WORK = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "domain"),
    *("partition-id", "replica-id", "opt-barrier", "add-dependency"),
)
CALLS = ("while", "call", "conditional", "async-start")
COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "collective-permute", "all-to-all")
SLICES = ("dynamic-slice", "slice", "gather")  # read what they give, not all of their operand
BITS = {"pred": 8, "token": 0, "opaque": 0}  # of types whose name does not end in them


class Instruction(NamedTuple):
    name: str
    shape: str  # "f32[8,16]{1,0}", or a tuple of such
    opcode: str
    arguments: str  # "%a, %b"; of a parameter its number
    attributes: str  # what stands behind them
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose output it takes."""
        return re.findall(r"%([\w.-]+)", self.arguments)

    @property
    def size(self) -> int:
        """The bytes of its output."""
        return bytes_of(self.shape)

    @property
    def called(self) -> list[str]:
        """The computations that it runs, of a loop the body alone."""
        pattern = r"(?:body|calls|to_apply|true_computation|false_computation)=%[\w.-]+"
        found = re.findall(rf"{pattern}|branch_computations=\{{[^}}]*\}}", self.attributes)
        return re.findall(r"%([\w.-]+)", " ".join(found))


Computation = Mapping[str, Instruction]


class Module(NamedTuple):
    entry: str
    computations: dict[str, Computation]

    def executed(self) -> Iterator[tuple[Instruction, Computation, int]]:
        """Every instruction that is work, with its computation, and how often it runs."""
        return self._executed(self.entry, 1)

    def _executed(self, name: str, times: int) -> Iterator[tuple[Instruction, Computation, int]]:
        computation = self.computations[name]
        for instruction in computation.values():
            if instruction.opcode in CALLS:
                for called in instruction.called:
                    yield from self._executed(called, times * self.trips(instruction))
            elif instruction.opcode not in NO_WORK and not instruction.opcode.endswith("-done"):
                yield instruction, computation, times

    def trips(self, instruction: Instruction) -> int:
        """How often a loop runs its body; 1 where the text does not tell.

        GPU programs say it; those of TPUs count from 0 until a comparison with a constant.
        """
        if found := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', instruction.attributes):
            return int(found[1])
        if found := re.search(r"condition=%([\w.-]+)", instruction.attributes):
            condition = self.computations[found[1]]
            root = next(i for i in condition.values() if i.is_root)
            limits = [condition[name] for name in root.operands]
            limits = [i.arguments for i in limits if i.opcode == "constant"]
            if root.opcode == "compare" and "direction=LT" in root.attributes and limits:
                return int(limits[0])
        return 1


class Costs(NamedTuple):
    """Sums over a program, of each device."""

    kernels: int
    bytes: int  # that kernels read from the device's memory and write there; caches are ignored
    all_reduced: float  # bytes; a reduce-scatter or an all-gather counts half
    collectives: int
    cycles: int  # that the compiler expects; 0 where it does not say
    most_runs: int  # of an instruction: the trips of its loops


def costs(text: str) -> Costs:
    """The sums over the instructions of a compiled program, in its HLO text."""
    module = parse(text)
    kernels = size = collectives = cycles = most = 0
    all_reduced = 0.0
    for instruction, computation, times in module.executed():
        kind = instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            collectives += times
            all_reduced += times * moved(instruction, computation)
        kernels, most = kernels + times, max(most, times)
        size += times * touched(instruction, computation, module)
        found = re.search(r'"estimated_cycles":"(\d+)"', instruction.attributes)
        cycles += times * int(found[1]) if found else 0
    return Costs(kernels, size, all_reduced, collectives, cycles, most)


def parse(text: str) -> Module:
    """The computations of a module and their instructions."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif line == "}":
            current = None
        elif current is not None and (instruction := parse_line(line)):
            current[instruction.name] = instruction
    return Module(entry, computations)


def parse_line(line: str) -> Instruction | None:
    """`  ROOT %name = shape opcode(%operand, ...), attributes`; None of another line."""
    found = re.match(r"\s+(ROOT )?%?([\w.-]+) = ", line)
    if not found:
        return None
    rest = line[found.end() :]
    end = closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, _, rest = rest.partition("(")
    end = closing("(" + rest) - 1
    return Instruction(found[2], shape, opcode, rest[:end], rest[end:], bool(found[1]))


def closing(text: str) -> int:
    """The place of the bracket that closes the one with which the text begins."""
    depth = 0
    for bracket in re.finditer(r"[()]", text):
        depth += 1 if bracket[0] == "(" else -1
        if depth == 0:
            return bracket.start()
    return len(text)


def bytes_of(shape: str) -> int:
    """The bytes of a shape, or of all of a tuple."""
    return sum(size for size, _ in parts(shape))


def off_chip(shape: str) -> int:
    """Those that lie in the device's memory, and not in the one that is a part of a TPU's core."""
    return sum(size for size, is_off_chip in parts(shape) if is_off_chip)


@functools.lru_cache(maxsize=65536)
def parts(shape: str) -> list[tuple[int, bool]]:
    """Of each array of a shape the bytes, with a TPU's padding, and whether they are off chip."""
    found = []
    for name, numbers, layout in re.findall(r"([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?", shape):
        digits = re.match(r"[a-z]+(\d+)", name)
        bits = BITS[name] if name in BITS else int(digits[1]) if digits else 0
        sizes = [int(number) for number in numbers.split(",") if number]
        # "{3,0,2,1:T(8,128)(2,1)S(1)}": the axes from the fastest on, the tile of the fastest two,
        # and the memory, where it is not the large one.
        if tile := re.match(r"\{([\d,]+):T\(([\d,]+)\)", layout):
            order, tiles = ([int(n) for n in text.split(",")] for text in tile.groups())
            for axis, size in zip(order, reversed(tiles), strict=False):
                sizes[axis] = -(-sizes[axis] // size) * size
        found.append((math.prod(sizes) * bits // 8, "S(" not in layout))
    return found


def moved(instruction: Instruction, computation: Computation) -> float:
    """The bytes of a collective, as those of an all-reduce, which moves twice what others do."""
    given = sum(computation[name].size for name in instruction.operands)
    if instruction.opcode.startswith("all-reduce"):
        return given
    is_start = instruction.opcode.endswith("-start")  # its output holds what it is given, too
    return max(given, instruction.size - given * is_start) / 2


def touched(instruction: Instruction, computation: Computation, module: Module) -> int:
    """The bytes that an instruction reads from the device's memory, and writes there.

    Of a slice or an update in place, which may stand in a fusion, those of the slice alone.
    """
    operands = [computation[name] for name in instruction.operands]
    opcode, shape = instruction.opcode, instruction.shape
    if opcode in ("copy-start", "slice-start"):  # (to, from, state), or ((from), to, state)
        to = parts(shape)[0 if opcode == "copy-start" else -2]
        return to[0] * (to[1] + bool(off_chip(operands[0].shape)))
    if opcode in SLICES:
        return off_chip(shape) + instruction.size * bool(off_chip(operands[0].shape))
    if opcode == "dynamic-update-slice":
        return operands[1].size * bool(off_chip(shape)) + off_chip(operands[1].shape)
    if opcode.startswith("custom-call") and shape.startswith("("):
        shape = re.sub(r"u8\[\d+\]\S*\)$", "", shape)  # behind cuDNN's result is its workspace
    if opcode != "fusion":
        return off_chip(shape) + sum(off_chip(operand.shape) for operand in operands)
    inside = module.computations[instruction.called[0]]
    return min(written_by(inside), off_chip(shape)) + sum(
        min(read_of(inside, number, operand.size), off_chip(operand.shape))
        for number, operand in enumerate(operands)
    )


def written_by(inside: Computation) -> int:
    """What a fusion writes: all of its output, but only the slice where it updates in place."""
    root = next(i for i in inside.values() if i.is_root)
    outputs = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
    total = 0
    for output in outputs:
        while output.opcode == "bitcast":
            output = inside[output.operands[0]]
        if output.opcode == "dynamic-update-slice":
            output = inside[output.operands[1]]
        total += output.size
    return total


def read_of(inside: Computation, number: int, size: int) -> int:
    """What a fusion reads of its operand `number`, of `size` bytes."""
    parameter = next(
        i for i in inside.values() if i.opcode == "parameter" and i.arguments == str(number)
    )
    names, uses = {parameter.name}, []
    for instruction in inside.values():  # each stands behind what it takes
        if names.isdisjoint(instruction.operands):
            continue
        if instruction.opcode == "bitcast":
            names.add(instruction.name)
        else:
            uses.append(instruction)
    total = 0
    for use in uses:
        if use.opcode in SLICES and use.operands[0] in names:
            total += use.size
        elif use.opcode == "dynamic-update-slice" and use.operands[0] in names:
            continue  # it is the output's memory
        else:
            return size
    return min(total, size)
