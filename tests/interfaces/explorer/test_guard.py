"""What the server refuses: hosts, sizes, shapes, sessions; nothing of a client reaches a file or an interpreter."""

import json

import pytest

pytest.importorskip("dash", reason="the extra web is not installed")

from markov_icl.interfaces.explorer.pages.views import all_views
from markov_icl.interfaces.explorer.server.answers import Answers
from markov_icl.interfaces.explorer.server.app import make_app
from markov_icl.interfaces.explorer.server.guard import MOST_BYTES
from markov_icl.interfaces.explorer.server.jobs import Jobs
from markov_icl.interfaces.explorer.view import MAX_TEXT, Control, Outcome, View

OUTPUTS = [
    ("navigation", "children"),
    ("title", "children"),
    ("summary", "children"),
    ("controls", "children"),
    ("pictures", "children"),
    ("findings", "children"),
    ("answer", "data"),
]
VIEWS = all_views()


def broken(values, report):
    raise RuntimeError("secret detail")


BROKEN = View("broken", "Broken", "", (Control("n", "n", "integer", 1, 1, 3),), broken, lambda _: "markov-icl")


@pytest.fixture(scope="module")
def client():
    jobs = Jobs(all_views)
    views = (*VIEWS, BROKEN)
    yield make_app(views, Answers(views, jobs)).server.test_client()
    jobs.close()


def body(visit=None, ask=None):
    """Return a request as Dash's renderer makes it."""
    named = [{"id": i, "property": p} for i, p in OUTPUTS]
    return {
        "output": ".." + "...".join(f"{i}.{p}" for i, p in OUTPUTS) + "..",
        "outputs": named,
        "inputs": [
            {"id": "visit", "property": "data", "value": visit},
            {"id": "ask", "property": "data", "value": ask},
        ],
        "changedPropIds": ["visit.data" if ask is None else "ask.data"],
    }


def post(client, document, **headers):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post(
        "/_dash-update-component",
        data=data,
        headers={"Host": "127.0.0.1:8050", "Content-Type": "application/json", **headers},
    )


def told(client, visit=None, ask=None):
    """Return what the page's script is told."""
    answer = post(client, body(visit, ask))
    assert answer.status_code == 200, answer.data
    return answer.get_json()["response"]["answer"]["data"]


def asking(view, **texts):
    return {"view": view, "session": "ab" * 8, "serial": 3, "texts": texts}


def test_a_page_is_served_with_its_headers(client):
    page = client.get("/", headers={"Host": "localhost:8050"})
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy.replace("'self'", "")
    assert "unsafe-eval" not in policy
    script = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in script
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8050", "localhost.evil.example", "[::2]:80", ""]
)
def test_other_names_for_this_machine_are_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8050"])
def test_other_pages_cannot_ask(client, origin):
    assert post(client, body(asking("optimum")), Origin=origin).status_code == 403


def test_the_page_itself_can_ask(client):
    assert post(client, body(asking("optimum")), Origin="http://127.0.0.1:8050").status_code == 200


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_are_refused(client, method):
    assert getattr(client, method)("/", headers={"Host": "127.0.0.1"}).status_code == 405


def test_sizes_are_bounded(client):
    assert post(client, b"[" * (MOST_BYTES + 1)).status_code == 413
    assert post(client, body(asking("optimum", prior="x" * MOST_BYTES))).status_code == 413
    assert client.get("/?" + "x" * 20_000, headers={"Host": "127.0.0.1"}).status_code == 414
    assert client.get("/" + "x" * 20_000, headers={"Host": "127.0.0.1"}).status_code == 414


@pytest.mark.parametrize("data", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe", b"[" * 5_000, b'"x"'])
def test_bodies_that_are_no_request_are_refused(client, data):
    answer = post(client, data)
    assert answer.status_code in (400, 411)
    assert b"Traceback" not in answer.data


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"output": "x.y"},
        {**body(asking("optimum")), "output": "..a.b.."},
        {**body(asking("optimum")), "output": ["..a.b.."]},
        {**body(asking("optimum")), "outputs": []},
        {**body(asking("optimum")), "outputs": [[]] * 7},
        {**body(asking("optimum")), "inputs": "x"},
        {**body(asking("optimum")), "inputs": [{"id": {"type": []}, "property": "data"}, 1]},
        {**body(asking("optimum")), "inputs": body()["inputs"] * 2},
        {**body(asking("optimum")), "changedPropIds": 7},
        {**body(asking("optimum")), "changedPropIds": [{}]},
    ],
)
def test_requests_out_of_shape_are_refused(client, document):
    answer = post(client, document)
    assert answer.status_code == 400
    assert answer.data == b"expected a request of this page, as JSON\n"


@pytest.mark.parametrize(
    "visit",
    [
        None,
        7,
        [],
        "x",
        {},
        {"view": "optimum"},
        {"view": "optimum", "session": "../../etc", "serial": 1},
        {"view": "optimum", "session": "ab" * 8, "serial": "1"},
        {"view": "optimum", "session": "ab" * 8, "serial": 1, "texts": [1]},
        {"view": "optimum", "session": "ab" * 800, "serial": 1},
    ],
)
def test_visits_that_are_none_are_told_so(client, visit):
    assert told(client, visit)["errors"][""].startswith("expected a request of this page")


@pytest.mark.parametrize("view", ["", "../optimum", "OPTIMUM", "__class__", "x" * 1000])
def test_there_are_no_other_pages(client, view):
    answer = post(client, body({**asking(view), "query": ""})).get_json()["response"]
    assert answer["title"]["children"] == "No such page"
    assert answer["answer"]["data"]["query"] is None


@pytest.mark.parametrize(
    ("texts", "control"),
    [
        ({"length": "34"}, "length"),
        ({"length": "1e9"}, "length"),
        ({"length": "nan"}, "length"),
        ({"p": "inf"}, "p"),
        ({"p": "__import__('os').getpid()"}, "p"),
        ({"n": {"$gt": 0}}, "n"),
        ({"states": "5", "length": "20"}, "length"),
        ({"prior": "finite:/etc/passwd"}, "prior"),
        ({"prior": "fixed:/etc/passwd"}, "prior"),
        ({"prior": "fixed:../../x.yaml"}, "prior"),
        ({"prior": "dirichlet:-1"}, "prior"),
        ({"prior": "dirichlet:1e-400"}, "prior"),
        ({"prior": "beta:1,1"}, "prior"),
        ({"prior": "x" * (MAX_TEXT + 1)}, "prior"),
        ({"prior": "<script>alert(1)</script>"}, "prior"),
        ({"proof": "certificate", "length": "9"}, "proof"),
    ],
)
def test_values_are_refused_beside_their_control(client, texts, control):
    answer = told(client, ask=asking("optimum", **texts))
    assert list(answer["errors"]) == [control]
    assert answer["errors"][control].startswith("expected ")
    assert "rows" not in answer
    assert "root:" not in json.dumps(answer)


def test_unknown_names_are_ignored(client):
    visit = {**asking("optimum"), "query": "?p=0.3&p=0.4&nonsense=1&__proto__=x&length=3"}
    assert told(client, visit)["query"] == "p=0.4&length=3"


def test_an_error_of_a_view_is_one_line(client):
    answer = told(client, ask=asking("broken"))
    assert answer["errors"] == {"": "internal error: RuntimeError (please report it)"}
    assert "secret" not in json.dumps(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/assets/..%2fapp.py",
        "/assets//etc/passwd",
        "/_dash-component-suites/../x",
    ],
)
def test_no_path_leaves_the_assets(client, path):
    answer = client.get(path, headers={"Host": "127.0.0.1"})
    assert b"make_app" not in answer.data
    assert b"root:" not in answer.data


def test_permalinks_keep_markup_as_text(client):
    visit = {**asking("optimum"), "query": "?prior=%3Cscript%3Ealert(1)%3C/script%3E"}
    document = post(client, body(visit)).get_json()["response"]
    assert "<script>" not in json.dumps(document["controls"]).replace('"value": "<script>', "")


def test_words_are_never_markup():
    from markov_icl.interfaces.explorer.server.markdown import components

    shown = components("<b>x</b> [a](javascript:alert(1)) [b](//evil.example) [c](https://evil.example) [d](/optimum)")
    text = json.dumps([one.to_plotly_json() for one in shown], default=lambda one: one.to_plotly_json())
    assert text.count('"href"') == 1
    assert "/optimum" in text


def test_outcomes_are_kept_within_bounds():
    made = []

    def compute(values, report):
        made.append(values["n"])
        return Outcome((), "words " + "x" * 300_000)

    view = View("big", "Big", "", (Control("n", "n", "integer", 0, 0, 10**6),), compute, lambda _: "markov-icl")
    jobs = Jobs(all_views)
    answers = Answers((view,), jobs)
    for n in [*range(250), 249, 0]:
        assert answers.answer(view, {"n": str(n)}, "ab" * 8).result is not None
    jobs.close()
    assert made == [*range(250), 0]
