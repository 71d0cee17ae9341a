"""Is a tracking server there? Asked once, before MLflow would try for minutes to find out."""

import urllib.error
import urllib.request
from urllib.parse import urlsplit

PATIENCE = 10.0  # seconds for one answer


def check_server(tracking_uri: str) -> None:
    """See that the server at `tracking_uri` answers; any other kind of address is left alone.

    A server that asks for a password has answered.

    Raises:
        ValueError: if it does not answer within PATIENCE, or says that it is out of order.
    """
    if not tracking_uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=PATIENCE):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return
        reason = f"{error.code} {error.reason}"
    except OSError as error:
        reason = str(getattr(error, "reason", error))
    raise ValueError(f"tracking server must answer, got {reason} from {shown(tracking_uri)}")


def shown(text: str) -> str:
    """`text`, a URI or a command with one in it, as it may be printed and logged.

    >>> shown("width.py --tracking-uri postgresql://me:secret@host/runs")
    'width.py --tracking-uri postgresql://me:***@host/runs'
    """
    for word in text.split():
        password = urlsplit(word.rpartition("=")[2]).password if "://" in word else None
        if password:
            text = text.replace(f":{password}@", ":***@")
    return text
