"""Words inside `<edit>` that name no edit, beside edits that hold the same words."""

from __future__ import annotations

import pytest

from mira_batch.core.no_edit import names_no_edit

NONE = """\
TERMINATE
Cease.
S T O P
s.t.o.p
停止
无
終了
Halt the process
End of task
Abort
That is all
That's all for now.
Enough
leave as is
leave it alone
keep it as it is
Keep the image as it is.
Please leave the picture exactly as it is
return the image unchanged
Return the original image.
Output the input image unmodified
Leave everything as it was
The image should stay as is
It can remain unchanged
Keep the background unchanged
Leave the dog alone
Keep all the colours the same
Leave well enough alone
%s
%(edit)s
{}
{edit}
${instruction}
<mask>
42
I'm sorry, but I can't assist with that request.
I’m unable to edit this picture.
I cannot help with that
I can't fulfil this request: it asks for the likeness of a real person, which my guidelines do not allow \
me to change in any way, whatever the reason that was given for it may be.
"I cannot help with that."
I need more information
I would like to help, but I cannot edit faces
I want to stop here
I think the mug looks right now
I see a mug on a table.
I apologize for the confusion
We are unable to process this image
As an AI, I cannot edit images
As a large language model I have no hands
Sorry, no.
Unfortunately, this is not possible
My apologies
Cannot edit this image
Unable to carry out the instruction
This request violates the content policy
The instruction can't be followed
It is not possible to remove the logo
Request denied"""
SOME = """\
Stop sign: remove it
Stop the motion blur
Terminate the fence at the tree
Keep the background, remove the cup
Keep the background unchanged, remove the cup
Keep the background as it is and brighten the face
Remove the cup and leave the table unchanged
leave only the cup
Keep only the red flower as it is
Leave the dog alone in the meadow
Keep the image centered
Keep the image as it is, but crop it square
Return the sky to blue
Show the image in black and white
I-beam: paint it red
I beam at the left: paint it red
"I am here" on the wall: remove it
I want the sky blue
I'd like a white background
I don't want the cup in the picture
We need a square crop
As an artificial light source, add a lamp
Sorry-looking plant: make it green
Write "Sorry, we are closed" on the door
Write %s on the sign
Add {name} to the badge
Rotate 90
Unable is spelt wrong on the sign: correct it
The request form on the desk: remove it
Im Hintergrund die Tasse entfernen
把背景换成白色
擦
All the cups should be red
Enough light to see the face
End title: add a frame
Finish the unfinished sketch
complete the picture
c"""


@pytest.mark.parametrize("text", NONE.splitlines())
def test_a_stop_a_refusal_and_a_form_name_no_edit(text: str) -> None:
    assert names_no_edit(text)


@pytest.mark.parametrize("text", SOME.splitlines())
def test_an_edit_that_holds_such_words_is_one(text: str) -> None:
    assert not names_no_edit(text)
