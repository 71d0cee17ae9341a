"""A tracking server that is not there is said at once, in one line."""

import http.server
import socket
import threading

import pytest

from analysis.runs.server import check_server


@pytest.fixture
def server():
    """An address whose server answers with the status in `answer`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = 200

        def do_GET(self):
            self.send_response(self.answer)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/", Handler
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("answer", [200, 401, 404])
def test_a_server_that_answers_is_there(server, answer):
    uri, handler = server
    handler.answer = answer
    check_server(uri)


def test_a_user_and_a_password_are_no_part_of_the_host(server):
    check_server(server[0].replace("http://", "http://me:sec%40ret@"))


@pytest.mark.parametrize("answer", [500, 503])
def test_a_server_out_of_order_is_named(server, answer):
    uri, handler = server
    handler.answer = answer
    with pytest.raises(ValueError, match=rf"does not answer: {answer} .* from {uri}"):
        check_server(uri)


def test_no_server_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"Connection refused from {uri}"):
            check_server(uri)


def test_a_silent_server_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("analysis.runs.server.ANSWER_SECONDS", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ValueError, match="timed out"):
            check_server(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_other_addresses_are_left_alone():
    check_server("sqlite:///runs/mlflow.db")
