"""What evaluation has to know of networks: their native asset, and which of them write addresses as EVM does.

A network that is missing here is treated as one whose addresses compare exactly and whose transactions can't be read,
so that a missing line makes rules trigger and never lets anything pass.
"""

from __future__ import annotations

import re

#: EVM networks, each with the symbol of its native asset and its chain id (EIP-155); ``-`` where it is not known.
_EVM = """
Adi:adi:36900 AdiTestnet:adi:- AdiTestnetAb:adi:- ArbitrumGoerli:eth:421613 ArbitrumOne:eth:42161
ArbitrumSepolia:eth:421614 ArcTestnet:usdc:5042002 Areum:area:463 AvalancheC:avax:43114
AvalancheCFuji:avax:43113 Base:eth:8453 BaseGoerli:eth:84531 BaseSepolia:eth:84532 Berachain:bera:80094
BerachainBArtio:bera:80084 BerachainBepolia:bera:80069 BesuTestnet:eth:- Bob:eth:60808 BobSepolia:eth:808813
Bsc:bnb:56 BscTestnet:bnb:97 Celo:celo:42220 CeloAlfajores:celo:44787 Codex:eth:81224 CodexSepolia:eth:812242
Ethereum:eth:1 EthereumClassic:etc:61 EthereumClassicMordor:metc:63 EthereumGoerli:eth:5
EthereumHolesky:eth:17000 EthereumHoodi:eth:560048 EthereumSepolia:eth:11155111 FantomOpera:ftm:250
FantomTestnet:ftm:4002 FlareC:flr:14 FlareCCoston2:c2flr:114 FlowEvm:flow:747 FlowEvmTestnet:flow:545
Ink:eth:57073 InkSepolia:eth:763373 Optimism:eth:10 OptimismGoerli:eth:420 OptimismSepolia:eth:11155420
Plasma:xpl:9745 PlasmaTestnet:xpl:9746 Plume:plume:98866 PlumeSepolia:plume:98867 Polygon:pol:137
PolygonAmoy:pol:80002 PolygonMumbai:matic:80001 Race:eth:6805 RaceSepolia:eth:6806 Rayls:usdr:-
RaylsTestnet:usdr:- Robinhood:eth:4663 RobinhoodSepolia:eth:46630 SeiAtlantic2:sei:1328 SeiPacific1:sei:1329
Sonic:s:146 SonicTestnet:s:14601 Tempo:usd:4217 TempoAndantino:usd:42429 TempoModerato:usd:42431 Tsc:-:-
TscTestnet1:-:- XLayer:okb:196 XLayerSepolia:okb:1952 Xdc:xdc:50 XdcApothem:txdc:51
"""

#: All others, each with the symbol of its native asset.
_OTHERS = """
Algorand:algo AlgorandTestnet:algo Aptos:apt AptosTestnet:apt BabylonGenesis:baby BabylonTestnet5:baby
Bitcoin:btc BitcoinCash:bch BitcoinCashTestnet:bch BitcoinSignet:btc BitcoinTestnet3:btc BitcoinTestnet4:btc
Canton:cc CantonDevnet:cc CantonTestnet:cc Cardano:ada CardanoPreprod:ada Concordium:ccd ConcordiumTestnet:ccd
CosmosHub4:atom CosmosIcsTestnet:atom Dogecoin:doge DogecoinTestnet:doge Hedera:hbar HederaTestnet:hbar
InternetComputer:icp Ion:ion IonTestnet:ion Iota:iota IotaTestnet:iota IotaZodianet:iota Kaspa:kas
KaspaTestnet11:kas Kusama:ksm KusamaAssetHub:ksm Litecoin:ltc LitecoinTestnet:ltc Movement:move
MovementTestnet:move Near:near NearTestnet:near Origyn:ogy Paseo:pas PaseoAssetHub:pas Polkadot:dot
PolkadotAssetHub:dot Polymesh:polyx PolymeshTestnet:polyx Solana:sol SolanaDevnet:sol Starknet:strk
StarknetSepolia:strk Stellar:xlm StellarTestnet:xlm Sui:sui SuiTestnet:sui Tezos:xtz TezosGhostnet:xtz
TezosShadownet:xtz Ton:ton TonTestnet:ton Tron:trx TronNile:trx Westend:wnd WestendAssetHub:wnd XrpLedger:xrp
XrpLedgerTestnet:xrp
"""

_EVM_ROWS = [row.split(":") for row in _EVM.split()]

EVM_NETWORKS = frozenset(name for name, _, _ in _EVM_ROWS)
CHAIN_IDS = {name: int(chain_id) for name, _, chain_id in _EVM_ROWS if chain_id != "-"}
NATIVE_SYMBOLS = {name: symbol for name, symbol, _ in _EVM_ROWS if symbol != "-"}
NATIVE_SYMBOLS.update((name, symbol) for name, symbol in (row.split(":") for row in _OTHERS.split()))

#: Digits behind the point of the native asset, by network; 18 on all EVM networks but those that follow.
_DECIMALS = """
6:Algorand,AlgorandTestnet,BabylonGenesis,BabylonTestnet5,Cardano,CardanoPreprod,Concordium,ConcordiumTestnet,CosmosHub4
6:CosmosIcsTestnet,Polymesh,PolymeshTestnet,Tezos,TezosGhostnet,TezosShadownet,Tron,TronNile,XrpLedger,XrpLedgerTestnet
7:Stellar,StellarTestnet
8:Aptos,AptosTestnet,Bitcoin,BitcoinCash,BitcoinCashTestnet,BitcoinSignet,BitcoinTestnet3,BitcoinTestnet4,Dogecoin
8:DogecoinTestnet,Hedera,HederaTestnet,InternetComputer,Kaspa,KaspaTestnet11,Litecoin,LitecoinTestnet,Movement
8:MovementTestnet,Origyn
9:Ion,IonTestnet,Iota,IotaTestnet,IotaZodianet,Solana,SolanaDevnet,Sui,SuiTestnet,Ton,TonTestnet
10:Canton,CantonDevnet,CantonTestnet,Paseo,PaseoAssetHub,Polkadot,PolkadotAssetHub
12:Kusama,KusamaAssetHub,Westend,WestendAssetHub
18:Starknet,StarknetSepolia
24:Near,NearTestnet
"""
#: Of these the digits are not known for sure, or not the same as seen by a contract.
_UNSURE = frozenset({"ArcTestnet", "Rayls", "RaylsTestnet", "Tempo", "TempoAndantino", "TempoModerato"})

NATIVE_DECIMALS = {
    network: int(digits)
    for digits, networks in (row.split(":") for row in _DECIMALS.split())
    for network in networks.split(",")
}
NATIVE_DECIMALS.update((network, 18) for network in EVM_NETWORKS - _UNSURE if network in NATIVE_SYMBOLS)
KNOWN_NETWORKS = EVM_NETWORKS | NATIVE_SYMBOLS.keys()


_EVM_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def is_evm_address(text: str) -> bool:
    """Whether a text is an address as EVM networks write it; the checksum in its case is not looked at."""
    return _EVM_ADDRESS.fullmatch(text) is not None


def same_address(network: str | None, first: str, second: str) -> bool:
    """Whether two texts are one address: without regard to case on EVM networks, exactly on all others."""
    if network in EVM_NETWORKS:
        return first.lower() == second.lower()
    return first == second
