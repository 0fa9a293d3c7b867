"""Downloads image files over http and https."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneError  # not the built-in TimeoutError before Python 3.11

from yolort import _addresses
from yolort.images import ImageError

MAX_BYTES = 2**26  #: of a response
TIMEOUT = 30.0  #: seconds for the whole download
_STALL = 10.0  # maximum number of seconds without a byte
_CHUNK = 2**16
_SAFE = "%/:=&?~#+!$,;'@()*[]"  # characters allowed in a URL besides letters, digits and -._


def fetch(url: str) -> bytes:
    """Downloads an http or https URL, which may contain spaces and non-ASCII letters.

    Redirects stay within http and https. The proxies of the environment are used (`HTTPS_PROXY`).

    Raises:
        ImageError: the server cannot be reached, answers with an error, takes more than `TIMEOUT` seconds, or sends
        more than `MAX_BYTES`.
    """
    name = f"image {_addresses.shown_path(url)}"
    done: Future[bytes] = Future()

    def work() -> None:
        try:
            done.set_result(_fetch(url, name))
        except BaseException as error:
            done.set_exception(error)

    # In a thread, because urllib's timeout does not stop a server that sends its headers byte by byte.
    threading.Thread(target=work, daemon=True, name="yolort fetch").start()
    try:
        return done.result(TIMEOUT)
    except NotDoneError:
        raise _late(name) from None


def _late(name: str) -> ImageError:
    return ImageError(f"{name} did not arrive within {TIMEOUT:.0f} seconds")


def _fetch(url: str, name: str) -> bytes:
    opener = urllib.request.OpenerDirector()  # not build_opener's, which opens file: and ftp: as well
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    end = time.monotonic() + TIMEOUT
    data = bytearray()
    try:
        request = urllib.request.Request(urllib.parse.quote(url, safe=_SAFE), headers={"User-Agent": "yolort"})
        with opener.open(request, timeout=_STALL) as response:
            while chunk := response.read1(_CHUNK):
                data += chunk
                if len(data) > MAX_BYTES:
                    raise ImageError(f"{name} has more than {MAX_BYTES} bytes; download it and pass its path")
                if time.monotonic() > end:
                    raise _late(name)
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(f"{name}: the server answered {error.code} {error.reason}") from None
    except (http.client.InvalidURL, ValueError):  # its message quotes the URL
        raise ImageError(f"{name} cannot be fetched: its host or port is malformed") from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise ImageError(f"{name} cannot be fetched: {reason}") from None
    return bytes(data)
