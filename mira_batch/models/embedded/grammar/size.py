"""The phrases that give an image another size, and the operations they make."""

from __future__ import annotations

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.grammar.geometry import check_pixels, read_size, read_whole
from mira_batch.models.embedded.operations import geometry


def _resize(said: Said) -> Made:
    size = read_size(said)
    grows = {"+": True, "-": False}.get(said.get("way"))
    if size:
        check_pixels(said, size)
        if "kept" in said:
            raise ValueError("a width and a height leave no ratio to keep; say which colour fills the rest")
        return geometry.Resize(*size, grows)
    width, height = said.get("across"), said.get("up")
    if width and height and "kept" in said:
        raise ValueError("a width and a height leave no ratio to keep; say which colour fills the rest")
    if width or height:
        wide, tall = (read_whole(side) if side else None for side in (width, height))
        return geometry.Resize(wide, tall, grows)
    for side in ("longest", "shortest"):
        if side in said:
            named = "longest" if side == "longest" else "shortest"
            return geometry.ResizeSide(read_whole(said[side]), named, grows)
    return geometry.Scale(round(_scale(said), 3))


def _scale(said: Said) -> float:
    """The percentage meant by "to 50%", "by 20%" with a direction, "twice as large", "2 times smaller"."""
    way = {"+": 1, "-": -1}.get(said.get("way", ""), 0)
    if "times" in said:
        times = float(said["times"])
        if way and times < 1:
            raise ValueError("say to how many percent")
        return 100 / times if way < 0 else 100 * times
    if "bare" in said and (way or "by" in said or "to" in said):
        raise ValueError("say by how many percent, or to how many")
    if "to" in said or "bare" in said:
        percent = float(said.get("to") or said["bare"])
        if (percent - 100) * way < 0:
            raise ValueError(f"{percent:g}% of what it is goes the other way")
        return percent
    if "by" not in said:
        raise ValueError("say to what size, such as to 640x480, to 800 pixels wide or to 50%")
    percent = float(said["by"])
    if not way or percent >= 100:
        raise ValueError("say to how many percent of what it is, such as to 150%")
    return 100 + way * percent


_SIZE = "size|dimension"
_SIDES = (
    ("width", "{length:across}"),
    ("height", "{length:up}"),
    ("{longest}", "{length:longest}"),
    ("{shortest}", "{length:shortest}"),
)
_AS = f"( as large / [original|current] {_SIZE} )"
RESIZE = Rule(
    _resize,
    verbs=(
        "resize|rescale|scale|stretch|resample [image] [{it}]",
        "bring {it} to {size}",
        "bring {it} to ({px:across} wide / {px:up} tall)",
        "convert|change [{it}] to {size}",
        "limit|restrict|cap {longest} to {length:longest} => way=-",
        "scale|size|blow {it} up => way=+",
        "scale|size|blow up [{it}] => way=+",
        "scale|size|resize {it} down => way=-",
        "scale|size|resize down [{it}] => way=-",
        "bring {it} down => way=-",
        "enlarge|upscale|magnify [{it}] => way=+",
        "shrink|downscale|downsize|reduce [{it}] => way=-",
        f"reduce|decrease [image] {_SIZE} => way=-",
        f"increase|enlarge [image] {_SIZE} => way=+",
        f"set|change|adjust [image] {_SIZE}",
        f"cut [{{it}}] [{_SIZE}] in {{part:to}}",
        f"halve [{{it}}] [{_SIZE}] => to=50",
        f"double [{{it}}] [{_SIZE}] => to=200",
        f"triple [{{it}}] [{_SIZE}] => to=300",
        f"quadruple [{{it}}] [{_SIZE}] => to=400",
        *(
            f"set|make|change|bring|get [image] {side} [of {{it}}] {way}"
            for side, length in _SIDES
            for way in (f"[to] {length}", f"down [to] {length} => way=-", f"up [to] {length} => way=+")
        ),
    ),
    states=(
        "{size} [(large / in size)]",
        "{share:by} larger => way=+",
        "{share:by} smaller => way=-",
        "{times} larger => way=+",
        "{times} smaller => way=-",
        "larger by {share:by} => way=+",
        "smaller by {share:by} => way=-",
        f"{{fold}} {_AS}",
        f"{{share:to}} [of] {_AS}",
        "double size => to=200",
        "{length:across} wide [[and|,|by|x] {length:up} tall]",
        "{length:up} tall [[and|,|by|x] {length:across} wide]",
        "{px:across} in width",
        "{px:up} in height",
        "{px:longest} on|along|at {longest}",
        "{px:shortest} on|along|at {shortest}",
    ),
    asks=(
        "{share:by} larger => way=+",
        "{share:by} smaller => way=-",
        f"{{fold}} {_AS}",
        *(f"[image] {side} ({{must be}} / (should|must) measure) {length}" for side, length in _SIDES),
        f"[image|output|target|final|new] {_SIZE} {{must be}} {{size}}",
        f"{{it}} (should|must / need to) have {_SIZE} of {{size}}",
        *(f"{{it}} (should|must / need to) have {side} of {length}" for side, length in _SIDES),
        f"output|target|final|new [image] {_SIZE} [of] {{size}}",
        "{times} upscale|enlargement",
    ),
    alone=(
        f"[at|to] {{part:to}} [of] [original|current] {_SIZE}",
        "scale factor|percentage [of] {percent:to}",
        "{longest} [to] {length:longest}",
        "{shortest} [to] {length:shortest}",
        "{px:longest} {longest}",
        "width [of] {length:across} [[and|,] height [of] {length:up}]",
        "height [of] {length:up}",
        f"{{percent:to}} [of] [original|current] {_SIZE}",
        "{percent:to} scale",
        "{px:across} (wide / [in] width)",
        "{px:up} (tall / [in] height)",
    ),
    labels=(
        "output",
        f"[new|target|final|image|output] {_SIZE}|resize|scale|resize+ing|scale+ing",
        "resize image",
    ),
    titles=(f"{_SIZE}|resize|scale|resize+ing|scale+ing",),
    details=(
        "[to|at|into|as] [size|dimension] [of] {size}",
        "[to|at|with / to have] [[so|such] [that]] width [of|to|at / {is}] {length:across}",
        "[to|at|with / to have] [[so|such] [that]] height [of|to|at / {is}] {length:up}",
        "so|such [that] {it} (is / measures) {length:across} wide",
        "so|such [that] {it} (is / measures) {length:up} tall",
        "[to|at / to be] {length:across} ( wide / [in] width )",
        "[to|at / to be] {length:up} ( tall / [in] height )",
        "[and|by|x] {length:up} ( tall / [in] height )",
        "[and|by|x] {length:across} ( wide / [in] width )",
        "[to|with] [[so|such] [that]] {longest} [{is} / measures] {length:longest}",
        "[to|with] [[so|such] [that]] {shortest} [{is} / measures] {length:shortest}",
        "[to] {length:longest} on|along|at|for {longest}",
        "[to] {px:longest} {longest}",
        "[to] {length:shortest} on|along|at|for {shortest}",
        f"to {{share:to}} [of] [original|current] [{_SIZE}]",
        "by {share:by}",
        "{percent:bare}",
        "[by] {times}",
        "by factor of {number:times}",
        "[to] {fold} [original|current] size|dimension",
        "to double size => to=200",
        "[and] {kept} => kept=1",
        "in size",
        "{of it}",
    ),
)


LABELLED_WIDTH = Rule(
    _resize,
    labels=("width",),
    details=("{length:across}", "height : {length:up}", "; height : {length:up}"),
)
LABELLED_HEIGHT = Rule(_resize, labels=("height",), details=("{length:up}",))
LABELLED_LONGEST = Rule(_resize, labels=("{longest}",), details=("{length:longest}",))
LABELLED_SHORTEST = Rule(_resize, labels=("{shortest}",), details=("{length:shortest}",))
SIZES = (RESIZE, LABELLED_WIDTH, LABELLED_HEIGHT, LABELLED_LONGEST, LABELLED_SHORTEST)
