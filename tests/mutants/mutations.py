"""The small mistakes: what can be changed in the tree of a module."""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

# What tells a person something, or checks the programmer, and types.
SILENT = (ast.Raise, ast.Import, ast.ImportFrom, ast.Assert, ast.Delete, ast.JoinedStr)
TELLING = {"BadImage", "first_line", "named_scope", "print", "unknown", "warn"}
SPEED_OR_STYLE = {"frozen", "maxsize", "once", "stacklevel", "strict"}
# Calls whose arguments are of different types, so that any test sees them swapped.
UNLIKE = {"array", "asarray", "fold_in", "get", "map", "ones", "partial", "scan", "zeros"}
COMMUTING = {"max", "maximum", "min", "minimum", "promote_types"}  # whose arguments' order is free

COMPARISONS = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {
    "all": "any",
    "any": "all",
    "max": "min",
    "maximum": "minimum",
    "mean": "sum",
    "min": "max",
    "minimum": "maximum",
    "ones": "zeros",
    "ones_like": "zeros_like",
    "sum": "mean",
    "zeros": "ones",
    "zeros_like": "ones_like",
}


class Mutation(NamedTuple):
    where: str  # the function or class
    text: str  # before -> after
    line: int
    statement: int  # the line of the statement of a function that it is in; 0: outside of functions
    span: tuple[int, int] | None  # lines of the class or function at the module's top
    apply: Callable[[], None]  # changes the tree


def mutations(tree: ast.Module) -> Iterator[Mutation]:
    """Each change of a module, one after the other, always in the same order."""
    yield from visit(tree, "module", 0, None)


def visit(node, where, statement, span):
    """The changes below a node."""
    inner = where
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        span = span or (node.lineno, node.end_lineno)
        inner = node.name if where == "module" else f"{where}.{node.name}"
    for holder, key, child in children(node):
        in_body = isinstance(child, ast.stmt) and isinstance(node, ast.FunctionDef)
        own = inner if in_body or isinstance(node, ast.ClassDef) else where
        at = child.lineno if isinstance(child, ast.stmt) and (in_body or statement) else statement
        for new in changes(child):
            before, after = (ast.unparse(tree) for tree in (child, new))
            line = getattr(child, "lineno", getattr(node, "lineno", 0))

            def apply(holder=holder, key=key, child=child, new=new):
                new = ast.copy_location(new, child)
                (setattr if isinstance(key, str) else list.__setitem__)(holder, key, new)

            yield Mutation(own, f"{before} -> {after}", line, at, span, apply)
        yield from visit(child, own, at, span)


def children(node):
    """(holder, its attribute or index, child) of the children that may be changed."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "ctx") or has_no_order(node, field):
            continue
        if isinstance(value, ast.AST) and not is_silent(value):
            yield node, field, value
        elif isinstance(value, list):
            for i, child in enumerate(value):
                if isinstance(child, ast.AST) and not is_silent(child):
                    yield value, i, child


def has_no_order(node, field):
    """Whether a field is a type, as of `Array = jax.Array`, or words of which one is looked for."""
    if isinstance(node, ast.ExceptHandler):
        return field == "type"
    if isinstance(node, ast.Assign) and field == "value":
        name = getattr(node.targets[0], "id", "a")
        return isinstance(node.value, ast.Subscript) and name[0].isupper()
    if isinstance(node, ast.Compare) and field == "comparators":
        words = [e for c in node.comparators for e in getattr(c, "elts", [])]
        is_among = isinstance(node.ops[0], ast.In | ast.NotIn)
        return (
            bool(words) and is_among and all(isinstance(getattr(e, "value", 0), str) for e in words)
        )
    return False


def is_silent(node):
    """What is left as it is: messages, docstrings, types."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.keyword) and node.arg in SPEED_OR_STYLE:
        return True
    if isinstance(node, ast.Call):
        name = called(node)
        return name in TELLING or name.endswith("Error")
    return isinstance(node, SILENT)


def called(node):
    """The last part of the name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def changes(node):
    """What may stand in the place of a node."""
    change = CHANGES.get(type(node))
    return change(node) if change else ()


def with_field(node, **fields):
    """A copy with other fields."""
    node = copy.copy(node)
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def constant(node):
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from (ast.Constant(value + 1), ast.Constant(value - 1))
    elif isinstance(value, float):
        yield ast.Constant(value * 0.9 if value else 0.1)


def default(node):
    """Of a field a word that nothing knows; other values change by themselves."""
    if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        yield with_field(node, value=ast.Constant(node.value.value + "?"))


def compare(node):
    for i, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield with_field(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def binary(node):
    other = OPERATORS.get(type(node.op))
    is_text = any(isinstance(side, ast.JoinedStr) for side in (node.left, node.right))
    if other and not is_text:
        yield with_field(node, op=other())


def augmented(node):
    yield ast.Pass()
    if other := OPERATORS.get(type(node.op)):
        yield with_field(node, op=other())


def boolean(node):
    yield with_field(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if len(node.values) > 2:
        for i in range(len(node.values)):
            yield with_field(node, values=node.values[:i] + node.values[i + 1 :])
    else:
        yield from node.values


def unary(node):
    yield node.operand


def call(node):
    """Swapped or missing arguments, another function, a key that forgets what was folded in."""
    if called(node) == "fold_in":
        yield node.args[0]
    if len(node.args) > 1 and called(node) not in UNLIKE | COMMUTING:
        for arguments in swapped(node.args):
            yield with_field(node, args=arguments)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in {None, *SPEED_OR_STYLE}:
            yield with_field(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if other := FUNCTIONS.get(called(node)):
        name = {"attr": other} if isinstance(node.func, ast.Attribute) else {"id": other}
        yield with_field(node, func=with_field(node.func, **name))


def swapped(elements):
    """Each two neighbors of the same kind in each other's place, but not of 1.0 and True."""
    for i in range(len(elements) - 1):
        one, other = elements[i : i + 2]
        values = [e.value if isinstance(e, ast.Constant) else ast.dump(e) for e in (one, other)]
        if type(one) is type(other) and values[0] != values[1]:
            yield [*elements[:i], other, one, *elements[i + 2 :]]


def sequence(node):
    if isinstance(node.ctx, ast.Load):
        yield from (with_field(node, elts=elements) for elements in swapped(node.elts))


def dictionary(node):
    if None in node.keys:  # `**` of another
        return
    yield from (with_field(node, values=values) for values in swapped(node.values))


def comprehension(node):
    for i in range(len(node.ifs)):
        yield with_field(node, ifs=node.ifs[:i] + node.ifs[i + 1 :])


def conditional(node):
    yield with_field(node, body=node.orelse, orelse=node.body)


def cut(node):
    for field in ("lower", "upper"):
        if getattr(node, field):
            yield with_field(node, **{field: None})


def branch(node):
    """Never taken, and the other way round."""
    if not node.orelse:
        yield ast.Pass()
    if not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield with_field(node, test=ast.UnaryOp(ast.Not(), node.test))


def expression(node):
    if isinstance(node.value, ast.Call):
        yield ast.Pass()


def assignment(node):
    """Names in each other's place, and keys of which two are the same."""
    targets = node.targets[0]
    if isinstance(targets, ast.Tuple) and len(node.targets) == 1:
        for elements in swapped(targets.elts):
            yield with_field(node, targets=[with_field(targets, elts=elements)])
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func).endswith(
            "random.split"
        ):
            first = ast.Subscript(node.value, ast.Constant(0), ast.Load())
            count = ast.Constant(len(targets.elts))
            yield with_field(
                node, value=ast.BinOp(ast.List([first], ast.Load()), ast.Mult(), count)
            )


CHANGES = {
    ast.AnnAssign: default,
    ast.Assign: assignment,
    ast.AugAssign: augmented,
    ast.BinOp: binary,
    ast.BoolOp: boolean,
    ast.Call: call,
    ast.Compare: compare,
    ast.Constant: constant,
    ast.Dict: dictionary,
    ast.Expr: expression,
    ast.If: branch,
    ast.IfExp: conditional,
    ast.List: sequence,
    ast.Slice: cut,
    ast.Tuple: sequence,
    ast.UnaryOp: unary,
    ast.comprehension: comprehension,
}
