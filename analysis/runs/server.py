"""Tracking servers: whether one is there, and how an address is shown to a user.

A server is asked once, before MLflow would try for minutes to find out.
"""

import shlex
import urllib.error
import urllib.request
from urllib.parse import urlsplit

ANSWER_SECONDS = 10.0  # seconds for one answer
HTTP = ("http://", "https://")


def is_server(tracking_uri: str) -> bool:
    """Whether `tracking_uri` is that of a server, rather than of a database or a folder.

    >>> is_server("https://host/mlflow"), is_server("sqlite:///runs/mlflow.db")
    (True, False)
    """
    return tracking_uri.lower().startswith((*HTTP, "databricks", "uc:"))


def way_to(tracking_uri: str) -> str:
    """What to open or to type to see the runs at `tracking_uri`.

    >>> way_to("http://me:secret@host:5000")
    'http://me:***@host:5000'
    >>> way_to("sqlite:////a b/mlflow.db")
    "MLFLOW_TRACKING_URI='sqlite:////a b/mlflow.db' make ui"
    """
    address = without_password(tracking_uri)
    server = is_server(tracking_uri)
    return address if server else f"MLFLOW_TRACKING_URI={shlex.quote(address)} make ui"


def check_server(tracking_uri: str) -> None:
    """See that the server at `tracking_uri` answers; any other kind of address is left alone.

    A server that asks for a password has answered.

    Raises:
        ValueError: if it does not answer within ANSWER_SECONDS, or says that it is out of order.
    """
    if not tracking_uri.lower().startswith(HTTP):
        return
    at = urlsplit(tracking_uri)  # urllib would take a user and a password for a part of the host
    asked = at._replace(netloc=at.netloc.rpartition("@")[2], path=f"{at.path.rstrip('/')}/health")
    try:
        with urllib.request.urlopen(asked.geturl(), timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return
        reason = f"{error.code} {error.reason}"
    except OSError as error:
        reason = str(getattr(error, "reason", error))
    raise ValueError(
        f"tracking server does not answer: {reason} from {without_password(tracking_uri)}"
    )


def without_password(text: str) -> str:
    """`text`, a URI or a command with one in it, as it may be printed and logged.

    >>> without_password("width.py --tracking-uri postgresql://me:secret@host/runs")
    'width.py --tracking-uri postgresql://me:***@host/runs'
    """
    for word in text.split():
        password = urlsplit(word.rpartition("=")[2]).password if "://" in word else None
        if password:
            text = text.replace(f":{password}@", ":***@")
    return text
