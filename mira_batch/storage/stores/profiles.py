"""Credentials of a profile under ~/.aws, as `aws configure` and `aws sso login` leave them.

s3fs reads profiles by itself, obstore does not, and Arrow not all kinds of them: so that all three are the
same user, the other two are given what botocore, on which s3fs rests, makes of the profile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import StoreError, describe

if TYPE_CHECKING:
    from obstore.store import S3Credential

_BEFORE = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
"""What every client heeds before profiles."""
_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
_SOURCES = {
    "aws_access_key_id",
    "credential_process",
    "login_session",
    "role_arn",
    "sso_account_id",
    "sso_session",
    "web_identity_token_file",
}
"""Settings of a profile that leads to credentials; others have a region, say."""
_FRESH = timedelta(minutes=5)
"""How long a key is used before botocore is asked again, which renews it where it runs out soon."""


@dataclass(frozen=True)
class Profile:
    """Whose credentials are used."""

    credentials: Any
    """botocore's, which renew themselves."""
    region: str | None
    endpoint: str | None
    """Of S3, where it isn't AWS's own."""

    def __call__(self) -> S3Credential:
        """What obstore asks its provider for."""
        key = self.credentials.get_frozen_credentials()
        return {
            "access_key_id": key.access_key,
            "secret_access_key": key.secret_key,
            "token": key.token,
            "expires_at": datetime.now(UTC) + _FRESH,
        }


def find_profile() -> Profile | None:
    """The profile that `AWS_PROFILE` names, else `default`. None where keys are set in the environment, or
    where no such profile leads to any. No request is made, but for what the profile itself asks: once, as
    long as its files stay as they are.

    Raises:
        StoreError: the profile that is named isn't there, or can't be used.
    """
    if any(os.environ.get(name) for name in _BEFORE):
        return None
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    files = [os.path.expanduser(os.environ.get(name) or usual) for name, usual in _FILES.items()]
    stamps = tuple((file, os.stat(file).st_mtime_ns) for file in files if os.path.exists(file))
    return _open_profile(named, stamps) if named or stamps else None


@lru_cache(maxsize=1)
def _open_profile(named: str | None, _: tuple[tuple[str, int], ...]) -> Profile | None:
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session(profile=named)
    try:
        settings = session.get_scoped_config()
        if _SOURCES.isdisjoint(settings):
            return None
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()
        endpoint = ConfiguredEndpointProvider(session.full_config, settings, "s3").provide()
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"AWS profile {named or 'default'}: {describe(error)}") from error
    return credentials and Profile(credentials, session.get_config_variable("region"), endpoint)
