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
    bytes: int  # that kernels read and write; caches are ignored, so it is an upper estimate
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


@functools.lru_cache(maxsize=65536)
def bytes_of(shape: str) -> int:
    """The bytes of a shape, or of all of a tuple, without padding."""
    total = 0
    for name, sizes in re.findall(r"([a-z]\w*)\[([\d,]*)\]", shape):
        digits = re.match(r"[a-z]+(\d+)", name)
        bits = BITS[name] if name in BITS else int(digits[1]) if digits else 0
        total += math.prod(map(int, filter(None, sizes.split(",")))) * bits // 8
    return total


def moved(instruction: Instruction, computation: Computation) -> float:
    """The bytes of a collective, as those of an all-reduce, which moves twice what others do."""
    given = sum(computation[name].size for name in instruction.operands)
    if instruction.opcode.startswith("all-reduce"):
        return given
    is_start = instruction.opcode.endswith("-start")  # its output holds what it is given, too
    return max(given, instruction.size - given * is_start) / 2


def touched(instruction: Instruction, computation: Computation, module: Module) -> int:
    """The bytes that an instruction reads and writes.

    Of a slice or an update in place, which may stand in a fusion, those of the slice alone.
    """
    operands = [computation[name] for name in instruction.operands]
    if instruction.opcode in SLICES:
        return 2 * instruction.size
    if instruction.opcode == "dynamic-update-slice":
        return 2 * operands[1].size
    if instruction.opcode.startswith("custom-call") and instruction.shape.startswith("("):
        # The bytes behind cuDNN's result are its workspace.
        written = bytes_of(re.sub(r"u8\[\d+\]\S*\)$", "", instruction.shape))
        return written + sum(operand.size for operand in operands)
    if instruction.opcode != "fusion":
        return instruction.size + sum(operand.size for operand in operands)
    inside = module.computations[instruction.called[0]]
    return written_by(inside, instruction) + sum(
        read_of(inside, number, operand.size) for number, operand in enumerate(operands)
    )


def written_by(inside: Computation, fusion: Instruction) -> int:
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
    return min(total, fusion.size)


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
