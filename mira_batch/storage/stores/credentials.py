"""Credentials that a store refuses, or that nobody has set.

Clients that were given none ask for the identity of the machine, which has some where a cloud gives them.
"""

from __future__ import annotations

import re

import botocore.exceptions as be

CREDENTIALS = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""S3's codes for credentials that are invalid or expired, whatever is asked for."""
REFUSED = (
    "the store refused the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is "
    "one, AWS_SESSION_TOKEN, or the profile, and their rights on this bucket, then run the same command again"
)
_IDENTITY = re.compile(r"/latest/(?:api/token|meta-data/)|/computeMetadata/|/metadata/identity/")
"""Where obstore's clients ask for the identity of the machine."""
STATUS = re.compile(r"status code: (\d{3})")
"""HTTP's, in the words of obstore's errors; they have none where nobody answered."""
_VARIABLES = {
    "S3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "GCS": "GOOGLE_APPLICATION_CREDENTIALS",
    "MicrosoftAzure": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""What holds the credentials, by the names that obstore has for stores."""
_BAD = (be.PartialCredentialsError, be.CredentialRetrievalError, be.SSOError)


def explain_refusal(error: BaseException) -> str | None:
    """What to do about an s3fs error that concerns the credentials, so every file; None for any other."""
    if isinstance(error, be.NoCredentialsError):
        return f"no credentials are set; set {_VARIABLES['S3']}"
    answer = getattr(error.__cause__, "response", {})
    if isinstance(error, _BAD) or answer.get("Error", {}).get("Code") in CREDENTIALS:
        return REFUSED
    return None


def explain_identity(error: BaseException) -> str | None:
    """What to do about an error of obstore's by which the machine's identity gives no credentials; None for
    any other."""
    text = str(error)
    if not _IDENTITY.search(text):
        return None
    variables = next((names for store, names in _VARIABLES.items() if store in text), "its variables")
    return f"no credentials are set, and this machine's identity gives none; set {variables}"


class Identity:
    """Whether stores let this process in: with the credentials of the machine's identity, where none are set.

    Until one has, an identity that gives none most likely has none to give; later it is away for a moment, as
    any server may be. A call that a store refused had credentials, too. Safe to share by threads, and by all
    stores of a process.
    """

    def __init__(self) -> None:
        self._serves = False

    def note(self, error: BaseException | None = None) -> None:
        """A call was answered, or failed with an error."""
        self._serves = self._serves or error is None or explain_identity(error) is None

    def is_missing(self, error: BaseException) -> bool:
        """Whether an error says that there are no credentials, where none can be expected either: there is
        no service that gives them, rather than one that is busy."""
        return not self._serves and explain_identity(error) is not None and not STATUS.search(str(error))


IDENTITY = Identity()
"""Of this process."""
