"""Key stores: where private keys live and sign. The API process reaches them only through the signer's client.

``countersign.keystores.store`` (all SQL of this domain) is imported by name, so that the signer process, which imports
this package, does not load the database layer.
"""

from countersign.keystores.authoriser_client import AuthoriserClient
from countersign.keystores.client import SignerClient
from countersign.keystores.grants import Authoriser, Grants
from countersign.keystores.orders import GeneratedKey, KeyRecord, SignatureValue, SignerStatus, SignOrder
from countersign.keystores.outcome import Refusal, SignerError, SignerRefused, SignerSealed, SignerUnavailable
from countersign.keystores.protocol import MAX_APPROVAL, MAX_APPROVALS, ConsentEvidence
from countersign.keystores.roots import Founder, create_root
from countersign.keystores.supervisor import SignerSupervisor

__all__ = [
    "MAX_APPROVAL",
    "MAX_APPROVALS",
    "Authoriser",
    "AuthoriserClient",
    "ConsentEvidence",
    "Founder",
    "GeneratedKey",
    "Grants",
    "KeyRecord",
    "Refusal",
    "SignOrder",
    "SignatureValue",
    "SignerClient",
    "SignerError",
    "SignerRefused",
    "SignerSealed",
    "SignerStatus",
    "SignerSupervisor",
    "SignerUnavailable",
    "create_root",
]
