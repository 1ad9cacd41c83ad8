"""Cases made by chance, out of few values, so that limits are met exactly and filters often match."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

NOW = "2026-03-01T12:00:00.000Z"
ALICE_EVM = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
ADDRESSES = [ALICE_EVM, ALICE_EVM.lower(), USDC, "7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU", "bc1qar0srrr7xf"]
TIDS = [
    ("Ethereum", "native:eth"),
    ("Ethereum", f"erc20:{USDC}"),
    ("Polygon", "native:pol"),
    ("Solana", "native:sol"),
    ("Solana", f"spl:{MINT}"),
    ("Bitcoin", "native:btc"),
]
AMOUNTS = ["0", "1", "999999", "1000000", "1000001", "500000000000000000", "1000000000000000000", str(2**256 - 1)]
LIMITS = [1, 2, 3, "1000", Decimal("0.3"), Decimal("1000.000001"), 500, "1e3", 2**70]
PEOPLE = ["us-alice", "us-bob", "us-carol", "us-dave"]
USERS = [
    *({"id": name, "kind": "CustomerEmployee"} for name in PEOPLE),
    {"id": "us-frank", "kind": "CustomerEmployee", "canVote": False},
    {"id": "us-gone", "kind": "CustomerEmployee", "active": False},
    {"id": "us-erin", "kind": "EndUser"},
    {"id": "us-svc", "kind": "ServiceAccount"},
]
IDS = [str(user["id"]) for user in USERS]
TAGS = ["treasury", "zone:eu", "policy:strict"]
CATEGORIES = [1, 3, 27]
INSTANTS = [
    "2026-01-30T12:00:00.000Z",
    "2026-03-01T11:00:00.000Z",
    "2026-03-01T11:00:00.001Z",
    "2026-03-01T11:58:59.999Z",
    "2026-03-01T11:59:00.000Z",
    "2026-03-01T11:59:00.001Z",
    NOW,
    "2026-03-01T12:00:00.500Z",
]
#: How often each kind is taken.
KINDS = {
    "Wallets:Sign": 24,
    "Wallets:IncomingTransaction": 2,
    "Permissions:Assign": 2,
    "Policies:Modify": 2,
    "Vaults:CreateLock": 1,
    "Vaults:ReleaseQuarantine": 1,
    "Registry:Addresses:Modify": 1,
}
SIGN_RULES = [
    "AlwaysTrigger",
    "TransactionAmountLimit",
    "TransactionAmountLimitNominal",
    "TransactionAmountVelocity",
    "TransactionAmountVelocity",
    "TransactionCountVelocity",
    "TransactionRecipientWhitelist",
    "ChainalysisTransactionPrescreening",
    "GlobalLedgerTransactionPrescreening",
    "TravelRuleTransactionPrescreening",
]


def some(random: Random, items: list[Any], least: int = 0) -> list[Any]:
    return random.sample(items, random.randint(least, len(items)))


def chance(random: Random, part: float) -> bool:
    return random.random() < part


def case(random: Random) -> dict[str, Any]:
    """A whole case without what is expected of it."""
    wallets = [wallet(random, number) for number in range(random.randint(1, 3))]
    result = {
        "id": "generated",
        "users": USERS,
        "wallets": wallets,
        "prices": prices(random),
        "decimals": {f"{network}/{tid}": random.choice([0, 6, 18]) for network, tid in TIDS if chance(random, 0.9)},
        "history": [past(random, wallets) for _ in range(random.choice([0, 0, 1, 2, 4]))],
        "policies": [policy(random, f"p{number}") for number in range(random.choice([0, 1, 1, 2, 3, 5]))],
        "activity": activity(random, wallets),
        "orgAllowsServiceAccountApprovers": chance(random, 0.8),
        "decisions": sorted((step(random) for _ in range(random.randint(0, 5))), key=lambda one: str(one["at"])),
    }
    if chance(random, 0.5):
        result["finalAt"] = random.choice(["2026-03-01T13:00:00.000Z", "2027-01-01T00:00:00.000Z"])
    return result


def wallet(random: Random, number: int) -> dict[str, Any]:
    result = {
        "id": f"wa-{number}",
        "keyId": random.choice(["key-1", "key-2"]),
        "network": random.choice(["Ethereum", "Ethereum", "Polygon", "Solana", "Bitcoin", "Nowhere"]),
        "tags": some(random, TAGS),
    }
    if chance(random, 0.04):
        result["delegatedTo"] = "us-erin"
    return result


def prices(random: Random) -> dict[str, dict[str, str]]:
    result = {}
    for network, tid in TIDS:
        if chance(random, 0.85):
            result[f"{network}/{tid}"] = {
                currency: random.choice(["1", "1000", "0.1", "0.9998", "2500.00", "0"])
                for currency in ("USD", "EUR")
                if chance(random, 0.8)
            }
    return result


def past(random: Random, wallets: list[dict[str, Any]]) -> dict[str, Any]:
    at = random.choice(INSTANTS)
    statuses = ["Pending", "Executing", "Signed", "Broadcasted", "Confirmed", "Rejected", "Failed"]
    result: dict[str, Any] = {"at": at, "status": random.choice(statuses), "uncertain": chance(random, 0.4)}
    if chance(random, 0.85):
        result["walletId"] = random.choice(wallets)["id"]
    else:
        result["keyId"] = "key-orphan"
    for currency in ("usd", "eur"):
        if chance(random, 0.85):
            result[currency] = random.choice(["1", "0.1", "500", "999.7", 600])
    return result


def activity(random: Random, wallets: list[dict[str, Any]]) -> dict[str, Any]:
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    initiator = random.choice([*PEOPLE, "us-svc", "us-frank"])
    result: dict[str, Any] = {"kind": kind, "initiator": initiator, "at": NOW}
    if chance(random, 0.7):
        result["screening"] = screening(random)
    if kind == "Wallets:Sign":
        api = random.choice(["transfer", "transfer", "transfer", "transaction", "signature", "swap"])
        result["api"] = api
        if api == "signature" and chance(random, 0.6):
            result["keyId"] = random.choice(["key-1", "key-2", "key-orphan"])
            result["network"] = random.choice(["Ethereum", "Polygon", "Solana"])
        else:
            chosen = random.choice(wallets)
            result["walletId"], result["network"] = chosen["id"], chosen["network"]
        result["body"] = transfer(random) if api in ("transfer", "swap") else transaction(random)
    elif kind == "Wallets:IncomingTransaction":
        result["walletId"], result["network"] = wallets[0]["id"], wallets[0]["network"]
    elif kind == "Permissions:Assign":
        result["permissionId"] = random.choice(["pm-1", "pm-2"])
    elif kind == "Policies:Modify":
        result["policyId"] = random.choice(["p0", "p1", "p9"])
    elif kind.startswith("Vaults:"):
        result["vaultId"], result["vaultTags"] = "vlt-1", some(random, TAGS)
    return result


def transfer(random: Random) -> dict[str, Any]:
    kind = random.choice(["Native", "Native", "Native", "Erc20", "Erc20", "Spl", "Erc721", "Unheard"])
    body: dict[str, Any] = {"kind": kind, "to": random.choice(ADDRESSES), "amount": random.choice(AMOUNTS)}
    if kind in ("Erc20", "Erc721"):
        body["contract"] = random.choice([USDC, USDC.upper().replace("0X", "0x")])
    if kind == "Spl":
        body["mint"] = MINT
    if chance(random, 0.08):
        body[random.choice(["amount", "to"])] = random.choice([None, "", 5, "-1", "1.5", "٣"])
        if not isinstance(body["to"], str | None):
            body["to"] = None
        if body["to"] in ("-1", "1.5", "٣"):
            body["to"] = ""
    return body


def transaction(random: Random) -> dict[str, Any]:
    if chance(random, 0.2):
        return random.choice([{"kind": "Hash", "hash": "0x" + "ab" * 32}, {"kind": "Psbt", "psbt": "0x00"}])
    if chance(random, 0.1):
        return {"kind": "Transaction", "transaction": "0x02e7"}
    content: dict[str, Any] = {
        "to": random.choice([ALICE_EVM, USDC, ALICE_EVM.lower()]),
        "value": random.choice(["1000000", "0xf4240", 1000000, "0", "", "1000000000000000000", -1, None]),
    }
    for name, values in (
        ("data", ["", "0x", "0xa9059cbb", None]),
        ("input", ["0x", "0x01"]),
        ("chainId", [1, "1", "0x1", 137, 5]),
        ("nonce", [1]),
        ("gasLimit", ["21000"]),
        ("authorizationList", [[]]),
    ):
        if chance(random, 0.15):
            content[name] = random.choice(values)
    if chance(random, 0.04):
        del content["to"]
    body: dict[str, Any] = {"kind": "Transaction", "transaction": content}
    if chance(random, 0.15):
        body["network"] = random.choice(["Ethereum", "Polygon"])
    return body


def screening(random: Random) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if chance(random, 0.35):
        level, category = random.choice(["LOW", "MEDIUM", "HIGH", "SEVERE"]), random.choice(CATEGORIES)
        result["alerts"] = [{"alertLevel": level, "categoryId": category}]
    if chance(random, 0.25):
        result["directExposure"] = {"categoryId": random.choice(CATEGORIES)}
    if chance(random, 0.25):
        result["addresses"] = [{"categoryId": random.choice(CATEGORIES)}]
    if chance(random, 0.7):
        result["riskScore"] = random.choice([0, 69, 70, 71, 100])
    if chance(random, 0.7):
        result["travelRule"] = random.choice(["Accepted", "Unanswered", "Rejected", "TimedOut", "NoMessage"])
    for situation in ("unscreenable", "unsupportedNetwork", "unsupportedAsset", "failure"):
        if chance(random, 0.07):
            result[situation] = True
    return result


def policy(random: Random, identity: str) -> dict[str, Any]:
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    chosen = rule(random, kind)
    result: dict[str, Any] = {
        "id": identity,
        "name": identity,
        "status": "Active" if chance(random, 0.93) else "Archived",
        "activityKind": kind,
        "rule": chosen,
        "action": action(random, kind, chosen["kind"]),
    }
    if chance(random, 0.5):
        result["filters"] = filters(random, kind)
    return result


def categories(random: Random) -> dict[str, Any]:
    return {"categoryIds": random.choice([[], [3], [1, 27], [999]])}


def rule(random: Random, kind: str) -> dict[str, Any]:
    if kind == "Wallets:IncomingTransaction":
        return {"kind": "ChainalysisTransactionScreening", "configuration": chainalysis(random)}
    if kind == "Vaults:ReleaseQuarantine" and chance(random, 0.7):
        configuration = {name: value for name, value in chainalysis(random).items() if name != "fallbackBehaviours"}
        return {"kind": "ChainalysisQuarantineScreening", "configuration": configuration}
    if kind != "Wallets:Sign":
        return {"kind": "AlwaysTrigger"}
    chosen = random.choice(SIGN_RULES)
    configuration: dict[str, Any] = {}
    timeframe = random.choice([1, 60, 43200])
    currency = random.choice(["USD", "USD", "EUR"])
    match chosen:
        case "TransactionAmountLimit":
            configuration = {"limit": random.choice(LIMITS), "currency": currency}
        case "TransactionAmountVelocity":
            configuration = {"limit": random.choice(LIMITS), "currency": currency, "timeframe": timeframe}
        case "TransactionCountVelocity":
            configuration = {"limit": random.choice([1, 2, 3, "2"]), "timeframe": timeframe}
        case "TransactionAmountLimitNominal":
            configuration = {
                "assets": [
                    {"network": network, "tid": tid, "limit": random.choice(AMOUNTS)}
                    for network, tid in some(random, TIDS, 1)
                ]
            }
        case "TransactionRecipientWhitelist":
            configuration = {"addresses": some(random, ADDRESSES)}
        case "ChainalysisTransactionPrescreening":
            configuration = {**chainalysis(random), "addresses": categories(random)}
        case "GlobalLedgerTransactionPrescreening":
            configuration = {"riskScoreThreshold": random.choice([0, 70, 100]), "fallbackBehaviours": fallback(random)}
            failure = configuration["fallbackBehaviours"].pop("skipChainalysisFailure")
            configuration["fallbackBehaviours"]["skipGlobalLedgerFailure"] = failure
        case "TravelRuleTransactionPrescreening":
            configuration = {"vendor": "Notabene", "autoTriggerTimeoutSeconds": 60}
    return {"kind": chosen, "configuration": configuration}


def fallback(random: Random) -> dict[str, bool]:
    names = ("skipUnscreenableTransaction", "skipUnsupportedNetwork", "skipUnsupportedAsset", "skipChainalysisFailure")
    return {name: chance(random, 0.5) for name in names}


def chainalysis(random: Random) -> dict[str, Any]:
    return {
        "alerts": {"alertLevel": random.choice(["LOW", "MEDIUM", "HIGH", "SEVERE"]), **categories(random)},
        "exposures": {"direct": categories(random)},
        "fallbackBehaviours": fallback(random),
    }


def action(random: Random, kind: str, rule_kind: str) -> dict[str, Any]:
    if kind == "Wallets:IncomingTransaction":
        return {"kind": "NoAction"}
    if rule_kind == "TravelRuleTransactionPrescreening":
        return {"kind": "Block"}
    choices = ["RequestApproval", "RequestApproval", "RequestApproval"]
    if kind != "Policies:Modify":
        choices.append("Block")
    if kind == "Wallets:Sign":
        choices.append("NoAction")
    if random.choice(choices) != "RequestApproval":
        return {"kind": random.choice(choices[3:])}
    result: dict[str, Any] = {"kind": "RequestApproval", "approvalGroups": []}
    for _ in range(random.choice([1, 1, 1, 2])):
        listed = some(random, IDS, 1)
        group: dict[str, Any] = {"quorum": random.randint(1, min(3, len(listed))), "approvers": {}}
        if chance(random, 0.7):
            group["approvers"] = {"userId": {"in": listed}}
        for flag in ("initiatorCanApprove", "serviceAccountsCanApprove"):
            if chance(random, 0.5):
                group[flag] = chance(random, 0.6)
        result["approvalGroups"].append(group)
    if chance(random, 0.5):
        result["autoRejectTimeout"] = random.choice([None, 5, 30, 60])
    return result


def filters(random: Random, kind: str) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    if chance(random, 0.6):
        tags["hasAny"] = some(random, TAGS, 1)
    if chance(random, 0.5):
        tags["hasAll"] = some(random, TAGS)
    result: dict[str, Any] = {}
    if kind.startswith("Wallets:"):
        if chance(random, 0.5):
            result["walletId"] = {"in": some(random, ["wa-0", "wa-1", "wa-2"], 1)}
        if chance(random, 0.6):
            result["walletTags"] = tags
    elif kind.startswith("Vaults:"):
        result["vaultTags"] = tags
    elif kind.startswith("Permissions:"):
        result["permissionId"] = {"in": some(random, ["pm-1", "pm-2"], 1)}
    elif kind == "Policies:Modify":
        result["policyId"] = {"in": some(random, ["p0", "p1"], 1)}
    return result


def step(random: Random) -> dict[str, Any]:
    at = random.choice(["12:01", "12:04", "12:05", "12:29", "12:30", "12:59", "13:00"])
    result: dict[str, Any] = {"at": f"2026-03-01T{at}:00.000Z"}
    if chance(random, 0.12):
        return {**result, "deactivate": random.choice(IDS)}
    value = "Approved" if chance(random, 0.85) else "Denied"
    return {**result, "by": random.choice(IDS), "value": value}
