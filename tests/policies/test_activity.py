from __future__ import annotations

from typing import Any

import pytest

from countersign.policies.activity import Undeterminable, ValueTransfer, Wallet, WalletActivity, WalletApi, read
from countersign.policies.assets import Asset, native, of_tid, of_transfer

TO = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
ISSUER = "rvYAfWj5gh67oV6fW32ZzP3Aw4Eubs59B"
CONTRACT = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"


def activity(api: WalletApi, body: dict[str, Any], network: str | None = "Ethereum") -> WalletActivity:
    return WalletActivity(api, (Wallet("wa-1"),), network, body, "us-1", 0)


def transaction(**members: Any) -> WalletActivity:
    return activity("transaction", {"kind": "Transaction", "transaction": {"to": TO, "value": "5", **members}})


@pytest.mark.parametrize("value", ["5", "0x5", "0x05", 5])
@pytest.mark.parametrize("extra", [{}, {"data": ""}, {"data": "0x"}, {"nonce": 3, "maxFeePerGas": "9"}, {"chainId": 1}])
def test_plain_value_transaction_is_read(value: object, extra: dict[str, Any]) -> None:
    assert read(transaction(**{"value": value, **extra})) == ValueTransfer(Asset("Ethereum", "native:eth"), 5, TO)


@pytest.mark.parametrize(
    "members",
    [
        {"data": "0xa9059cbb"},
        {"input": "0xa9059cbb"},
        {"data": ["0x"]},
        {"value": "0"},
        {"value": 0},
        {"value": True},
        {"value": -5},
        {"value": "٥"},
        {"value": None},
        {"value": "5.0"},
        {"to": None},
        {"to": "0xAb"},
        {"to": f"{TO}\n"},
        {"chainId": 137},
        {"chainId": True},
        {"authorizationList": [{"address": TO}]},
        {"blobVersionedHashes": []},
        {"calls": []},
    ],
)
def test_transaction_that_may_do_more_is_undeterminable(members: dict[str, Any]) -> None:
    assert isinstance(read(transaction(**members)), Undeterminable)


def test_transaction_on_a_network_that_is_not_evm_is_undeterminable() -> None:
    body = {"kind": "Transaction", "transaction": {"to": TO, "value": "5"}}
    assert isinstance(read(activity("transaction", body, "Solana")), Undeterminable)
    assert isinstance(read(activity("transaction", body, "Unheard")), Undeterminable)
    assert isinstance(read(activity("signature", body, None)), Undeterminable)
    assert isinstance(read(activity("signature", {**body, "network": "Polygon"})), Undeterminable)
    # What chain it is, nobody here knows: so a chain id says nothing either.
    named = {**body, "transaction": {"to": TO, "value": "5", "chainId": 99999}}
    assert isinstance(read(activity("transaction", named, "BesuTestnet")), Undeterminable)


@pytest.mark.parametrize("amount", ["0", "000", "", "-1", "1.5", "1e3", 5, None, "٣", "9" * 79])
def test_amount_that_is_no_positive_number_of_base_units_is_undeterminable(amount: object) -> None:
    assert isinstance(read(activity("transfer", {"kind": "Native", "to": TO, "amount": amount})), Undeterminable)


@pytest.mark.parametrize("kind", ["Erc721", "Trc721", "Hip17", "Snip3", "Unheard", None, 5, ["Native"]])
def test_transfer_of_something_that_is_not_fungible_is_undeterminable(kind: object) -> None:
    body = {"kind": kind, "to": TO, "amount": "1", "contract": CONTRACT, "tokenId": "7"}
    assert isinstance(read(activity("transfer", body)), Undeterminable)


@pytest.mark.parametrize(
    ("network", "body", "tid"),
    [
        ("Ethereum", {"kind": "Erc20", "contract": CONTRACT}, f"erc20:{CONTRACT.lower()}"),
        ("Ethereum", {"kind": "Erc7984", "contract": CONTRACT}, f"erc7984:{CONTRACT.lower()}"),
        ("Solana", {"kind": "Spl", "mint": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"}, None),
        ("Tron", {"kind": "Trc20", "contract": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"}, None),
        ("Sui", {"kind": "Coin", "coin": "0x2::sui::SUI"}, f"coin:0x{2:064x}::sui::SUI"),
        ("Sui", {"kind": "Coin", "coin": f"0x{2:064X}::sui::SUI"}, f"coin:0x{2:064x}::sui::SUI"),
        ("Starknet", {"kind": "Snip2", "contract": "0x49D"}, f"snip2:0x{0x49D:064x}"),
        ("Hedera", {"kind": "Hts", "tokenId": "0.0.123"}, "hts:0.0.123"),
        ("XrpLedger", {"kind": "Iou", "currency": "USD", "issuer": ISSUER}, f"iou:USD:{ISSUER}"),
        ("XrpLedger", {"kind": "Iou", "currency": "ab" * 20, "issuer": ISSUER}, f"iou:{'AB' * 20}:{ISSUER}"),
        ("XrpLedger", {"kind": "Xls33", "issuanceId": "0a" * 24}, f"xls33:{'0A' * 24}"),
        ("Cardano", {"kind": "Asset", "assetId": "AB" * 30}, f"asset:{'ab' * 30}"),
        ("PolkadotAssetHub", {"kind": "Asset", "assetId": "1984"}, "asset:1984"),
        ("Stellar", {"kind": "Sep41", "assetCode": "USDC", "issuer": "GA"}, "sep41:USDC:GA"),
        (
            "Ton",
            {"kind": "Tep74", "master": "EQCxE6mUtQJKFnGfaROTKOt1lZbDiiX1kCixRv7Nw2Id_sDs"},
            "tep74:0:b113a994b5024a16719f69139328eb759596c38a25f59028b146fecdc3621dfe",
        ),
        (
            "Ton",
            {"kind": "Tep74", "master": "0:B113A994B5024A16719F69139328EB759596C38A25F59028B146FECDC3621DFE"},
            "tep74:0:b113a994b5024a16719f69139328eb759596c38a25f59028b146fecdc3621dfe",
        ),
    ],
)
def test_one_token_has_one_identity(network: str, body: dict[str, Any], tid: str | None) -> None:
    asset = of_transfer(network, body)
    assert asset is not None
    if tid is not None:
        assert asset == Asset(network, tid)
    assert of_tid(network, asset.tid) == asset


@pytest.mark.parametrize(
    ("network", "body"),
    [
        ("Hedera", {"kind": "Hts", "tokenId": "0.0.0123"}),
        ("Hedera", {"kind": "Hts", "tokenId": CONTRACT}),
        ("Algorand", {"kind": "Asa", "assetId": "007"}),
        ("PolkadotAssetHub", {"kind": "Asset", "assetId": "01984"}),
        ("XrpLedger", {"kind": "Iou", "currency": f"{'00' * 12}555344{'00' * 5}", "issuer": ISSUER}),
        ("XrpLedger", {"kind": "Iou", "currency": "XRP", "issuer": ISSUER}),
        ("XrpLedger", {"kind": "Iou", "currency": "USD", "issuer": "XVPcpSm47b1CZkf5AkKM9a84dQHe3m4sBhsrA4XtnBECTAc"}),
        ("Tron", {"kind": "Trc20", "contract": "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"}),
        ("Ethereum", {"kind": "Erc20", "contract": "0x12"}),
        ("Sui", {"kind": "Coin", "coin": "0x2::a::B<0x2::c::D>"}),
        ("Solana", {"kind": "Spl"}),
        ("Solana", {"kind": "Spl", "mint": "with space"}),
    ],
)
def test_a_second_spelling_of_a_token_is_undeterminable(network: str, body: dict[str, Any]) -> None:
    assert of_transfer(network, body) is None


def test_native_asset_has_one_name() -> None:
    assert of_tid("Ethereum", "native:eth") == native("Ethereum")
    assert of_tid("Ethereum", "native:weth") is None
    assert of_tid("Unheard", "native:foo") == of_tid("Unheard", "native:bar") == native("Unheard")
    assert of_tid("Ethereum", "native:") is None
    assert of_tid("Unheard", "native:") is None
