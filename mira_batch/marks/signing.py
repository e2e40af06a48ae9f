"""Signs an image that is handed over: a C2PA manifest with its source as parent, and an action for each edit.

For the moment of export, and not for results, whose bytes hold no time: a signature is another one each time.
What the policy thought stays out; what it asked for goes in. Needs the extra `c2pa`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mira_batch.core.errors import ConfigError, describe
from mira_batch.core.source_type import VOCABULARY
from mira_batch.core.version import __version__
from mira_batch.marks.marks import clean_words

Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
"""How a signature is made, by C2PA's names."""
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False}}
"""No small pictures, which take twelve times the rest; and nothing is fetched that an image names."""
_PARENT = "parent"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs, and the certificates that say whose signature it is."""

    algorithm: Algorithm
    certificates: str
    """The chain in PEM: the signer's own first, the root left out."""
    private_key: str = ""
    """In PEM (PKCS 8); empty where `sign` is given."""
    sign: Callable[[bytes], bytes] | None = None
    """Signs bytes elsewhere, as a key service does, and gives the raw signature: of an elliptic curve its two
    numbers one after the other, not in DER."""

    def __repr__(self) -> str:
        """Without the key: this may stand in a log."""
        return f"SigningKey({self.algorithm})"


@dataclass(frozen=True, slots=True)
class SignedEdit:
    """An edit, as a manifest tells it."""

    instruction: str
    """What was asked for."""
    editor: str
    """Identity of what carried it out."""
    source_type: str = ""
    """What it made of the image: a name of `core/source_type.py`; empty where that is not said."""


@dataclass(frozen=True, slots=True)
class SignedSource:
    """The image that was edited, as it was: a manifest in it is carried along."""

    data: bytes
    """Encoded."""
    mime: str
    """Such as image/jpeg."""
    title: str
    """What it is called, for people."""


def read_key(
    certificates: str, key: str | Callable[[bytes], bytes], algorithm: Algorithm = "es256"
) -> SigningKey:
    """A key, and the certificates that go with it.

    Args:
        certificates: path of the chain in PEM.
        key: path of the private key in PEM; or `env:NAME`, an environment variable that holds it; or what
            signs elsewhere, as `SigningKey.sign`.
        algorithm: what the key is for.

    Raises:
        ConfigError: one of them can't be read, or is no PEM.
    """

    def read(place: str, what: str) -> str:
        try:
            found = os.environ[place[4:]] if place.startswith("env:") else Path(place).read_text("ascii")
        except (KeyError, OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the {what} for signing can't be read from {place}: {describe(error)}"
            ) from None
        if "-----BEGIN " not in found:
            raise ConfigError(f"the {what} for signing, {place}, is not in PEM form")
        return found

    chain = read(certificates, "certificate")
    if callable(key):
        return SigningKey(algorithm, chain, sign=key)
    return SigningKey(algorithm, chain, read(key, "private key"))


def sign_image(
    image: bytes,
    form: Literal["png", "webp", "jpeg"],
    title: str,
    source: SignedSource,
    edits: Sequence[SignedEdit],
    key: SigningKey,
) -> bytes:
    """The image with a signed manifest in it. Its pixels and labels stay as they are.

    Args:
        image: a result, encoded.
        form: in which.
        title: what it is called, for people.
        source: what it was made from.
        edits: those that led to it, in order; none where it is the source.
        key: what signs.

    Raises:
        ConfigError: the extra is not there, or the key or its certificates can't be used.
    """
    try:
        import c2pa
    except ImportError as error:
        raise ConfigError("signing needs a package: pip install 'mira-batch[c2pa]'") from error
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)) as context,
            c2pa.Builder(_describe(f"image/{form}", title, edits), context) as builder,
            _open_signer(c2pa, key) as signer,
        ):
            ingredient = {"title": clean_words(source.title), "relationship": "parentOf", "label": _PARENT}
            builder.add_ingredient(ingredient, source.mime, io.BytesIO(source.data))
            signed = io.BytesIO()
            builder.sign(signer, f"image/{form}", io.BytesIO(image), signed)
    except c2pa.C2paError as error:
        raise ConfigError(
            f"{title}: can't be signed: {describe(error)}; check key and certificates"
        ) from error
    return signed.getvalue()


def _open_signer(c2pa: Any, key: SigningKey) -> Any:
    algorithm = c2pa.C2paSigningAlg[key.algorithm.upper()]
    if key.sign is not None:
        return c2pa.Signer.from_callback(key.sign, algorithm, key.certificates)
    given = key.certificates.encode(), key.private_key.encode()
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, *given, None))


def _describe(mime: str, title: str, edits: Sequence[SignedEdit]) -> dict[str, Any]:
    """The manifest, but for its signature."""
    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}}]
    for edit in edits:
        action: dict[str, Any] = {
            "action": "c2pa.edited",
            "softwareAgent": {"name": clean_words(edit.editor)},
        }
        if words := clean_words(edit.instruction):
            action["description"] = words
        if edit.source_type:
            action["digitalSourceType"] = VOCABULARY + edit.source_type
        actions.append(action)
    return {
        "claim_generator_info": [{"name": "mira_batch", "version": __version__}],
        "format": mime,
        "title": clean_words(title),
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
