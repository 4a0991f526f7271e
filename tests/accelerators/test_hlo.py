"""What is read from the text of a compiled program: kernels, bytes, collectives, loops."""

import jax
import jax.numpy as jnp
import pytest

from cnn_jax.accelerators import hlo

# A loop of four, whose body reads one row of eight, and writes one row of `out`.
LOOP = """\
HloModule steps

%read (param_0: f32[8,100], param_1: s32[]) -> f32[100] {
  %param_0 = f32[8,100]{1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %row = f32[1,100]{1,0} dynamic-slice(%param_0, %param_1, %zero), dynamic_slice_sizes={1,100}
  ROOT %flat = f32[100]{0} bitcast(%row)
}

%write (param_0: f32[8,100], param_1: f32[1,100], param_2: s32[]) -> f32[8,100] {
  %param_0 = f32[8,100]{1,0} parameter(0)
  %param_1 = f32[1,100]{1,0} parameter(1)
  %param_2 = s32[] parameter(2)
  ROOT %set = f32[8,100]{1,0} dynamic-update-slice(%param_0, %param_1, %param_2, %param_2)
}

%body (arg: (s32[], f32[8,100], f32[8,100])) -> (s32[], f32[8,100], f32[8,100]) {
  %arg = (s32[], f32[8,100]{1,0}, /*index=2*/f32[8,100]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %data = f32[8,100]{1,0} get-tuple-element(%arg), index=1
  %out = f32[8,100]{1,0} get-tuple-element(%arg), index=2
  %taken = f32[100]{0} fusion(%data, %i), kind=kLoop, calls=%read
  %one = f32[1,100]{1,0} bitcast(%taken)
  %given = f32[8,100]{1,0} fusion(%out, %one, %i), kind=kLoop, calls=%write
  ROOT %next = (s32[], f32[8,100]{1,0}, f32[8,100]{1,0}) tuple(%i, %data, %given)
}

%condition (arg: (s32[], f32[8,100], f32[8,100])) -> pred[] {
  %arg = (s32[], f32[8,100]{1,0}, f32[8,100]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %end = s32[]{:T(128)} constant(4)
  ROOT %less = pred[]{:T(512)} compare(%i, %end), direction=LT
}

ENTRY %main (data: (s32[], f32[8,100], f32[8,100])) -> (s32[], f32[8,100], f32[8,100]) {
  %data = (s32[], f32[8,100]{1,0}, f32[8,100]{1,0}) parameter(0)
  ROOT %loop = (s32[], f32[8,100]{1,0}, f32[8,100]{1,0}) while(%data), LAST
}
"""
UNSAID = "condition=%condition, body=%body"
SAID = f'{UNSAID}, backend_config={{"known_trip_count":{{"n":"4"}}}}'


def entry(*lines):
    """A program of one computation."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"HloModule one\n\nENTRY %main (a: f32[10]) -> f32[10] {{\n{body}\n}}\n"


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[8,16]{1,0}", 512),
        ("f32[8,16]{1,0:T(8,128)}", 4 * 8 * 128),  # padded to tiles of 8 x 128
        ("bf16[9,5,5,64]{3,0,2,1:T(8,128)(2,1)}", 2 * 16 * 5 * 5 * 128),
        ("bf16[3]", 6),
        ("pred[5]{0}", 5),
        ("s32[]", 4),
        ("f8e4m3fn[10]{0}", 10),
        ("(f32[2]{0}, /*index=1*/u8[3]{0}, token[])", 11),
    ],
)
def test_the_bytes_of_a_shape(shape, size):
    assert hlo.bytes_of(shape) == size


@pytest.mark.parametrize("said", [SAID, UNSAID])
def test_a_loop_counts_as_often_as_it_runs(said):
    found = hlo.costs(LOOP.replace("LAST", said))
    assert (found.kernels, found.most_runs) == (8, 4)


def test_a_fusion_reads_and_writes_the_slice_that_it_takes_of_an_array():
    row, index = 400, 4
    found = hlo.costs(LOOP.replace("LAST", SAID))
    assert found.bytes == 4 * (row + row + index + row + row + index)


def test_an_all_gather_counts_half_of_an_all_reduce_and_the_end_of_one_nothing():
    text = entry(
        "%a = f32[10]{0} parameter(0)",
        "%sum = f32[10]{0} all-reduce-start(%a), replica_groups={{0,1}}",
        "%end = f32[10]{0} all-reduce-done(%sum)",
        "ROOT %all = f32[20]{0} all-gather(%end), dimensions={0}",
    )
    found = hlo.costs(text)
    assert (found.collectives, found.all_reduced) == (2, 40 + 80 / 2)


def test_the_workspace_of_a_convolution_is_no_traffic():
    text = entry(
        "%a = bf16[10]{0} parameter(0)",
        '%conv = (bf16[10]{0}, u8[1000]{0}) custom-call(%a, %a), custom_call_target="__cudnn$conv"',
        "ROOT %y = bf16[10]{0} get-tuple-element(%conv), index=0",
    )
    assert hlo.costs(text).bytes == 60


def test_what_stays_in_the_core_of_a_tpu_is_no_traffic():
    text = entry(
        "%a = f32[1000]{0} parameter(0)",
        "%copy = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%a)",
        "%b = f32[1000]{0:S(1)} copy-done(%copy)",
        "%c = f32[1000]{0:S(1)} negate(%b)",
        "ROOT %d = f32[1000]{0} negate(%c)",
    )
    assert hlo.costs(text).bytes == 4000 + 4000


def test_a_slice_that_is_fetched_ahead_is_read_once():
    text = entry(
        "%a = f32[1000]{0} parameter(0)",
        "%s = ((f32[1000]{0}), f32[10]{0:S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:10]}",
        "ROOT %b = f32[10]{0:S(1)} slice-done(%s)",
    )
    assert hlo.costs(text).bytes == 40


def test_cycles_that_the_compiler_expects_are_added_up():
    config = '"estimated_cycles":"7"'
    text = entry(
        "%a = f32[10]{0} parameter(0)",
        f"%b = f32[10]{{0}} copy(%a), backend_config={{{config}}}",
        f"ROOT %c = f32[10]{{0}} copy(%b), backend_config={{{config}}}",
    )
    assert hlo.costs(text).cycles == 14


def test_the_text_of_this_jaxlib_is_understood():
    steps = jax.jit(lambda x: jax.lax.scan(lambda c, y: (jnp.sin(c) + y, c.sum()), x[0], x))
    compiled = steps.lower(jax.ShapeDtypeStruct((7, 1000), jnp.float32)).compile()
    found = hlo.costs(compiled.as_text())
    assert found.most_runs == 7 and found.bytes > 7 * 3 * 4000
