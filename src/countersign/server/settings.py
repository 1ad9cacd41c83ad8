"""Every setting of the server, in one place, with its default, its limits and what contradicts it."""

from __future__ import annotations

from email.utils import parseaddr
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from countersign.storage.database import Timeouts

_KEK_PROVIDERS = ("file", "passphrase", "quorum", "aws-kms", "vault", "pkcs11", "dev")


class BadSettings(Exception):
    """A setting is unknown, malformed or contradicts another; the text names it."""


def _about(description: str, **limits: Any) -> Meta:
    return Meta(description=description, **limits)


class KeyStoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further key store. ``store``, ``kek`` and ``state`` are for an embedded signer, as its options of these names.

    ``kek`` is also for commands that need the key-encryption key.
    """

    id: Annotated[str, _about("Id of the store, as `countersign keystore add` gave it.", min_length=1)]
    socket: Annotated[str, _about("Unix socket of the signer of this store.", min_length=1)]
    embedded: Annotated[bool, _about("Start and supervise that signer as a child.")] = False
    store: str = ""
    kek: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        if self.embedded and not (self.store and self.kek):
            raise ValueError(f"key_stores: an embedded signer needs store and kek ({self.id})")


_COINGECKO = "https://api.coingecko.com/api/v3"


class PriceSourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of prices: ``pinned`` is ``price_table``, ``coingecko`` any service that speaks CoinGecko's API,
    ``chainlink`` a node's JSON-RPC, through which the table's aggregator contracts are read.
    """

    kind: Annotated[Literal["pinned", "coingecko", "chainlink"], _about("`pinned`, `coingecko` or `chainlink`.")]
    name: Annotated[str, _about("As explanations name it; the kind by default.", max_length=40)] = ""
    url: Annotated[str, _about("Base of the service, or the node's JSON-RPC; https.")] = _COINGECKO
    key_file: Annotated[str, _about("File with the key that the service wants.")] = ""
    key_header: Annotated[str, _about("Header that carries it.", pattern="^[A-Za-z0-9-]{1,60}$")] = "x-cg-pro-api-key"
    private: Annotated[bool, _about("Let the host lead to an address that is not public.")] = False

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or self.kind

    def __post_init__(self) -> None:
        if self.kind == "chainlink" and self.url == _COINGECKO:
            raise ValueError(f"price_sources: {self.called}: url is the JSON-RPC of a node")
        url = urlsplit(self.url)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in ("127.0.0.1", "::1")):
            raise ValueError(f"price_sources: {self.called}: url is https, or http to 127.0.0.1")
        if not url.hostname or url.query or url.fragment or self.url.endswith("/"):
            raise ValueError(f"price_sources: {self.called}: url is a base such as https://host/api/v3")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings; each member's description is its documentation."""

    profile: Annotated[
        Literal["production", "sandbox"],
        _about("`sandbox` relaxes what this page names, for development; a production server refuses its database."),
    ] = "production"
    database: Annotated[
        str,
        _about("`sqlite:///absolute/path.db` (embedded, one process) or `postgresql://user@host/name`.", min_length=1),
    ] = "sqlite:////var/lib/countersign/countersign.db"
    postgresql_statement_seconds: Annotated[
        int, _about("After how long PostgreSQL ends a statement; the request is answered 503.", ge=1, le=3600)
    ] = 30
    postgresql_lock_seconds: Annotated[
        int, _about("How long a statement waits for rows that another transaction holds; then 503.", ge=1, le=3600)
    ] = 10
    postgresql_idle_seconds: Annotated[
        int,
        _about("How long a transaction may stand still before PostgreSQL ends it with its connection.", ge=1, le=3600),
    ] = 30
    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _about("Port to listen on; 0 picks a free one.", ge=0, le=65535)] = 8170
    admin_host: Annotated[str, _about("Address of the admin listener (metrics, health); keep it off the internet.")] = (
        "127.0.0.1"
    )
    admin_port: Annotated[
        int, _about("Port of the admin listener; 0 picks a free one, -1 turns it off.", ge=-1, le=65535)
    ] = 8171
    processes: Annotated[int, _about("Server processes over one PostgreSQL; SQLite takes one.", ge=1, le=64)] = 1
    public_url: Annotated[
        str, _about("Base URL that clients use, scheme and host; empty derives it from the listener.")
    ] = ""
    public_hosts: Annotated[
        tuple[str, ...],
        _about("Host names (with port where not the default) that requests may name; empty accepts any name."),
    ] = ()
    mount_prefix: Annotated[
        str, _about("Path prefix under which a proxy passes requests on, such as `/custody`; empty for none.")
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        _about("Addresses and networks whose `X-Forwarded-For` is believed for the client address; none by default."),
    ] = ()
    issuer: Annotated[str, _about("`iss` of tokens; empty uses the installation id.")] = ""
    tls_certificate: Annotated[str, _about("PEM file with the certificate chain; empty serves plain HTTP.")] = ""
    tls_key: Annotated[str, _about("PEM file with the private key of the certificate.")] = ""
    server_secret_file: Annotated[
        str, _about("File with the 32 bytes that seal the server's own keys in the database (mode 0600).")
    ] = "/etc/countersign/server.secret"
    signer_socket: Annotated[str, _about("Unix socket of the signer process.", min_length=1)] = (
        "/run/countersign-signer/signer.sock"
    )
    signer_embedded: Annotated[
        bool,
        _about("Start and supervise the signer as a child; in production run it as a unit of its own user instead."),
    ] = False
    signer_state: Annotated[
        str,
        _about(
            "Directory in which an embedded signer keeps its roster of credentials for good (mode 0700), and in which "
            "`backup` looks for it; let nobody else write there.",
            min_length=1,
        ),
    ] = "/var/lib/countersign/signer-state"
    grant_level: Annotated[
        Literal["G1", "G2", "G3"],
        _about(
            "What an embedded signer asks of an order: `G1` a grant of the server, `G2` one of an authoriser in a "
            "process of its own, `G3` also the consent of a credential in the signer's roster to exactly that order."
        ),
    ] = "G3"
    authoriser: Annotated[
        Literal["server", "process"],
        _about(
            "Who makes the grants that signers take: this server, or a process of its own, which alone has the key and "
            "judges consent by a roster of its own; always `process` with `grant_level` `G2`, possible with the others."
        ),
    ] = "server"
    authoriser_socket: Annotated[str, _about("Unix socket of the authoriser process.", min_length=1)] = (
        "/run/countersign-authoriser/authoriser.sock"
    )
    authoriser_embedded: Annotated[
        bool,
        _about("Start and supervise it as a child; in production run it as a unit of its own user instead."),
    ] = False
    authoriser_key: Annotated[
        str,
        _about(
            "Key file of the authoriser: made by `init` or `countersign keystore authoriser`, read by an embedded "
            "authoriser and by who endorses credentials; nobody else, least of all the server, should read it."
        ),
    ] = "/etc/countersign-authoriser/key"
    authoriser_state: Annotated[
        str,
        _about(
            "Directory in which an embedded authoriser keeps its roster for good (mode 0700), and in which `backup` "
            "looks for it.",
            min_length=1,
        ),
    ] = "/var/lib/countersign/authoriser-state"
    signer_kek: Annotated[
        str,
        _about(
            "Key-encryption key of an embedded signer, and of `init` and rotations: `file:PATH`, `passphrase`, "
            "`quorum:M-of-N`, `aws-kms:KEY`, `vault:URL/MOUNT/KEY?token_file=PATH`, "
            "`pkcs11:token=T;object=K?module-path=FILE&pin-source=FILE`, or in the sandbox `dev:PATH`; "
            "the key store's guide says what each takes."
        ),
    ] = ""
    signer_workers: Annotated[
        int,
        _about(
            "Processes in which an embedded signer signs; 0 in its own, -1 as many as CPUs but at most 4 (the sandbox: "
            "in its own).",
            ge=-1,
            le=64,
        ),
    ] = -1
    key_stores: Annotated[
        tuple[KeyStoreSettings, ...],
        _about(
            "Further key stores, each a table with `id` and `socket`, and with `embedded = true` also `store`, `kek` "
            "and, if it is not to be `signer_state` with the id behind it, `state`; in the environment as JSON."
        ),
    ] = ()
    ceremony_transcript: Annotated[
        str,
        _about(
            "Digest of the transcript that `countersign keystore ceremony` printed; the server then starts over no "
            "other installation.",
            pattern="^([0-9a-f]{64})?\\Z",
        ),
    ] = ""
    recovery_recipients: Annotated[
        tuple[str, ...],
        _about(
            "Age recipients (`age1...`, at most four) to whom every new private key is encrypted as well, for the day "
            "on which the key-encryption key is lost; written into the store root at `init`, changed by `rotate-root`."
        ),
    ] = ()
    backup_recipients: Annotated[
        tuple[str, ...],
        _about(
            "Age recipients (`age1...`) that can open what `countersign backup` writes; their identities stay offline."
        ),
    ] = ()
    break_glass_hours: Annotated[
        int,
        _about(
            "How long break-glass waits before someone locked out gets in; 0 in the sandbox only. Read once, at `init` "
            "or a sandbox's first start, and kept in the database.",
            ge=0,
            le=720,
        ),
    ] = 72
    key_destruction_days: Annotated[
        int,
        _about(
            "How long a key must have been archived before it can be destroyed; 0 in the sandbox only.", ge=0, le=3650
        ),
    ] = 7
    service_accounts_approve: Annotated[
        bool,
        _about("Whether service accounts may approve what policies hold, where a policy lists them and lets them."),
    ] = True
    price_table: Annotated[
        str,
        _about(
            "YAML file with decimals of assets, pinned prices and ids at price services, for policies about values; "
            "read again when it changes. Empty for none."
        ),
    ] = ""
    price_sources: Annotated[
        tuple[PriceSourceSettings, ...],
        _about(
            "Where prices come from, in this order: each a table with `kind` (`pinned`, the `price_table`, "
            "`coingecko`, or `chainlink`) and, where it takes them, `url`, `name`, `key_file`, `key_header`, "
            "`private`; in the environment as JSON. Empty for the `price_table` alone."
        ),
    ] = ()
    price_max_age_seconds: Annotated[
        int, _about("How old a price may be; an older one is no price.", ge=1, le=86_400)
    ] = 600
    price_max_deviation_percent: Annotated[
        int,
        _about(
            "By how much the first two fresh prices may differ, in percent of the lower one; more, and there is none. "
            "0 compares nothing.",
            ge=0,
            le=100,
        ),
    ] = 5
    price_timeout_milliseconds: Annotated[
        int, _about("How long a request waits for a price source.", ge=100, le=10_000)
    ] = 1500
    key_refresh_seconds: Annotated[
        int,
        _about("How soon a process notices that a key of the server was rotated or retired.", ge=1, le=300),
    ] = 30
    session_seconds: Annotated[int, _about("Life of a session token.", ge=60, le=86_400)] = 21_600
    sign_in_seconds: Annotated[
        int, _about("How long a sign-in at an identity provider may take, from its beginning here.", ge=60, le=900)
    ] = 600
    challenge_seconds: Annotated[int, _about("Life of an action challenge.", ge=10, le=900)] = 900
    action_seconds: Annotated[int, _about("Life of a user action token.", ge=10, le=900)] = 300
    sign_counter_policy: Annotated[
        Literal["reject", "warn"],
        _about("What to do when a passkey's signature counter ran back; either way it is logged and audited."),
    ] = "reject"
    attestation_anchors: Annotated[
        str,
        _about(
            "Directory with root certificates of makers of passkeys: a folder for each format (`packed`, `tpm`, "
            "`fido-u2f`, `apple`, `android-key`) with `*.pem`; empty lets every authenticator in and asks for no "
            "certificate."
        ),
    ] = ""
    attestation_models: Annotated[
        tuple[str, ...], _about("Models of authenticators (AAGUID) that are let in; empty for all of those makers.")
    ] = ()
    access_token_days: Annotated[int, _about("Default life of an access token.", ge=1, le=730)] = 730
    require_application_id: Annotated[
        bool,
        _about(
            "Demand an `X-DFNS-APPID` that names an active application of the organisation on every request; "
            "only then is what applications may do a boundary."
        ),
    ] = False
    require_nonce: Annotated[bool, _about("Demand an `X-DFNS-NONCE` on every request, in its strict form.")] = False
    require_api_signature: Annotated[
        bool,
        _about("Demand that every request is signed by a server-signed application (`X-DFNS-APISIGNATURE`)."),
    ] = False
    nonce_min_length: Annotated[
        int, _about("Least characters of the id in a nonce; 13 where it is strict.", ge=12, le=64)
    ] = 12
    allow_unsigned_query: Annotated[
        bool, _about("Let a signed operation carry a query that the signature does not cover; sandbox only.")
    ] = False
    organisation_requests_per_minute: Annotated[
        int,
        _about("Requests of one organisation, and again of its end users, per minute and process before 429.", ge=1),
    ] = 1000
    address_requests_per_minute: Annotated[
        int, _about("Requests of one client address without a known token per minute and process before 429.", ge=1)
    ] = 120
    public_requests_per_minute: Annotated[
        int,
        _about("Requests of one client address to operations without authentication per minute and process.", ge=1),
    ] = 30
    username_requests_per_minute: Annotated[
        int, _about("Requests without authentication about one user from one address per minute and process.", ge=1)
    ] = 10
    code_tries_per_minute: Annotated[
        int, _about("Tries of one-time codes from one client address per minute and process.", ge=1)
    ] = 10
    code_tries_per_hour: Annotated[
        int, _about("Tries of one-time codes from everywhere per hour and process.", ge=1)
    ] = 1000
    smtp_host: Annotated[
        str,
        _about(
            "Mail relay that takes mail to people (codes, notices); empty delivers none, and codes are handed out with "
            "`countersign admin reissue-code`."
        ),
    ] = ""
    smtp_port: Annotated[int, _about("Its port; 0 for that of `smtp_security`: 587, 465 or 25.", ge=0, le=65535)] = 0
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        _about(
            "`starttls` insists on it, `tls` is TLS from the first byte; the certificate must be valid for "
            "`smtp_host`. `none` only for a relay on the same host."
        ),
    ] = "starttls"
    smtp_username: Annotated[str, _about("User name at the relay; empty logs in nowhere.")] = ""
    smtp_password_file: Annotated[
        str,
        _about(
            "File with the password at the relay, read anew for each message; empty takes it from the environment "
            "(`COUNTERSIGN_SMTP_PASSWORD`)."
        ),
    ] = ""
    smtp_ca_bundle: Annotated[
        str, _about("PEM file with authorities to trust for the relay beside the system's; empty for none.")
    ] = ""
    mail_from: Annotated[
        str, _about("Sender of mail, such as `Acme Custody <custody@acme.example>`; needed with `smtp_host`.")
    ] = ""
    login_enumeration_protection: Annotated[
        bool,
        _about(
            "Answer a login of an unknown or deactivated user like one of a user with a passkey, which then fails; the "
            "sandbox says what is wrong."
        ),
    ] = True
    recovery_hold_hours: Annotated[
        int,
        _about("How long somebody who recovered can read and change nothing; 0 for no such wait.", ge=0, le=720),
    ] = 0
    delegated_recovery_hold_hours: Annotated[
        int,
        _about(
            "The least such wait of an administrator whose recovery a service account began: who has full access, or "
            "may give permissions.",
            ge=0,
            le=720,
        ),
    ] = 72
    header_limit_bytes: Annotated[int, _about("Request line and headers together.", ge=8192, le=65_536)] = 32_768
    receive_seconds: Annotated[
        int, _about("Time for the whole request to arrive; a slower client is cut off.", ge=1, le=120)
    ] = 15
    idle_seconds: Annotated[int, _about("How long an idle connection is kept.", ge=1, le=600)] = 65
    connection_limit: Annotated[int, _about("Open connections per process; more are answered 503.", ge=1)] = 4096
    shutdown_seconds: Annotated[int, _about("Time for requests in flight at a stop.", ge=1, le=120)] = 10
    recovery_seconds: Annotated[
        int, _about("Age at which a signature request left `Executing` is taken up again.", ge=1, le=600)
    ] = 15
    run_jobs: Annotated[
        bool,
        _about("Run background jobs, webhooks among them, in the server; off where `countersign jobs work` does."),
    ] = True
    job_lease_seconds: Annotated[
        int, _about("After how long the job of a worker that died is taken over.", ge=1, le=600)
    ] = 30
    dead_job_days: Annotated[
        int,
        _about("How long jobs are kept whose every attempt failed (`countersign jobs list --dead`).", ge=1, le=3650),
    ] = 31
    outgoing_allow_http: Annotated[
        bool, _about("Let URLs that customers give, such as those of webhooks, and identity providers be plain `http`.")
    ] = False
    outgoing_any_port: Annotated[bool, _about("Let those URLs name another port than the scheme's own.")] = False
    outgoing_allowed_networks: Annotated[
        tuple[str, ...],
        _about("Networks, such as `10.1.0.0/16`, that those URLs may lead to although they are not public; none."),
    ] = ()
    outgoing_allowed_hosts: Annotated[
        tuple[str, ...], _about("Host names that those URLs may lead to wherever they resolve to; none.")
    ] = ()
    identity_provider_hosts: Annotated[
        tuple[str, ...],
        _about("Host names at which identity providers may be wherever they resolve to, such as those inside; none."),
    ] = ()
    outgoing_denied_networks: Annotated[
        tuple[str, ...],
        _about("Networks that those URLs never lead to, whatever else is allowed: your API, databases, key stores."),
    ] = ()
    outgoing_ca_bundle: Annotated[
        str,
        _about("PEM file with certificate authorities to trust for those URLs beside the system's; empty for none."),
    ] = ""
    webhook_limit: Annotated[int, _about("Webhooks that an organisation may have.", ge=1, le=1000)] = 5
    webhook_auto_disable_after: Annotated[
        int,
        _about("Disable a webhook when every attempt failed for that many events in a row; 0 never does.", ge=0),
    ] = 0
    webhooks_in_flight: Annotated[
        int, _about("Deliveries that wait for the answer of one webhook at a time, per process.", ge=1, le=256)
    ] = 8
    webhook_host_in_flight: Annotated[int, _about("The same for all webhooks of one host.", ge=1, le=256)] = 16
    checkpoint_milliseconds: Annotated[
        int, _about("How often the audit log is put in order and its head signed.", ge=50, le=60_000)
    ] = 500
    console: Annotated[bool, _about("Serve the web console at `/console`; off, its paths do not exist.")] = True
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _about("Least level that is logged.")] = "info"
    log_format: Annotated[Literal["json", "console"], _about("`json` lines, or `console` for people.")] = "json"

    @property
    def authoriser_apart(self) -> bool:
        """Whether grants come from a process of its own."""
        return self.authoriser == "process" or self.grant_level == "G2"

    @property
    def timeouts(self) -> Timeouts:
        """Those of PostgreSQL."""
        return Timeouts(self.postgresql_statement_seconds, self.postgresql_lock_seconds, self.postgresql_idle_seconds)

    def __post_init__(self) -> None:
        if not self.database.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("database is a URL: sqlite:///absolute/path.db or postgresql://user@host/name")
        for proxy in self.trusted_proxies:
            if not _is_network(proxy):
                raise ValueError(f"trusted_proxies: {proxy} is neither an address nor a network such as 10.0.0.0/8")
        for name in ("outgoing_allowed_networks", "outgoing_denied_networks"):
            for network in getattr(self, name):
                if not _is_network(network):
                    raise ValueError(f"{name}: {network} is neither an address nor a network such as 10.0.0.0/8")
        called = [source.called for source in self.price_sources]
        if len(set(called)) != len(called):
            raise ValueError("price_sources: two have the same name")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together")
        if self.processes > 1 and self.database.startswith("sqlite"):
            raise ValueError("SQLite is served by one process; set processes = 1 or use PostgreSQL")
        if self.profile == "production" and self.allow_unsigned_query:
            raise ValueError("allow_unsigned_query is for the sandbox profile only")
        if self.profile == "production" and self.key_destruction_days < 1:
            raise ValueError("key_destruction_days = 0 is for the sandbox profile only; it is 1 to 3650")
        if self.profile == "production" and self.break_glass_hours < 1:
            raise ValueError("break_glass_hours = 0 is for the sandbox profile only; it is 1 to 720")
        if self.profile == "production" and self.signer_kek.startswith("dev:"):
            raise ValueError("signer_kek = dev:... is for the sandbox profile only; use file:PATH or another")
        if self.signer_kek and self.signer_kek.partition(":")[0] not in _KEK_PROVIDERS:
            raise ValueError(f"signer_kek: {self.signer_kek} is none of {', '.join(_KEK_PROVIDERS)}")
        _check_mail(self)
        if self.mount_prefix and (not self.mount_prefix.startswith("/") or self.mount_prefix.endswith("/")):
            raise ValueError("mount_prefix starts with a slash and does not end with one")


def _check_mail(settings: Settings) -> None:
    if not settings.smtp_host:
        return
    _, address = parseaddr(settings.mail_from)
    if "@" not in address or any(character in settings.mail_from for character in "\r\n"):
        raise ValueError("mail_from: smtp_host needs a sender, such as Acme Custody <custody@acme.example>")
    if settings.smtp_security == "none" and settings.smtp_host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("smtp_security = none is for a relay on the same host only; use starttls or tls")


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
