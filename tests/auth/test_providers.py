"""The header providers with the real google-auth, against token endpoints that sign with a test key."""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import mlflow
import pytest
import requests
from cachetools import TTLCache, cached
from fakes.google_identity import AMBIENT, Google, JsonHandler, served
from google.auth import jwt
from mlflow.tracking.request_header.registry import _request_header_provider_registry as registry
from mlflow.tracking.request_header.registry import resolve_request_headers
from my_project.auth import gcp
from my_project.auth.mlflow_request_header_provider import RequestHeaderProviderWithKedroContext

from vertexai_mlflow.auth import credentials, id_tokens
from vertexai_mlflow.cloud import rest
from vertexai_mlflow.cloud.api_errors import explain_errors
from vertexai_mlflow.errors import AuthorizationError, UserError
from vertexai_mlflow.settings.models import Target

CLIENT_ID = "1234567890-abc123.apps.googleusercontent.com"
ACCOUNT = "pipeline@project.iam.gserviceaccount.com"
IAM = {"client_id": CLIENT_ID, "service_account": ACCOUNT}


def context(**config: dict) -> SimpleNamespace:
    """The part of a Kedro context that a provider uses."""
    return SimpleNamespace(config_loader=config, env="cloud")


@pytest.fixture
def let_pass(google, monkeypatch) -> Callable[[float], None]:
    """Let so many seconds pass, on this machine's clocks and on Google's."""
    passed = 0.0
    monkeypatch.setattr(
        id_tokens, "time", SimpleNamespace(
            time=lambda: time.time() + passed, monotonic=lambda: time.monotonic() + passed, sleep=time.sleep
        ),
    )  # fmt: skip

    def let_pass(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        google.skew += seconds

    return let_pass


def bearer(provider: RequestHeaderProviderWithKedroContext, header: str = "Authorization") -> str:
    return provider.request_headers()[header].removeprefix("Bearer ")


def claims(provider: RequestHeaderProviderWithKedroContext) -> dict:
    return jwt.decode(bearer(provider), verify=False)


def test_iam_sends_a_token_of_the_service_account_for_the_client_id(google):
    token = claims(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))
    assert (token["aud"], token["email"]) == (CLIENT_ID, ACCOUNT)


def test_oauth_sends_a_token_of_the_ambient_identity(google):
    token = claims(gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID))
    assert (token["aud"], token["email"]) == (CLIENT_ID, AMBIENT)


@pytest.fixture
def key_file(google, tmp_path, monkeypatch) -> None:
    """A service account's key as the ambient identity."""
    key = {
        "type": "service_account",
        "client_email": "key@project.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": google.private_key,
        "token_uri": f"http://{google.environment['GCE_METADATA_HOST']}/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(key))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))


def test_oauth_sends_a_token_of_a_service_account_key(google, key_file):
    token = claims(gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID))
    assert (token["aud"], token["email"]) == (CLIENT_ID, "key@project.iam.gserviceaccount.com")


def test_a_revoked_key_is_explained_and_not_tried_again(google, key_file):
    google.failures = [400] * 10
    with pytest.raises(AuthorizationError, match=r"expired or were revoked"):
        gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID).request_headers()
    assert google.requests == 1


def test_another_header_carries_the_token_if_the_server_uses_authorization_itself(google):
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM, header="Proxy-Authorization")
    assert list(provider.request_headers()) == ["Proxy-Authorization"]


def test_the_parameters_may_be_in_vertexai_yml_and_must_agree_with_mlflow_yml(google):
    config = {"vertexai": {"run_config": {"mlflow": {"request_header_provider_params": IAM}}}}
    assert claims(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(**config)))["email"] == ACCOUNT
    assert claims(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(**config), **IAM))["email"] == ACCOUNT
    with pytest.raises(AuthorizationError, match=r"'client_id' is 'other' in mlflow.yml .*vertexai.yml"):
        gcp.MLFlowGoogleIAMRequestHeaderProvider(context(**config), client_id="other")


def test_fifty_threads_at_once_make_one_request_and_get_one_token(google):
    google.delay = 0.2
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM)
    barrier, got = threading.Barrier(50), []

    def ask():
        barrier.wait()
        got.append(bearer(provider))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 50
    assert len(set(got)) == 1
    assert google.requests == 1


@pytest.mark.parametrize("skew", [0, 3600, -3600])
def test_a_token_is_renewed_before_it_ends_whatever_this_machines_clock_says(google, skew, let_pass):
    google.skew = skew
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM)
    first = bearer(provider)
    let_pass(3400)
    assert bearer(provider) == first
    let_pass(150)
    assert bearer(provider) != first
    assert google.requests == 2


def test_two_kedro_contexts_send_one_header_with_one_token(google):
    before = list(registry._registry)
    try:
        for _ in range(2):
            registry.register(lambda: gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))
        assert resolve_request_headers()["Authorization"].count("Bearer ") == 1
        assert google.requests == 1
    finally:
        registry._registry[:] = before


def test_a_forked_process_goes_on_with_the_token_of_its_parent(google):
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM)
    token = bearer(provider)
    id_tokens.impersonated(CLIENT_ID, ACCOUNT)._lock.acquire()  # as if another thread were renewing it at the fork
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with id_tokens.impersonated(CLIENT_ID, ACCOUNT)._lock:
            os.write(writing, bearer(provider).encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading) as pipe:
        assert pipe.read() == token


@pytest.mark.parametrize("failures", [[500], [503, 500], [429]])
def test_a_passing_failure_is_tried_again(google, failures):
    google.failures = list(failures)
    assert claims(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))["email"] == ACCOUNT
    assert google.requests == len(failures) + 1


@pytest.mark.slow
def test_a_step_waits_for_an_endpoint_that_is_down_for_a_while(google, monkeypatch):
    monkeypatch.setattr(id_tokens, "BACKOFF", (0.2,) * 50)
    google.down = True
    threading.Timer(0.5, lambda: setattr(google, "down", False)).start()
    assert claims(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))["email"] == ACCOUNT


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (403, f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}"),
        (404, f"There is no service account {ACCOUNT}. Correct it in globals.yml"),
        (400, f"Google does not accept the audience {CLIENT_ID}. Correct client_id"),
        (500, "Google answered with an error"),
    ],
)
def test_a_final_failure_says_what_to_grant_and_mlflow_cannot_swallow_it(google, status, cure):
    google.failures = [status] * 10
    before = list(registry._registry)
    registry.register(lambda: gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))
    try:
        with pytest.raises(AuthorizationError, match=r"Google gave no ID token\.") as error:
            resolve_request_headers()
    finally:
        registry._registry[:] = before
    assert cure in str(error.value)
    assert google.requests == (4 if status == 500 else 1)


def test_a_revoked_grant_ends_the_run_when_the_token_expires(google, let_pass):
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM)
    bearer(provider)
    google.granted = False
    bearer(provider)
    let_pass(3600)
    with pytest.raises(AuthorizationError, match=r"roles/iam.serviceAccountOpenIdTokenCreator"):
        bearer(provider)


def test_without_id_tokens_of_the_metadata_server_the_account_mints_its_own(google):
    google.metadata_gives = False
    token = claims(gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID))
    assert (token["aud"], token["email"]) == (CLIENT_ID, AMBIENT)


def test_an_account_that_may_not_mint_its_own_id_tokens_is_told_which_role_it_needs(google):
    google.metadata_gives = google.granted = False
    with pytest.raises(AuthorizationError) as error:
        bearer(gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID))
    assert f"Grant {AMBIENT} roles/iam.serviceAccountOpenIdTokenCreator on itself." in str(error.value)
    assert "Correct client_id" not in str(error.value)


def test_a_user_with_user_credentials_is_told_to_use_the_iam_provider(google, tmp_path, monkeypatch):
    user = {"type": "authorized_user", "client_id": "x", "client_secret": "y", "refresh_token": "z"}
    (tmp_path / "adc.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    # A laptop has no metadata server.
    monkeypatch.setattr("google.auth.compute_engine._metadata.ping", lambda *_, **__: False)
    provider = gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID)
    with pytest.raises(AuthorizationError, match=r"User credentials cannot mint ID tokens.*IAM"):
        provider.request_headers()


def test_no_token_shows_in_logs_or_representations(google, caplog):
    caplog.set_level(logging.DEBUG)
    google.failures = [500]
    provider = gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM)
    token = bearer(provider)
    shown = caplog.text + repr(provider) + repr(vars(provider)) + repr(id_tokens.impersonated(CLIENT_ID, ACCOUNT))
    assert token not in shown
    assert "ambient-access-token" not in shown


@pytest.mark.parametrize(
    ("tracking", "params", "sentence"),
    [
        ("http://mlflow.internal:5000", {}, "plain http to mlflow.internal"),
        ("http://mlflow.internal", {"allow_http": "other"}, "init_kwargs.allow_http: mlflow.internal"),
    ],
)
def test_a_token_is_not_sent_unencrypted(google, tracking, params, sentence):
    mlflow.set_tracking_uri(tracking)
    with pytest.raises(AuthorizationError) as error:
        gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM, **params).request_headers()
    assert sentence in str(error.value)


class Sent(SimpleNamespace):
    """A server on loopback that notes what it is sent."""

    address: str
    requests: list[dict[str, str]]
    redirects: dict[str, str]


@pytest.fixture
def two_servers() -> Iterator[tuple[Sent, Sent]]:
    """The tracking server, and another one that no token is for. The first can redirect."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(2):
            sent = Sent(requests=[], redirects={})

            class Handler(JsonHandler):
                server_side = sent

                def do_GET(self):
                    self.server_side.requests.append({"path": self.path, **self.headers})
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    target = self.server_side.redirects.get(self.path.partition("?")[0])
                    if target:
                        self.send_response(302)
                        self.send_header("Location", target)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                    else:
                        self.answer(200, {"files": [], "registered_models": [], "experiments": []})

                do_POST = do_GET

            sent.address = stack.enter_context(served(Handler))
            servers.append(sent)
        yield servers[0], servers[1]


@pytest.fixture
def provide(google, monkeypatch) -> Iterator[Callable[..., None]]:
    """Let MLflow send a provider's header to the tracking server."""
    before = list(registry._registry)
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def provide(server: str, **params: str) -> None:
        mlflow.set_tracking_uri(server)
        registry.register(lambda: gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM, **params))

    yield provide
    registry._registry[:] = before
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH", raising=False)


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
@pytest.mark.parametrize(
    "registry_uri", ["https://registry.example.com", "http://mlflow.example.com", "https://mlflow.example.com:8443"]
)
def test_a_registry_at_another_address_gets_no_token(provide, header, registry_uri):
    provide("https://mlflow.example.com", header=header)
    with pytest.raises(
        AuthorizationError, match="The authorization header is for the tracking server at https://mlflow"
    ):
        mlflow.MlflowClient(registry_uri=registry_uri).search_registered_models()


@pytest.mark.parametrize("header", ["Authorization", "X-Token", "Proxy-Authorization"])
def test_a_redirect_to_another_host_is_not_followed_with_a_token(provide, two_servers, header):
    server, other = two_servers
    path = "/api/2.0/mlflow/experiments/search"
    server.redirects[path] = f"http://{other.address}/steal"
    provide(f"http://{server.address}", header=header)
    with pytest.raises(AuthorizationError, match=f"would send it to http://{other.address}"):
        mlflow.search_experiments()
    assert server.requests[0][header].startswith("Bearer ")
    assert other.requests == []


def test_a_redirect_on_the_same_server_is_followed(provide, two_servers):
    server, _other = two_servers
    server.redirects["/api/2.0/mlflow/experiments/search"] = f"http://{server.address}/moved"
    provide(f"http://{server.address}")
    assert mlflow.search_experiments() == []
    assert [request["path"].partition("?")[0] for request in server.requests][-1] == "/moved"


def test_an_artifact_location_at_another_host_gets_no_token(provide, two_servers):
    server, other = two_servers
    provide(f"http://{server.address}")
    with pytest.raises(AuthorizationError, match=f"would send it to http://{other.address}"):
        mlflow.artifacts.list_artifacts(artifact_uri=f"mlflow-artifacts://{other.address}/1/model")
    assert other.requests == []
    assert mlflow.artifacts.list_artifacts(artifact_uri="mlflow-artifacts:/1/model") == []
    assert server.requests[-1]["Authorization"].startswith("Bearer ")


def test_a_client_of_another_server_gets_no_token(provide, two_servers):
    server, other = two_servers
    provide(f"http://{server.address}")
    with pytest.raises(AuthorizationError, match=f"would send it to http://{other.address}"):
        mlflow.MlflowClient(f"http://{other.address}").search_experiments()
    assert other.requests == []


@pytest.mark.parametrize("guard", ["my-company", "kubernetes"])
def test_without_the_guard_no_token_is_sent(provide, two_servers, monkeypatch, guard):
    """MLflow asks one such provider only, so another one's redirects would be followed with the token."""
    server, other = two_servers
    server.redirects["/api/2.0/mlflow/experiments/search"] = f"http://{other.address}/steal"
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", guard)
    with pytest.raises(AuthorizationError, match=f"MLFLOW_TRACKING_AUTH is set to {guard}"):
        provide(f"http://{server.address}", header="X-Token")
        mlflow.search_experiments()
    assert (server.requests, other.requests) == ([], [])


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_gets_no_unencrypted_token(provide, two_servers, monkeypatch, variable):
    server, proxy = two_servers
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    provide(f"http://{server.address}")
    assert mlflow.search_experiments() == []
    server.requests.clear()
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    with pytest.raises(AuthorizationError, match=r"NO_PROXY=127\.0\.0\.1"):
        mlflow.search_experiments()
    assert (server.requests, proxy.requests) == ([], [])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert mlflow.search_experiments() == []
    assert server.requests[-1]["Authorization"].startswith("Bearer ")
    assert proxy.requests == []


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"])
def test_a_server_on_this_machine_may_use_plain_http(google, uri):
    mlflow.set_tracking_uri(uri)
    assert bearer(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM))


def test_plain_http_can_be_allowed_by_name(google):
    mlflow.set_tracking_uri("http://mlflow.internal")
    assert bearer(gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM, allow_http="mlflow.internal"))


def test_placeholders_are_named_before_google_is_asked(google):
    config = {"mlflow": {"server": {"mlflow_tracking_uri": "<https://mlflow.example.com>"}}}
    with pytest.raises(AuthorizationError) as error:
        gcp.MLFlowGoogleIAMRequestHeaderProvider(
            context(**config), client_id="<oauth-client-id>", service_account=ACCOUNT
        )
    assert str(error.value) == (
        "Not filled in yet: conf/cloud/globals.yml: client_id: <oauth-client-id>; "
        "conf/cloud/globals.yml: mlflow_tracking_uri: <https://mlflow.example.com>"
    )
    assert google.requests == 0


def test_a_missing_parameter_is_named(google):
    with pytest.raises(AuthorizationError, match=r"init_kwargs.service_account is missing"):
        gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), client_id=CLIENT_ID).request_headers()


def test_the_documented_custom_provider_works_and_its_failure_stops_the_process(google):
    """The example of the documentation, with another import prefix."""

    def obtain_your_token_here() -> str:
        if fail:
            raise LookupError("no token today")
        return "custom-token"

    class MyCustomMLflowHeaderProvider(RequestHeaderProviderWithKedroContext):
        def in_context(self):
            return "my_auth_info" in self.params

        @cached(TTLCache(1, ttl=0.1))
        def request_headers(self):
            token = obtain_your_token_here()
            return {"Authorization": f"Bearer {token}", "X-My-Custom-Header": self.params["my_auth_info"]}

    fail = False
    assert MyCustomMLflowHeaderProvider(context()).in_context() is False
    provider = MyCustomMLflowHeaderProvider(kedro_context=context(), my_auth_info="1")
    assert provider.in_context() is True
    assert provider.request_headers() == {"Authorization": "Bearer custom-token", "X-My-Custom-Header": "1"}
    fail = True
    time.sleep(0.2)
    with pytest.raises(AuthorizationError, match="LookupError: no token today"):
        provider.request_headers()


@pytest.mark.parametrize(
    "token", ["s3cret", "s3cret.x", "czNjcmV0.czNjcmV0.czNjcmV0", "e30.czNjcmV0.s3cret", "e30.e30.s3cret", "e30.WzFd.s3cret"]
)  # fmt: skip
def test_a_malformed_token_is_not_quoted(google, monkeypatch, token, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(google, "id_token", lambda audience, email: token, raising=False)
    for make in (
        lambda: gcp.MLFlowGoogleIAMRequestHeaderProvider(context(), **IAM),
        lambda: gcp.MLFlowGoogleOauthRequestHeaderProvider(context(), client_id=CLIENT_ID),
    ):
        with pytest.raises(AuthorizationError, match=r"Google gave no ID token. Google (answered|could not)") as error:
            make().request_headers()
        assert "s3cret" not in str(error.value) + caplog.text
        assert "czNjcmV0" not in str(error.value) + caplog.text


@pytest.mark.parametrize("answer", [{"accessToken": "s3cret"}, {"accessToken": "s3cret", "expireTime": "soon"}])
def test_an_answer_that_cannot_be_read_is_not_quoted(google, answer, monkeypatch):
    monkeypatch.setitem(google.apis, "iamcredentials.googleapis.com", lambda *_: answer)
    with pytest.raises(UserError) as error:
        rest.whoami(ACCOUNT)
    assert "s3cret" not in str(error.value)
    with pytest.raises(UserError) as error, explain_errors(Target("p", "r", "https://x")):
        credentials.whoami(ACCOUNT)
    assert "s3cret" not in str(error.value)


def test_the_stand_in_for_google_refuses_a_wrong_token(google: Google):
    """A stand-in that accepted anything would prove nothing."""
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateIdToken"
    refused = requests.post(
        url, json={"audience": CLIENT_ID, "includeEmail": True}, headers={"Authorization": "Bearer x"}
    )
    assert refused.status_code == 401


def signing(lifetime: object = "3600") -> RequestHeaderProviderWithKedroContext:
    """The provider for a proxy whose OAuth client is Google's."""
    params = {"service_account": ACCOUNT, "lifetime": lifetime}
    return gcp.MLFlowGoogleIapJwtRequestHeaderProvider(context(), **params)


def test_a_jwt_is_signed_for_the_server_and_lives_for_an_hour_at_most(google):
    message = claims(signing())
    assert (message["iss"], message["sub"], message["aud"]) == (ACCOUNT, ACCOUNT, "https://mlflow.example.com/*")
    assert message["exp"] - message["iat"] == 3600
    assert abs(message["iat"] - time.time()) < 10
    assert "email" not in message  # it is no ID token
    for lifetime in ("0", "3601", "an hour"):
        with pytest.raises(AuthorizationError, match=rf"lifetime is {lifetime}, and .* 1 to 3600 seconds"):
            bearer(signing(lifetime))


def test_the_audience_of_a_jwt_has_no_password_and_the_port(google):
    mlflow.set_tracking_uri("https://user:secret@mlflow.example.com:8443/deep/er")
    assert claims(signing())["aud"] == "https://mlflow.example.com:8443/*"


def test_fifty_threads_at_once_sign_one_jwt(google):
    google.delay = 0.2
    provider, barrier, tokens = signing(), threading.Barrier(50), []

    def ask():
        barrier.wait()
        tokens.append(bearer(provider))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), len(set(tokens)), google.requests) == (50, 1, 1)


@pytest.mark.parametrize("skew", [0, 100_000, -3600])
def test_a_jwt_has_the_times_of_googles_clock_and_is_renewed_before_it_ends(google, skew, let_pass):
    google.skew = skew
    provider = signing()
    first = bearer(provider)
    assert abs(jwt.decode(first, verify=False)["iat"] - google.now()) <= 2
    let_pass(3400)
    assert bearer(provider) == first
    let_pass(150)
    assert bearer(provider) != first
    assert google.requests == (3 if skew else 2)  # one to learn what time it is


@pytest.mark.parametrize(
    ("failures", "granted", "advice"),
    [
        ([], False, f"Grant this identity a role with iam.serviceAccounts.signJwt on {ACCOUNT}, as `make bootstrap`"),
        ([404] * 10, True, f"There is no service account {ACCOUNT}. Correct it in globals.yml"),
        ([500] * 10, True, "Google answered with an error"),
    ],
)
def test_without_a_jwt_mlflow_sends_no_request_and_the_advice_is_said(
    google, provide, two_servers, failures, granted, advice
):
    tracking, _ = two_servers
    google.failures, google.granted = failures, granted
    mlflow.set_tracking_uri(f"http://{tracking.address}")
    registry.register(signing)
    with pytest.raises(AuthorizationError, match=r"Google gave no signed JWT\.") as error:
        mlflow.search_experiments()
    assert advice in str(error.value)
    assert tracking.requests == []


def test_a_passing_failure_of_signing_is_tried_again_and_no_jwt_is_logged(google, caplog):
    caplog.set_level(logging.DEBUG)
    google.failures = [503, 429]
    token = bearer(signing())
    assert jwt.decode(token, certs=google.public_key, verify=False)["iss"] == ACCOUNT
    assert google.requests == 3
    assert token not in caplog.text + repr(vars(signing()))


def test_a_jwt_goes_to_the_tracking_server_alone(provide, two_servers):
    tracking, other = two_servers
    provide(f"http://{tracking.address}")
    registry.register(signing)
    mlflow.search_experiments()
    with pytest.raises(AuthorizationError, match=r"is for the tracking server at .*, but a request would send it to"):
        mlflow.artifacts.list_artifacts(f"mlflow-artifacts://{other.address}/1/model")
    assert tracking.requests[0]["Authorization"].startswith("Bearer eyJ")
    assert other.requests == []


@pytest.mark.parametrize("answer", [{}, {"signedJwt": None}, {"signedJwt": "s3cret"}, {"signedJwt": "e30.e30.s3cret"}])
def test_an_answer_without_a_jwt_is_not_quoted(google, answer, monkeypatch):
    monkeypatch.setitem(google.apis, "iamcredentials.googleapis.com", lambda *_: answer)
    with pytest.raises(AuthorizationError, match="the answer has no readable token") as error:
        bearer(signing())
    assert "s3cret" not in str(error.value)
