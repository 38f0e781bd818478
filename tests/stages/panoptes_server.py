"""A local server that speaks the part of Panoptes that an upload needs, with its faults.

It follows the controllers and serializers of github.com/zooniverse/panoptes: JSON:API pages, tokens
of /oauth/token after /users/sign_in, ETags with If-Match, locations of images to PUT, links of a
subject set, a subject limit. ``faults`` are taken one after the other by requests that match.
"""

import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOGIN, PASSWORD = "collaborator-9f2c", "pass-word-3b71e5"
CLIENT_ID, CLIENT_SECRET = "client-77aa", "client-secret-c0ffee"
TOKEN = "token-5d1e9a"
CSRF = "csrf-token-1"
PROJECT = "4321"


@dataclass
class Fault:
    """What becomes of requests: before or after they are carried out."""

    method: str
    path: str
    kind: str  # 429, 504, stall, stale, 504-done, stall-done, late, echo
    times: int = 1


@dataclass
class Panoptes:
    """The server's memory."""

    limit: int = 10_000
    uploaded: int = 17
    whitelist: bool = False
    expires_in: int = 7200
    page_size_max: int = 100
    lag: int = 0
    shuffled: bool = False
    stall_s: float = 600.0
    subjects: dict = field(default_factory=dict)
    sets: dict = field(default_factory=dict)
    media: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    links: Counter = field(default_factory=Counter)
    tokens: int = 0
    number: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock)
    base: str = ""
    elsewhere: str = ""
    watch: object = None
    """Called with method, path, and whether the request was carried out."""

    def fault(self, method, path):
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.fullmatch(fault.path, path):
                    fault.times -= 1
                    return fault.kind
        return ""

    def new_number(self):
        with self.lock:
            self.number += 1
            return str(self.number)

    def by_object(self):
        """Identifiers of subjects by galaxy: what the judge counts."""
        found = {}
        for number, subject in self.subjects.items():
            found.setdefault(subject["metadata"].get("#object_id"), []).append(number)
        return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Panoptes

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self):
        state = self.state
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        parts = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        path = parts.path
        kind = state.fault(self.command, path)
        state.requests.append((self.command, path, kind))
        if kind == "429":
            return self._answer(429, {"errors": [{"message": "slow down"}]}, {"Retry-After": "0"})
        if kind == "504":
            return self._answer(504, b"<html>gateway</html>")
        if kind == "echo":
            return self._answer(
                422, {"errors": [{"message": f"bad: {PASSWORD} {self.headers['Authorization']}"}]}
            )
        if kind == "elsewhere":
            return self._answer(307, {}, {"Location": state.elsewhere + self.path})
        if kind == "stale":
            message = "Attempted to update a stale object: SubjectSet."
            return self._answer(409, {"errors": [{"message": message}]})
        if kind == "stall":
            time.sleep(state.stall_s)
            self.close_connection = True
            return None
        if kind == "late":
            # The gateway has given up; the server goes on and is done after a while.
            self.close_connection = True
            threading.Timer(0.4, self._route, (path,)).start()
            return self._answer(504, b"<html>gateway</html>")
        watch = state.watch or (lambda *_: None)
        watch(self.command, path, False)
        answer = self._route(path)
        watch(self.command, path, True)
        if kind == "504-done":
            return self._answer(504, b"<html>gateway</html>")
        if kind == "stall-done":
            time.sleep(state.stall_s)
            self.close_connection = True
            return None
        return self._answer(*answer)

    def _answer(self, status, plain=None, headers=()):
        data = plain if isinstance(plain, bytes) else json.dumps(plain or {}).encode()
        if status == 204:
            data = b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _route(self, path):
        if path.startswith("/media/"):
            return self._media(path)
        if path == "/users/sign_in":
            return self._sign_in()
        if path == "/oauth/token":
            return self._give_token()
        if not path.startswith("/api/"):
            return 404, {"errors": [{"message": "Not found"}]}
        if self.headers.get("Authorization") not in self._tokens():
            return 401, {"errors": [{"message": "You must be logged in to access this resource."}]}
        steps = path.removeprefix("/api/").split("/")
        with self.state.lock:
            return getattr(self, f"_{self.command.lower()}_{steps[0]}")(*steps[1:])

    def _sign_in(self):
        if self.command == "GET":
            return 200, {}, {"X-CSRF-Token": CSRF}
        given = json.loads(self.body)
        user = given["user"]
        if given["authenticity_token"] != CSRF or (user["login"], user["password"]) != (
            LOGIN,
            PASSWORD,
        ):
            return 401, {"error": f"Invalid email or password: {user['password']}"}
        return 200, {"users": [{"id": "55", "login": LOGIN}]}

    def _tokens(self):
        return {f"Bearer {TOKEN}-{number}" for number in range(1, self.state.tokens + 1)}

    def _give_token(self):
        form = {k: v[0] for k, v in parse_qs(self.body.decode()).items()}
        if form["grant_type"] == "client_credentials":
            if (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
                return 401, {"error": "invalid_client", "error_description": form["client_secret"]}
        elif form["grant_type"] == "refresh_token" and form["refresh_token"] != f"{TOKEN}-again":
            return 401, {"error": "invalid_grant"}
        with self.state.lock:
            self.state.tokens += 1
            plain = {
                "access_token": f"{TOKEN}-{self.state.tokens}",
                "expires_in": self.state.expires_in,
            }
        if form["grant_type"] != "client_credentials":
            plain["refresh_token"] = f"{TOKEN}-again"
        return 200, plain

    def _media(self, path):
        # A signed address: credentials have no business here.
        if self.headers.get("Authorization") or "signature=" not in self.path:
            return 403, {}
        if self.headers.get("x-ms-blob-type") != "BlockBlob":
            return 400, {}
        self.state.media[path] = self.body
        return 201, {}

    def _get_me(self):
        state = self.state
        account = {
            "id": "55",
            "login": LOGIN,
            "subject_limit": state.limit,
            "uploaded_subjects_count": state.uploaded,
            "upload_whitelist": state.whitelist,
            "admin": False,
        }
        return 200, {"users": [account]}

    def _get_projects(self, number):
        if number != PROJECT:
            return 404, {"errors": [{"message": f"Could not find project with id='{number}'"}]}
        return 200, {"projects": [{"id": number, "display_name": "Spirals"}]}

    def _page(self, kind, rows):
        size = min(int(self.query.get("page_size", 20)), self.state.page_size_max)
        page = int(self.query.get("page", 1))
        count = max(-(-len(rows) // size), 1)
        meta = {"page": page, "page_size": size, "count": len(rows), "page_count": count}
        return 200, {kind: rows[(page - 1) * size : page * size], "meta": {kind: meta}}

    def _get_subject_sets(self, number=""):
        if number:
            return 200, {"subject_sets": [self.state.sets[number]]}
        rows = [
            row
            for row in self.state.sets.values()
            if row["links"]["project"] == self.query["project_id"]
        ]
        return self._page("subject_sets", rows)

    def _post_subject_sets(self, number="", links="", kind=""):
        state, plain = self.state, json.loads(self.body)
        if links:
            known = [one for one in plain[kind] if one in state.subjects]
            if not known:
                return 404, {"errors": [{"message": "Couldn't find resource"}]}
            for one in known:
                state.links[one] += 1
                sets = state.subjects[one]["links"]["subject_sets"]
                if number in sets:
                    return 422, {"errors": [{"message": "subject is in the set already"}]}
                sets.append(number)
            return 201, {"subject_sets": [state.sets[number]]}
        row = plain["subject_sets"]
        new = state.new_number()
        state.sets[new] = {
            "id": new,
            "display_name": row["display_name"],
            "created_at": f"2026-11-29T00:{int(new) // 60 % 60:02d}:{int(new) % 60:02d}.000Z",
            "links": {"project": str(row["links"]["project"])},
        }
        return 201, {"subject_sets": [state.sets[new]]}

    def _post_subjects(self):
        state, row = self.state, json.loads(self.body)["subjects"]
        if not state.whitelist and state.uploaded >= state.limit:
            message = f"User has uploaded {state.uploaded} subjects of {state.limit} maximum"
            return 403, {"errors": [{"message": message}]}
        new = state.new_number()
        state.uploaded += 1
        state.subjects[new] = {
            "id": new,
            "metadata": row["metadata"],
            "created_at": f"2026-11-29T00:{int(new) // 60 % 60:02d}:{int(new) % 60:02d}.500Z",
            "links": {"project": str(row["links"]["project"]), "subject_sets": []},
            "version": 1,
        }
        return 201, {"subjects": [self._with_place(new)]}

    def _with_place(self, number):
        """As after creation and change: the location is where the image is to be put."""
        subject = self.state.subjects[number]
        subject["path"] = f"/media/{number}-{subject['version']}.jpeg"
        address = f"{self.state.base}{subject['path']}?signature=s3cr3t-signature"
        return {**self._shown(number), "locations": [{"image/jpeg": address}]}

    def _shown(self, number):
        row = self.state.subjects[number]
        shown = {key: row[key] for key in ("id", "metadata", "created_at", "links")}
        return {**shown, "locations": [{"image/jpeg": self.state.base + row.get("path", "")}]}

    def _get_subjects(self, number=""):
        state = self.state
        if number:
            if number not in state.subjects:
                return 404, {"errors": [{"message": "Could not find subject"}]}
            etag = f'W/"{number}-{state.subjects[number]["version"]}"'
            return 200, {"subjects": [self._shown(number)]}, {"ETag": etag}
        rows = [self._shown(number) for number in sorted(state.subjects, key=int)]
        if "id" in self.query:
            wanted = self.query["id"].split(",")
            return self._page("subjects", [row for row in rows if row["id"] in wanted])
        if "subject_set_id" in self.query:
            wanted = self.query["subject_set_id"]
            rows = [row for row in rows if wanted in row["links"]["subject_sets"]]
        else:
            rows = [row for row in rows if row["links"]["project"] == self.query["project_id"]]
        # Lists come from a replica that lags behind.
        if state.lag:
            state.lag -= 1
            rows = rows[:-3]
        if state.shuffled:
            rows.sort(key=lambda row: hash(row["id"]) % 97)
        return self._page("subjects", rows)

    def _changed(self, number):
        version = self.state.subjects.get(number, {}).get("version")
        if version is None:
            return 404, {"errors": [{"message": "Could not find subject"}]}
        if not self.headers.get("If-Match"):
            return 428, {"errors": [{"message": "Request requires If-Match header"}]}
        if self.headers["If-Match"] != f'W/"{number}-{version}"':
            return 412, {"errors": [{"message": "Precondition failed"}]}
        return None

    def _put_subjects(self, number):
        if wrong := self._changed(number):
            return wrong
        self.state.subjects[number]["version"] += 1
        return 200, {"subjects": [self._with_place(number)]}

    def _delete_subjects(self, number):
        if wrong := self._changed(number):
            return wrong
        del self.state.subjects[number]
        return 204, None


class Server:
    """The server on a free port; a context manager."""

    def __init__(self, **state):
        handler = type("Bound", (Handler,), {})
        self.state = handler.state = Panoptes(**state)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = self.state.base = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
